import { cpu } from "@nf/backend-cpu";
import { webgpu } from "@nf/backend-webgpu";
import { argmax, Generator, manualSeed, noGrad, scope, type Tensor, use } from "@nf/core";
import { DataLoader, type Dataset, embeddedMnist, subset } from "@nf/data";
import { lenet } from "@nf/models";
import { CrossEntropyLoss } from "@nf/nn";
import { Adam } from "@nf/optim";

/** What a page learnt. */
export interface Learnt {
  readonly backend: string;
  readonly losses: readonly number[];
  /** Share of the test digits that are told right. */
  readonly accuracy: number;
  /** Digits of 200 that the model tells alike where it learnt and, moved, on cpu. */
  readonly alike: number;
}

function first<Item>(dataset: Dataset<Item>, count: number): Dataset<Item> {
  return subset(
    dataset,
    Array.from({ length: count }, (_, index) => index),
  );
}

/** LeNet-5 on 2,000 digits, in a page: the code that runs on every backend. */
export async function learn(digits: number, epochs: number): Promise<Learnt> {
  const gpu = await use(webgpu());
  manualSeed(1);
  const { train, test } = await embeddedMnist({ seed: 1 });
  const model = lenet({ generator: new Generator(3) });
  const optimizer = new Adam(model.parameters(), { lr: 3e-3 });
  const criterion = new CrossEntropyLoss();
  const losses: number[] = [];
  const loader = new DataLoader(first(train, digits), { batchSize: 20, shuffle: true, seed: 2 });
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const { image, label } of loader) {
      optimizer.zeroGrad();
      const loss = criterion.forward(model.forward(image), label);
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
  }
  const classify = async (image: Tensor): Promise<ArrayLike<number>> => {
    const classes = scope(() => noGrad(() => argmax(model.forward(image), { axis: 1 })));
    const values = await classes.data();
    classes.dispose();
    return values as ArrayLike<number>;
  };
  model.eval();
  let right = 0;
  let count = 0;
  for await (const { image, label } of new DataLoader(first(test, 500), { batchSize: 100 })) {
    const [told, meant] = [await classify(image), await label.data()];
    for (let i = 0; i < told.length; i++) right += Number(told[i] === meant[i]);
    count += told.length;
  }
  const some = new DataLoader(first(test, 200), { batchSize: 200 });
  const here: number[] = [];
  for await (const { image } of some) here.push(...Array.from(await classify(image)));
  const processor = await use(cpu());
  await model.to(processor);
  const there: number[] = [];
  for await (const { image } of some) there.push(...Array.from(await classify(image)));
  await gpu.dispose();
  return {
    backend: gpu.name,
    losses,
    accuracy: right / count,
    alike: here.filter((told, i) => told === there[i]).length,
  };
}
