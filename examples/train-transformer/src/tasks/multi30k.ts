import { Generator } from "@nf/core";
import type { ParallelDataset } from "@nf/data";
import { type LoadOptions, multi30k as readMulti30k } from "@nf/data/node";
import { corpusBleu, tokenize13a } from "@nf/models";
import { bucketed } from "./buckets.ts";
import { decode } from "./decode.ts";
import type { Evaluation, Pair, Task } from "./task.ts";
import { UNKNOWN, vocabularyOf } from "./vocabulary.ts";

/** Words that are rarer are unknown. */
const LEAST = 2;
/** Longest sentence that is trained on, in tokens. */
const LONGEST = 50;
const SHOWN = 8;
/** Sentences that are decoded at once. */
const DECODED = 50;

/** English in small letters: which words are written large says little about their translation. */
const english = (text: string): readonly string[] => tokenize13a(text.toLowerCase());
const german = (text: string): readonly string[] => tokenize13a(text);

/**
 * English to German captions of photographs (Elliott et al. 2016, arXiv:1605.00459), in words. BLEU is that of the 2016 test set,
 * with its references as they are.
 *
 * @param options where the files are, and whether they may be fetched.
 * @throws DataError if files are missing or damaged.
 */
export async function multi30k(options: LoadOptions, seed: number): Promise<Task> {
  const { train, validation, test } = await readMulti30k(options);
  const sourceWords = vocabularyOf(train.sources.map(english), LEAST);
  const targetWords = vocabularyOf(train.targets.map(german), LEAST);
  const pairsOf = ({ sources, targets }: ParallelDataset): readonly Pair[] =>
    sources
      .map((text, i) => ({
        source: sourceWords.encode(english(text)),
        target: targetWords.encode(german(targets[i] ?? "")),
      }))
      .filter(({ source, target }) => source.length > 0 && target.length > 0)
      .filter(({ source, target }) => source.length <= LONGEST && target.length <= LONGEST);
  const pairs = pairsOf(train);

  return {
    sourceVocabSize: sourceWords.size,
    targetVocabSize: targetWords.size,
    maxPositions: LONGEST + 2,
    validation: pairsOf(validation),
    *batches(size) {
      for (let epoch = 0; ; epoch++) yield* bucketed(pairs, size, new Generator(seed + epoch * 2 ** 20));
    },
    async evaluate(model, { beams, limit }): Promise<Evaluation> {
      const sources = test.sources.slice(0, limit);
      const references = test.targets.slice(0, limit);
      const outputs: string[] = [];
      for (let start = 0; start < sources.length; start += DECODED) {
        const some = sources.slice(start, start + DECODED);
        const ids = some.map((text) => sourceWords.encode(english(text)).slice(0, LONGEST));
        for (const tokens of await decode(model, ids, beams, [UNKNOWN]))
          outputs.push(joined(targetWords.decode(tokens)));
      }
      const { score } = corpusBleu(outputs, references);
      const samples = sources.slice(0, SHOWN).map((source, i) => {
        return { source, reference: references[i] ?? "", output: outputs[i] ?? "" };
      });
      return { metric: "BLEU", value: score, tested: sources.length, samples };
    },
  };
}

/** Tokens as a text again: closing marks stand at the word before them. */
function joined(tokens: readonly string[]): string {
  return tokens.join(" ").replace(/ ([.,!?;:)])/g, "$1");
}
