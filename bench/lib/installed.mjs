import { readFileSync } from "node:fs";

const HINT = "not installed: npx pnpm@12.21.0 install, in bench/";

/** A peer that is a package: how it is run, and its version; or that it cannot, where it is not installed. */
export function installed(name, run) {
  try {
    const path = new URL(`../node_modules/${name}/package.json`, import.meta.url);
    return { ...run, version: JSON.parse(readFileSync(path, "utf8")).version };
  } catch {
    return { cannot: HINT };
  }
}

/** Ends with what to do where a package that cannot be done without is not installed. */
export function demand(name) {
  if (installed(name, {}).cannot === undefined) return;
  console.error(`${name} is ${HINT}`);
  process.exit(1);
}
