import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mseLoss, OptionError, tensor } from "@nf/core";
import { mnist } from "@nf/data/node";
import { Linear } from "@nf/nn";
import { Adam } from "@nf/optim";
import { fit } from "@nf/train";
import { describe, expect, it, vi } from "vitest";
import {
  type CommonOptions,
  digits,
  type ExampleSpec,
  epochTable,
  fetched,
  loading,
  Option,
  positiveNumber,
  table,
  UsageError,
  wholeNumber,
} from "../src/index.ts";
import { type Called, callExample } from "../src/testing.ts";

interface Own {
  readonly width: number;
  readonly rate: number;
}

const seen: (CommonOptions & Own)[] = [];

const line: ExampleSpec<Own> = {
  name: "line",
  description: "Learns a line.",
  epochs: 3,
  seed: 7,
  options: [
    new Option("--width <n>", "hidden units").default(4).argParser(wholeNumber(1, 8)),
    new Option("--rate <x>", "learning rate").default(0.1).argParser(positiveNumber),
  ],
  async run({ options, signal, note, callbacks }) {
    seen.push(options);
    note("it begins");
    const model = new Linear(1, 1);
    const { history } = await fit(model, {
      data: [{ x: tensor([[0], [1]]), y: tensor([[1], [3]]) }],
      forward: (one, { x }) => one.forward(x),
      loss: (output, { y }) => mseLoss(output, y),
      metrics: { accuracy: (_output, _batch, loss) => loss.mul(0) },
      optimizer: new Adam(model.parameters(), { lr: options.rate }),
      epochs: options.epochs,
      signal,
      callbacks: callbacks({ items: "points" }),
    });
    const last = history.at(-1);
    if (last === undefined) return undefined;
    return { figures: { loss: last.train.loss }, lines: [`loss ${last.train.loss}`] };
  },
};

async function call(
  args: readonly string[],
  { spec = line, signal }: { spec?: ExampleSpec<Own>; signal?: AbortSignal } = {},
): Promise<Called> {
  return callExample(spec, args, signal);
}

describe("an example's command", () => {
  it("tells its result on standard output and all else on standard error", async () => {
    const { code, out, err, cwd } = await call(["--backend", "cpu", "--width", "2"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^loss \d\.\d+\n$/);
    expect(err).toMatch(/^line on cpu, 1 thread\nit begins\n/);
    expect(err).toContain("epoch 3/3");
    expect(seen.at(-1)).toMatchObject({ width: 2, rate: 0.1, epochs: 3, seed: 7, json: false });
    const folder = join(cwd, "runs", "line");
    expect(readFileSync(join(folder, "log.csv"), "utf8").split("\r\n")).toHaveLength(5);
    expect(readFileSync(join(folder, "curves.svg"), "utf8")).toContain("points");
    expect(existsSync(join(folder, "curves.png"))).toBe(true);
  });

  it("prints one object with --json, the same for the same seed", async () => {
    const args = ["--backend", "cpu", "--json", "--epochs", "2", "--out", "here"];
    const [first, second, other] = [await call(args), await call(args), await call([...args, "--seed", "8"])];
    const result = JSON.parse(first.out);
    expect(result).toMatchObject({
      example: "line",
      backend: "cpu",
      threads: 1,
      seed: 7,
      epochs: 2,
      ending: "done",
    });
    expect(result.out).toBe(join(first.cwd, "here"));
    expect(JSON.parse(second.out).loss).toBe(result.loss);
    expect(JSON.parse(other.out).loss).not.toBe(result.loss);
  });

  it("explains itself", async () => {
    const { code, out, err } = await call(["--help"]);
    expect([code, err]).toEqual([0, ""]);
    for (const name of ["backend", "threads", "seed", "epochs", "out", "json", "width", "help"])
      expect(out).toContain(`--${name}`);
    expect(out).toContain("Learns a line.");
  });

  it.each([
    [["--epochs", "0"], "Expected a whole number from 1 to 100000."],
    [["--seed", "0x10"], "Expected a whole number from 0"],
    [["--rate", "-1"], "Expected a number greater than 0"],
    [["--colour"], "unknown option '--colour'"],
    [["extra"], "too many arguments"],
    [
      ["--backend", "nowhere"],
      "The backend nowhere cannot be loaded: there is no working package @nf/backend-nowhere here.",
    ],
    [["--backend", "@nf/core"], "The package @nf/core is no backend"],
    [["--backend", "cpu", "--threads", "2"], "threads"],
  ])("refuses %j with a message and exit code 2", async (args, message) => {
    const { code, out, err } = await call(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
    expect(err).not.toContain("    at ");
  });

  it("tells what its own part and the library refuse, and passes on what nobody foresaw", async () => {
    const failing = (error: Error): ExampleSpec<Own> => ({ ...line, run: () => Promise.reject(error) });
    for (const error of [new UsageError("no data"), new OptionError("no data")]) {
      const { code, err } = await call(["--backend", "cpu"], { spec: failing(error) });
      expect(code).toBe(2);
      expect(err).toContain("error: no data\n");
    }
    await expect(call(["--backend", "cpu"], { spec: failing(new TypeError("a slip")) })).rejects.toThrow(
      "a slip",
    );
  });

  it("stops when asked to in a download, telling how far it came", async () => {
    const controller = new AbortController();
    const folder = mkdtempSync(join(tmpdir(), "nf-download-"));
    vi.stubEnv("NF_DATA_DIR", folder);
    vi.stubEnv("NF_CACHE_DIR", folder);
    const served = (signal: AbortSignal | null | undefined): Response => {
      const body = new ReadableStream<Uint8Array>({
        start(stream) {
          stream.enqueue(new Uint8Array(5_000_000));
          signal?.addEventListener("abort", () => stream.error(signal.reason));
        },
      });
      return new Response(body, { headers: { "content-length": "9912422" } });
    };
    const spec: ExampleSpec<Own> = {
      ...line,
      async run(context) {
        const note = (text: string): void => {
          context.note(text);
          if (text.includes(": 50 %")) controller.abort("SIGINT");
        };
        const fetch = async (_url: unknown, init?: RequestInit): Promise<Response> => served(init?.signal);
        const options = loading(true, { note, signal: context.signal });
        await fetched(mnist({ ...options, fetch, mirrors: ["http://mirror.test"] }));
        return { figures: {}, lines: ["loaded"] };
      },
    };
    try {
      const { code, out, err } = await call(["--backend", "cpu"], { spec, signal: controller.signal });
      expect([code, out]).toEqual([130, ""]);
      expect(err).toContain("downloading http://mirror.test/train-images-idx3-ubyte.gz: 50 % of 9.9 MB\n");
      expect(err).toContain("Stopped before its end, as asked.");
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("stops when asked to, with what there is", async () => {
    const early = await call(["--backend", "cpu", "--json"], { signal: AbortSignal.abort("SIGINT") });
    expect(early.code).toBe(130);
    expect(JSON.parse(early.out)).toMatchObject({ example: "line", ending: "aborted" });
    const controller = new AbortController();
    const spec: ExampleSpec<Own> = {
      ...line,
      run(context) {
        const stop = { onEpochEnd: () => controller.abort("SIGTERM") };
        return line.run({ ...context, callbacks: () => [stop] });
      },
    };
    const { code, out, err } = await call(["--backend", "cpu", "--epochs", "1000"], {
      spec,
      signal: controller.signal,
    });
    expect(code).toBe(143);
    expect(out).toMatch(/^loss/);
    expect(err).toContain("Stopped before its end");
  });
});

describe("tables", () => {
  it("line up, the first column to the left", () => {
    expect(table([["a", "bb"], ["ccc", "d"], ["e"]])).toEqual(["a    bb", "ccc   d", "e      "]);
    const [head, row] = epochTable([
      {
        epoch: 1,
        step: 10,
        learningRate: 0.1,
        seconds: 2.25,
        train: { loss: 0.5, accuracy: 0.75 },
        validation: { loss: 0.25, accuracy: 0.875 },
      },
    ]);
    expect(head?.length).toBe(row?.length);
    expect(row?.split(/ {2,}/)).toEqual(["1", "0.5000", "75.00 %", "0.2500", "87.50 %", "2.3"]);
  });
});

describe("digits", () => {
  it("are the embedded ones where full MNIST is not, which is told", async () => {
    vi.stubEnv("NF_DATA_DIR", "");
    vi.stubEnv("NF_CACHE_DIR", mkdtempSync(join(tmpdir(), "nf-cache-")));
    const notes: string[] = [];
    const surroundings = {
      note: (text: string) => void notes.push(text),
      signal: new AbortController().signal,
    };
    const { train, test, data } = await digits({ download: false }, surroundings);
    expect([train.length, test.length, data]).toEqual([8000, 2000, "embedded"]);
    expect(notes.join()).toMatch(/Full MNIST is not on this machine.*8,000.*--download/);
    vi.stubEnv("NF_DATA_DIR", mkdtempSync(join(tmpdir(), "nf-none-")));
    await expect(digits({ download: false }, surroundings)).rejects.toThrow(/NF_DATA_DIR/);
  });
});
