// The Rust crates that are linked into the binaries of @nf/backend-native, for THIRD_PARTY_NOTICES.md.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { findCargo } from "./cargo.mjs";
import { root } from "./workspace.mjs";

const folder = join(root, "packages", "backend-native");
const ENTRY = "nanoflux-binding";

/** What cargo knows of all crates on all platforms, or undefined where it or their sources are not to be had. */
function metadata() {
  const cargo = findCargo();
  if (cargo === undefined) return { reason: "cargo is not installed" };
  for (const network of [["--offline"], []]) {
    const args = ["metadata", "--locked", ...network, "--format-version", "1"];
    const { status, stdout } = spawnSync(cargo, args, {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 1 << 28,
      timeout: 120_000,
    });
    if (status === 0) return JSON.parse(stdout);
  }
  return { reason: "cargo could not fetch the sources of all crates" };
}

/** What only runs while compiling is in no binary. */
const isLinked = ({ targets }) =>
  targets.some(({ kind }) => kind.some((one) => ["lib", "rlib", "cdylib"].includes(one)));

/** The crates that a crate is linked with, itself included, by id. */
function linked({ packages, resolve }) {
  const byId = new Map(packages.map((one) => [one.id, one]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const seen = new Set();
  const visit = (id) => {
    if (seen.has(id) || !isLinked(byId.get(id))) return;
    seen.add(id);
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps)
      if (kinds.some(({ kind }) => kind === null)) visit(pkg);
  };
  visit(packages.find(({ name }) => name === ENTRY).id);
  return [...seen].map((id) => byId.get(id)).filter(({ source }) => source !== null);
}

/** Licence files; where a crate leaves the choice, those of MIT, which asks for least. */
function licenceText(manifest, license) {
  const place = dirname(manifest);
  const names = readdirSync(place).filter((name) => /^(?:licen[cs]e|copying)(?:[._-]|$)/i.test(name));
  const chosen = / OR |\//.test(license) ? names.filter((name) => /mit/i.test(name)) : [];
  const texts = (chosen.length > 0 ? chosen : names)
    .sort()
    .map((name) => readFileSync(join(place, name), "utf8").replace(/\r\n/g, "\n").trim());
  return texts.length > 0 ? texts.join("\n\n") : undefined;
}

/**
 * `crates`: name, version, licence (an SPDX expression), its text and the authors, sorted; or `reason`: why they are not known here.
 */
export function linkedCrates() {
  const known = metadata();
  if (known.reason !== undefined) return known;
  const crates = linked(known).map(({ name, version, license, manifest_path: manifest, authors }) => ({
    name,
    version,
    // The older way of writing a choice.
    license: (license ?? "none stated").replaceAll("/", " OR "),
    text: licenceText(manifest, license ?? ""),
    authors: authors.map((one) => one.replace(/ *<.*>$/, "")).join(", "),
  }));
  const key = ({ name, version }) => `${name}@${version}`;
  return { crates: crates.sort((a, b) => (key(a) < key(b) ? -1 : 1)) };
}

/** Names and versions of all crates in Cargo.lock, as `name@version`. */
export function lockedCrates() {
  const text = readFileSync(join(folder, "Cargo.lock"), "utf8");
  const entries = text.matchAll(/\[\[package\]\]\r?\nname = "([^"]+)"\r?\nversion = "([^"]+)"/g);
  return new Set([...entries].map(([, name, version]) => `${name}@${version}`));
}
