// onnxruntime-web on its WASM backend. The graph is one MatMul whose right factor is a constant, the form in which it
// packs weights beforehand.
import * as ort from "onnxruntime-web";
import { values } from "../lib/data.mjs";
import { serve } from "../lib/peer.mjs";

const FLOAT = 1;

/** A field of a protocol buffer: a whole number, a string, bytes, or fields inside. */
function field(number, value) {
  if (typeof value === "number") return Buffer.concat([varint(number << 3), varint(value)]);
  const bytes = Array.isArray(value) ? Buffer.concat(value) : Buffer.from(value);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

/** An ONNX model (onnx.proto): y = MatMul(x, weight). */
function model(rows, depth, columns, weight) {
  const matrix = (name, shape) => {
    const dimensions = shape.map((size) => field(1, [field(1, size)]));
    return [field(1, name), field(2, [field(1, [field(1, FLOAT), field(2, dimensions)])])];
  };
  const node = [field(1, "x"), field(1, "weight"), field(2, "y"), field(4, "MatMul")];
  const constant = [
    field(1, depth),
    field(1, columns),
    field(2, FLOAT),
    field(8, "weight"),
    field(9, Buffer.from(weight.buffer)),
  ];
  const graph = [
    field(1, node),
    field(2, "product"),
    field(5, constant),
    field(11, matrix("x", [rows, depth])),
    field(12, matrix("y", [rows, columns])),
  ];
  return Buffer.concat([field(1, 8), field(7, graph), field(8, [field(1, ""), field(2, 17)])]);
}

await serve({
  async matmul({ rows, depth, columns }, threads) {
    ort.env.wasm.numThreads = threads;
    const bytes = model(rows, depth, columns, values(depth * columns, 2));
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    const feeds = { x: new ort.Tensor("float32", values(rows * depth, 1), [rows, depth]) };
    const run = async () => (await session.run(feeds)).y.data;
    const result = await run();
    const had = ort.env.wasm.numThreads;
    const note = had === threads ? undefined : `${had} thread(s) in Node`;
    return { run, check: [result[0], result[result.length - 1]], note };
  },
  otherwise: "it runs graphs, and does not train",
});
