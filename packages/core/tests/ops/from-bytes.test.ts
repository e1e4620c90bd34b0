import { cpu } from "@nf/backend-cpu";
import { describe, expect, it } from "vitest";
import { add, DTypeError, fromBytes, fromData, memory, ShapeError, use } from "../../src/index.ts";

const bytesOf = (array: Float32Array | Float64Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

describe("fromBytes", () => {
  it("holds the elements that the bytes are, of every float dtype", async () => {
    const backend = await use(cpu());
    const cases = [
      [
        "f32",
        bytesOf(Float32Array.of(1, -2.5, 1e-40, Number.NaN)),
        [1, -2.5, Math.fround(1e-40), Number.NaN],
      ],
      ["f64", bytesOf(Float64Array.of(1, 1e300, -0, 0.1)), [1, 1e300, -0, 0.1]],
      ["f16", bytesOf(Uint16Array.of(0x3c00, 0xc100, 0x7c00, 0x0001)), [1, -2.5, Infinity, 2 ** -24]],
      ["bf16", bytesOf(Uint16Array.of(0x3f80, 0xc020, 0xff80, 0x0001)), [1, -2.5, -Infinity, 2 ** -133]],
    ] as const;
    for (const [dtype, bytes, want] of cases) {
      const x = fromBytes(bytes, [2, 2], { dtype, backend });
      expect([x.dtype, x.shape]).toEqual([dtype, [2, 2]]);
      expect(Array.from(await x.data()), dtype).toEqual(want);
      x.dispose();
    }
    expect(memory(backend).liveTensors).toBe(0);
  });

  it("copies bytes that lie anywhere, and is a tensor like others", async () => {
    await use(cpu());
    const odd = new Uint8Array(9).subarray(1);
    odd.set(bytesOf(Float32Array.of(3, 4)));
    const x = fromBytes(odd, [2], { requiresGrad: true });
    odd.fill(0);
    const y = add(x, fromData(Float32Array.of(1, 1), [2]));
    y.backward(fromData(Float32Array.of(1, 2), [2]));
    expect(Array.from(await y.data())).toEqual([4, 5]);
    expect(Array.from((await x.grad?.data()) ?? [])).toEqual([1, 2]);
    expect(fromBytes(new Uint8Array(0), [0, 3]).shape).toEqual([0, 3]);
  });

  it("refuses what does not fit", async () => {
    await use(cpu());
    expect(() => fromBytes(new Uint8Array(7), [2])).toThrow(ShapeError);
    expect(() => fromBytes(new Uint8Array(7), [2], { dtype: "bf16" })).toThrow(
      /bf16 \[2\] takes 4 bytes, got 7/,
    );
    expect(() => fromBytes(new Uint8Array(8), [2], { dtype: "i32" })).toThrow(DTypeError);
    expect(() => fromBytes(new Float32Array(2) as never, [2])).toThrow(DTypeError);
    expect(() => fromBytes(new Uint8Array(8), [2], { type: "f32" } as object)).toThrow(
      /unknown option "type"/,
    );
  });
});
