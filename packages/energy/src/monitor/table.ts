import type { DType } from "@nf/core";

/** What operations and memory traffic cost, in joules. */
export interface EnergyTable {
  /** Where the figures are from. */
  readonly source: string;
  /** A floating-point or integer operation, by dtype. What is not there is not known. */
  readonly perFlop: Readonly<Partial<Record<DType, number>>>;
  /** A byte read from memory, or written to it. */
  readonly perByte: number;
}

const PICO = 1e-12;

/** A multiplication and an addition come in pairs, so an operation costs the mean of both. */
const pair = (multiplication: number, addition: number): number => ((multiplication + addition) / 2) * PICO;

/**
 * A chip of 45 nm at 0.9 V: M. Horowitz, "Computing's Energy Problem (and what we can do about it)", ISSCC 2014,
 * figure 1.1.9. Multiplication and addition take 3.7 and 0.9 pJ in f32, 1.1 and 0.4 in f16, 3.1 and 0.1 in i32, 0.2 and 0.03 in
 * i8; 64 bits of DRAM take 1.3 nJ at least. Arithmetic alone: no fetching, decoding and scheduling of instructions,
 * no caches, no leakage. It ranks layers and models; a processor takes many times as much.
 */
export const CHIP_45NM: EnergyTable = {
  source: "M. Horowitz, Computing's Energy Problem, ISSCC 2014 (45 nm, 0.9 V; DRAM at 1.3 nJ a 64-bit word)",
  perFlop: {
    f32: pair(3.7, 0.9),
    f16: pair(1.1, 0.4),
    i32: pair(3.1, 0.1),
    i8: pair(0.2, 0.03),
  },
  perByte: (1300 * PICO) / 8,
};
