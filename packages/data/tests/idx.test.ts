import { deflateRawSync, gzipSync } from "node:zlib";
import { NanoFluxError } from "@nf/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readIdx } from "../src/index.ts";

const RUNS = process.env["NF_NIGHTLY"] === "1" ? 10_000 : 200;

const TYPES = [
  {
    code: 0x08,
    make: Uint8Array,
    write: (view: DataView, at: number, value: number) => view.setUint8(at, value),
  },
  {
    code: 0x09,
    make: Int8Array,
    write: (view: DataView, at: number, value: number) => view.setInt8(at, value),
  },
  {
    code: 0x0b,
    make: Int16Array,
    write: (view: DataView, at: number, value: number) => view.setInt16(at, value),
  },
  {
    code: 0x0c,
    make: Int32Array,
    write: (view: DataView, at: number, value: number) => view.setInt32(at, value),
  },
  {
    code: 0x0d,
    make: Float32Array,
    write: (view: DataView, at: number, value: number) => view.setFloat32(at, value),
  },
  {
    code: 0x0e,
    make: Float64Array,
    write: (view: DataView, at: number, value: number) => view.setFloat64(at, value),
  },
] as const;

type Type = (typeof TYPES)[number];

function encode(type: Type, shape: readonly number[], values: readonly number[]): Uint8Array {
  const width = type.make.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(4 + 4 * shape.length + values.length * width);
  const view = new DataView(bytes.buffer);
  bytes[2] = type.code;
  bytes[3] = shape.length;
  shape.forEach((length, axis) => {
    view.setUint32(4 + 4 * axis, length);
  });
  values.forEach((value, i) => {
    type.write(view, 4 + 4 * shape.length + i * width, value);
  });
  return bytes;
}

function header(code: number, shape: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length);
  bytes[2] = code;
  bytes[3] = shape.length;
  shape.forEach((length, axis) => {
    new DataView(bytes.buffer).setUint32(4 + 4 * axis, length);
  });
  return bytes;
}

const u8 = TYPES[0];
const failure = (bytes: Uint8Array, maxBytes?: number): Promise<NanoFluxError> =>
  readIdx(bytes, maxBytes === undefined ? {} : { maxBytes }).then(
    () => expect.fail("was accepted"),
    (error: unknown) => {
      expect(error).toBeInstanceOf(NanoFluxError);
      return error as NanoFluxError;
    },
  );

const idxFile = fc.constantFrom(...TYPES).chain((type) =>
  fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 5 }).chain((shape) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return fc
      .array(fc.integer({ min: -1000, max: 1000 }), { minLength: size, maxLength: size })
      .map((values) => ({ type, shape, values }));
  }),
);

describe("readIdx", () => {
  it("reads every element type, plain and gzipped, into native order", async () => {
    await fc.assert(
      fc.asyncProperty(idxFile, fc.boolean(), async ({ type, shape, values }, zipped) => {
        const bytes = encode(type, shape, values);
        const { data, shape: got } = await readIdx(zipped ? new Uint8Array(gzipSync(bytes)) : bytes);
        expect(data).toBeInstanceOf(type.make);
        expect(got).toEqual(shape);
        expect(data).toEqual(type.make.from(values));
      }),
      { numRuns: RUNS },
    );
  });

  it("reads a file whose bytes are known", async () => {
    const bytes = Uint8Array.of(0, 0, 0x0b, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0x01, 0x02, 0xff, 0xfe, 0x7f, 0xff);
    const { data, shape } = await readIdx(bytes.buffer);
    expect(data).toEqual(Int16Array.of(258, -2, 32767));
    expect(shape).toEqual([1, 3]);
  });

  it("gives memory of its own", async () => {
    const bytes = encode(u8, [2], [1, 2]);
    const { data } = await readIdx(bytes);
    bytes.fill(9);
    expect(data).toEqual(Uint8Array.of(1, 2));
  });

  it("answers random bytes with NF_DATA, or reads them within the limit", async () => {
    const start = fc.constantFrom<number[]>(
      [],
      [0, 0],
      [0, 0, 8, 1],
      [0, 0, 0x0e, 2],
      [0x1f, 0x8b],
      [0x1f, 0x8b, 8, 0],
    );
    await fc.assert(
      fc.asyncProperty(start, fc.uint8Array({ maxLength: 300 }), async (prefix, rest) => {
        const bytes = Uint8Array.of(...prefix, ...rest);
        try {
          const { data } = await readIdx(bytes, { maxBytes: 4096 });
          expect(data.byteLength).toBeLessThanOrEqual(4096);
        } catch (error) {
          expect(error).toMatchObject({ code: "NF_DATA" });
        }
      }),
      { numRuns: RUNS * 2 },
    );
  });

  it("catches every flipped bit of a gzip file's body, and every cut", async () => {
    const values = Array.from({ length: 64 }, (_, i) => (i * 37) % 251);
    const file = new Uint8Array(gzipSync(encode(u8, [8, 8], values)));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 10, max: file.length - 1 }), fc.nat(7), async (at, bit) => {
        const broken = file.slice();
        broken[at] = (broken[at] as number) ^ (1 << bit);
        expect((await failure(broken)).code).toBe("NF_DATA");
      }),
      { numRuns: RUNS },
    );
    for (let length = 0; length < file.length; length++) {
      expect((await failure(file.slice(0, length))).code).toBe("NF_DATA");
    }
  });

  it("refuses a declared size over the limit before allocating it", async () => {
    const huge = header(0x0e, [0xffffffff, 0xffffffff, 0xffffffff]);
    const error = await failure(huge);
    expect(error.code).toBe("NF_DATA");
    expect(error.message).toContain("[4294967295, 4294967295, 4294967295]");
    expect(error.message).toContain("maxBytes");
    expect((await failure(encode(u8, [5], [1, 2, 3, 4, 5]), 4)).message).toContain("over the limit of 4");
    await expect(readIdx(encode(u8, [5], [1, 2, 3, 4, 5]), { maxBytes: 5 })).resolves.toBeDefined();
  });

  it("refuses a size that the bytes at hand cannot hold, before allocating it", async () => {
    const before = process.memoryUsage().arrayBuffers;
    const plain = await failure(header(0x08, [60_000_000]));
    expect(plain.message).toContain("truncated");
    const zipped = await failure(new Uint8Array(gzipSync(header(0x08, [60_000_000]))));
    expect(zipped.message).toContain("truncated");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
  });

  it("stops inflating a bomb one byte past the declared size", async () => {
    const bomb = new Uint8Array(gzipSync(Buffer.concat([header(0x08, [10]), Buffer.alloc(100_000_000)])));
    const before = process.memoryUsage().arrayBuffers;
    const started = performance.now();
    const error = await failure(bomb);
    expect(error.message).toContain("goes on after the 10 bytes");
    expect(performance.now() - started).toBeLessThan(3000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000);
  });

  it("takes dimensions of zero, whatever the others say", async () => {
    const shape = [...Array.from({ length: 40 }, () => 0xffffffff), 0];
    const { data, shape: got } = await readIdx(header(0x0e, shape));
    expect(data).toEqual(new Float64Array(0));
    expect(got).toEqual(shape);
  });

  it.each([
    ["an empty file", new Uint8Array(0), "truncated"],
    ["a text", new TextEncoder().encode("<html>404</html>"), "3c 68 74 6d"],
    ["an unknown element type", header(0x0a, [1]), "00 00 0a 01"],
    ["bytes after the end", Uint8Array.of(...encode(u8, [1], [7]), 0), "goes on after"],
    ["missing bytes", encode(u8, [3], [1, 2]), "truncated"],
    ["a gzip file of nothing", new Uint8Array(gzipSync("")), "truncated"],
    ["deflate without gzip", new Uint8Array(deflateRawSync(encode(u8, [1], [1]))), "no IDX file"],
  ])("refuses %s and says why", async (_, bytes, text) => {
    const error = await failure(bytes);
    expect(error.code).toBe("NF_DATA");
    expect(error.message).toContain(text);
  });

  it("refuses options and inputs it does not know", async () => {
    await expect(readIdx(encode(u8, [1], [1]), { maxBytes: -1 })).rejects.toMatchObject({
      code: "NF_OPTION",
    });
    await expect(
      readIdx(new Uint8Array(0), Object.assign({ maxBytes: 1 }, { limit: 1 })),
    ).rejects.toMatchObject({
      code: "NF_OPTION",
    });
    const text: unknown = "bytes";
    await expect(readIdx(text as Uint8Array)).rejects.toMatchObject({ code: "NF_OPTION" });
  });
});
