import { wasm } from "@nf/backend-wasm";
import { Generator, manualSeed, rand, randint, randn, tensor, use } from "@nf/core";
import { lenet } from "@nf/models";
import { CrossEntropyLoss } from "@nf/nn";
import { Adam } from "@nf/optim";

/** What a page computed, and where. */
export interface Report {
  readonly place: "page" | "worker";
  readonly isolated: boolean;
  /** Of the machine, as the browser sees it. */
  readonly cores: number;
  readonly threads: number | undefined;
  readonly product: readonly number[];
  /** Of a product large enough for threads: the bits do not depend on them. */
  readonly checksum: number;
  /** Of LeNet-5 while it learns a batch by heart. */
  readonly losses: readonly number[];
}

declare const navigator: { readonly hardwareConcurrency: number };

/** What an application does: makes the backend with default options, computes, trains. */
export async function work(): Promise<Report> {
  const backend = await use(wasm());
  try {
    const small = tensor([
      [1, 2],
      [3, 4],
    ]);
    const product = Array.from(await small.matmul(small).data(), Number);
    manualSeed(1);
    const large = rand([256, 256]);
    const checksum = await large.matmul(large).sum().item();
    return {
      place: Reflect.has(globalThis, "document") ? "page" : "worker",
      isolated: Reflect.get(globalThis, "crossOriginIsolated") === true,
      cores: navigator.hardwareConcurrency,
      threads: backend.capabilities.threads,
      product,
      checksum,
      losses: await train(20),
    };
  } finally {
    await backend.dispose();
  }
}

async function train(steps: number): Promise<number[]> {
  manualSeed(2);
  const model = lenet({ generator: new Generator(3) });
  const optimizer = new Adam(model.parameters(), { lr: 5e-3 });
  const criterion = new CrossEntropyLoss();
  const x = randn([32, 1, 28, 28]);
  const y = randint(0, 10, [32]);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return losses;
}
