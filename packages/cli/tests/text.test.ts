import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { createBackend } from "@nf/backend-cpu";
import { use } from "@nf/core";
import { WEIGHT_FORMATS } from "@nf/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTiny } from "../../models/tests/tiny.ts";
import type { ImportModule } from "../src/index.ts";
import { WEIGHT_NAMES } from "../src/text-options.ts";
import { capture, lastLine, nf } from "./io.ts";

const importModule: ImportModule = async (name) =>
  name === "@nf/backend-cpu" ? { createBackend } : undefined;

let root: string;
let tiny: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "nf-text-"));
  tiny = join(root, "tiny");
  await use(createBackend());
  await writeTiny(tiny);
  await writeTiny(join(root, "plain"), { chatTemplate: false });
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Result {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly promptTokens: readonly number[];
  readonly finish: string;
  readonly seed: number | null;
  readonly tokensPerSecond: number;
  readonly prefillTokensPerSecond: number;
}

async function generate(...argv: string[]): Promise<Result> {
  const ran = await nf(["generate", tiny, ...argv, "--json"], { importModule });
  expect(ran.code, ran.stderr).toBe(0);
  return JSON.parse(lastLine(ran.stdout));
}

describe("nf generate", () => {
  it("prints the text, and how fast it came on standard error", async () => {
    const argv = ["--prompt", "once", "--greedy", "--max-tokens", "9"];
    const ran = await nf(["generate", tiny, ...argv], { importModule });
    const { text, tokens, promptTokens } = await generate(...argv);
    expect(ran.code).toBe(0);
    expect(ran.stdout.trimEnd()).toBe(text.trimEnd());
    expect(ran.stderr).toMatch(
      /^9 tokens at [\d.]+ tokens\/s, the prompt's 5 at [\d.]+ tokens\/s, on cpu\n$/,
    );
    expect(tokens).toHaveLength(9);
    expect(promptTokens).toHaveLength(5);
  });

  it("gives all of it as JSON", async () => {
    const result = await generate("--prompt", "once", "--greedy", "--max-tokens", "9");
    expect(result).toMatchObject({
      backend: "cpu",
      weights: "auto",
      prompt: "once",
      finish: "length",
      stopped: false,
      seed: null,
    });
    expect(result.tokensPerSecond).toBeGreaterThan(0);
    expect(result.prefillTokensPerSecond).toBeGreaterThan(0);
  });

  it("begins an empty prompt with the token of the beginning", async () => {
    expect((await generate("--greedy", "--max-tokens", "3")).promptTokens).toEqual([0]);
  });

  it("draws by the seed, which it tells", async () => {
    const free = await generate("--max-tokens", "20");
    const again = await generate("--max-tokens", "20", "--seed", String(free.seed));
    expect(again.tokens).toEqual(free.tokens);
    const other = await generate("--max-tokens", "20", "--seed", "5", "--temperature", "2", "--top-k", "20");
    expect(other.seed).toBe(5);
    expect(other.tokens).not.toEqual(free.tokens);
  });

  it("passes every option on", async () => {
    const base = ["--prompt", "the", "--seed", "3", "--max-tokens", "30"];
    const plain = await generate(...base);
    for (const extra of [
      ["--temperature", "0.1"],
      ["--top-k", "2"],
      ["--top-p", "0.3"],
      ["--min-p", "0.9"],
      ["--repetition-penalty", "30"],
      ["--frequency-penalty", "5"],
    ])
      expect((await generate(...base, ...extra)).tokens, extra.join(" ")).not.toEqual(plain.tokens);
    const stop = plain.text.slice(3, 5);
    const stopped = await generate(...base, "--stop", "#", stop);
    expect(stopped).toMatchObject({ finish: "stop", text: plain.text.slice(0, plain.text.indexOf(stop)) });
    const short = await generate("--greedy", "--prompt", "abc", "--context", "10", "--max-tokens", "30");
    expect(short.tokens.length).toBeLessThanOrEqual(7);
  });

  it("takes what the model's generation_config.json says and the arguments leave open", async () => {
    const folder = join(root, "advised");
    await cp(tiny, folder, { recursive: true });
    const advise = (settings: object): Promise<void> =>
      writeFile(join(folder, "generation_config.json"), JSON.stringify(settings));
    const ran = async (...argv: string[]): Promise<{ tokens: number[]; seed: number | null }> => {
      const { stdout } = await nf(["generate", folder, "--max-tokens", "8", ...argv, "--json"], {
        importModule,
      });
      return JSON.parse(stdout);
    };
    await advise({ do_sample: false, num_beams: 4 });
    const greedy = await ran();
    expect(greedy.seed).toBeNull();
    expect(greedy.tokens).toEqual((await ran("--greedy")).tokens);
    expect((await ran("--seed", "4")).seed).toBe(4);
    const noted = await nf(["generate", folder, "--max-tokens", "1"], { importModule });
    expect(noted.stderr).toContain("generation_config.json asks for num_beams");
    await advise({ do_sample: true, temperature: 4, top_k: 30 });
    const drawn = await ran("--seed", "4");
    expect(drawn).toEqual(expect.objectContaining({ seed: 4 }));
    expect(drawn.tokens).toEqual((await ran("--seed", "4", "--temperature", "4", "--top-k", "30")).tokens);
    expect(drawn.tokens).not.toEqual((await ran("--seed", "4", "--temperature", "0.8")).tokens);
  });

  it("says which matrices could not be kept as asked", async () => {
    const ran = await nf(["generate", tiny, "--weights", "q8_0", "--greedy", "--max-tokens", "2"], {
      importModule,
    });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain("2 matrices stay f32");
  });

  it("ends the text when it is told to, with what there is", async () => {
    const controller = new AbortController();
    const stdout = capture();
    stdout.stream.on("data", () => controller.abort("SIGINT"));
    const ran = await nf(["generate", tiny, "--temperature", "1", "--max-tokens", "100"], {
      importModule,
      signal: controller.signal,
      stdout: stdout.stream,
    });
    expect(ran.code).toBe(130);
    expect(stdout.text()).not.toBe("");
  });

  it.skipIf(process.platform === "win32")("reads no config.json that has no end", async () => {
    const folder = join(root, "endless");
    await cp(tiny, folder, { recursive: true });
    await rm(join(folder, "config.json"), { force: true });
    execFileSync("mkfifo", [join(folder, "config.json")]);
    const { code, stderr } = await nf(["generate", folder], { importModule });
    expect(code).toBe(1);
    expect(stderr).toContain("config.json: is not a file");
  });

  const wrong: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["no folder", ["generate"], ["missing required argument 'folder'", "Usage: nf generate"]],
    ["a folder that is not there", ["generate", "nowhere"], ["There is no nowhere", "config.json"]],
    [
      "an unknown option",
      ["generate", "TINY", "--beams", "4"],
      ["unknown option '--beams'", "--top-p <share>"],
    ],
    [
      "an unknown format",
      ["generate", "TINY", "--weights", "q2"],
      ["'q2'", "auto, f32, bf16, f16, q8_0, q4_0"],
    ],
    [
      "options that contradict",
      ["generate", "TINY", "--greedy", "--top-k", "3"],
      ["'--greedy' cannot be used with"],
    ],
    [
      "too long a context",
      ["generate", "TINY", "--context", "129"],
      ["--context must be a whole number, 1 to 128"],
    ],
    [
      "a prompt longer than the context",
      ["generate", "TINY", "--context", "4", "--prompt", "longer"],
      ["7 positions do not fit", "--context"],
    ],
    [
      "an unknown backend",
      ["generate", "TINY", "--backend", "cuda"],
      ['no backend "cuda"', "native, wasm, cpu or webgpu"],
    ],
    [
      "a share above 1",
      ["generate", "TINY", "--top-p", "1.5"],
      ["--top-p", "a number from 0 to 1, such as 0.9"],
    ],
    ["a temperature of 0", ["generate", "TINY", "--temperature", "0"], ["--temperature", "greater than 0"]],
    ["no tokens", ["generate", "TINY", "--max-tokens", "-1"], ["--max-tokens", "a whole number from 0"]],
    ["a model without a template", ["chat", "PLAIN"], ["has no chat template", "nf generate"]],
  ];
  it.each(wrong)("refuses %s with exit code 2", async (_name, argv, says) => {
    const places = new Map([
      ["TINY", tiny],
      ["PLAIN", join(root, "plain")],
    ]);
    const { code, stdout, stderr } = await nf(
      argv.map((one) => places.get(one) ?? one),
      { importModule, stdin: Readable.from([]) },
    );
    expect(code, stderr).toBe(2);
    expect(stdout).toBe("");
    for (const part of says) expect(stderr).toContain(part);
  });

  it("names the formats that the library has", () => {
    expect(WEIGHT_NAMES).toEqual(WEIGHT_FORMATS);
  });
});

describe("nf chat", () => {
  const chat = (lines: readonly string[], ...argv: string[]) =>
    nf(["chat", tiny, "--greedy", "--max-tokens", "6", ...argv], {
      importModule,
      stdin: Readable.from(lines.map((line) => `${line}\n`)),
    });

  it("answers each line, and tells the speed", async () => {
    const { code, stdout, stderr } = await chat(["hello", "", "and you"]);
    expect(code).toBe(0);
    expect(stdout).not.toBe("");
    expect(stderr.match(/\(\d+ tokens at [\d.]+ tokens\/s\)/g)).toHaveLength(2);
  });

  it("forgets and ends on command, and knows no others", async () => {
    const first = (await chat(["hello"])).stdout;
    const { stdout, stderr } = await chat(["what", "/clear", "hello", "/sing", "/exit", "never"]);
    expect(stdout.endsWith(first)).toBe(true);
    expect(stderr).toContain("There is no /sing. Commands: /clear, /exit.");
    expect(stderr.match(/tokens\/s/g)).toHaveLength(2);
  });

  it("tells the model what to be", async () => {
    expect((await chat(["hello"], "--system", "be brief")).stdout).not.toBe((await chat(["hello"])).stdout);
  });

  it("ends when it is interrupted while it waits", async () => {
    const controller = new AbortController();
    const stderr = capture();
    stderr.stream.on("data", (chunk: Buffer) => {
      if (chunk.toString().includes("> ")) controller.abort("SIGINT");
    });
    const { code } = await nf(["chat", tiny], {
      importModule,
      stdin: new PassThrough(),
      stderr: stderr.stream,
      signal: controller.signal,
    });
    expect(code).toBe(130);
  });
});

const data = process.env["NF_DATA_DIR"];
const stories = join(data ?? "", "stories260k");
const there = data !== undefined && existsSync(join(stories, "stories260K.bin"));
if (!there) console.log(`skipped: NF_DATA_DIR (${data ?? "not set"}) has no folder stories260k`);

describe.runIf(there)("stories260K", () => {
  it("is written from a llama2.c checkpoint", async () => {
    const argv = ["generate", stories, "--prompt", "", "--greedy", "--max-tokens", "200", "--json"];
    const { code, stdout } = await nf(argv, { importModule });
    expect(code).toBe(0);
    const { text, tokens }: Result = JSON.parse(lastLine(stdout));
    expect(`${text}\n`).toBe(readFileSync(join(stories, "expected-greedy-200.txt"), "utf8"));
    expect(tokens).toHaveLength(200);
  });
});
