import { BackendError, type Expr, findTwins, type Program } from "@nf/core";
import { CHEAP, COMPUTE_CODE, COST, FOREIGN, MOST_SLOTS, OPCODE } from "./opcodes.ts";

/** One instruction with its registers. */
export interface Instruction {
  readonly op: number;
  readonly from: number;
  readonly to: number;
  readonly dst: number;
  readonly args: readonly number[];
  readonly extra: number;
  readonly second: number;
}

/** A register that is the same for all points. */
export interface Scalar {
  readonly slot: number;
  readonly dtype: number;
  readonly param: number;
  readonly value: number;
}

/** A program as c/program.h lays it out, before it is written to memory. */
export interface Encoded {
  readonly instructions: readonly Instruction[];
  readonly scalars: readonly Scalar[];
  readonly slots: number;
  readonly firstScalar: number;
  readonly results: readonly number[];
  readonly lastRead: readonly boolean[];
  readonly cost: number;
}

/** Registers: slots of temporaries are reused once their value was read for the last time; those of results are not. */
class Slots {
  private readonly idle: number[] = [];
  private next: number;

  constructor(first: number) {
    this.next = first;
  }

  take(fresh: boolean): number {
    return (fresh ? undefined : this.idle.pop()) ?? this.next++;
  }

  give(slot: number): void {
    this.idle.push(slot);
  }

  get end(): number {
    return this.next;
  }
}

function isLeaf(expr: Expr): boolean {
  return expr.op === "input" || expr.op === "coordinate" || isScalar(expr);
}

function isScalar(expr: Expr): boolean {
  return expr.op === "const" || expr.op === "param";
}

/**
 * Gives each value of a program a register.
 * @throws BackendError where they are too many
 */
export function encode(program: Program): Encoded {
  const { inputs, coordinates, instructions: nodes, results } = program;
  const slotOf = new Map<Expr, number>();
  const firstTemporary = inputs.length + coordinates.length;
  const slots = new Slots(firstTemporary);
  const isResult = new Set(results);
  const lastUse = new Map<Expr, number>();
  nodes.forEach((expr, position) => {
    for (const arg of expr.args) lastUse.set(arg, position);
  });
  // Scalars come after the temporaries, whose number is known at the end: they are numbered from here until then.
  const SCALARS = 1 << 15;
  const scalars: Scalar[] = [];
  const instructions: Instruction[] = [];
  let cost = 0.05;
  const { twins, idle } = findTwins(program);
  let lastInputRead = -1;
  const writtenAt = new Map<Expr, number>();
  /** Temporaries whose last reader is this node. */
  const endingAt = (expr: Expr, position: number): readonly Expr[] =>
    [...new Set(expr.args)].filter(
      (arg) => !isLeaf(arg) && !isResult.has(arg) && lastUse.get(arg) === position,
    );
  nodes.forEach((expr, position) => {
    const dtype = COMPUTE_CODE[expr.dtype];
    if (idle.has(expr)) return;
    if (expr.op === "input") slotOf.set(expr, expr.value);
    else if (expr.op === "coordinate") slotOf.set(expr, inputs.length + coordinates.indexOf(expr.value));
    else if (isScalar(expr)) {
      const slot = SCALARS + scalars.length;
      slotOf.set(expr, slot);
      const param = expr.op === "param" ? expr.value : -1;
      scalars.push({ slot, dtype, param, value: expr.op === "const" ? expr.value : 0 });
    } else if (slotOf.has(expr)) {
      // It was computed with its twin. What it is made of may have no register.
      for (const arg of endingAt(expr, position)) if (!idle.has(arg)) slots.give(slotOf.get(arg) as number);
    } else {
      const args = expr.args.map((arg) => slotOf.get(arg) as number);
      if (expr.args.some((arg) => arg.op === "input")) lastInputRead = instructions.length;
      // A select works on what it chooses from, not on its condition.
      const from = COMPUTE_CODE[(expr.args[expr.op === "select" ? 1 : 0] as Expr).dtype];
      cost +=
        FOREIGN.has(expr.op) || (expr.dtype === "f64" && (COST[expr.op] ?? 0) > 1)
          ? 25
          : (COST[expr.op] ?? CHEAP);
      if (expr.op === "check") {
        const condition = expr.args[1] as Expr;
        instructions.push({
          op: OPCODE.get("check") as number,
          from: COMPUTE_CODE[condition.dtype],
          to: dtype,
          dst: args[0] as number,
          args: [args[1] as number],
          extra: expr.value,
          second: 0,
        });
      }
      // Being done element by element, an instruction may write where it reads, if the elements are equally wide.
      // One with a twin may not: threefry's operands are released with the second word, erfc's stay.
      const twin = twins.get(expr);
      const ending = twin === undefined ? endingAt(expr, position) : [];
      const isWide = expr.dtype === "f64";
      for (const arg of ending) if ((arg.dtype === "f64") === isWide) slots.give(slotOf.get(arg) as number);
      const dst = slots.take(isResult.has(expr));
      for (const arg of ending) if ((arg.dtype === "f64") !== isWide) slots.give(slotOf.get(arg) as number);
      slotOf.set(expr, dst);
      let second = 0;
      if (twin !== undefined) {
        second = slots.take(isResult.has(twin));
        slotOf.set(twin, second);
        writtenAt.set(twin, instructions.length);
      }
      writtenAt.set(expr, instructions.length);
      instructions.push({
        op: OPCODE.get(expr.op === "check" ? "move" : expr.op) as number,
        from,
        to: dtype,
        dst,
        args: expr.op === "check" ? args.slice(0, 1) : args,
        extra: twin === undefined ? expr.value : 2,
        second,
      });
    }
  });
  // A result that is a bare input is read when everything is done.
  if (results.some((result) => result.op === "input")) lastInputRead = instructions.length;
  const firstScalar = slots.end;
  if (firstScalar + scalars.length > MOST_SLOTS) {
    throw new BackendError(
      `wasm: the program ${program.name} needs ${firstScalar + scalars.length} registers, at most ${MOST_SLOTS} are possible here.`,
      "NF_UNSUPPORTED",
    );
  }
  const final = (slot: number): number => (slot >= SCALARS ? slot - SCALARS + firstScalar : slot);
  return {
    instructions: instructions.map((one) => ({
      ...one,
      dst: final(one.dst),
      args: one.args.map(final),
    })),
    scalars: scalars.map((one) => ({ ...one, slot: final(one.slot) })),
    slots: firstScalar + scalars.length,
    firstScalar,
    results: results.map((result) => final(slotOf.get(result) as number)),
    lastRead: results.map((result) => isLeaf(result) || (writtenAt.get(result) as number) >= lastInputRead),
    cost,
  };
}
