/**
 * What pnpm is told beyond its settings. `pnpm pack` and `pnpm publish`, which changesets calls, pass the manifest of what
 * they pack through `beforePacking`.
 */
const { readdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");

/**
 * @nf/backend-native asks for the binaries of its own version as optional packages, one of which fits a machine. The
 * manifest in the repository does not: an install from a checkout would ask the registry for what is not there yet.
 */
function beforePacking(manifest, folder) {
  if (manifest.name !== "@nf/backend-native") return manifest;
  const platforms = join(folder, "npm");
  const names = readdirSync(platforms).map(
    (name) => JSON.parse(readFileSync(join(platforms, name, "package.json"), "utf8")).name,
  );
  const binaries = Object.fromEntries(names.sort().map((name) => [name, manifest.version]));
  return { ...manifest, optionalDependencies: { ...manifest.optionalDependencies, ...binaries } };
}

module.exports = { hooks: { beforePacking } };
