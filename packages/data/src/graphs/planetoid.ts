import { DataError } from "../errors.ts";
import type { FileCollection, RemoteFile } from "../files/collection.ts";
import { isPickledObject, type Pickled, pickledText, readPickle } from "../files/pickle.ts";
import { NdArray } from "../ndarray.ts";
import type { CitationGraph } from "./cora.ts";

/** The eight files of a graph as Planetoid publishes it. */
export interface PlanetoidFiles<File> {
  /** Words of the labelled papers to learn from. */
  readonly x: File;
  /** Their classes. */
  readonly y: File;
  /** Words of the papers to score on. */
  readonly tx: File;
  readonly ty: File;
  /** Words of all papers but those to score on. */
  readonly allx: File;
  readonly ally: File;
  readonly graph: File;
  /** Which papers are those to score on, as text. */
  readonly testIndex: File;
}

const remote = (part: string, bytes: number, sha256: string): RemoteFile => ({
  name: `ind.cora.${part}`,
  bytes,
  sha256,
});

/** Cora as Planetoid (Yang, Cohen, Salakhutdinov 2016, arXiv:1603.08861) publishes it, with its split. */
export const CORA: FileCollection & {
  readonly files: PlanetoidFiles<RemoteFile> & Readonly<Record<string, RemoteFile>>;
} = {
  name: "cora",
  title: "Cora",
  mirrors: ["https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/"],
  files: {
    x: remote("x", 22119, "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab"),
    y: remote("y", 4054, "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1"),
    tx: remote("tx", 148025, "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a"),
    ty: remote("ty", 28135, "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad"),
    allx: remote("allx", 257305, "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543"),
    ally: remote("ally", 47959, "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71"),
    graph: remote("graph", 59847, "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d"),
    testIndex: remote("test.index", 5000, "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875"),
  },
};

/** Papers to choose with: those that follow the ones to learn from. */
const VALIDATION = 500;
/** Elements of the matrix of words, at most: Cora has 3.9 million. Two numbers in a file decide how much memory they take. */
const MOST_FEATURES = 2 ** 23;

const refuse = (what: string, why: string): never => {
  throw new DataError(`Cora, ${what}: ${why}. Fetch the file again.`);
};

const DTYPES: Readonly<Record<string, (view: DataView, at: number) => number>> = {
  i4: (view, at) => view.getInt32(at, true),
  i8: (view, at) => Number(view.getBigInt64(at, true)),
  f4: (view, at) => view.getFloat32(at, true),
  f8: (view, at) => view.getFloat64(at, true),
};

/** An array of NumPy. */
function arrayOf(what: string, value: Pickled | undefined): { shape: readonly number[]; data: Float64Array } {
  const state = isPickledObject(value) && value.type.endsWith("_reconstruct") ? value.state : null;
  const [, shape, dtype, byColumns, bytes] = Array.isArray(state) ? (state as readonly Pickled[]) : [];
  const name = isPickledObject(dtype) ? (pickledText(dtype.args[0]) ?? "") : "";
  const order = isPickledObject(dtype) && Array.isArray(dtype.state) ? pickledText(dtype.state[1]) : "";
  const read = Object.hasOwn(DTYPES, name) && order === "<" ? DTYPES[name] : undefined;
  const width = Number(name[1]);
  if (read === undefined || byColumns !== false || !(bytes instanceof Uint8Array) || !isShape(shape))
    return refuse(what, "holds no array of numbers row by row");
  const size = shape.reduce((product, length) => product * length, 1);
  if (size * width !== bytes.length)
    return refuse(what, `an array of [${shape.join(", ")}] has ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { shape, data: Float64Array.from({ length: size }, (_, i) => read(view, i * width)) };
}

const isShape = (value: Pickled | undefined): value is readonly number[] =>
  Array.isArray(value) && value.every((one) => isBelow(one, Number.MAX_SAFE_INTEGER));
const isBelow = (value: unknown, limit: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < limit;

/** Positions of what is not 0 in each row of a sparse matrix, and its width. */
function wordsOf(what: string, bytes: Uint8Array): { rows: readonly Float64Array[]; width: number } {
  const matrix = readPickle(`Cora, ${what}`, bytes);
  const fields = isPickledObject(matrix) && matrix.state instanceof Map ? matrix.state : new Map();
  const shape: Pickled | undefined = fields.get("_shape");
  const [starts, indices, data] = ["indptr", "indices", "data"].map(
    (name) => arrayOf(what, fields.get(name)).data,
  );
  if (!isShape(shape) || shape.length !== 2 || starts === undefined || indices === undefined)
    return refuse(what, "holds no sparse matrix");
  const [height, width] = shape as readonly [number, number];
  const fits =
    starts.length === height + 1 &&
    starts[0] === 0 &&
    starts.every((start, i) => isBelow(start, indices.length + 1) && start >= (starts[i - 1] ?? 0)) &&
    indices.every((index) => isBelow(index, width)) &&
    data?.length === indices.length &&
    data.every((value) => value === 1);
  if (!fits) return refuse(what, "its rows do not fit its shape, or have something else than 0 and 1");
  const rows = Array.from({ length: height }, (_, row) => indices.slice(starts[row], starts[row + 1]));
  return { rows, width };
}

/** The class of each row, of which exactly one is 1. */
function classesOf(what: string, bytes: Uint8Array): { classes: readonly number[]; count: number } {
  const { shape, data } = arrayOf(what, readPickle(`Cora, ${what}`, bytes));
  const [height = 0, count = 0] = shape;
  if (shape.length !== 2 || count < 1) return refuse(what, "holds no matrix of classes");
  const classes = Array.from({ length: height }, (_, row) => {
    const entries = data.subarray(row * count, (row + 1) * count);
    const label = entries.indexOf(1);
    if (label < 0) return refuse(what, "a row has no class");
    return entries.every((entry, i) => entry === 0 || i === label)
      ? label
      : refuse(what, "a row has something else than one 1 and zeros");
  });
  return { classes, count };
}

/**
 * Reads a citation graph from Planetoid's files: pickles of Python, of which only arrays, sparse matrices and containers are
 * read. In browsers too.
 *
 * @throws DataError naming the file that is malformed, or does not fit the others.
 */
export function readPlanetoid(files: PlanetoidFiles<Uint8Array>, source = "Cora"): CitationGraph {
  const [most, tested] = [wordsOf("allx", files.allx), wordsOf("tx", files.tx)];
  const [known, asked] = [classesOf("ally", files.ally), classesOf("ty", files.ty)];
  const learned = classesOf("y", files.y).classes.length;
  const labelled = wordsOf("x", files.x).rows.length;
  const order = new TextDecoder().decode(files.testIndex).trim().split(/\s+/).map(Number);
  const { width } = most;
  const numNodes = most.rows.length + tested.rows.length;
  // What is scored on comes after all others, in any order.
  const distinct = new Set(order).size === order.length;
  if (!distinct || !order.every((node) => isBelow(node, numNodes) && node >= most.rows.length))
    return refuse(
      "test.index",
      `must name each of the last ${tested.rows.length} of ${numNodes} papers once`,
    );
  const fits =
    tested.width === width &&
    order.length === tested.rows.length &&
    asked.classes.length === order.length &&
    known.classes.length === most.rows.length &&
    known.count === asked.count &&
    labelled === learned &&
    learned + VALIDATION <= most.rows.length;
  if (!fits) return refuse("its files", "do not belong to one graph");
  if (numNodes * width > MOST_FEATURES) {
    const values = `${numNodes} papers of ${width} words are more than the ${MOST_FEATURES} values that are allowed`;
    return refuse("its files", values);
  }

  const features = new Float32Array(numNodes * width);
  const labels = new Int32Array(numNodes);
  const write = (node: number, words: Float64Array | undefined, label: number | undefined): void => {
    for (const word of words ?? []) features[node * width + word] = 1;
    labels[node] = label ?? 0;
  };
  for (const [node, words] of most.rows.entries()) write(node, words, known.classes[node]);
  for (const [row, node] of order.entries()) write(node, tested.rows[row], asked.classes[row]);

  const edges = edgesOf(files.graph, numNodes);
  return {
    name: "cora",
    source,
    numNodes,
    numFeatures: width,
    numClasses: known.count,
    features: new NdArray(features, [numNodes, width]),
    labels: new NdArray(labels, [numNodes]),
    edges: new NdArray(Int32Array.from(edges.flat()), [edges.length, 2]),
    train: Int32Array.from({ length: learned }, (_, i) => i),
    validation: Int32Array.from({ length: VALIDATION }, (_, i) => learned + i),
    test: Int32Array.from(order).sort(),
  };
}

/** Pairs of a dictionary of neighbours, each once, the lesser node first, in ascending order. */
function edgesOf(bytes: Uint8Array, nodes: number): readonly (readonly [number, number])[] {
  const graph = readPickle("Cora, graph", bytes);
  const neighbours = isPickledObject(graph) ? graph.state : graph;
  if (!(neighbours instanceof Map)) return refuse("graph", "holds no dictionary");
  const found = new Map<number, readonly [number, number]>();
  for (const [node, others] of neighbours as ReadonlyMap<unknown, Pickled>) {
    if (!isBelow(node, nodes) || !Array.isArray(others) || !others.every((one) => isBelow(one, nodes)))
      return refuse("graph", `names papers that are not among the ${nodes}`);
    for (const other of others as readonly number[]) {
      const [low, high] = [Math.min(node, other), Math.max(node, other)];
      if (low !== high) found.set(low * nodes + high, [low, high]);
    }
  }
  return [...found].sort(([a], [b]) => a - b).map(([, pair]) => pair);
}
