// What every script needs to know about this repository. No dependencies: it runs before the install.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** A path relative to the root, with forward slashes on every system. */
export const shortPath = (path) => relative(root, path).split(sep).join("/");

/** Version of pnpm that the repository is pinned to. */
export function pnpmVersion() {
  const pin = readJson(join(root, "package.json")).packageManager ?? "";
  const match = /^pnpm@(\d+\.\d+\.\d+)$/.exec(pin);
  if (match === null) throw new Error(`package.json: "packageManager" must be pnpm@x.y.z, it is "${pin}"`);
  return match[1];
}

/** Folders of the published packages: `{ name: "@nf/core", short: "core", folder, manifest }`. */
export function packages() {
  const parent = join(root, "packages");
  return readdirSync(parent)
    .filter((short) => existsSync(join(parent, short, "package.json")))
    .sort()
    .map((short) => {
      const folder = join(parent, short);
      const manifest = readJson(join(folder, "package.json"));
      return { name: manifest.name, short, folder, manifest };
    });
}

const SKIPPED = new Set(["node_modules", "dist", "target", ".turbo", ".git"]);

/** All files under `folder` (or the file itself) whose name passes `accept`, sorted. */
export function filesUnder(folder, accept = () => true) {
  if (!existsSync(folder)) return [];
  if (statSync(folder).isFile()) return accept(folder) ? [folder] : [];
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name)) found.push(...filesUnder(path, accept));
    } else if (entry.isFile() && accept(path)) found.push(path);
  }
  return found.sort();
}

/** One hash over names and contents of files, and over further words such as the version of Node. */
export function fingerprint(files, ...words) {
  const hash = createHash("sha256");
  for (const word of words) hash.update(`${word}\0`);
  for (const file of files)
    hash
      .update(`${shortPath(file)}\0`)
      .update(readFileSync(file))
      .update("\0");
  return hash.digest("hex");
}

/** Path of the JavaScript file behind a command of an installed development dependency. */
export function binary(packageName, command = packageName.split("/").pop()) {
  const folder = join(root, "node_modules", packageName);
  const { bin } = readJson(join(folder, "package.json"));
  return join(folder, typeof bin === "string" ? bin : bin[command]);
}
