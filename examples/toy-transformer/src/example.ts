import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  argmax,
  cast,
  concat,
  crossEntropy,
  equal,
  fromData,
  min,
  noGrad,
  scope,
  slice,
  sum,
  type Tensor,
  unsqueeze,
} from "@nf/core";
import { DataLoader, RandomSampler } from "@nf/data";
import { AdamW, OneCycleLR } from "@nf/optim";
import { accuracy, fit, type MetricSum } from "@nf/train";
import { toPng } from "@nf/train/curves";
import { type ExampleSpec, Option, positiveNumber, wholeNumber } from "@nf-examples/shared";
import {
  ANSWER,
  drawPairs,
  type Pair,
  QUESTION,
  type Sum,
  sumOf,
  sums,
  TOKENS,
  textOf,
  trainingSums,
} from "./data.ts";
import { Adder } from "./model.ts";
import { attentionSvg } from "./picture.ts";

/** Options of its own. */
export interface Options {
  readonly batch: number;
  readonly steps: number;
  readonly lr: number;
  readonly width: number;
  readonly feedForward: number;
  readonly blocks: number;
  readonly test: number;
}

/** Sums that are validated with after each epoch. */
const VALIDATED = 1000;
/** Sums that are answered at once. */
const AT_ONCE = 500;
const SHOWN = 8;

/** Sums all of whose digits are right. */
function exact(logits: Tensor, answer: Tensor): MetricSum {
  const right = cast(equal(argmax(logits, { axis: -1 }), answer), "f32");
  return { total: sum(min(right, { axis: 1 })), count: answer.shape[0] as number };
}

/** Answers sums, digit by digit: each is the likeliest one, and read for the next. */
export async function answers(model: Adder, pairs: readonly Pair[]): Promise<readonly number[]> {
  const found: number[] = [];
  for await (const { tokens } of new DataLoader(sums(pairs), { batchSize: AT_ONCE })) {
    const read = noGrad(() => {
      let read = slice(tokens, null, [0, QUESTION]);
      for (let place = 0; place < ANSWER; place++) {
        const next = argmax(slice(model.forward(read), null, place), { axis: -1 });
        read = concat([read, unsqueeze(cast(next, tokens.dtype), 1)], 1);
      }
      return read;
    });
    const values = Array.from(await read.data(), Number);
    const length = QUESTION + ANSWER;
    for (let row = 0; row < values.length; row += length)
      found.push(values.slice(row + QUESTION, row + length).reduceRight((sum, digit) => 10 * sum + digit, 0));
  }
  return found;
}

/** The attention of each block for one sum, row by row. */
export async function attentionFor(model: Adder, { tokens }: Sum): Promise<readonly ArrayLike<number>[]> {
  const input = fromData(tokens, [1, TOKENS], { backend: model.head.weight.backend });
  const weights = noGrad(() => scope(() => model.attention(input)));
  const matrices = await Promise.all(weights.map(async (one) => Array.from(await one.data(), Number)));
  for (const one of [input, ...weights]) one.dispose();
  return matrices;
}

/** The example. */
export const example: ExampleSpec<Options> = {
  name: "toy-transformer",
  description:
    "Teaches single-head attention to add two numbers of up to three digits, and tests it on sums it has not seen.",
  epochs: 14,
  options: [
    new Option("--steps <n>", "steps of an epoch").default(250).argParser(wholeNumber(1, 100_000)),
    new Option("--batch <n>", "sums a step").default(128).argParser(wholeNumber(1, 10_000)),
    new Option("--lr <x>", "highest learning rate").default(0.004).argParser(positiveNumber),
    new Option("--width <n>", "features of a token").default(64).argParser(wholeNumber(1, 4096)),
    new Option("--feed-forward <n>", "features inside of a feed-forward")
      .default(256)
      .argParser(wholeNumber(1, 16_384)),
    new Option("--blocks <n>", "blocks of single-head attention and feed-forward")
      .default(2)
      .argParser(wholeNumber(1, 24)),
    new Option("--test <n>", "sums that are tested").default(10_000).argParser(wholeNumber(1, 40_000)),
  ],
  async run({ options, signal, note, callbacks }) {
    const { epochs, steps, batch, lr, seed, out } = options;
    const train = trainingSums();
    const model = new Adder(options);
    const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
    note(
      `${train.length.toLocaleString("en")} sums to draw from, ${parameters.toLocaleString("en")} parameters`,
    );

    const optimizer = new AdamW(model.parameters(), { lr, weightDecay: 0.01 });
    const sampler = new RandomSampler(train.length, { seed, samples: steps * batch, replacement: true });
    const { history, seconds } = await fit(model, {
      data: new DataLoader(train, { batchSize: batch, sampler }),
      forward: (model, { tokens }) => model.forward(tokens),
      loss: (logits, { answer }) => crossEntropy(logits.reshape([-1, 10]), answer.reshape([-1])),
      metrics: {
        accuracy: (logits, { answer }) => exact(logits, answer),
        digits: (logits, { answer }) => accuracy(logits, answer),
      },
      validation: new DataLoader(sums(drawPairs("validation", VALIDATED, 1)), { batchSize: AT_ONCE }),
      optimizer,
      schedule: new OneCycleLR(optimizer, {
        maxLr: lr,
        totalSteps: epochs * steps,
        pctStart: 0.1,
        cycleMomentum: false,
      }),
      clipGradNorm: 1,
      epochs,
      signal,
      callbacks: callbacks({ title: "Attention learns to add", items: "sums" }),
    });
    if (history.length === 0) return undefined;

    const pairs = drawPairs("test", options.test, 2);
    const given = await answers(model, pairs);
    const answered = pairs.map(([a, b], i) => ({
      sum: `${a} + ${b}`,
      answer: given[i] as number,
      right: given[i] === a + b,
    }));
    const wrong = answered.filter(({ right }) => !right);
    const samples = answered.slice(0, SHOWN);
    const share = 1 - wrong.length / answered.length;
    const shown = sumOf(pairs[0] as Pair);
    const tokens = [...textOf(shown.tokens)];
    const matrices = await attentionFor(model, shown);
    const svg = attentionSvg({
      title: "What attends to what",
      subtitle: `${samples[0]?.sum} = ${samples[0]?.answer}, as the model answers it`,
      tokens,
      matrices,
    });
    await writeFile(join(out, "attention.svg"), svg);
    await writeFile(join(out, "attention.png"), await toPng(svg));
    return {
      figures: {
        exact: share,
        tested: pairs.length,
        parameters,
        seconds,
        samples,
        wrong: wrong.slice(0, SHOWN),
        attention: { tokens, matrices },
      },
      lines: [
        ...samples.map(({ sum, answer }) => `${sum.padStart(9)} = ${answer}`),
        ...wrong.slice(0, 3).map(({ sum, answer }) => `${sum.padStart(9)} = ${answer} is wrong`),
        "",
        `${(100 * share).toFixed(2)} % of ${pairs.length} sums that it has not seen exact, after ${seconds.toFixed(1)} s of training`,
        `attention (attention.png, attention.svg), curves and log in ${out}`,
      ],
    };
  },
};
