import { crossEntropy, type Tensor } from "@nf/core";
import { DataLoader, type Dataset, type NdArray } from "@nf/data";
import type { Linear } from "@nf/nn";
import type { Optimizer } from "@nf/optim";
import { accuracy, fit, perplexity } from "../../src/index.ts";

declare const model: Linear;
declare const optimizer: Optimizer;
declare const points: Dataset<{ x: NdArray; y: NdArray }>;

/** Names of metrics are known in the history. */
export async function history(): Promise<void> {
  const result = await fit(model, {
    data: new DataLoader(points),
    forward: (net, { x }) => net.forward(x),
    loss: (logits, { y }) => crossEntropy(logits, y),
    metrics: { accuracy: (logits, { y }) => accuracy(logits, y), perplexity },
    validation: new DataLoader(points),
    earlyStopping: { metric: "accuracy", mode: "max", patience: 3 },
    callbacks: [{ onLog: ({ figures }) => console.log(figures.perplexity) }],
    optimizer,
    epochs: 1,
  });
  const row = result.history[0];
  const share: number | undefined = row?.validation?.accuracy;
  const loss: number | undefined = row?.train.loss;
  // @ts-expect-error no metric has that name
  const other = row?.train.f1;
  console.log(share, loss, other);
}

/** A validation of one's own says what its figures are called. */
export async function own(): Promise<void> {
  const result = await fit(model, {
    data: new DataLoader(points),
    forward: (net, { x }) => net.forward(x),
    loss: (logits, { y }) => crossEntropy(logits, y),
    validate: async () => ({ error: 0.5 }),
    earlyStopping: { metric: "error", patience: 3 },
    optimizer,
    epochs: 1,
  });
  const error: number | undefined = result.history[0]?.validation?.error;
  // @ts-expect-error the loss is of the training alone
  const loss = result.history[0]?.validation?.loss;
  console.log(error, loss);
}

/** What cannot be meant does not compile. */
export async function wrong(): Promise<void> {
  const good = {
    data: new DataLoader(points),
    forward: (net: Linear, { x }: { readonly x: Tensor }) => net.forward(x),
    loss: (logits: Tensor, { y }: { readonly y: Tensor }) => crossEntropy(logits, y),
    optimizer,
    epochs: 1,
  };
  // @ts-expect-error there is no such figure
  await fit(model, { ...good, earlyStopping: { metric: "accuracy", patience: 3 } });
  // @ts-expect-error batches have no label
  await fit(model, { ...good, loss: (logits: Tensor, { label }) => crossEntropy(logits, label) });
  // @ts-expect-error a loss is a tensor
  await fit(model, { ...good, loss: () => 3 });
  // @ts-expect-error a misspelt option
  await fit(model, { ...good, earlyStoping: { patience: 3 } });
}
