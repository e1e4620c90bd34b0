// The native backend on weights of language models, called without core: matrix-vector products as bytes of the weight a
// second beside what reading memory gives in the same run, and quantised products of many rows as operations a second.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { native } from "@nf/backend-native";
import { contiguousView, makeView } from "@nf/core";
import { machine } from "./lib/measure.mjs";
import { options, pattern, wholeNumber } from "./lib/options.mjs";

const chosen = options({
  help: `
node native-weights.mjs [--threads n] [--rounds n] [--only pattern] [--json]

The native backend on weights of language models: bytes of the weight a second beside reading memory, and operations a
second of quantised products of many rows.

--threads n     threads of the backend (all cores)
--rounds n      rounds, each of which times every row once (15)
--only pattern  a regular expression: rows whose name it fits
--json          figures as JSON`,
  values: ["threads", "rounds", "only"],
  flags: ["json"],
});
const rounds = wholeNumber("rounds", chosen.rounds ?? "15", 1);
const only = pattern("only", chosen.only ?? "");

const backend = await native(
  chosen.threads === undefined ? {} : { threads: wholeNumber("threads", chosen.threads, 1) },
);
const threads = backend.capabilities.threads;
const [INNER, COLUMNS] = [2048, 5632];
/** Weights of one kind together take so many bytes at least, so that none is still in a cache when its turn comes. */
const BEYOND_CACHES = 192 * 2 ** 20;

/** A dense view of arbitrary bytes that are finite as any dtype. */
function filled(dtype, shape, bytesEach) {
  const bytes = new Uint8Array(shape.reduce((a, b) => a * b, 1) * bytesEach);
  // 0x2e in the high byte is a small positive number in f32, f16 and bf16, and a scale of about 0.1 in a block.
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = bytesEach === 1 || i % bytesEach === bytesEach - 1 ? 0x2e : i;
  const buffer = backend.allocate(bytes.length);
  backend.write(buffer, 0, bytes);
  return contiguousView(buffer, dtype, shape);
}

const BLOCKS = { q8_0: 34, q4_0: 18 };
const BYTES = { f32: 4, bf16: 2, f16: 2 };
const kinds = {
  f32: "matmul",
  bf16: "matmul",
  f16: "matmul",
  q8_0: "quantizedMatmul",
  q4_0: "quantizedMatmul",
};

/** As many weights of a kind as are beyond all caches. */
const weights = new Map();
function weightsOf(kind, transposed) {
  const shape =
    kind in BLOCKS
      ? [COLUMNS, (INNER / 32) * BLOCKS[kind]]
      : transposed
        ? [COLUMNS, INNER]
        : [INNER, COLUMNS];
  const size = shape[0] * shape[1] * (BYTES[kind] ?? 1);
  const key = `${kind} ${shape}`;
  if (!weights.has(key)) {
    const count = Math.ceil(BEYOND_CACHES / size);
    const dtype = kind in BLOCKS ? "u8" : kind;
    weights.set(
      key,
      Array.from({ length: count }, () => filled(dtype, shape, BYTES[kind] ?? 1)),
    );
  }
  return { views: weights.get(key), size };
}

/** A row of the table: calls to be made in turn, and what one is worth (bytes or operations). */
function product(kind, rows, transposed = true) {
  const { views, size } = weightsOf(kind, transposed);
  const x = filled("f32", [rows, INNER], 4);
  const out = contiguousView(backend.allocate(rows * COLUMNS * 4), "f32", [rows, COLUMNS]);
  const attributes = { format: kind, inner: INNER, columns: COLUMNS };
  const calls = views.map((view) => {
    const weight =
      kind in BLOCKS || !transposed ? view : makeView(view.buffer, kind, [INNER, COLUMNS], [1, INNER], 0);
    const call = { kernel: kinds[kind], inputs: [x, weight], outputs: [out], params: [] };
    if (kind in BLOCKS) call.attributes = attributes;
    return { ...call, buffers: [x.buffer, view.buffer, out.buffer] };
  });
  const layout = kind in BLOCKS ? "" : transposed ? " [out, in]" : " [in, out]";
  const few = rows <= 8;
  return {
    name: `${kind}${layout} x ${rows}`,
    calls,
    worth: few ? size : 2 * rows * INNER * COLUMNS,
    unit: few ? "GB/s" : "GOP/s",
  };
}

/** Reading memory, once, in order, by the same threads: done by the compiled module itself. */
const folder = new URL("../packages/backend-native/binaries/", import.meta.url);
const binary = readdirSync(folder).find((name) => name.endsWith(".node"));
const { readRates } = createRequire(import.meta.url)(fileURLToPath(new URL(binary, folder)));
const reading = () => ({ name: "reading", calls: [], worth: 0, unit: "GB/s" });

const plans = [
  reading,
  ...["f32", "bf16", "f16"].flatMap((kind) =>
    [1, 4].flatMap((rows) => [true, false].map((t) => () => product(kind, rows, t))),
  ),
  ...["q8_0", "q4_0"].flatMap((kind) =>
    [1, 2, 4, 8, 64, 128, 256, 512].map((rows) => () => product(kind, rows)),
  ),
];
const table = plans.map((plan) => plan()).filter(({ name }) => name === "reading" || only.test(name));

/** Rates of each row, a round at a time, so that a busy moment of the machine does not meet one row alone. */
const rates = table.map(() => []);
for (let round = -1; round < rounds; round++) {
  if (round >= 0) rates[0].push(...readRates(BEYOND_CACHES, threads, 2));
  table.forEach(({ calls, worth, unit }, row) => {
    if (calls.length === 0) return;
    const used = unit === "GB/s" ? calls : calls.slice(0, 1);
    const start = performance.now();
    for (const call of used) backend.execute(call);
    const seconds = (performance.now() - start) / 1000;
    if (round >= 0) rates[row].push((used.length * worth) / seconds / 1e9);
  });
}
await backend.dispose();

const rows = table.map(({ name, unit }, row) => {
  const sorted = rates[row].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  const share = unit === "GB/s" && row > 0 ? median / rates[0][rates[0].length >> 1] : undefined;
  return { work: name, unit, median, min: sorted[0], max: sorted.at(-1), share };
});
if (chosen.json) {
  console.log(JSON.stringify({ machine, threads, inner: INNER, columns: COLUMNS, rows }));
} else {
  console.log(`${machine}; ${threads} thread(s); weights ${COLUMNS} x ${INNER}`);
  console.table(
    rows.map(({ work, unit, median, min, max, share }) => ({
      work,
      [unit]: `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`,
      "of reading": share === undefined ? "" : `${Math.round(share * 100)} %`,
    })),
  );
}
