import { type Tensor, threefry2x32 } from "@nf/core";
import { DataLoader, type Dataset, NdArray } from "@nf/data";

/** A stretch of text, and the character after each of its characters: ids, both of one length. */
export interface Window {
  readonly tokens: NdArray;
  readonly targets: NdArray;
}

/** Windows as they come out of a loader, both `[batch, positions]`, i32. */
export interface WindowBatch {
  readonly tokens: Tensor;
  readonly targets: Tensor;
}

/** Sets these draws apart from other uses of the same seed. */
const WINDOW_KEY = 0x77696e64;

/** Windows of a text, by where they begin. */
class Windows implements Dataset<Window> {
  readonly length: number;
  readonly #ids: Int32Array;
  readonly #size: number;
  readonly #start: (index: number) => number;

  constructor(ids: Int32Array, size: number, length: number, start: (index: number) => number) {
    this.#ids = ids;
    this.#size = size;
    this.length = length;
    this.#start = start;
  }

  get(index: number): Window {
    const start = this.#start(index);
    const part = (from: number) => new NdArray(this.#ids.slice(from, from + this.#size), [this.#size]);
    return { tokens: part(start), targets: part(start + 1) };
  }
}

/**
 * The windows of training steps `from` to before `to`, `batch` of them a step: each begins anywhere in the text. The same
 * for the same seed and step on every machine, wherever a run begins.
 */
export function randomWindows(
  ids: Int32Array,
  size: number,
  batch: number,
  seed: number,
  from: number,
  to: number,
): Dataset<Window> {
  const places = ids.length - size;
  return new Windows(ids, size, Math.max(0, to - from) * batch, (index) => {
    const drawn = from * batch + index;
    const [word] = threefry2x32(seed, WINDOW_KEY, drawn >>> 0, Math.floor(drawn / 2 ** 32));
    return Math.floor((word / 2 ** 32) * places);
  });
}

/** At most `most` windows that lie evenly spread over a text and do not overlap; by default all there are. */
export function evenWindows(
  ids: Int32Array,
  size: number,
  most: number = Number.POSITIVE_INFINITY,
): Dataset<Window> {
  const all = Math.floor((ids.length - 1) / size);
  const length = Math.min(all, most);
  return new Windows(ids, size, length, (index) => Math.floor((index * all) / length) * size);
}

/** Windows as tensors, in their order. */
export function batchesOf(windows: Dataset<Window>, batchSize: number): AsyncIterable<WindowBatch> {
  return new DataLoader<Window>(windows, { batchSize });
}
