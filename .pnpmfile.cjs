/**
 * What pnpm is told beyond its settings. `pnpm pack` and `pnpm publish`, which changesets calls, pass the manifest of what
 * they pack through `beforePacking`.
 */
const { existsSync, readdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");

/**
 * @nf/backend-native asks for the binaries of its own version as optional packages, one of which fits a machine. The
 * manifest in the repository does not: an install from a checkout would ask the registry for what is not there yet.
 */
function beforePacking(manifest, folder) {
  if (manifest.name !== "@nf/backend-native") return manifest;
  const platforms = join(folder, "npm");
  // Beside the packages a system may have put files of its own.
  const manifests = readdirSync(platforms)
    .map((name) => join(platforms, name, "package.json"))
    .filter((path) => existsSync(path));
  const names = manifests.map((path) => JSON.parse(readFileSync(path, "utf8")).name);
  const binaries = Object.fromEntries(names.sort().map((name) => [name, manifest.version]));
  return { ...manifest, optionalDependencies: { ...manifest.optionalDependencies, ...binaries } };
}

module.exports = { hooks: { beforePacking } };
