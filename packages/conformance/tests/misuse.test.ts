import { cpu } from "@nf/backend-cpu";
import { type Backend, BackendError, NanoFluxError, OptionError } from "@nf/core";
import { describe, expect, it } from "vitest";
import {
  type ConformanceOptions,
  compareBackends,
  conformance,
  formatScorecard,
  lenetTraces,
  type ModelTrace,
  runConformance,
  supportMatrix,
} from "../src/index.ts";
import { matmulInBfloat } from "./planted/accumulate.ts";
import { fusedBackwardWrong, fusedSoftmaxWrong } from "./planted/kernels.ts";

const few = { examples: 2, families: ["scan"] } as const;

/** Registers nothing: what is wrong must be told before. */
const runner = {
  describe: (): void => expect.fail("a family was registered"),
  it: (): void => expect.fail("a check was registered"),
};

/** Calls that are wrong in types too. */
const untyped = {
  conformance: (...args: unknown[]): void => (conformance as (...args: unknown[]) => void)(...args),
  run: (...args: unknown[]): Promise<unknown> =>
    (runConformance as (...args: unknown[]) => Promise<unknown>)(...args),
};

async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Options that both ways to run the suite refuse, with what the message says. */
const WRONG: readonly (readonly [options: object, says: RegExp])[] = [
  [{ example: 5 }, /unknown option "example"\. It takes level, seed/],
  [{ level: "all" }, /level must be one of kernels, inference, training, complete, got "all"/],
  [{ level: 2 }, /level must be one of .*, got 2/],
  [{ seed: "1" }, /seed must be a whole number from 0, got "1"/],
  [{ seed: -1 }, /seed must be a whole number from 0, got -1/],
  [{ examples: 0 }, /examples must be a whole number from 1, got 0/],
  [{ examples: null }, /examples must be a whole number from 1, got null/],
  [{ families: "scan" }, /families must be an array, got "scan"/],
  [{ families: ["unary", "nary"] }, /no family "nary".*Choose from capabilities, transfer/],
  [{ limited: 5 }, /limited must be a function, which makes a backend, got 5/],
  [{ reference: {} }, /reference must be a function, which makes a backend, got an object/],
  [{ skip: "slow" }, /skip must be a function, which gives the reason .*, got "slow"/],
  [{ skip: null }, /skip must be a function, .* got null/],
  [{ traces: 3 }, /traces must be an array, got 3/],
  [{ traces: [undefined] }, /traces\[0\] must be a ModelTrace, .*got undefined whose name is undefined/],
  [
    { traces: [{ ...lenetTraces()[0], losses: 2 }] },
    /traces\[0\] must be a ModelTrace, .*an object whose losses is 2/,
  ],
  [{ widen: null }, /widen must be an object like \{ exp: 2 \}, .*got null/],
  [{ widen: 2 }, /widen must be an object .*got 2/],
  [{ widen: [2] }, /widen must be an object .*got an array/],
  [{ widen: { unary: 0.5 } }, /widen\.unary must be a number from 1 .*got 0\.5/],
  [{ widen: { exp: "2" } }, /widen\.exp must be a number from 1 .*got "2"/],
  [{ widen: { exp: Number.NaN } }, /widen\.exp must be a number from 1 .*got NaN/],
  [{ widen: { exp: Infinity } }, /widen\.exp must be a number from 1 .*got Infinity/],
  [
    { widen: { softMax: 2 } },
    /no operation, kernel or family "softMax" .*Near it are softmax, .*logSoftmax.*\* is for all/,
  ],
  [{ widen: { sacn: 2 } }, /no operation, kernel or family "sacn" .*Near it are .*scan/],
  [
    { widen: { zzzzzzzz: 2 } },
    /family "zzzzzzzz" .*one of the families capabilities, transfer, .*or \* for all/,
  ],
  ...["", "  ", true, false, null, 7, {}].map(
    (reason) =>
      [
        { skip: () => reason },
        /skip must return a reason, a text that is not empty, or undefined to run the check; it returned .* for scan > /,
      ] as const,
  ),
];

describe("what is wrong is refused before the first check", () => {
  it.each(WRONG)("%j", async (options, says) => {
    const ways = {
      runConformance: () => untyped.run(() => cpu(), { ...few, ...options }),
      conformance: () => untyped.conformance(() => cpu(), { ...few, ...runner, ...options }),
    };
    for (const [name, call] of Object.entries(ways)) {
      const error = await errorOf(call);
      expect(error, name).toBeInstanceOf(OptionError);
      expect((error as Error).message, name).toMatch(says);
    }
  });

  it.each<[options: object, says: RegExp]>([
    [{ onProgress: true }, /onProgress must be a function, .*got true/],
    [{ signal: "stop" }, /signal must be an AbortSignal, .*got "stop"/],
    [{ signal: null }, /signal must be an AbortSignal, .*got null/],
    [{ signal: new AbortController() }, /signal must be an AbortSignal, .*got an object/],
    [{ speed: "yes" }, /speed must be true or false, got "yes"/],
    [{ describe }, /unknown option "describe"/],
  ])("runConformance refuses %j", async (options, says) => {
    const error = await errorOf(() => untyped.run(() => cpu(), { ...few, ...options }));
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toMatch(says);
  });

  it.each<[options: unknown, says: RegExp]>([
    [undefined, /options must be an object, got undefined/],
    [null, /options must be an object, got null/],
    [[], /options must be an object, got an array/],
    [
      {},
      /describe must be a function, such as a test runner's; without one call runConformance, got undefined/,
    ],
    [{ describe }, /it must be a function, such as a test runner's.*got undefined/],
    [
      { ...runner, it: Object.assign(() => undefined, { skip: true }) },
      /it\.skip must be a function .*got true/,
    ],
    [{ ...runner, onNotApplicable: [] }, /onNotApplicable must be a function, .*got an array/],
    [{ ...runner, onProgress: () => undefined }, /unknown option "onProgress"/],
  ])("conformance refuses %j", async (options, says) => {
    const error = await errorOf(() => untyped.conformance(() => cpu(), options));
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toMatch(says);
  });
});

describe("what makes no backend", () => {
  const NONE: readonly (readonly [what: string, create: unknown, says: RegExp])[] = [
    ["nothing", () => undefined, /createBackend must return a backend.*, got undefined/],
    ["a promise of nothing", async () => null, /createBackend must return a backend.*, got null/],
    ["its maker", () => cpu, /createBackend must return a backend.*, got a function/],
    [
      "an object",
      () => ({ name: "x", execute() {} }),
      /got an object without the methods allocate, free, write/,
    ],
    [
      "a backend without a kernel",
      async () => {
        const backend = await cpu();
        const { sort: _, ...dtypes } = backend.capabilities.dtypes;
        return Object.create(backend, { capabilities: { value: { ...backend.capabilities, dtypes } } });
      },
      /capabilities\.dtypes lists no dtypes of sort: each needs an array/,
    ],
    [
      "a backend without capabilities",
      async () => Object.create(await cpu(), { capabilities: { value: undefined } }),
      /capabilities\.dtypes lists no dtypes of map, reduce/,
    ],
  ];

  it.each(NONE)("%s", async (_what, create, says) => {
    const make = create as () => Promise<Backend>;
    const tests: (() => Promise<void>)[] = [];
    conformance(make, { ...few, describe: (_name, body) => body(), it: (_name, body) => tests.push(body) });
    const calls = [
      () => runConformance(make, few),
      () => compareBackends(() => cpu(), make, few),
      () => supportMatrix(make),
      tests[0]!,
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error).toBeInstanceOf(BackendError);
      expect((error as Error).message).toMatch(
        new RegExp(says.source.replace("createBackend must", "create(Backend|B) must")),
      );
    }
  });

  it.each([undefined, null, "cpu", {}, cpu()])("%s is no function", async (create) => {
    const calls = [
      () => untyped.run(create, few),
      () => untyped.conformance(create, { ...few, ...runner }),
      () => compareBackends(create as never, () => cpu()),
      () => supportMatrix(create as never),
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error).toBeInstanceOf(NanoFluxError);
      expect((error as Error).message).toMatch(
        /create(Backend|A) must be a function, which makes a backend, got /,
      );
    }
  });

  it("limited and reference that give none fail the checks that use them", async () => {
    const none = (() => undefined) as () => never;
    const card = await runConformance(() => cpu(), {
      limited: none,
      reference: none,
      examples: 2,
      families: ["graphs", "faults"],
    });
    const messages = card.families.flatMap(({ failures }) => failures.map(({ message }) => message));
    expect(messages.some((text) => /BackendError: .*limited must return a backend/.test(text))).toBe(true);
    expect(messages.some((text) => /BackendError: .*reference must return a backend/.test(text))).toBe(true);
  });
});

describe("wider tolerances", () => {
  const softmax = { families: ["softmax", "scan"], examples: 2, level: "inference" } as const;
  const wrong = async (): Promise<Backend> => fusedSoftmaxWrong(await cpu());

  it("let pass what is less exact, and the scorecard tells", async () => {
    const strict = await runConformance(wrong, softmax);
    expect(strict.failed).toBeGreaterThan(0);
    expect(strict.widened).toEqual({});
    expect(formatScorecard(strict)).not.toMatch(/wider|widen/);
    const wide = await runConformance(wrong, {
      ...softmax,
      widen: { softmax: 1e11, gumbelSoftmax: 2e11, exp: 8, scan: 1 },
    });
    expect(wide.failed).toBe(0);
    // What widens nothing here, because no check of it ran or because the factor is 1, is not told.
    expect(wide.widened).toEqual({ softmax: 1e11, gumbelSoftmax: 2e11 });
    expect(wide.families.map(({ widened }) => widened)).toEqual([{}, { softmax: 1e11, gumbelSoftmax: 2e11 }]);
    expect(JSON.parse(JSON.stringify(wide)).widened).toEqual(wide.widened);
    expect(formatScorecard(wide)).toContain(
      `Tolerances were wider than the suite's, by these factors: "softmax": 100000000000, "gumbelSoftmax": 200000000000`,
    );
  });

  it("reach the families that have limits of their own", async () => {
    const trace = lenetTraces()[0] as ModelTrace;
    const short = { ...trace, losses: trace.losses.slice(0, 3) };
    const run = async (wrap: (inner: Backend) => Backend, only: Record<string, RegExp>, factor: number) =>
      runConformance(async () => wrap(await cpu()), {
        families: Object.keys(only),
        examples: 2,
        traces: [short],
        skip: ({ family, name }) => (only[family]?.test(name) ? undefined : "another one"),
        widen: Object.fromEntries(Object.keys(only).map((family) => [family, factor])),
      });
    for (const [wrap, only] of [
      [matmulInBfloat, { graphs: /./, layers: /^Linear$/, models: /./ }],
      [fusedBackwardWrong, { fused: /^norm equals its decomposition, rmsNorm$/ }],
    ] as const) {
      const families = Object.keys(only);
      for (const { family, failed, widened } of (await run(wrap, only, 1)).families)
        expect([family, failed > 0, widened]).toEqual([family, true, {}]);
      const wide = await run(wrap, only, 1e12);
      expect(wide.failed, JSON.stringify(wide.families.map(({ failures }) => failures))).toBe(0);
      expect(wide.widened).toEqual(Object.fromEntries(families.map((family) => [family, 1e12])));
    }
  }, 60_000);

  it("are part of how to repeat a failure", async () => {
    const card = await runConformance(wrong, { ...softmax, widen: { "*": 2 } });
    expect(card.failed).toBeGreaterThan(0);
    expect(formatScorecard(card)).toMatch(/To repeat: .*families: \["softmax"\], widen: \{ "\*": 2 \} \}\)/);
  });

  it("are told in the name of a test", () => {
    const names: string[] = [];
    const options: ConformanceOptions = {
      ...softmax,
      widen: { cumsum: 4 },
      describe: (_name, body) => body(),
      it: (name) => names.push(name),
    };
    conformance(() => cpu(), options);
    expect(names).toContain("cumsum f32 (tolerance × 4)");
    expect(names).toContain("cumprod f32");
    expect(names.filter((name) => name.includes("×")).every((name) => name.startsWith("cumsum"))).toBe(true);
  });
});
