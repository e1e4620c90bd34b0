import { isRecord } from "../collate.ts";
import { DataError } from "../errors.ts";
import { readText } from "../files/text.ts";
import { NdArray } from "../ndarray.ts";

/** A graph of papers that cite each other, with words and a subject for each. */
export interface CitationGraph {
  readonly name: string;
  readonly source: string;
  readonly numNodes: number;
  readonly numFeatures: number;
  readonly numClasses: number;
  /** Shape [nodes, features], 1 where a paper has a word. */
  readonly features: NdArray<Float32Array>;
  /** Shape [nodes]: the class of each. */
  readonly labels: NdArray<Int32Array>;
  /** Shape [edges, 2]: pairs of nodes, each once and in one direction, without loops. */
  readonly edges: NdArray<Int32Array>;
  /** Nodes whose class may be used to learn, to choose, and to score. They do not overlap. */
  readonly train: Int32Array;
  readonly validation: Int32Array;
  readonly test: Int32Array;
}

/** Cora has 3.9 million features and 5,278 edges in 0.3 MB of JSON. */
const LARGEST_TEXT = 64 * 2 ** 20;
const MOST_FEATURES = 2 ** 26;
/** Features for each character of the JSON. Cora has 10; far more would be memory asked for by two numbers alone. */
const MOST_FOR_A_CHARACTER = 256;

/**
 * Reads a citation graph as JSON, plain or gzipped: `numNodes`, `numFeatures`, `numClasses`, `featureIndices` (the words of
 * each node), `labels`, `edges` (pairs), `train`, `val`, `test`. In browsers too.
 *
 * @throws DataError naming the field that is missing or malformed.
 */
export async function readCora(bytes: Uint8Array, source = "Cora"): Promise<CitationGraph> {
  const text = await readText("Cora", bytes, LARGEST_TEXT);
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw new DataError("Cora: the file is no JSON. Fetch it again.", { cause: error });
  }
  if (!isRecord(fields)) throw new DataError("Cora: the file is no JSON object.");
  const json = fields;
  const count = (name: string): number => {
    const value = json[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
    throw new DataError(`Cora: ${name} must be a whole number above 0, got ${JSON.stringify(value)}.`);
  };
  const [numNodes, numFeatures, numClasses] = [count("numNodes"), count("numFeatures"), count("numClasses")];
  if (numNodes * numFeatures > MOST_FEATURES) {
    throw new DataError(
      `Cora: ${numNodes} nodes with ${numFeatures} features are more than the ${MOST_FEATURES} values that are allowed.`,
    );
  }
  if (numNodes * numFeatures > text.length * MOST_FOR_A_CHARACTER) {
    throw new DataError(
      `Cora: ${numNodes} nodes with ${numFeatures} features are more than ${text.length} characters of JSON describe ` +
        `(${MOST_FOR_A_CHARACTER} values for each are allowed). Check numNodes and numFeatures, or fetch the file again.`,
    );
  }
  const list = (name: string, length?: number): readonly unknown[] => {
    const value = json[name];
    if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
    const expected = length === undefined ? "a list" : `a list of ${length}`;
    throw new DataError(
      `Cora: ${name} must be ${expected}, got ${Array.isArray(value) ? value.length : typeof value}.`,
    );
  };
  const indices = (name: string, values: unknown, limit: number): Int32Array => {
    const wrong = Array.isArray(values) ? values.find((value) => !isIndex(value, limit)) : values;
    if (Array.isArray(values) && wrong === undefined && !values.includes(undefined))
      return Int32Array.from(values);
    throw new DataError(
      `Cora: ${name} must hold whole numbers below ${limit}, got ${JSON.stringify(wrong)}.`,
    );
  };

  // All lists are looked at before the features are laid out: the two counts alone could ask for much from a few bytes.
  const words = list("featureIndices", numNodes).map((one, node) =>
    indices(`featureIndices[${node}]`, one, numFeatures),
  );
  const labels = indices("labels", list("labels", numNodes), numClasses);
  const pairs = list("edges").map((pair, edge) => {
    const ends = indices(`edges[${edge}]`, pair, numNodes);
    if (ends.length === 2 && ends[0] !== ends[1]) return ends;
    throw new DataError(`Cora: edges[${edge}] must be two different nodes, got ${JSON.stringify(pair)}.`);
  });
  const parts = ["train", "val", "test"].map((name) => indices(name, list(name), numNodes));
  const [train, validation, test] = parts as [Int32Array, Int32Array, Int32Array];
  const used = new Set(parts.flatMap((part) => [...part]));
  if (used.size !== train.length + validation.length + test.length)
    throw new DataError("Cora: a node is in train, val and test more than once.");
  const features = new Float32Array(numNodes * numFeatures);
  words.forEach((own, node) => {
    for (const word of own) features[node * numFeatures + word] = 1;
  });
  return {
    name: "cora",
    source,
    numNodes,
    numFeatures,
    numClasses,
    features: new NdArray(features, [numNodes, numFeatures]),
    labels: new NdArray(labels, [numNodes]),
    edges: new NdArray(Int32Array.from(pairs.flatMap((pair) => [...pair])), [pairs.length, 2]),
    train,
    validation,
    test,
  };
}

function isIndex(value: unknown, limit: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limit;
}
