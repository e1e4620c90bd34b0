import { Generator } from "@nf/core";
import { decode } from "./decode.ts";
import { type Evaluation, type Pair, SPECIAL, type Task } from "./task.ts";

const SYMBOLS = 16;
const LENGTHS = { least: 3, most: 10 };
const TESTED = 1000;
const SHOWN = 5;
/** Sequences that are decoded at once. */
const DECODED = 250;
const FIRST = Math.max(...Object.values(SPECIAL)) + 1;

/** A symbol's number, or the name of a mark that is no symbol, which an untrained model gives too. */
function wordOf(id: number): string {
  const special = Object.entries(SPECIAL).find(([, one]) => one === id);
  return special === undefined ? String(id - FIRST) : `<${special[0]}>`;
}

const RULES = {
  reverse: (source: readonly number[]) => source.toReversed(),
  sort: (source: readonly number[]) => source.toSorted((a, b) => a - b),
} as const;

/** Random sequences of 3 to 10 of 16 symbols, to be reversed or sorted. Training never sees one of the test. */
export function simulated(rule: keyof typeof RULES, seed: number): Task {
  const pair = (generator: Generator): Pair => {
    const draw = (count: number): number => generator.next()[0] % count;
    const length = LENGTHS.least + draw(LENGTHS.most - LENGTHS.least + 1);
    const source = Array.from({ length }, () => FIRST + draw(SYMBOLS));
    return { source, target: RULES[rule](source) };
  };
  const key = ({ source }: Pair): string => source.join(" ");
  // The test is the same for every seed.
  const drawn = new Generator(2 ** 40);
  const held = new Map<string, Pair>();
  while (held.size < TESTED) {
    const one = pair(drawn);
    held.set(key(one), one);
  }
  const tested = [...held.values()];

  return {
    sourceVocabSize: FIRST + SYMBOLS,
    targetVocabSize: FIRST + SYMBOLS,
    maxPositions: LENGTHS.most + 2,
    validation: tested.slice(0, 200),
    *batches(size) {
      const generator = new Generator(seed);
      for (;;) {
        const batch: Pair[] = [];
        while (batch.length < size) {
          const one = pair(generator);
          if (!held.has(key(one))) batch.push(one);
        }
        yield batch;
      }
    },
    async evaluate(model, { beams, limit }): Promise<Evaluation> {
      const pairs = tested.slice(0, limit);
      const outputs: (readonly number[])[] = [];
      for (let start = 0; start < pairs.length; start += DECODED) {
        const sources = pairs.slice(start, start + DECODED).map(({ source }) => source);
        outputs.push(...(await decode(model, sources, beams)));
      }
      const text = (ids: readonly number[]): string => ids.map(wordOf).join(" ");
      const right = pairs.filter(({ target }, i) => target.join() === outputs[i]?.join()).length;
      const samples = pairs.slice(0, SHOWN).map(({ source, target }, i) => {
        return { source: text(source), reference: text(target), output: text(outputs[i] ?? []) };
      });
      return { metric: "exact match", value: right / pairs.length, tested: pairs.length, samples };
    },
  };
}
