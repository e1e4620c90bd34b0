import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { platformName } from "../src/binding.ts";
import { missing } from "./built.ts";

const folder = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
const PLATFORMS = [
  "darwin-arm64",
  "darwin-x64",
  "linux-arm64-gnu",
  "linux-x64-gnu",
  "linux-x64-musl",
  "win32-x64-msvc",
];
const built = [folder, join(folder, "..", "core")].every((place) =>
  existsSync(join(place, "dist", "index.js")),
);
if (!built) console.warn("skipped: packing; the packages are not built, npm test builds them first");

/** Runs the script that packs. */
function pack(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ["scripts/pack.mjs", ...args], { cwd: folder, encoding: "utf8" });
}

it("asks for packages alone, whatever else lies beside them", () => {
  const place = mkdtempSync(join(tmpdir(), "nf-hook-"));
  mkdirSync(join(place, "npm", "linux-x64-gnu"), { recursive: true });
  writeFileSync(join(place, "npm", "linux-x64-gnu", "package.json"), '{ "name": "one" }');
  writeFileSync(join(place, "npm", ".DS_Store"), "");
  mkdirSync(join(place, "npm", "empty"));
  const { hooks } = createRequire(import.meta.url)("../../../.pnpmfile.cjs") as {
    hooks: { beforePacking(manifest: object, folder: string): object };
  };
  const given = { name: "@nf/backend-native", version: "1.2.3" };
  expect(hooks.beforePacking(given, place)).toEqual({ ...given, optionalDependencies: { one: "1.2.3" } });
  rmSync(place, { recursive: true });
});

describe.skipIf(!built || missing !== undefined)("packages as they are published", () => {
  let out: string;
  let packed: ReturnType<typeof pack>;
  beforeAll(() => {
    out = mkdtempSync(join(tmpdir(), "nf-packed-"));
    packed = pack("--out", out, "--try");
  }, 120_000);
  afterAll(() => rmSync(out, { recursive: true, force: true }));

  const within = (tarball: string, ...args: string[]): string =>
    spawnSync("tar", ["-xzOf", join(out, tarball), ...args], { encoding: "utf8", maxBuffer: 1 << 24 }).stdout;
  const names = (tarball: string): string[] =>
    spawnSync("tar", ["-tzf", join(out, tarball)], { encoding: "utf8" })
      .stdout.trim()
      .split("\n")
      .sort();

  it("install into an empty folder and compute there", () => {
    expect(packed.stderr).toBe("");
    expect(packed.status).toBe(0);
  });

  it("ask for the binaries of their own version, as optional packages", () => {
    const inside = within(`nf-backend-native-${manifest.version}.tgz`, "package/package.json");
    const { optionalDependencies } = JSON.parse(inside) as { optionalDependencies: object };
    const wanted = PLATFORMS.map((name) => [`@nf/backend-native-${name}`, manifest.version]);
    expect(optionalDependencies).toEqual(Object.fromEntries(wanted));
    expect("optionalDependencies" in manifest).toBe(false);
  });

  it("hold the binary in the platform's package alone, with the licences of what is linked into it", () => {
    const main = names(`nf-backend-native-${manifest.version}.tgz`);
    expect(main).toContain("package/dist/index.js");
    expect(main.filter((name) => name.endsWith(".node") || name.includes("crates/"))).toEqual([]);
    const platform = `nf-backend-native-${platformName()}-${manifest.version}.tgz`;
    expect(names(platform)).toEqual([
      "package/LICENSE",
      "package/README.md",
      "package/THIRD_PARTY_NOTICES.md",
      `package/nanoflux.${platformName()}.node`,
      "package/package.json",
    ]);
    expect(within(platform, "package/THIRD_PARTY_NOTICES.md")).toContain("### rayon-core ");
  });

  it("are refused where a platform has no binary", () => {
    const { status, stderr } = pack("--out", join(out, "all"), "--all");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/no binary in .* for .*win32-x64-msvc/);
  });
});
