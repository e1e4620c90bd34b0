import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { KERNEL } from "../src/kernels/numbers.ts";
import { kernels } from "../src/kernels/table.ts";
import { OPCODES } from "../src/programs/opcodes.ts";

const folder = fileURLToPath(new URL("..", import.meta.url));
const source = (path: string): string => readFileSync(`${folder}/crates/${path}`, "utf8");
const snake = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace("NaN", "NAN")
    .toUpperCase();

describe("the Rust side", () => {
  it("numbers operations as TypeScript does", () => {
    const list = /number! \{\n([A-Z0-9_\s]+)\}/.exec(source("kernels/src/program.rs"))?.[1] ?? "";
    const numbered = OPCODES.map((name) => snake(name).replace("IS_NA_N", "IS_NAN"));
    expect(list.trim().split(/\s+/)).toEqual(numbered);
  });

  it("numbers kernels as TypeScript does", () => {
    const text = source("kernels/src/call.rs");
    const names = (list: string | undefined): string[] => list?.match(/\w+/g) ?? [];
    const numbered = Object.entries(KERNEL).sort(([, a], [, b]) => a - b);
    expect(numbered.map(([, number]) => number)).toEqual(numbered.map((_, index) => index));
    const wanted = numbered.map(([name]) => (name === "pool" ? "pooling" : name));
    const camel = (name: string): string => name[0]?.toLowerCase() + name.slice(1);
    expect(names(/pub enum Kernel \{([^}]+)\}/.exec(text)?.[1]).map(camel)).toEqual(wanted);
    expect(names(/let all = \[([^\]]+)\]/.exec(text)?.[1]).map(camel)).toEqual(wanted);
    expect(Object.keys(kernels).sort()).toEqual(Object.keys(KERNEL).sort());
  });

  it("catches panics in every export", () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/check-exports.mjs"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^[1-9]\d exports, 0 problems/);
    expect(status).toBe(0);
  });

  it("says where an export does not", async () => {
    const script = new URL("../scripts/check-exports.mjs", import.meta.url).href;
    const { checkExports } = (await import(script)) as {
      checkExports(name: string, text: string): { problems: string[]; exports: number };
    };
    const text = "#[napi(catch_unwind)]\nfn a() {}\n\n#[napi]\nfn b() {}\n";
    expect(checkExports("x.rs", text)).toEqual({
      problems: ["x.rs:4  #[napi] must be #[napi(catch_unwind)]"],
      exports: 2,
    });
  });
});

const nightly = process.env["NF_NIGHTLY"] === "1";
const { findCargo } = (await import(new URL("../../../scripts/lib/cargo.mjs", import.meta.url).href)) as {
  findCargo(): string | undefined;
};
const command = findCargo();
if (command === undefined)
  console.warn("skipped: cargo test of packages/backend-native; cargo is not installed");

describe.skipIf(command === undefined)("cargo", { timeout: 900_000 }, () => {
  const cargo = (...args: string[]): void => {
    const { status, stdout, stderr } = spawnSync(command as string, args, { cwd: folder, encoding: "utf8" });
    expect(status, `${stdout}\n${stderr}`).toBe(0);
  };
  // What the build compiled serves here too.
  it("test passes", () => cargo("test", "--release", "--locked", "-p", "nanoflux-kernels"));
  it.skipIf(!nightly)("test passes where overflow is looked for", () =>
    cargo("test", "--locked", "-p", "nanoflux-kernels"),
  );
  it("clippy has nothing to say", () =>
    cargo("clippy", "--release", "--locked", "--all-targets", "--", "--deny", "warnings"));
  it("is formatted", () => cargo("fmt", "--check"));
});
