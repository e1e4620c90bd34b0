import { ByteWriter } from "./binary.ts";
import { FunctionBody, I32, SIMD, V128 } from "./code.ts";
import type { Encoded, Instruction } from "./encode.ts";
import { COMPUTE_CODE, OPCODES } from "./opcodes.ts";
import { emitThreefry } from "./threefry.ts";

const { f32: F, f64: D, i32: S, u32: U, bool: B } = COMPUTE_CODE;
const ONE = 0x3f800000;
const MINUS_ONE = 0xbf800000 | 0;
const INFINITE = 0x7f800000;

/** Fewest instructions that are worth a function: it saves the way through memory between one and the next. */
const FEWEST = 2;

/** Instructions on two operands, by operation and dtype of the operands. */
const BINARY: Readonly<Record<string, Readonly<Record<number, readonly number[]>>>> = {
  add: { [F]: [SIMD.addF], [S]: [SIMD.addI], [U]: [SIMD.addI] },
  sub: { [F]: [SIMD.subF], [S]: [SIMD.subI], [U]: [SIMD.subI] },
  mul: { [F]: [SIMD.mulF], [S]: [SIMD.mulI], [U]: [SIMD.mulI] },
  div: { [F]: [SIMD.divF] },
  max: { [F]: [SIMD.maxF], [S]: [SIMD.maxS], [U]: [SIMD.maxU] },
  min: { [F]: [SIMD.minF], [S]: [SIMD.minS], [U]: [SIMD.minU] },
  and: { [S]: [SIMD.and], [U]: [SIMD.and], [B]: [SIMD.and] },
  or: { [S]: [SIMD.or], [U]: [SIMD.or], [B]: [SIMD.or] },
  xor: { [S]: [SIMD.xor], [U]: [SIMD.xor], [B]: [SIMD.xor] },
  eq: { [F]: [SIMD.eqF], [S]: [SIMD.eqI], [U]: [SIMD.eqI], [B]: [SIMD.xor, SIMD.not] },
  ne: { [F]: [SIMD.neF], [S]: [SIMD.neI], [U]: [SIMD.neI], [B]: [SIMD.xor] },
  lt: { [F]: [SIMD.ltF], [S]: [SIMD.ltS], [U]: [SIMD.ltU] },
  le: { [F]: [SIMD.leF], [S]: [SIMD.leS], [U]: [SIMD.leU] },
};

/** Instructions on one operand. */
const UNARY: Readonly<Record<string, Readonly<Record<number, readonly number[]>>>> = {
  neg: { [F]: [SIMD.negF], [S]: [SIMD.negI], [U]: [SIMD.negI] },
  abs: { [F]: [SIMD.absF], [S]: [SIMD.absI], [U]: [] },
  sqrt: { [F]: [SIMD.sqrt] },
  floor: { [F]: [SIMD.floor] },
  ceil: { [F]: [SIMD.ceil] },
  round: { [F]: [SIMD.nearest] },
  trunc: { [F]: [SIMD.trunc] },
  not: { [S]: [SIMD.not], [U]: [SIMD.not], [B]: [SIMD.not] },
  move: { [F]: [], [S]: [], [U]: [], [B]: [] },
  bitcast: { [F]: [], [S]: [], [U]: [] },
};

/** What emitting needs to know while it walks the instructions. */
interface Emitter {
  readonly body: FunctionBody;
  /** Puts the value of a slot on the stack. */
  value(slot: number): void;
  /** Address of a scalar's values, to read it as one integer. */
  scalarAddress(slot: number): number | undefined;
}

/**
 * A module with one function `run(slots, count)` that does what the block interpreter does with a program, four points
 * at a time and without going through memory for what lies between, to the same bits.
 *
 * @returns undefined for programs that the interpreter does as well (one operation; exp and its kin, which decide there),
 * and for those with what is not emitted: f64, checks, functions that JavaScript computes
 */
export function emit(encoded: Encoded, inputs: number, coordinates: number): Uint8Array | undefined {
  if (encoded.instructions.length < FEWEST) return undefined;
  const body = new FunctionBody(2);
  const [slots, count] = [0, 1];
  const at = body.local(I32);
  const end = body.local(I32);
  const addresses = new Map<number, number>();
  const address = (slot: number): number => {
    const local = body.local(I32);
    body
      .get(slots)
      .code.raw(0x28, 2)
      .unsigned(slot * 4);
    body.set(local);
    addresses.set(slot, local);
    return local;
  };
  const read = new Set(encoded.instructions.flatMap(({ args }) => args));
  const firstTemporary = inputs + coordinates;
  const { firstScalar } = encoded;
  const values = new Map<number, number>();
  for (const { slot, dtype } of encoded.scalars) {
    if (!read.has(slot)) continue;
    if (dtype === D) return undefined;
    const local = body.local(V128);
    body.get(address(slot)).memory(SIMD.load32Splat).set(local);
    values.set(slot, local);
  }
  const results = [...new Set(encoded.results)].filter(
    (slot) => slot >= firstTemporary && slot < firstScalar,
  );
  for (let slot = 0; slot < firstTemporary; slot++) if (read.has(slot)) address(slot);
  for (const slot of results) address(slot);
  // end = (count + 3) / 4 * 16
  body.get(count).int(3).code.raw(0x6a);
  body.int(2).code.raw(0x76);
  body.int(4).code.raw(0x74);
  body.set(end);
  body.code.raw(0x03, 0x40);
  for (let slot = 0; slot < firstTemporary; slot++) {
    if (!read.has(slot)) continue;
    const local = body.local(V128);
    body.get(addresses.get(slot) as number, at).code.raw(0x6a);
    body.memory(SIMD.load).set(local);
    values.set(slot, local);
  }
  const emitter: Emitter = {
    body,
    value: (slot) => void body.get(values.get(slot) as number),
    scalarAddress: (slot) => (slot >= firstScalar ? addresses.get(slot) : undefined),
  };
  for (const instruction of encoded.instructions) {
    if (instruction.from === D || instruction.to === D) return undefined;
    const words = emitInstruction(emitter, instruction);
    if (words === undefined) return undefined;
    // What was pushed last is on top of the stack.
    const targets = words === 2 ? [instruction.second, instruction.dst] : [instruction.dst];
    for (const slot of targets) {
      const local = body.local(V128);
      body.set(local);
      values.set(slot, local);
    }
  }
  for (const slot of results) {
    body.get(addresses.get(slot) as number, at).code.raw(0x6a);
    body.get(values.get(slot) as number).memory(SIMD.store);
  }
  body.get(at).int(16).code.raw(0x6a, 0x22).unsigned(at);
  body.get(end).code.raw(0x49, 0x0d, 0x00, 0x0b);
  return moduleAround(body);
}

/** Puts an instruction's results on the stack; their number, or undefined for what is not emitted. */
function emitInstruction(emitter: Emitter, instruction: Instruction): number | undefined {
  const { body, value } = emitter;
  const { from, to, args, extra } = instruction;
  const [a = 0, b = 0, c = 0] = args;
  const op = OPCODES[instruction.op] as (typeof OPCODES)[number];
  const binary = BINARY[op]?.[from];
  if (binary !== undefined) {
    value(a);
    value(b);
    for (const code of binary) body.simd(code);
    return 1;
  }
  const unary = UNARY[op]?.[from];
  if (unary !== undefined) {
    value(a);
    for (const code of unary) body.simd(code);
    return 1;
  }
  switch (op) {
    case "select":
      value(b);
      value(c);
      value(a);
      body.simd(SIMD.bitselect);
      return 1;
    case "lt":
    case "le":
      // Masks: false is less than true.
      value(a);
      body.simd(SIMD.not);
      value(b);
      body.simd(op === "lt" ? SIMD.and : SIMD.or);
      return 1;
    case "isNaN":
      value(a);
      value(a);
      body.simd(SIMD.neF);
      return 1;
    case "isInf":
      value(a);
      body.simd(SIMD.absF).lanes(INFINITE).simd(SIMD.eqF);
      return 1;
    case "sign": {
      if (from !== F) return undefined;
      // x > 0 ? 1 : x < 0 ? -1 : x
      body.lanes(ONE).lanes(MINUS_ONE);
      value(a);
      value(a);
      body.lanes(0).simd(SIMD.ltF).simd(SIMD.bitselect);
      value(a);
      body.lanes(0).simd(SIMD.gtF).simd(SIMD.bitselect);
      return 1;
    }
    case "shl":
    case "shr": {
      // Counts that differ from point to point have no instruction.
      const by = emitter.scalarAddress(b);
      if (by === undefined) return undefined;
      value(a);
      body.get(by).code.raw(0x28, 2, 0);
      body.simd(op === "shl" ? SIMD.shl : from === S ? SIMD.shrS : SIMD.shrU);
      return 1;
    }
    case "cast":
      value(a);
      emitCast(body, from, to);
      return 1;
    case "threefry":
      emitThreefry(body, args, value, extra);
      return extra === 2 ? 2 : 1;
    default:
      return undefined;
  }
}

function emitCast(body: FunctionBody, from: number, to: number): void {
  if (from === to) return;
  if (to === B) body.lanes(0).simd(from === F ? SIMD.neF : SIMD.neI);
  else if (from === B) {
    body.lanes(1).simd(SIMD.and);
    if (to === F) body.simd(SIMD.convertS);
  } else if (to === F) body.simd(from === S ? SIMD.convertS : SIMD.convertU);
  else if (from === F) body.simd(to === S ? SIMD.truncS : SIMD.truncU);
}

function moduleAround(body: FunctionBody): Uint8Array {
  const types = new ByteWriter().unsigned(1).raw(0x60, 2, I32, I32, 0);
  // Shared memory of at most 65,536 pages.
  const imports = new ByteWriter().unsigned(1).name("env").name("memory");
  imports.raw(0x02, 0x03).unsigned(1).unsigned(65_536);
  const declared = new ByteWriter().unsigned(1).unsigned(0);
  const exported = new ByteWriter().unsigned(1).name("run").raw(0x00).unsigned(0);
  const code = new ByteWriter().unsigned(1).sized(body.finish());
  return new ByteWriter()
    .raw(0, 97, 115, 109, 1, 0, 0, 0)
    .section(1, types)
    .section(2, imports)
    .section(3, declared)
    .section(7, exported)
    .section(10, code)
    .finish();
}
