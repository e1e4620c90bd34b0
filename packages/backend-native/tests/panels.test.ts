import * as nf from "@nf/core";
import { afterEach, describe, expect, it } from "vitest";
import { native, pin } from "../src/index.ts";
import { missing } from "./built.ts";

// Where the processor multiplies bytes, the first product with a weight lays it out anew in its own memory. Nobody may see
// that but by the time it takes.

const opened: nf.Backend[] = [];
async function open(options: { async?: boolean } = {}): Promise<nf.Backend> {
  const backend = await native({ threads: 2, ...options });
  opened.push(backend);
  return await nf.use(backend);
}
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.dispose();
});

const FORMATS = ["q8_0", "q4_0"] as const;
const BYTES = { q8_0: 34, q4_0: 18 } as const;
const [ROWS, INNER] = [96, 480];

/** Blocks with arbitrary levels and scales of about 0.1. */
function bytesOf(format: nf.QuantizedFormat, seed: number, rows = ROWS): Uint8Array {
  const size = BYTES[format];
  const bytes = new Uint8Array((rows * INNER * size) / 32);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = i % size === 1 ? 0x2e : Math.imul(i + seed, 0x9e3779b1) >>> 24;
  return bytes;
}
const wave = (rows: number): nf.Tensor =>
  nf.tensor(
    Array.from({ length: rows }, (_, row) =>
      Array.from({ length: INNER }, (_, i) => Math.sin(row * 31 + i * 1.7) * 3),
    ),
  );

/** Large arrays, compared fast. */
const same = (a: nf.HostArray, b: nf.HostArray): boolean =>
  a.constructor === b.constructor && Buffer.compare(bytesIn(a), bytesIn(b)) === 0;
const bytesIn = ({ buffer, byteOffset, byteLength }: nf.HostArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Of a copy that meets nothing else. */
async function productOf(bytes: Uint8Array, format: nf.QuantizedFormat, x: nf.Tensor): Promise<nf.HostArray> {
  const rows = (bytes.length * 32) / BYTES[format] / INNER;
  return await nf.quantizedMatmul(x, nf.quantizedFromBytes(bytes, [rows, INNER], format)).data();
}

/** Gathers, or adds to rows, straight into a weight's memory, which core does with copies alone. */
function move(
  backend: nf.Backend,
  kernel: "gather" | "scatter",
  moved: nf.View,
  index: nf.View,
  outputs: [nf.View],
): void {
  const inputs = [moved, index];
  const call = { params: [], inputs, outputs, buffers: [...inputs, ...outputs].map(({ buffer }) => buffer) };
  if (kernel === "gather") backend.execute({ ...call, kernel, attributes: { axis: 0 } });
  else backend.execute({ ...call, kernel, attributes: { axis: 0, mode: "add" } });
}

describe.skipIf(missing !== undefined)("a weight that products lay out anew", () => {
  for (const format of FORMATS) {
    for (const async of [false, true]) {
      it(`${format} has its bytes for everybody else, ${async ? "later" : "at once"}`, async () => {
        await open({ async });
        const bytes = bytesOf(format, 1);
        const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        const x = wave(2);
        const first = await nf.quantizedMatmul(x, weight).data();
        expect(first.length).toBe(2 * ROWS);
        // More often than the backend lays a weight out again.
        for (let round = 0; round < 4; round++) {
          expect(same(await weight.bytes.data(), bytes)).toBe(true);
          expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
          const [row] = await nf.gather(weight.bytes, 0, nf.tensor([[5]], { dtype: "i32" })).data();
          expect(row).toBe(bytes[(5 * INNER * BYTES[format]) / 32]);
        }
        // The same for one that others want while products go on.
        const other = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        const results = [nf.quantizedMatmul(x, other), nf.dequantize(other), nf.quantizedMatmul(x, other)];
        const [a, values, b] = await Promise.all(results.map((tensor) => tensor.data()));
        expect(a).toEqual(first);
        expect(b).toEqual(first);
        const untouched = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        expect(same(values as nf.HostArray, await nf.dequantize(untouched).data())).toBe(true);
      });
    }

    it(`${format} gives its rows the same products, whichever are taken`, async () => {
      await open();
      const bytes = bytesOf(format, 2);
      const x = wave(1);
      const whole = await productOf(bytes, format, x);
      const stride = (INNER * BYTES[format]) / 32;
      const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
      for (const [from, to] of [
        [0, 96],
        [16, 80],
        [32, 96],
        [8, 72],
        [0, 96],
        [1, 96],
        [0, 64],
      ] as const) {
        const part = nf.slice(weight.bytes, [from, to]);
        const rows = { format, shape: [to - from, INNER], bytes: part } as const;
        const got = await nf.quantizedMatmul(x, rows).data();
        expect(got, `${from} to ${to}`).toEqual(whole.slice(from, to));
        expect(same(await part.data(), bytes.slice(from * stride, to * stride))).toBe(true);
      }
    });

    it(`${format} may be written again, in part and altogether`, async () => {
      const backend = await open();
      const x = wave(1);
      const bytes = bytesOf(format, 3);
      const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
      const buffer = weight.bytes.storage.buffer;
      for (const [offset, count] of [
        [0, bytes.length],
        [700, 3],
        [0, bytes.length],
        [1, bytes.length - 1],
        [34 * 18, 34 * 18],
      ] as const) {
        await nf.quantizedMatmul(x, weight).data();
        const fresh = bytesOf(format, 100 + offset + count).subarray(offset, offset + count);
        bytes.set(fresh, offset);
        backend.write(buffer, offset, fresh);
        expect(await nf.quantizedMatmul(x, weight).data(), `${count} from ${offset}`).toEqual(
          await productOf(bytes, format, x),
        );
        expect(same(await weight.bytes.data(), bytes)).toBe(true);
      }
    });

    it(`${format} stays as it is where somebody looks at it`, async () => {
      await open();
      const x = wave(3);
      const bytes = bytesOf(format, 4);
      const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
      const first = await nf.quantizedMatmul(x, weight).data();
      const seen = pin(weight.bytes);
      expect(same(seen.values, bytes)).toBe(true);
      expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
      expect(same(seen.values, bytes)).toBe(true);
      seen.release();
    });

    for (const async of [false, true]) {
      it(`${format} is overwritten by kernels, ${async ? "later" : "at once"}`, async () => {
        const backend = await open({ async });
        const x = wave(2);
        const bytes = bytesOf(format, 5);
        const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        const { view } = weight.bytes;
        const other = bytesOf(format, 6);
        const first = await productOf(bytes, format, x);
        const second = await productOf(other, format, x);
        const fresh = nf.tensor(other, { dtype: "u8" }).reshape(view.shape);
        const index = nf.zeros([1, view.shape[1] as number], { dtype: "i32" });
        const one = nf.ones([1, view.shape[1] as number], { dtype: "u8" });
        for (let round = 0; round < 3; round++) {
          expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
          // It adds to one row, and the others stay.
          move(backend, "scatter", one.view, index.view, [view]);
          const row = bytes.map((byte, i) => (i < (view.shape[1] as number) ? byte + 1 : byte));
          expect(same(await weight.bytes.data(), row), `scatter ${round}`).toBe(true);
          await nf.quantizedMatmul(x, weight).data();
          nf.assign(weight.bytes, fresh);
          expect(await nf.quantizedMatmul(x, weight).data()).toEqual(second);
          expect(same(await weight.bytes.data(), other), `all ${round}`).toBe(true);
          await nf.quantizedMatmul(x, weight).data();
          backend.write(view.buffer, 0, bytes);
          expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
          // A call that is refused leaves what it finds: here all that it would have written.
          for (const kernel of ["scatter", "gather"] as const) {
            await nf.quantizedMatmul(x, weight).data();
            expect(() => move(backend, kernel, fresh.view, fresh.view, [view])).toThrow();
            expect(same(await weight.bytes.data(), bytes), `${kernel} refused ${round}`).toBe(true);
          }
        }
      });

      it(`${format} gives the rows of an embedding while its products go on, ${async ? "later" : "at once"}`, async () => {
        await open({ async });
        const x = wave(1);
        const bytes = bytesOf(format, 7);
        const stride = (INNER * BYTES[format]) / 32;
        const wanted = [95, 0, 17, 17, 40];
        const rows = new Uint8Array(
          wanted.flatMap((row) => [...bytes.subarray(row * stride, (row + 1) * stride)]),
        );
        const expected = await productOf(bytes, format, x);
        const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        for (let round = 0; round < 4; round++) {
          const product = nf.quantizedMatmul(x, weight);
          const taken = nf.embedding(weight.bytes, nf.tensor(wanted, { dtype: "i32" }));
          const last = nf.embedding(nf.slice(weight.bytes, [5, 96]), nf.tensor([90], { dtype: "i32" }));
          expect(same(await taken.data(), rows)).toBe(true);
          expect(same(await last.data(), bytes.subarray(95 * stride))).toBe(true);
          expect(await product.data()).toEqual(expected);
        }
      });

      it(`${format} in two parts of a buffer that do not nest, ${async ? "later" : "at once"}`, async () => {
        await open({ async });
        const x = wave(2);
        const bytes = bytesOf(format, 8);
        const stride = (INNER * BYTES[format]) / 32;
        const all = nf.tensor(bytes, { dtype: "u8" }).reshape([ROWS, stride]);
        const ranges = [
          [0, 48],
          [32, 96],
          [40, 72],
        ] as const;
        const wanted = [];
        for (const [from, to] of ranges)
          wanted.push(await productOf(bytes.slice(from * stride, to * stride), format, x));
        for (let round = 0; round < 3; round++) {
          const products = ranges.map(([from, to]) =>
            nf.quantizedMatmul(x, { format, shape: [to - from, INNER], bytes: nf.slice(all, [from, to]) }),
          );
          for (const [i, product] of products.entries()) expect(await product.data()).toEqual(wanted[i]);
        }
        expect(same(await all.data(), bytes)).toBe(true);
      });
    }

    it(`${format} may be written while its products are under way`, async () => {
      const backend = await open({ async: true });
      const x = wave(1);
      const versions = [9, 10, 11, 12].map((seed) => bytesOf(format, seed));
      const wanted = [];
      for (const bytes of versions) wanted.push(await productOf(bytes, format, x));
      const weight = nf.quantizedFromBytes(versions[0] as Uint8Array, [ROWS, INNER], format);
      const half = (versions[0] as Uint8Array).length / 2;
      const [results, reads]: [nf.Tensor[], Promise<nf.HostArray>[]] = [[], []];
      for (const bytes of versions) {
        backend.write(weight.bytes.storage.buffer, half, bytes.subarray(half));
        backend.write(weight.bytes.storage.buffer, 0, bytes.subarray(0, half));
        results.push(nf.quantizedMatmul(x, weight));
        reads.push(weight.bytes.data());
        backend.write(weight.bytes.storage.buffer, 0, bytes);
        results.push(nf.quantizedMatmul(x, weight));
      }
      for (const [i, result] of results.entries()) expect(await result.data()).toEqual(wanted[i >> 1]);
      for (const [i, read] of reads.entries()) expect(same(await read, versions[i] as Uint8Array)).toBe(true);
    });

    it(`${format} may be looked at again and again, with products between`, async () => {
      await open();
      const x = wave(1);
      const bytes = bytesOf(format, 13);
      const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
      const first = await nf.quantizedMatmul(x, weight).data();
      for (let round = 0; round < 4; round++) {
        const seen = pin(weight.bytes);
        const again = pin(weight.bytes);
        expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
        again.release();
        expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
        expect(same(seen.values, bytes)).toBe(true);
        seen.release();
        expect(await nf.quantizedMatmul(x, weight).data()).toEqual(first);
      }
      expect(same(await weight.bytes.data(), bytes)).toBe(true);
    });

    it(`${format} leaves its buffer to whatever comes next`, async () => {
      await open();
      const x = wave(1);
      for (let round = 0; round < 5; round++) {
        const bytes = bytesOf(format, 20 + round);
        const weight = nf.quantizedFromBytes(bytes, [ROWS, INNER], format);
        const product = await nf.quantizedMatmul(x, weight).data();
        expect(product).toEqual(await productOf(bytes, format, x));
        weight.bytes.dispose();
        const next = nf.tensor(bytes, { dtype: "u8" });
        const plain = nf.add(next, nf.tensor(1, { dtype: "u8" }));
        expect(same(await next.data(), bytes)).toBe(true);
        expect(
          same(
            await plain.data(),
            bytes.map((byte) => byte + 1),
          ),
        ).toBe(true);
        next.dispose();
        plain.dispose();
      }
    });

    it(`${format} is forgotten where its buffer is freed`, async () => {
      const backend = await open();
      const x = nf.ones([1, INNER]);
      const out = nf.zeros([1, ROWS]);
      const bytes = bytesOf(format, 30);
      const attributes = { format, inner: INNER, columns: ROWS };
      for (let round = 0; round < 4; round++) {
        const [one, two] = [backend.allocate(bytes.length), backend.allocate(bytes.length)];
        backend.write(one, 0, bytes);
        const stride = bytes.length / ROWS;
        const weight = nf.makeView(one, "u8", [ROWS, stride], [stride, 1], 0);
        const inputs = [x.view, weight];
        const buffers = [x.view.buffer, one, out.view.buffer];
        const call = { params: [], inputs, outputs: [out.view], buffers };
        backend.execute({ ...call, kernel: "quantizedMatmul", attributes });
        backend.free(one);
        backend.free(two);
        // They may get each other's memory.
        const others = [backend.allocate(bytes.length), backend.allocate(bytes.length)];
        for (const buffer of others) backend.write(buffer, 100, bytes.subarray(100));
        for (const buffer of others) backend.write(buffer, 0, bytes.subarray(0, 100));
        for (const buffer of others)
          expect(same(await backend.read(buffer, 0, bytes.length), bytes)).toBe(true);
        for (const buffer of others) backend.free(buffer);
      }
    });
  }
});
