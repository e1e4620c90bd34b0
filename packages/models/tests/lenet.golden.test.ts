import { readFileSync } from "node:fs";
import { cpu } from "@nf/backend-cpu";
import { fromData, type Tensor, use } from "@nf/core";
import { CrossEntropyLoss, type StateDict } from "@nf/nn";
import { Adam, AdamW, type Optimizer, SGD } from "@nf/optim";
import { beforeAll, describe, expect, it } from "vitest";
import { LENET, lenet } from "../src/index.ts";
import { goldenDigits, sha256 } from "./digits.ts";

interface Manifest {
  readonly sha256: string;
  readonly parameterCount: number;
  readonly parameters: readonly {
    readonly name: string;
    readonly shape: number[];
    readonly offset: number;
    readonly length: number;
  }[];
}
interface Summary {
  readonly norm: number;
  readonly first: readonly number[];
}
interface Trace {
  readonly options: { readonly lr: number; readonly momentum?: number; readonly weightDecay?: number };
  readonly steps: number;
  readonly inputs: { readonly batch: number; readonly sha256OfAllPixels: string };
  readonly f32: {
    readonly losses: readonly number[];
    readonly logits?: readonly (readonly number[])[];
    readonly gradients?: Readonly<Record<string, Summary>>;
    readonly parameters?: Readonly<Record<string, Summary>>;
  };
}

const folder = new URL("../../../goldens/lenet/", import.meta.url);
const manifest: Manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8"));
const trace = (name: string): Trace => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));

function weights(): StateDict {
  const bytes = readFileSync(new URL("weights.bin", folder));
  expect(sha256(bytes)).toBe(manifest.sha256);
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return Object.fromEntries(
    manifest.parameters.map(({ name, shape, offset, length }) => [
      name,
      fromData(all.slice(offset, offset + length), shape),
    ]),
  );
}

async function expectSummary(tensor: Tensor, { norm, first }: Summary, relative: number): Promise<void> {
  const values = Array.from(await tensor.data());
  const got = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  expect(Math.abs(got - norm)).toBeLessThan(relative * norm);
  first.forEach((value, index) => {
    expect(Math.abs((values[index] as number) - value)).toBeLessThan(relative * norm);
  });
}

const OPTIMIZERS = { adam: Adam, adamw: AdamW, sgd: SGD };

beforeAll(async () => {
  await use(cpu());
});

describe("LeNet follows PyTorch from the same weights on the same digits", () => {
  it.each(["adam", "adamw", "sgd"] as const)("%s", { timeout: 120_000 }, async (name) => {
    const { options, steps, inputs, f32 } = trace(name);
    const { images, labels } = goldenDigits(steps * inputs.batch);
    expect(sha256(images)).toBe(inputs.sha256OfAllPixels);

    const model = lenet();
    model.loadStateDict(weights());
    const criterion = new CrossEntropyLoss();
    const optimizer: Optimizer = new OPTIMIZERS[name](model.parameters(), options);
    const losses: number[] = [];
    for (let step = 0; step < steps; step++) {
      const [from, to] = [step * inputs.batch, (step + 1) * inputs.batch];
      const x = fromData(images.slice(from * 784, to * 784), [inputs.batch, ...LENET.input]);
      const y = fromData(labels.slice(from, to), [inputs.batch]);
      optimizer.zeroGrad();
      const logits = model.forward(x);
      const loss = criterion.forward(logits, y);
      loss.backward();
      losses.push(await loss.item());
      if (step === 0 && f32.logits !== undefined && f32.gradients !== undefined) {
        const rows = Array.from(await logits.data()).slice(0, 40);
        for (const [index, value] of f32.logits.flat().entries()) {
          expect(Math.abs((rows[index] as number) - value)).toBeLessThan(1e-6);
        }
        for (const [key, parameter] of model.namedParameters()) {
          await expectSummary(parameter.grad as Tensor, f32.gradients[key], 1e-5);
        }
      }
      optimizer.step();
    }
    expect(losses).toHaveLength(f32.losses.length);
    const apart = losses.map((loss, step) => Math.abs(loss - (f32.losses[step] as number)));
    expect(Math.max(...apart)).toBeLessThan(1e-4);
    if (f32.parameters !== undefined) {
      for (const [key, parameter] of model.namedParameters())
        await expectSummary(parameter, f32.parameters[key], 1e-4);
    }
  });
});
