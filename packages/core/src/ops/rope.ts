import { gradientsEnabled } from "../autograd/tape.ts";
import type { Backend } from "../backend/backend.ts";
import { sameShape, showShape } from "../backend/geometry.ts";
import { DTYPES, type DType, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError } from "../errors.ts";
import { hostArray } from "../tensor/host.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite, together } from "./apply.ts";
import { add, mul, sub } from "./binary.ts";
import { resolveCreate, upload } from "./create.ts";
import { runFused } from "./fused.ts";
import type { Op } from "./op.ts";
import { checkChoice, checkFloat, checkInteger, checkNumber, checkOptions, show } from "./options.ts";
import { concat, stack } from "./place.ts";
import { castTo } from "./select.ts";
import { reshape, slice } from "./shape.ts";
import { neg } from "./unary.ts";

/** How frequencies are stretched so that a model reads longer texts than it was trained on. */
export type RopeScaling =
  /** Positions divided by `factor`. Chen et al. 2023, arXiv:2306.15595. */
  | { readonly type: "linear"; readonly factor: number }
  /** Llama 3.1: low frequencies are divided by `factor`, high ones stay, between them it goes over smoothly. */
  | {
      readonly type: "llama3";
      readonly factor: number;
      /** Waves longer than the original context over this are low; default 1. */
      readonly lowFrequencyFactor?: number;
      /** Waves shorter than the original context over this are high; default 4. */
      readonly highFrequencyFactor?: number;
      /** Context that the model was trained on; default 8192. */
      readonly originalContext?: number;
    };

/** What angles follow from. */
export interface RopeFrequencies {
  /** Base of the wavelengths; default 10000. */
  readonly base?: number;
  readonly scaling?: RopeScaling;
}

/** Options of {@link ropeTables}. */
export interface RopeTableOptions extends RopeFrequencies {
  /** Position of the first row; default 0. */
  readonly offset?: number;
  /** Default f32. */
  readonly dtype?: DType;
  readonly backend?: Backend;
}

/** Cosines and sines of the angles, `[positions, headDim / 2]` each. */
export interface RopeTables {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Options of {@link rope}. */
export interface RopeOptions extends RopeFrequencies {
  /** Position of x's first row: the number of positions in a cache; default 0. */
  readonly offset?: number;
  /** Whether pairs are neighbours (GPT-J, Llama as published); default false: element i goes with i + headDim / 2. */
  readonly interleaved?: boolean;
  /** Tables from position 0 on, made once with {@link ropeTables}; instead of `base` and `scaling`. */
  readonly tables?: RopeTables;
}

interface RopeAttributes {
  readonly interleaved: boolean;
  /** Whether it rotates back. */
  readonly inverse: boolean;
}

/** Inputs x `[…, positions, headDim]`, cos and sin. Linear in x: its derivative rotates back. */
const ROPE: Op<RopeAttributes> = {
  name: "rope",
  forward(inputs, { interleaved, inverse }, device) {
    const [x, ...tables] = inputs as readonly [Tensor, Tensor, Tensor];
    // The derivative below leaves out the tables; where theirs is wanted, the decomposition has it.
    if (gradientsEnabled() && tables.some((table) => table.requiresGrad)) return undefined;
    const { shape, dtype } = x;
    return runFused(device, "rope", { kernel: "rope", attributes: { interleaved, inverse } }, inputs, [
      { shape, dtype },
    ]);
  },
  decompose(inputs, { interleaved, inverse }) {
    const [x, cos, sines] = inputs as readonly [Tensor, Tensor, Tensor];
    const sin = inverse ? neg(sines) : sines;
    const wide = castTo(x, cos.dtype);
    const half = (x.shape.at(-1) as number) / 2;
    const lead = x.shape.slice(0, -1);
    const whole = lead.map(() => null);
    const pairs = interleaved ? reshape(wide, [...lead, half, 2]) : wide;
    const first = interleaved ? slice(pairs, ...whole, null, 0) : slice(pairs, ...whole, [0, half]);
    const second = interleaved ? slice(pairs, ...whole, null, 1) : slice(pairs, ...whole, [half, 2 * half]);
    const turned = [sub(mul(first, cos), mul(second, sin)), add(mul(second, cos), mul(first, sin))];
    const joined = interleaved ? reshape(stack(turned, -1), x.shape) : concat(turned, -1);
    return [castTo(joined, x.dtype)];
  },
  gradient: {
    save: ([, cos, sin]) => [cos as Tensor, sin as Tensor],
    vjp: ({ saved, gradients: [g], attributes: { interleaved, inverse } }) =>
      apply(ROPE, [g as Tensor, ...saved], { interleaved, inverse: !inverse }),
  },
};

/** Angle that each pair of a head turns by from one position to the next, in radians. */
export function ropeFrequencies(headDim: number, options: RopeFrequencies = {}): readonly number[] {
  checkOptions("ropeFrequencies", options, ["base", "scaling"]);
  return frequenciesOf("ropeFrequencies", headDim, options);
}

function frequenciesOf(
  op: string,
  headDim: number,
  { base = 10000, scaling }: RopeFrequencies,
): readonly number[] {
  checkHeadDim(op, headDim);
  checkNumber(op, "base", base, Number.MIN_VALUE, Number.MAX_VALUE);
  const plain = Array.from({ length: headDim / 2 }, (_, pair) => base ** ((-2 * pair) / headDim));
  return scaling === undefined ? plain : scaled(op, plain, scaling);
}

const SCALING_OPTIONS = ["type", "factor", "lowFrequencyFactor", "highFrequencyFactor", "originalContext"];

function scaled(op: string, frequencies: readonly number[], scaling: RopeScaling): readonly number[] {
  checkOptions(`${op}: scaling`, scaling ?? null, SCALING_OPTIONS);
  checkChoice(op, "scaling.type", scaling.type, ["linear", "llama3"]);
  const { factor } = scaling;
  checkNumber(op, "scaling.factor", factor, 1, Number.MAX_VALUE);
  if (scaling.type === "linear") {
    checkOptions(`${op}: scaling`, scaling, ["type", "factor"]);
    return frequencies.map((frequency) => frequency / factor);
  }
  const { lowFrequencyFactor: low = 1, highFrequencyFactor: high = 4, originalContext = 8192 } = scaling;
  for (const [name, value] of Object.entries({ low, high, originalContext })) checkNumber(op, name, value);
  if (!(low > 0 && high > low && originalContext > 0)) {
    throw new OptionError(
      `${op}: scaling needs 0 < lowFrequencyFactor < highFrequencyFactor and originalContext > 0, got ${low}, ${high} and ${originalContext}.`,
    );
  }
  return frequencies.map((frequency) => {
    const turns = (originalContext * frequency) / (2 * Math.PI);
    const share = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return share * frequency + ((1 - share) * frequency) / factor;
  });
}

function checkHeadDim(op: string, headDim: number): void {
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0)
    throw new ShapeError(
      `${op}: headDim must be an even number of elements, at least 2, got ${show(headDim)}.`,
    );
}

/**
 * Cosines and sines of `positions` positions, for {@link rope}. Make them once for the longest text and pass them as
 * `tables`. Computed in float64 on the host.
 */
export function ropeTables(positions: number, headDim: number, options: RopeTableOptions = {}): RopeTables {
  checkOptions("ropeTables", options, ["base", "scaling", "offset", "dtype", "backend"]);
  return tablesOf("ropeTables", positions, headDim, options);
}

function tablesOf(op: string, positions: number, headDim: number, options: RopeTableOptions): RopeTables {
  const { base, scaling, offset = 0, ...create } = options;
  const { device, dtype } = resolveCreate(op, create, "f32");
  if (!isFloat(dtype)) throw new DTypeError(`${op}: needs a float dtype, got ${dtype}.`);
  checkInteger(op, "positions", positions, 0);
  checkInteger(op, "offset", offset, 0);
  const frequencies = frequenciesOf(op, headDim, options);
  const half = frequencies.length;
  const [cos, sin] = [hostArray(dtype, positions * half), hostArray(dtype, positions * half)];
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = (position + offset) * (frequencies[pair] as number);
      cos[position * half + pair] = Math.cos(angle);
      sin[position * half + pair] = Math.sin(angle);
    }
  }
  const shape = [positions, half];
  return {
    cos: upload(op, device, cos, shape, dtype),
    sin: upload(op, device, sin, shape, dtype),
  };
}

/** The rows of tables that belong to x, in the dtype it is computed in. */
function tablesFor(x: Tensor, { tables, offset = 0, base, scaling }: RopeOptions): RopeTables {
  const [positions, headDim] = x.shape.slice(-2) as [number, number];
  const dtype = DTYPES[x.dtype].compute;
  if (tables === undefined) {
    return tablesOf("rope", positions, headDim, {
      offset,
      dtype,
      backend: x.backend,
      ...(base !== undefined && { base }),
      ...(scaling !== undefined && { scaling }),
    });
  }
  if (base !== undefined || scaling !== undefined)
    throw new OptionError(
      "rope: base and scaling are already in the tables. Give them to ropeTables instead.",
    );
  const { cos, sin } = tables;
  const rows = cos.shape[0] as number;
  if (
    cos.rank !== 2 ||
    !sameShape(cos.shape, sin.shape) ||
    cos.shape[1] !== headDim / 2 ||
    rows < offset + positions
  ) {
    throw new ShapeError(
      `rope: tables of cos ${showShape(cos.shape)} and sin ${showShape(sin.shape)} do not fit x ${showShape(x.shape)} at offset ${offset}: ` +
        `both must be [positions, ${headDim / 2}] with at least ${offset + positions} positions.`,
    );
  }
  const range = [offset, offset + positions] as const;
  return { cos: castTo(slice(cos, range), dtype), sin: castTo(slice(sin, range), dtype) };
}

/**
 * Rotary positions: turns each pair of elements of x `[…, positions, headDim]` by an angle that grows with the position.
 * Su et al. 2021, arXiv:2104.09864.
 */
export function rope(x: Tensor, options: RopeOptions = {}): Tensor {
  checkOptions("rope", options, ["base", "scaling", "offset", "interleaved", "tables"]);
  checkFloat("rope", x);
  if (x.rank < 2)
    throw new ShapeError(`rope: expected x […, positions, headDim], got ${showShape(x.shape)}.`);
  checkHeadDim("rope", x.shape.at(-1) as number);
  checkInteger("rope", "offset", options.offset ?? 0, 0);
  const { tables, interleaved = false } = options;
  return composite(together("rope", tables === undefined ? [x] : [x, tables.cos, tables.sin]), () => {
    const { cos, sin } = tablesFor(x, options);
    return apply(ROPE, [x, cos, sin], { interleaved, inverse: false })[0] as Tensor;
  });
}
