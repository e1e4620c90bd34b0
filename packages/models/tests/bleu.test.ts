import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type BleuScore, corpusBleu, tokenize13a } from "../src/index.ts";

interface Corpus extends BleuScore {
  readonly name: string;
  readonly hypotheses: readonly string[];
  readonly references: readonly (readonly string[])[];
}

const golden: {
  readonly signature: string;
  readonly corpora: readonly Corpus[];
  readonly tokens: readonly { readonly text: string; readonly tokens: readonly string[] }[];
} = JSON.parse(readFileSync(new URL("../../../goldens/bleu.json", import.meta.url), "utf8"));

describe("sacreBLEU", () => {
  it("was recorded with its defaults", () => {
    expect(golden.signature).toBe("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp");
  });

  it.each(golden.tokens)("splits $text", ({ text, tokens }) => {
    expect(tokenize13a(text)).toEqual(tokens);
  });

  it.each(golden.corpora)("$name", ({ name: _, hypotheses, references, ...expected }) => {
    const { score, precisions, brevityPenalty, ...counts } = corpusBleu(hypotheses, references);
    expect(score).toBeCloseTo(expected.score, 9);
    expect(brevityPenalty).toBeCloseTo(expected.brevityPenalty, 12);
    for (const [i, precision] of expected.precisions.entries())
      expect(precisions[i]).toBeCloseTo(precision, 9);
    const { correct, total, hypothesisLength, referenceLength } = expected;
    expect(counts).toEqual({ correct, total, hypothesisLength, referenceLength });
  });

  it("takes one reference as a text", () => {
    const text = "Zwei Hunde spielen im Schnee.";
    expect(corpusBleu([text], [text])).toEqual(corpusBleu([text], [[text]]));
  });

  it("is the same for texts and for their tokens", () => {
    const { hypotheses, references, score } = golden.corpora[0] as Corpus;
    const spaced = hypotheses.map((text) => tokenize13a(text).join(" "));
    expect(corpusBleu(spaced, references).score).toBeCloseTo(score, 9);
  });

  it("refuses lists that do not go together", () => {
    expect(() => corpusBleu(["a"], [])).toThrow(/a reference for each of the 1 hypotheses, got 0/);
    expect(() => corpusBleu(["a"], [[]])).toThrow(/hypothesis 0 has no reference/);
  });
});
