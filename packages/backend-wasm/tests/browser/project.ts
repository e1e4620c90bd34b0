import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packagesFolder = fileURLToPath(new URL("../../../", import.meta.url));

interface Manifest {
  readonly name: string;
  readonly files: readonly string[];
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function readManifest<T>(folder: string): T {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as T;
}

/** A web project of somebody who installed packages: their published files under node_modules, and some pages. */
export interface Project {
  readonly folder: string;
  /** The import map that leads to the packages' JavaScript. */
  readonly imports: Readonly<Record<string, string>>;
  remove(): void;
}

/**
 * Makes a project in a folder for temporary files.
 *
 * @param pages the folder of its pages
 * @param names directories of packages, without those they depend on
 * @throws Error where a package was not built
 */
export function makeProject(pages: URL, names: readonly string[]): Project {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "nanoflux-browser-")));
  cpSync(fileURLToPath(pages), folder, { recursive: true });
  const imports: Record<string, string> = {};
  const wanted = new Set(names);
  for (const name of wanted) {
    const from = join(packagesFolder, name);
    const manifest = readManifest<Manifest>(from);
    const to = join(folder, "node_modules", manifest.name);
    if (!existsSync(join(from, "dist", "index.js")))
      throw new Error(`${manifest.name} is not built: run npm run setup.`);
    mkdirSync(to, { recursive: true });
    for (const file of ["package.json", ...manifest.files]) {
      if (existsSync(join(from, file))) cpSync(join(from, file), join(to, file), { recursive: true });
    }
    for (const [subpath, target] of Object.entries(manifest.exports)) {
      if (typeof target !== "string") {
        imports[join(manifest.name, subpath)] = `/${join("node_modules", manifest.name, target.default)}`;
      }
    }
    for (const dependency of Object.keys(manifest.dependencies ?? {})) {
      if (dependency.startsWith("@nf/")) {
        wanted.add(dependency.slice("@nf/".length));
        continue;
      }
      const installed = realpathSync(join(from, "node_modules", dependency));
      const link = join(folder, "node_modules", dependency);
      mkdirSync(dirname(link), { recursive: true });
      if (!existsSync(link)) symlinkSync(installed, link, "junction");
      const { module, main } = readManifest<{ module?: string; main?: string }>(installed);
      imports[dependency] = `/${join("node_modules", dependency, module ?? main ?? "index.js")}`;
    }
  }
  return { folder, imports, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
