import type { Program } from "@nf/core";
import type { Binding } from "../binding.ts";
import { encode } from "./encode.ts";
import { COMPUTE_CODE } from "./opcodes.ts";

/** Programs of one engine, encoded and handed over once each. */
export class Programs {
  private readonly known: (Program | undefined)[] = [];
  private readonly binding: Binding;
  private readonly engine: number;

  constructor(binding: Binding, engine: number) {
    this.binding = binding;
    this.engine = engine;
  }

  /** The program's number in the engine. */
  number(program: Program): number {
    if (this.known[program.id] === undefined) this.register(program);
    return program.id;
  }

  /** The program with a number. */
  at(number: number): Program | undefined {
    return this.known[number];
  }

  private register(program: Program): void {
    this.binding.register(this.engine, program.id, Float64Array.from(wordsOf(program)));
    this.known[program.id] = program;
  }
}

/** A program as `Program::decode` in crates/kernels/src/program.rs reads it. */
export function wordsOf(program: Program): number[] {
  const { inputs, coordinates, results } = program;
  const { instructions, scalars, slots, firstScalar, cost, results: registers } = encode(program);
  const words = [
    inputs.length,
    results.length,
    coordinates.length,
    scalars.length,
    instructions.length,
    slots,
    firstScalar,
    cost,
    ...inputs.map((dtype) => COMPUTE_CODE[dtype]),
    ...coordinates,
    ...registers,
    ...results.map(({ dtype }) => COMPUTE_CODE[dtype]),
  ];
  for (const { slot, dtype, param, value } of scalars) words.push(slot, dtype, param, value);
  for (const { op, from, to, dst, args, extra, second } of instructions) {
    const [a = 0, b = a, c = a, d = a] = args;
    words.push(op, from, to, dst, a, b, c, d, extra, second);
  }
  return words;
}
