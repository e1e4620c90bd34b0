import { cpu } from "@nf/backend-cpu";
import { wasm } from "@nf/backend-wasm";
import { type Backend, memory, rand, randint, use } from "@nf/core";
import { CrossEntropyLoss } from "@nf/nn";
import { Adam } from "@nf/optim";
import { afterEach, expect, it } from "vitest";
import { LENET, lenet } from "../src/index.ts";

const NIGHTLY = process.env["NF_NIGHTLY"] === "1";
const WARM_UP = 1_000;
const STEPS = NIGHTLY ? 10_000 : 1_000;
const MEBIBYTE = 2 ** 20;

const BACKENDS: readonly (readonly [string, () => Backend | Promise<Backend>])[] = [
  ["cpu", () => cpu()],
  ["wasm", () => wasm({ threads: 2 })],
];

let backend: Backend;
afterEach(() => backend.dispose());

it.each(BACKENDS)(
  `runs ${STEPS} steps of the plain loop in flat memory on %s`,
  { timeout: NIGHTLY ? 3_600_000 : 240_000 },
  async (_name, create) => {
    backend = await create();
    await use(backend);
    const model = lenet();
    const criterion = new CrossEntropyLoss();
    const optimizer = new Adam(model.parameters(), { lr: 1e-4 });
    const x = rand([1, ...LENET.input]);
    const y = randint(0, 10, [1]);
    const samples: (ReturnType<typeof memory> & { readonly rss: number })[] = [];
    for (let step = 1; step <= WARM_UP + STEPS; step++) {
      optimizer.zeroGrad();
      const loss = criterion.forward(model.forward(x), y);
      loss.backward();
      optimizer.step();
      if (step % 100 !== 0) continue;
      // One example learnt by heart: f32 rounds the loss to 0 in the end.
      expect(await loss.item()).toBeGreaterThanOrEqual(0);
      globalThis.gc?.();
      samples.push({ ...memory(), rss: process.memoryUsage().rss });
    }
    const [before, after] = [samples.slice(7, 10), samples.slice(-3)];
    for (const { liveTensors, liveBytes, liveBuffers, poolMisses, leaks } of after) {
      expect({ liveTensors, liveBytes, liveBuffers, poolMisses, leaks }).toEqual({
        liveTensors: before[0]?.liveTensors,
        liveBytes: before[0]?.liveBytes,
        liveBuffers: before[0]?.liveBuffers,
        poolMisses: before[0]?.poolMisses,
        leaks: 0,
      });
    }
    // Tensors that stay behind are counted above; this is for what the engine itself would hold. Least against most,
    // because pages come and go with its compiler.
    const growth = Math.min(...after.map(({ rss }) => rss)) - Math.max(...before.map(({ rss }) => rss));
    expect(growth).toBeLessThan((1 + STEPS / 1_000) * MEBIBYTE);
  },
);
