import { cpu } from "@nf/backend-cpu";
import { native } from "@nf/backend-native";
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

/** A backend, and whether the loop lets the event loop turn: finalizers only run where it does. */
type Entry = readonly [string, () => Backend | Promise<Backend>, boolean];

const BACKENDS: readonly Entry[] = [
  ["cpu", () => cpu(), true],
  ["wasm", () => wasm({ threads: 2 }), true],
  ...(await nativeBackends()),
];

/** The native backend, where there is a binary. */
async function nativeBackends(): Promise<readonly Entry[]> {
  try {
    await (await native({ threads: 2 })).dispose();
  } catch (error) {
    if (process.env["NF_NATIVE"] === "required") throw error;
    console.warn(`skipped: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
  return [
    ["native", () => native({ threads: 2 }), true],
    ["native without a turn of the event loop", () => native({ threads: 2 }), false],
    ["native beside the event loop", () => native({ threads: 2, async: true }), true],
  ];
}

/** The number of a new buffer: the lowest that is free, where a backend numbers them. */
function nextHandle(): unknown {
  const buffer: object = backend.allocate(4);
  backend.free(buffer as ReturnType<Backend["allocate"]>);
  return "handle" in buffer ? buffer.handle : undefined;
}

let backend: Backend;
afterEach(() => backend.dispose());

it.each(BACKENDS)(
  `runs ${STEPS} steps of the plain loop in flat memory on %s`,
  { timeout: NIGHTLY ? 3_600_000 : 240_000 },
  async (_name, create, turns) => {
    backend = await create();
    await use(backend);
    const model = lenet();
    const criterion = new CrossEntropyLoss();
    const optimizer = new Adam(model.parameters(), { lr: 1e-4 });
    const x = rand([1, ...LENET.input]);
    const y = randint(0, 10, [1]);
    const samples: (ReturnType<typeof memory> & { readonly rss: number; readonly handle: unknown })[] = [];
    for (let step = 1; step <= WARM_UP + STEPS; step++) {
      optimizer.zeroGrad();
      const loss = criterion.forward(model.forward(x), y);
      loss.backward();
      optimizer.step();
      if (step % 100 !== 0) continue;
      // One example learnt by heart: f32 rounds the loss to 0 in the end.
      expect(turns ? await loss.item() : loss.itemSync()).toBeGreaterThanOrEqual(0);
      globalThis.gc?.();
      samples.push({ ...memory(), rss: process.memoryUsage().rss, handle: nextHandle() });
    }
    const [before, after] = [samples.slice(7, 10), samples.slice(-3)];
    for (const { liveTensors, liveBytes, liveBuffers, poolMisses, leaks, handle } of after) {
      expect({ liveTensors, liveBytes, liveBuffers, poolMisses, leaks, handle }).toEqual({
        liveTensors: before[0]?.liveTensors,
        liveBytes: before[0]?.liveBytes,
        liveBuffers: before[0]?.liveBuffers,
        poolMisses: before[0]?.poolMisses,
        leaks: 0,
        handle: before[0]?.handle,
      });
    }
    // Tensors that stay behind are counted above; this is for what the engine itself would hold. Least against most,
    // because pages come and go with its compiler: some 3 MiB of them in 1,000 steps that leave nothing behind.
    const growth = Math.min(...after.map(({ rss }) => rss)) - Math.max(...before.map(({ rss }) => rss));
    expect(growth).toBeLessThan((8 + STEPS / 1_000) * MEBIBYTE);
  },
);
