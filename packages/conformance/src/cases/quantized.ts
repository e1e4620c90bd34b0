import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { between, data, FLOATS, row, shapesText } from "./define.ts";

/** Family of the products. */
const FAMILY = "products";

const LEVELS = { q8_0: 127, q4_0: 8 } as const;

/** Quantised weights: blocks of 32 with a scale that is a power of two, so that the reference knows their values. */
function quantizedRow(format: "q8_0" | "q4_0"): Row {
  const size = format === "q8_0" ? 34 : 18;
  const SCALE_BITS = 0x2000 + 0x0400; // 2^-6 as a binary16: exponent 9 of bias 15.
  const blocksFor = (seed: number, count: number): { bytes: Uint8Array; values: number[] } => {
    const bytes = new Uint8Array(count * size);
    const values: number[] = [];
    let state = seed;
    const next = (end: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 16) % end;
    };
    for (let block = 0; block < count; block++) {
      const start = block * size;
      bytes[start] = SCALE_BITS & 255;
      bytes[start + 1] = SCALE_BITS >> 8;
      const scale = 2 ** -6;
      const levels = Array.from({ length: 32 }, () => next(format === "q8_0" ? 255 : 16) - LEVELS[format]);
      levels.forEach((level, i) => {
        if (format === "q8_0") bytes[start + 2 + i] = level & 255;
        else bytes[start + 2 + (i % 16)]! |= (level + 8) << (i < 16 ? 0 : 4);
      });
      values.push(...levels.map((level) => level * scale));
    }
    return { bytes, values };
  };
  const instance = (lead: readonly number[], blocks: number, columns: number, seed: number): Instance => {
    const inner = blocks * 32;
    const { bytes, values } = blocksFor(seed, columns * blocks);
    return {
      label: shapesText([...lead, inner], [columns, inner]),
      operands: [data([...lead, inner])],
      chain: inner,
      run: ([x]) => nf.quantizedMatmul(x!, nf.quantizedFromBytes(bytes, [columns, inner], format)),
      reference: ([x]) =>
        reference.product(x!, reference.permute(reference.nd([columns, inner], values), [1, 0])),
    };
  };
  return row(FAMILY, {
    op: "quantizedMatmul",
    also: ["quantizedFromBytes"],
    uses: ["u8"],
    variant: format,
    kernels: ["matmul"],
    dtypes: FLOATS,
    tolerance: "composed",
    instances: [instance([2], 2, 3, 1), instance([], 1, 2, 2), instance([2, 2], 1, 1, 3)],
    arbitrary: fc
      .tuple(fc.array(between(1, 3), { maxLength: 2 }), between(1, 2), between(1, 4), fc.nat(999))
      .map(([lead, blocks, columns, seed]) => instance(lead, blocks, columns, seed)),
  });
}

function dequantizeRow(): Row {
  const instance = (format: "q8_0" | "q4_0", rows: number, seed: number): Instance => {
    const exact = Array.from({ length: rows * 32 }, (_, i) => (((i * 7 + seed) % 15) - 7) / 4);
    // The first value of each block has the greatest size, so that scale and levels come out exactly.
    exact.forEach((_, i) => {
      if (i % 32 === 0) exact[i] = format === "q8_0" ? 127 / 64 : -2;
    });
    const values = exact.map((value) => (format === "q8_0" ? Math.round(value * 64) / 64 : value));
    return {
      label: `${format} ${shapesText([rows, 32])}`,
      operands: [],
      run: (_inputs, dtype) =>
        nf.dequantize(nf.quantize(Float32Array.from(values), [rows, 32], format), { dtype }),
      reference: () => reference.nd([rows, 32], values),
    };
  };
  return row(FAMILY, {
    op: "dequantize",
    also: ["quantize"],
    uses: ["u8"],
    dtypes: FLOATS,
    order: 0,
    tolerance: "rounded",
    instances: [instance("q8_0", 2, 1), instance("q4_0", 3, 2)],
    arbitrary: fc
      .tuple(fc.constantFrom("q8_0" as const, "q4_0" as const), between(1, 3), fc.nat(50))
      .map(([format, rows, seed]) => instance(format, rows, seed)),
  });
}

/** Quantised weights. */
export function quantizedRows(): readonly Row[] {
  return [quantizedRow("q8_0"), quantizedRow("q4_0"), dequantizeRow()];
}
