import { ByteWriter } from "./binary.ts";

/** Numbers of the SIMD instructions that emitted code uses, behind the prefix 0xfd. */
export const SIMD = {
  load: 0,
  load32Splat: 9,
  store: 11,
  constant: 12,
  splat: 17,
  eqI: 55,
  neI: 56,
  ltS: 57,
  ltU: 58,
  leS: 61,
  leU: 62,
  eqF: 65,
  neF: 66,
  ltF: 67,
  gtF: 68,
  leF: 69,
  not: 77,
  and: 78,
  or: 80,
  xor: 81,
  bitselect: 82,
  ceil: 103,
  floor: 104,
  trunc: 105,
  nearest: 106,
  absI: 160,
  negI: 161,
  shl: 171,
  shrS: 172,
  shrU: 173,
  addI: 174,
  subI: 177,
  mulI: 181,
  minS: 182,
  minU: 183,
  maxS: 184,
  maxU: 185,
  absF: 224,
  negF: 225,
  sqrt: 227,
  addF: 228,
  subF: 229,
  mulF: 230,
  divF: 231,
  minF: 232,
  maxF: 233,
  truncS: 248,
  truncU: 249,
  convertS: 250,
  convertU: 251,
} as const;

/** Types of locals. */
export const I32 = 0x7f;
/** Four lanes of 32 bits. */
export const V128 = 0x7b;

/** The body of one function: instructions, and locals handed out as they are needed. */
export class FunctionBody {
  readonly code: ByteWriter = new ByteWriter();
  private readonly locals: number[] = [];
  private readonly parameters: number;

  constructor(parameters: number) {
    this.parameters = parameters;
  }

  /** A new local variable. */
  local(type: number): number {
    this.locals.push(type);
    return this.parameters + this.locals.length - 1;
  }

  get(...locals: readonly number[]): this {
    for (const local of locals) this.code.raw(0x20).unsigned(local);
    return this;
  }

  set(local: number): this {
    this.code.raw(0x21).unsigned(local);
    return this;
  }

  int(value: number): this {
    this.code.raw(0x41).signed(value);
    return this;
  }

  /** A SIMD instruction without operands of its own. */
  simd(instruction: number): this {
    this.code.raw(0xfd).unsigned(instruction);
    return this;
  }

  /** Reads or writes memory at any alignment: `load`, `load32Splat`, `store`. */
  memory(instruction: number, offset = 0): this {
    this.simd(instruction).code.unsigned(0).unsigned(offset);
    return this;
  }

  /** Four lanes of the same 32 bits. */
  lanes(bits: number): this {
    return this.int(bits).simd(SIMD.splat);
  }

  /** The body with its locals declared, as the code section wants it. */
  finish(): ByteWriter {
    const body = new ByteWriter().unsigned(this.locals.length);
    for (const type of this.locals) body.unsigned(1).raw(type);
    const whole = new ByteWriter();
    for (const byte of body.finish()) whole.raw(byte);
    for (const byte of this.code.finish()) whole.raw(byte);
    return whole.raw(0x0b);
  }
}
