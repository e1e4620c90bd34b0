import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Generator } from "@nf/core";
import { corpusBleu, tokenize13a } from "@nf/models";
import { bucketed } from "./buckets.ts";
import { decode } from "./decode.ts";
import type { Evaluation, Pair, Task } from "./task.ts";
import { Vocabulary } from "./vocabulary.ts";

/** Words that are rarer are unknown. */
const LEAST = 2;
/** Longest sentence that is trained on, in tokens. */
const LONGEST = 50;
const SHOWN = 8;
/** Sentences that are decoded at once. */
const DECODED = 50;

interface Split {
  readonly sources: readonly string[];
  readonly targets: readonly string[];
}

/** Files of a split, each gzipped with a sentence a line. */
const FILES = { train: "train", validation: "val", test: "test_2016_flickr" } as const;

/** English in small letters: which words are written large says little about their translation. */
const english = (text: string): readonly string[] => tokenize13a(text.toLowerCase());
const german = (text: string): readonly string[] => tokenize13a(text);

/** The files that are read. */
export function multi30kFiles(folder: string): readonly string[] {
  return Object.values(FILES).flatMap((split) =>
    ["en", "de"].map((language) => join(folder, `${split}.${language}.gz`)),
  );
}

/**
 * English to German captions of photographs (Elliott et al. 2016, arXiv:1605.00459), in words. BLEU is that of the 2016 test set,
 * with its references as they are.
 */
export async function multi30k(folder: string, seed: number): Promise<Task> {
  const read = async (split: keyof typeof FILES): Promise<Split> => {
    const [sources, targets] = await Promise.all(
      ["en", "de"].map((language) => lines(join(folder, `${FILES[split]}.${language}.gz`))),
    );
    return { sources: sources ?? [], targets: targets ?? [] };
  };
  const [train, validation, test] = await Promise.all([read("train"), read("validation"), read("test")]);
  const sourceWords = new Vocabulary(train.sources.map(english), LEAST);
  const targetWords = new Vocabulary(train.targets.map(german), LEAST);
  const pairsOf = ({ sources, targets }: Split): readonly Pair[] =>
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
        for (const tokens of await decode(model, ids, beams, [Vocabulary.unknown]))
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

async function lines(path: string): Promise<readonly string[]> {
  const text = gunzipSync(await readFile(path)).toString("utf8");
  return text.replace(/\n$/, "").split("\n");
}
