import type { Program } from "@nf/core";
import type { Engine } from "../engine.ts";
import { emit } from "./emit.ts";
import { type Encoded, encode } from "./encode.ts";
import { COMPUTE_CODE } from "./opcodes.ts";

const HEADER_WORDS = 16;
const COST_WORD = 7;
const INSTRUCTION_HALVES = 10;
const SCALAR_BYTES = 24;

/** Points after which a program is compiled: some milliseconds of work, ten times what compiling costs. */
const EMIT_AFTER = 1 << 20;

interface Entry {
  readonly address: number;
  points: number;
  /** What to emit once the program has proved to be used much. */
  candidate: Encoded | undefined;
}

/** Programs in the engine's memory, encoded once each. */
export class Programs {
  private readonly entries: (Entry | undefined)[] = [];
  private readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /**
   * Address of an encoded program.
   *
   * @param points how many points it is about to compute: a program that is used much becomes a function of its own
   */
  address(program: Program, points = 0): number {
    const entry = this.entries[program.id] ?? this.write(program);
    if (entry.candidate !== undefined) {
      entry.points += points;
      if (entry.points >= EMIT_AFTER) this.emit(program, entry);
    }
    return entry.address;
  }

  private emit({ inputs, coordinates }: Program, entry: Entry): void {
    const code = emit(entry.candidate as Encoded, inputs.length, coordinates.length);
    entry.candidate = undefined;
    const emitted = code === undefined ? undefined : this.engine.install(code);
    if (emitted === undefined) return;
    const { i32 } = this.engine;
    const word = entry.address >>> 2;
    i32[word + HEADER_WORDS - 1] = emitted;
    // What is faster is worth sharing later.
    const f32 = new Float32Array(i32.buffer, entry.address, HEADER_WORDS);
    f32[COST_WORD] = (f32[COST_WORD] as number) * 0.4;
  }

  private write(program: Program): Entry {
    const { engine } = this;
    const encoded = encode(program);
    const { inputs, coordinates, results } = program;
    const { instructions, scalars } = encoded;
    const lists = coordinates.length + 3 * results.length + inputs.length;
    const scalarBytes = scalars.length * SCALAR_BYTES;
    const instructionBytes = instructions.length * INSTRUCTION_HALVES * 2;
    const address = engine.reserve(HEADER_WORDS * 4 + scalarBytes + lists * 4 + instructionBytes);
    const { i32 } = engine;
    const f32 = new Float32Array(i32.buffer);
    const u16 = new Uint16Array(i32.buffer);
    const word = address >>> 2;
    const scalarsAt = address + HEADER_WORDS * 4;
    let at = scalarsAt + scalarBytes;
    const list = (values: readonly number[]): number => {
      const start = at;
      for (const value of values) {
        i32[at >>> 2] = value;
        at += 4;
      }
      return start;
    };
    i32.set(
      [
        inputs.length,
        results.length,
        coordinates.length,
        scalars.length,
        instructions.length,
        encoded.slots,
        encoded.firstScalar,
      ],
      word,
    );
    f32[word + COST_WORD] = encoded.cost;
    i32[word + 8] = list(coordinates);
    i32[word + 9] = list(encoded.results);
    i32[word + 10] = list(results.map(({ dtype }) => COMPUTE_CODE[dtype]));
    i32[word + 11] = list(inputs.map((dtype) => COMPUTE_CODE[dtype]));
    i32[word + 12] = list(encoded.lastRead.map(Number));
    i32[word + 13] = scalarsAt;
    i32[word + 14] = at;
    scalars.forEach(({ slot, dtype, param, value }, index) => {
      const start = scalarsAt + index * SCALAR_BYTES;
      i32.set([slot, dtype, param], start >>> 2);
      engine.f64[(start + 16) >>> 3] = value;
    });
    instructions.forEach(({ op, from, to, dst, args, extra, second }, index) => {
      const [a = 0, b = a, c = 0, d = 0] = args;
      u16.set([op, from, to, dst, a, b, c, d, extra, second], (at >>> 1) + index * INSTRUCTION_HALVES);
    });
    i32[word + HEADER_WORDS - 1] = 0;
    const entry = { address, points: 0, candidate: encoded };
    this.entries[program.id] = entry;
    return entry;
  }
}
