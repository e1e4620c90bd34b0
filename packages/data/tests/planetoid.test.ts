import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Pickled, readPickle } from "../src/files/pickle.ts";
import { CORA, type PlanetoidFiles, readPlanetoid } from "../src/index.ts";
import { cora } from "../src/node/index.ts";
import { data, TestFolder, text } from "./folder.ts";

const folder = new TestFolder();

/* A pickle as Python 2 writes one, of what these files hold. */

type Part = number | string | Uint8Array | readonly Part[];
const bytes = (...parts: readonly Part[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part): number[] =>
      typeof part === "number"
        ? [part]
        : typeof part === "string"
          ? [...part].map((char) => char.charCodeAt(0))
          : part instanceof Uint8Array
            ? [...part]
            : [...bytes(...part)],
    ),
  );
const int32 = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
const int = (value: number): Part => ["J", int32(value)];
const string = (value: Uint8Array | string): Part => {
  const raw = typeof value === "string" ? text(value) : value;
  return ["T", int32(raw.length), raw];
};
const named = (name: string): Part => ["c", name.replace(" ", "\n"), "\n"];
const tuple = (...values: readonly Part[]): Part => ["(", ...values, "t"];
const array = (shape: readonly number[], values: Int32Array | Float32Array): Part => [
  ...[named("numpy.core.multiarray _reconstruct"), named("numpy ndarray")],
  ...[int(0), "\x85", string("b"), "\x87", "R("],
  ...[int(1), tuple(...shape.map(int))],
  ...[named("numpy dtype"), string(values instanceof Int32Array ? "i4" : "f4"), int(0), int(1), "\x87R"],
  ...[tuple(int(3), string("<"), "N"), "b\x89"],
  ...[string(new Uint8Array(values.buffer)), "tb"],
];
const pickle = (value: Part): Uint8Array => bytes([0x80, 2], value, ".");
const sparse = (rows: readonly (readonly number[])[], width: number, value = 1): Uint8Array => {
  const starts = Int32Array.from({ length: rows.length + 1 }, (_, i) => rows.slice(0, i).flat().length);
  const indices = Int32Array.from(rows.flat());
  const entry = (name: string, part: Part): Part => [string(name), part];
  return pickle([
    named("scipy.sparse.csr csr_matrix"),
    ")\x81}q\x01(",
    entry("_shape", tuple(int(rows.length), int(width))),
    entry("indptr", array([starts.length], starts)),
    entry("indices", array([indices.length], indices)),
    entry("data", array([indices.length], new Float32Array(indices.length).fill(value))),
    "ub",
  ]);
};
const matrix = (rows: readonly (readonly number[])[]): Uint8Array =>
  pickle(array([rows.length, rows[0]?.length ?? 0], Float32Array.from(rows.flat())));
const classes = (labels: readonly number[], count: number): Uint8Array =>
  matrix(labels.map((label) => Array.from({ length: count }, (_, i) => +(i === label))));
const dictionary = (entries: readonly (readonly [number, readonly number[]])[]): Uint8Array =>
  pickle([
    ...[named("collections defaultdict"), named("__builtin__ list"), "\x85R("],
    ...entries.map(([node, others]): Part => [int(node), "](", ...others.map(int), "e"]),
    "u",
  ]);

/** Words of 503 papers that are one value more than are allowed. */
const WIDE = Math.floor(2 ** 23 / 503) + 1;

/** 503 papers, of which one is learned from and the last two are scored on, in the other order. */
const words = Array.from({ length: 501 }, (_, i) => (i === 1 ? [0, 2] : i === 2 ? [] : [i % 3]));
const labels = words.map((_, i) => i % 2);
const files: PlanetoidFiles<Uint8Array> = {
  x: sparse(words.slice(0, 1), 3),
  y: classes(labels.slice(0, 1), 2),
  tx: sparse([[2], [0, 1]], 3),
  ty: classes([1, 0], 2),
  allx: sparse(words, 3),
  ally: classes(labels, 2),
  graph: dictionary([
    [502, [0, 7]],
    [0, [502, 0, 3, 3]],
    [7, [502]],
  ]),
  testIndex: text("502\n501\n"),
};

describe("Planetoid's files", () => {
  it("are a graph, whose last papers come in an order of their own", async () => {
    const graph = readPlanetoid(files, "here");
    expect(graph).toMatchObject({ numNodes: 503, numFeatures: 3, numClasses: 2, source: "here" });
    const row = (node: number): number[] => [...graph.features.data.subarray(3 * node, 3 * node + 3)];
    expect([1, 2, 501, 502].map(row)).toEqual([
      [1, 0, 1],
      [0, 0, 0],
      [1, 1, 0],
      [0, 0, 1],
    ]);
    expect([0, 1, 501, 502].map((node) => graph.labels.data[node])).toEqual([0, 1, 0, 1]);
    expect([...graph.edges.data]).toEqual([0, 3, 0, 502, 7, 502]);
    expect([...graph.train, graph.validation[0], graph.validation.at(-1), ...graph.test]).toEqual([
      ...[0, 1, 500, 501, 502],
    ]);
    const named = Object.entries(files).map(([part, contents]) => {
      const { name } = CORA.files[part] as { name: string };
      return [`cora/${name}`, contents] as const;
    });
    await folder.put(Object.fromEntries(named));
    expect(await cora({ folder: folder.path })).toMatchObject({ numNodes: 503 });
  });

  const broken: readonly [string, Partial<PlanetoidFiles<Uint8Array>>, RegExp][] = [
    ["words that are no words", { allx: sparse(words, 3, 2) }, /allx: its rows do not fit/],
    ["a word too many", { tx: sparse([[3], []], 3) }, /tx: its rows do not fit/],
    ["another number of words", { tx: sparse([[3], []], 4) }, /do not belong to one graph/],
    ["a paper without a class", { ally: classes([...labels.slice(1), 5], 2) }, /ally: a row has no class/],
    [
      "a paper with two classes",
      {
        ty: matrix([
          [1, 1],
          [1, 0],
        ]),
      },
      /ty: a row has something else/,
    ],
    [
      "a paper with half a class",
      {
        ty: matrix([
          [0.5, 1],
          [1, 0],
        ]),
      },
      /ty: a row has something else/,
    ],
    [
      "more words than memory is for",
      { allx: sparse(words, WIDE), tx: sparse([[2], [0, 1]], WIDE) },
      /503 papers of 16678 words are more than/,
    ],
    ["too few classes", { ty: classes([1], 2) }, /do not belong to one graph/],
    ["a test paper twice", { testIndex: text("502\n502") }, /test.index: must name each/],
    ["a test paper that is none", { testIndex: text("502\nx") }, /test.index: must name each/],
    ["a citation of nobody", { graph: dictionary([[0, [503]]]) }, /graph: names papers/],
    ["a list for a graph", { graph: pickle("]") }, /graph: holds no dictionary/],
    ["a graph for words", { allx: files.graph }, /allx: holds no array/],
    [
      "a program",
      { x: pickle(["cos\nsystem\n", string("ls"), "\x85R"]) },
      /asks for os system, which is not read/,
    ],
    ["rows of nothing", { ty: pickle(array([2 ** 30, 0], new Int32Array())) }, /holds no matrix of classes/],
    ["another protocol", { y: bytes([0x80, 4], "N.") }, /no pickle of protocol 2/],
    ["an end too early", { y: files.y.subarray(0, 90) }, /Cora, y: the file ends too early/],
  ];
  it.each(broken)("refuse %s", (_, change, message) => {
    expect(() => readPlanetoid({ ...files, ...change })).toThrow(data(message) as Error);
  });

  it("may have lists of any length", () => {
    const longest = bytes([0x80, 2], "](", new Uint8Array(200_000).fill("N".charCodeAt(0)), "e.");
    expect(readPickle("any", longest)).toHaveLength(200_000);
  });

  it("are refused or read, but never anything else, whatever bytes they have", () => {
    const { ty, tx, graph } = files;
    fc.assert(
      fc.property(fc.constantFrom(ty, tx, graph), fc.nat(), fc.nat(255), (file, place, value) => {
        const changed = Uint8Array.from(file);
        changed[place % file.length] = value;
        const part = file === ty ? { ty: changed } : file === tx ? { tx: changed } : { graph: changed };
        try {
          readPlanetoid({ ...files, ...part });
        } catch (error) {
          expect(error).toMatchObject({ code: "NF_DATA" });
        }
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (tail) => {
        let value: Pickled | undefined;
        try {
          value = readPickle("any", bytes([0x80, 2], tail));
        } catch (error) {
          expect(error).toMatchObject({ code: "NF_DATA" });
        }
        expect(typeof value).not.toBe("function");
      }),
    );
  });
});
