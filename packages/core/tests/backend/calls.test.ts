import { cpu } from "@nf/backend-cpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { splitProgram } from "../../src/scalar/split.ts";
import { altered, trainSteps } from "./helper.ts";

const s = core.scalar;

/** A program over n inputs with two outputs that mix all of them. */
function wideProgram(n: number): core.UpdateSpec {
  return {
    name: "wide",
    state: 2,
    inputs: n - 2,
    params: ["a", "b"],
    body: (state, inputs, [a, b]) => {
      const all = [...state, ...inputs];
      const weighed = all.map((x, i) => s.mul(s.tanh(x), i % 2 === 0 ? (a as core.Expr) : (b as core.Expr)));
      const sum = weighed.reduce((left, right) => s.add(left, right));
      const products = all.reduce((left, right) => s.max(s.mul(left, 0.5), s.sub(right, left)));
      return [s.add(sum, products), s.select(s.lt(sum, products), sum, s.mul(products, b as core.Expr))];
    },
  };
}

describe("a program that reads more buffers than a call may bind", () => {
  it("gives the same numbers in parts, pure and in place", async () => {
    const whole = await cpu();
    for (const maxBuffersPerCall of [3, 4, 8]) {
      const narrow = core.validate(await altered({ maxBuffersPerCall }));
      for (const n of [2, 4, 5, 9]) {
        if (maxBuffersPerCall === 3 && n > 2) continue;
        const update = core.defineUpdate(wideProgram(n));
        const results: number[][] = [];
        for (const backend of [whole, narrow]) {
          await core.use(backend);
          const make = (): core.Tensor[] =>
            Array.from({ length: n }, (_, i) =>
              core.randn([7, 3], { generator: new core.Generator(i), dtype: "f64" }),
            );
          const tensors = make();
          const pure = core.pureUpdate(update, tensors.slice(0, 2), tensors.slice(2), [0.3, -0.7]);
          results.push(pure.flatMap((x) => Array.from(x.dataSync())));
          core.runUpdate(update, tensors.slice(0, 2), tensors.slice(2), [0.3, -0.7]);
          results.push(tensors.slice(0, 2).flatMap((x) => Array.from(x.dataSync())));
        }
        const [expected, ...others] = results;
        for (const other of others) expect(other).toEqual(expected);
        expect(core.memory(narrow).liveBuffers).toBe(core.memory(narrow).liveTensors);
      }
    }
  });

  it("splits any program into parts that fit, property", () => {
    const expr = (inputs: number): fc.Arbitrary<core.Expr> =>
      fc.letrec<{ node: core.Expr }>((tie) => ({
        node: fc.oneof(
          { depthSize: "medium", withCrossShrink: true },
          fc.nat({ max: inputs - 1 }).map((i) => s.input(i, "f64")),
          fc.tuple(tie("node"), tie("node")).map(([a, b]) => s.add(s.mul(a, 0.5), b)),
          fc.tuple(tie("node"), tie("node")).map(([a, b]) => s.max(a, s.sin(b))),
          tie("node").map((a) => s.tanh(a)),
        ),
      })).node;
    const cases = fc
      .record({ inputs: fc.integer({ min: 1, max: 9 }), max: fc.integer({ min: 3, max: 6 }) })
      .chain(({ inputs, max }) =>
        fc.record({
          outputs: fc.array(expr(inputs), { minLength: 1, maxLength: 3 }),
          inputs: fc.constant(inputs),
          max: fc.constant(max),
        }),
      );
    fc.assert(
      fc.property(cases, ({ outputs, inputs, max }) => {
        const types = new Array<"f64">(inputs).fill("f64");
        const program = core.makeProgram("any", types, [], outputs);
        const values = types.map((_, i) => Math.sin(i + 1));
        const temporaries: number[] = [];
        const results: number[] = [];
        for (const part of splitProgram(program, max)) {
          expect(part.reads.length).toBeLessThan(max);
          const operands = part.reads.map(
            ({ from, index }) => (from === "input" ? values : temporaries)[index] as number,
          );
          const [value] = core.evaluate(part.program, operands);
          if (part.writes.to === "output") results[part.writes.index] = value as number;
          else temporaries[part.writes.index] = value as number;
        }
        expect(results).toEqual(core.evaluate(program, values));
      }),
      { numRuns: 200 },
    );
  });

  it("is reduced in parts too", async () => {
    const seen: number[][] = [];
    for (const maxBuffersPerCall of [Infinity, 4]) {
      const backend = core.validate(await altered({ maxBuffersPerCall }));
      await core.use(backend);
      const x = core.parameter(core.randn([6, 5], { generator: new core.Generator(1), dtype: "f64" }));
      const update = core.defineUpdate({
        name: "mix",
        state: 1,
        inputs: 4,
        params: [],
        body: ([p], inputs) => [
          inputs.reduce((sum, one) => s.mul(s.add(sum, one), s.tanh(one)), p as core.Expr),
        ],
      });
      const others = [1, 2, 3, 4].map((seed) =>
        core.parameter(core.randn([6, 5], { generator: new core.Generator(seed), dtype: "f64" })),
      );
      const [mixed] = core.pureUpdate(update, [x], others, []);
      mixed
        ?.mul(core.randn([5], { generator: new core.Generator(9), dtype: "f64" }))
        .sum()
        .backward();
      seen.push([x, ...others].flatMap(({ grad }) => Array.from(grad?.dataSync() ?? [])));
      seen.push(Array.from(core.std(x, { axis: 0 }).dataSync()));
    }
    expect(seen[2]).toEqual(seen[0]);
    expect(seen[3]).toEqual(seen[1]);
    expect(seen[0]).toHaveLength(150);
  });

  it("trains the same under a limit of 4", async () => {
    await core.use(cpu());
    const expected = trainSteps(4);
    await core.use(core.validate(await altered({ maxBuffersPerCall: 4 })));
    trainSteps(4).forEach((loss, i) => {
      expect(loss).toBeCloseTo(expected[i] as number, 6);
    });
  });

  it("says so where a backend binds too few", () => {
    const program = core.makeProgram(
      "any",
      ["f32", "f32"],
      [],
      [s.add(s.input(0, "f32"), s.input(1, "f32"))],
    );
    expect(() => splitProgram(program, 2)).toThrow(/at least 3 buffers/);
  });
});

describe("a fused kernel", () => {
  it("gets dense copies where the backend asks for them, and they end", async () => {
    const dense = await altered({}, (call) =>
      call.inputs.every(({ contiguous }) => contiguous) ? "yes" : "after-copy",
    );
    await core.use(core.validate(dense));
    const x = core.randn([5, 3, 4]);
    const before = core.memory().liveBuffers;
    const flipped = x.permute([2, 0, 1]);
    const y = core.softmax(flipped);
    const call = dense.calls.at(-1) as core.Call;
    expect(call.kernel).toBe("softmax");
    expect(call.inputs[0]?.contiguous).toBe(true);
    expect(dense.calls.at(-2)).toMatchObject({ kernel: "map", program: { name: "copy" } });
    expect(core.memory().liveBuffers).toBe(before + 1);
    const expected = core.withFusion("off", () => core.softmax(flipped)).dataSync();
    y.dataSync().forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 6);
    });
    core.softmax(x);
    expect(dense.calls.at(-1)?.inputs[0]?.buffer).toBe(dense.calls[0]?.outputs[0]?.buffer);
  });

  it("may have more buffers than calls of required kernels: the backend says whether it takes them", async () => {
    const narrow = await altered({ maxBuffersPerCall: 4 });
    await core.use(core.validate(narrow));
    const [x, weight, bias] = [core.randn([3, 8]), core.randn([8]), core.randn([8])];
    core.layerNorm(x, { weight, bias });
    const call = narrow.calls.at(-1) as core.Call;
    expect(call.kernel).toBe("norm");
    expect(call.buffers.length).toBeGreaterThan(4);
  });

  it("gives way to the decomposition where the backend declines, and is missed by name under force", async () => {
    const plain = await altered({}, () => ({ reason: "not today" }));
    await core.use(core.validate(plain));
    const x = core.randn([4, 6]);
    const before = core.memory().liveBuffers;
    core.softmax(x);
    expect(plain.calls.some(({ kernel }) => kernel === "softmax")).toBe(false);
    expect(core.memory().liveBuffers).toBe(before + 1);
    expect(() => core.withFusion("force", () => core.softmax(x))).toThrow(
      expect.objectContaining({
        code: "NF_UNSUPPORTED",
        message: expect.stringMatching(/^softmax: .*force/),
      }),
    );
    expect(core.memory().liveBuffers).toBe(before + 1);
  });
});

describe("device labels", () => {
  it("number backends of one name, and show in errors and reports", async () => {
    const [first, second] = [core.nullBackend(), core.nullBackend()];
    const x = (await core.use(first)) && core.ones([2]);
    const y = (await core.use(second)) && core.ones([2]);
    const [a, b] = [core.memory(first).backend, core.memory(second).backend];
    expect(a).toMatch(/^null(#\d+)?$/);
    expect(b).toMatch(/^null#\d+$/);
    expect(a).not.toBe(b);
    expect(() => x.add(y)).toThrow(
      expect.objectContaining({
        code: "NF_BACKEND_MIX",
        message: expect.stringMatching(new RegExp(`^add: .*\\(${a} and ${b}\\).*await x\\.to\\(`)),
      }),
    );
    expect(String(x)).toContain(`backend=${a}`);
    expect(core.currentBackend()).toBe(second);
    await expect(core.use({} as core.Backend)).rejects.toThrow(
      expect.objectContaining({ code: "NF_BACKEND", message: expect.stringMatching(/expected a backend/i) }),
    );
  });
});
