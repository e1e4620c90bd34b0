import { describe, expect, it } from "vitest";
import { nf } from "./io.ts";

describe("bad arguments end with exit code 2 and say what would do", () => {
  const cases: readonly (readonly [title: string, argv: readonly string[], says: readonly string[]])[] = [
    ["no command", [], ["Usage: nf", "backends", "inspect", "train"]],
    ["unknown command", ["trian"], ["unknown command 'trian'", "Commands: backends, inspect, train"]],
    [
      "unknown option",
      ["train", "lenet", "--epoch", "3"],
      ["unknown option '--epoch'", "--epochs <n>", "--seed <n>"],
    ],
    ["unknown option of nf", ["--frobnicate"], ["unknown option '--frobnicate'", "--version"]],
    ["unknown model", ["train", "resnet"], ["'resnet'", "Models: lenet, nanogpt."]],
    ["help of an unknown command", ["help", "trian"], ["unknown command 'trian'", "Usage: nf", "backends"]],
    [
      "help of an unknown command before a known one",
      ["help", "trian", "train"],
      ["unknown command 'trian'"],
    ],
    ["unknown model to inspect", ["inspect", "resnet"], ["'resnet'", "Allowed choices are lenet"]],
    ["no model", ["train"], ["Usage: nf train <model>", "lenet", "nanogpt"]],
    ["too many arguments", ["backends", "cpu"], ["too many arguments", "nf backends"]],
    ["unknown data", ["train", "lenet", "--data", "cifar"], ["'cifar'", "embedded, mnist"]],
    ["unknown optimiser", ["train", "lenet", "--optimizer", "lion"], ["'lion'", "adam, sgd"]],
    ["missing value", ["train", "lenet", "--epochs"], ["argument missing", "--epochs <n>"]],
    ["empty folder", ["train", "lenet", "--out", ""], ["--out <folder>", "Expected some text"]],
    [
      "unknown option of another model",
      ["train", "nanogpt", "--epochs", "3"],
      ["unknown option '--epochs'", "Options of nf train nanogpt", "--steps <n>"],
    ],
    [
      "settings of a resumed run",
      ["train", "nanogpt", "--resume", "runs/a", "--lr", "0.1"],
      ["'--resume <folder>' cannot be used with option '--lr <number>'"],
    ],
    [
      "download beside a file",
      ["train", "nanogpt", "--data", "a.txt", "--download"],
      ["there is nothing to fetch"],
    ],
    ["download of what is there", ["train", "lenet", "--download"], ["--download goes with --data mnist"]],
    [
      "unknown backend",
      ["train", "lenet", "--backend", "cuda"],
      ['no backend "cuda"', "native, wasm, cpu or webgpu", "createBackend"],
    ],
    [
      "a backend that can be no package",
      ["train", "lenet", "--backend", "../cpu"],
      ['no backend "../cpu"', "native, wasm, cpu or webgpu"],
    ],
  ];
  it.each(cases)("%s", async (_, argv, says) => {
    const { code, stdout, stderr } = await nf(argv);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    for (const part of says) expect(stderr).toContain(part);
  });

  const numbers: readonly (readonly [option: string, values: readonly string[], expected: string])[] = [
    [
      "--epochs",
      ["0", "-1", "1.5", "NaN", "three", "", "Infinity", "0x10", "1e9"],
      "a whole number from 1 to 100000",
    ],
    ["--limit", ["0", "60001"], "a whole number from 1 to 60000"],
    ["--batch", ["0", "-64", "6.4", "many"], "a whole number from 1 to 100000"],
    ["--seed", ["-1", "4294967296", "0.5", "x"], "a whole number from 0 to 4294967295"],
    ["--label-smoothing", ["1", "-0.1", "some"], "a number from 0 to below 1"],
    ["--lr", ["0", "-0.1", "NaN", "fast", "Infinity", "1e999"], "a number greater than 0"],
  ];
  it.each(
    numbers.flatMap(([option, values, expected]) =>
      values.map((value) => [option, value, expected] as const),
    ),
  )("%s %j", async (option, value, expected) => {
    const { code, stderr } = await nf(["train", "lenet", option, value]);
    expect(code).toBe(2);
    expect(stderr).toContain(option);
    expect(stderr).toContain(`Expected ${expected}`);
  });
});

describe("help", () => {
  it.each([[["help", "help"]], [["help", "--json"]]])("nf %j calls no command unknown", async (argv) => {
    const { stdout, stderr } = await nf(argv);
    expect(stdout + stderr).toContain("Usage: nf");
    expect(stderr).not.toContain("unknown command");
  });

  const cases: readonly (readonly [argv: readonly string[], says: readonly string[]])[] = [
    [["--help"], ["Usage: nf", "backends", "inspect", "train", "--version"]],
    [["help"], ["Usage: nf", "train"]],
    [
      ["backends", "--help"],
      ["Usage: nf backends", "--json"],
    ],
    [
      ["inspect", "--help"],
      ["Usage: nf inspect", 'choices: "lenet"', "--json"],
    ],
    [
      ["help", "train"],
      ["Usage: nf train", "--epochs <n>"],
    ],
    [
      ["train", "--help"],
      [
        "Usage: nf train",
        "lenet",
        "nanogpt",
        "--steps <n>",
        "--eval-every <n>",
        "--resume <folder>",
        "--backend <name>",
        "native, wasm, cpu, webgpu",
        "--data <name>",
        'choices: "embedded", "mnist"',
        "--download",
        "--limit <n>",
        "--epochs <n>",
        "--batch <n>",
        "--seed <n>",
        "--no-shift",
        "--label-smoothing <share>",
        "--lr <number>",
        'choices: "adam", "sgd"',
        "--out <folder>",
        "--json",
      ],
    ],
  ];
  it.each(cases)("nf %j", async (argv, says) => {
    const { code, stdout, stderr } = await nf(argv);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const part of says) expect(stdout).toContain(part);
  });

  it("nf --version", async () => {
    const { code, stdout } = await nf(["--version"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
