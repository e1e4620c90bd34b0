import {
  add,
  checkInteger,
  checkNumber,
  type DType,
  fromData,
  type Generator,
  parameter,
  type RopeScaling,
  type RopeTables,
  rope,
  ropeTables,
  ShapeError,
  slice,
  type Tensor,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions, shapeText } from "../check.ts";
import { into, normal } from "../init.ts";
import { Module } from "../module/module.ts";
import { Dropout } from "./dropout.ts";

/** Options of {@link SinusoidalPositions}. */
export interface SinusoidalPositionsOptions {
  /** Probability of an element of the sum to be dropped in training; default 0. */
  readonly dropout?: number;
  /** Where the dropout comes from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** The rows of a table of positions that belong to x, `[…, positions, width]`, the first at `offset`. */
function rowsFor(layer: Module, x: Tensor, table: Tensor, offset: number): Tensor {
  checkInteger(`${layer}`, "offset", offset, 0);
  const [most, width] = table.shape as readonly [number, number];
  if (x.rank < 2 || x.shape.at(-1) !== width)
    throw new ShapeError(`${layer}: expected […, positions, ${width}], got ${shapeText(x)}.`);
  const end = offset + (x.shape.at(-2) as number);
  if (end > most) {
    throw new ShapeError(
      `${layer}: there are positions for ${most} tokens, got ${end}. Make maxPositions larger, or cut the sequence.`,
    );
  }
  return slice(table, [offset, end]);
}

/**
 * Adds waves to embeddings: sin(p / 10000^(2i / dModel)) at the even places 2i of position p, the cosine at the odd ones. `[…, positions, dModel]`
 * to the same. Vaswani et al. 2017, arXiv:1706.03762.
 */
export class SinusoidalPositions extends Module {
  /** `[maxPositions, dModel]`; no part of a state dict. */
  readonly waves: Tensor;
  readonly dropout: Dropout;

  constructor(maxPositions: number, dModel: number, options: SinusoidalPositionsOptions = {}) {
    super();
    checkLayerOptions("SinusoidalPositions", options, ["dropout", "generator"]);
    checkInteger("SinusoidalPositions", "maxPositions", maxPositions, 1);
    checkInteger("SinusoidalPositions", "dModel", dModel, 1);
    const { dropout = 0, generator } = options;
    const table = fromData(waves(maxPositions, dModel), [maxPositions, dModel]);
    this.waves = this.registerBuffer("waves", table, { persistent: false });
    this.dropout = new Dropout(dropout, generator === undefined ? {} : { generator });
  }

  override resetParameters(): void {
    const [maxPositions, dModel] = this.waves.shape as [number, number];
    const { backend, dtype } = this.waves;
    into(this.waves, (shape) => fromData(waves(maxPositions, dModel), shape, { backend, dtype }));
  }

  /** @param offset position of the first row; default 0. */
  forward(x: Tensor, offset = 0): Tensor {
    checkInput(this, x);
    return this.dropout.forward(composite([x], () => add(x, rowsFor(this, x, this.waves, offset))));
  }

  protected override describe(): string {
    return this.waves.shape.join(", ");
  }
}

function waves(maxPositions: number, dModel: number): Float32Array {
  const table = new Float32Array(maxPositions * dModel);
  for (let position = 0; position < maxPositions; position++) {
    for (let i = 0; i < dModel; i++) {
      const angle = position / 10000 ** ((i - (i % 2)) / dModel);
      table[position * dModel + i] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return table;
}

/** Options of {@link LearnedPositions}. */
export interface LearnedPositionsOptions {
  /** Standard deviation of the initial values; default 0.02, as in GPT-2 and BERT. */
  readonly std?: number;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the table; default `f32`. */
  readonly dtype?: DType;
}

/** Adds a learned row for each position to embeddings: `[…, positions, dModel]` to the same. Rows start normal around 0. */
export class LearnedPositions extends Module {
  /** `[maxPositions, dModel]` */
  readonly weight: Tensor;
  readonly std: number;

  constructor(maxPositions: number, dModel: number, options: LearnedPositionsOptions = {}) {
    super();
    checkLayerOptions("LearnedPositions", options, ["std", "generator", "dtype"]);
    checkInteger("LearnedPositions", "maxPositions", maxPositions, 1);
    checkInteger("LearnedPositions", "dModel", dModel, 1);
    const { std = 0.02, generator, dtype = "f32" } = options;
    this.std = checkNumber("LearnedPositions", "std", std, 0);
    this.weight = parameter(zeros([maxPositions, dModel], { dtype }));
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    into(this.weight, normal, { std: this.std, generator });
  }

  /** @param offset position of the first row; default 0. */
  forward(x: Tensor, offset = 0): Tensor {
    checkInput(this, x);
    return composite([x], () => add(x, rowsFor(this, x, this.weight, offset)));
  }

  protected override describe(): string {
    return this.weight.shape.join(", ");
  }
}

/** Options of {@link RoPE}. */
export interface RoPEOptions {
  /** Base of the wavelengths; default 10000. */
  readonly base?: number;
  /** How frequencies are stretched for longer texts; default not. */
  readonly scaling?: RopeScaling;
  /** Whether pairs are neighbours (GPT-J, Llama as published); default false: element i goes with i + headDim / 2. */
  readonly interleaved?: boolean;
}

/**
 * Rotary positions of queries and keys: turns each pair of elements of `[…, positions, headDim]` by an angle that grows with the position. Tables are made
 * once. Su et al. 2021, arXiv:2104.09864.
 */
export class RoPE extends Module {
  readonly headDim: number;
  readonly interleaved: boolean;
  readonly base: number | undefined;
  readonly scaling: RopeScaling | undefined;
  /** `[maxPositions, headDim / 2]`; no part of a state dict. */
  readonly cos: Tensor;
  /** `[maxPositions, headDim / 2]`; no part of a state dict. */
  readonly sin: Tensor;

  constructor(headDim: number, maxPositions: number, options: RoPEOptions = {}) {
    super();
    checkLayerOptions("RoPE", options, ["base", "scaling", "interleaved"]);
    checkInteger("RoPE", "maxPositions", maxPositions, 1);
    this.headDim = headDim;
    this.interleaved = options.interleaved ?? false;
    this.base = options.base;
    this.scaling = options.scaling;
    const { cos, sin } = this.tables(maxPositions, {});
    this.cos = this.registerBuffer("cos", cos, { persistent: false });
    this.sin = this.registerBuffer("sin", sin, { persistent: false });
  }

  override resetParameters(): void {
    for (const name of ["cos", "sin"] as const) {
      const { shape, dtype, backend } = this[name];
      into(this[name], () => this.tables(shape[0] as number, { dtype, backend })[name]);
    }
  }

  /** @param offset position of the first row: the number of positions in a cache; default 0. */
  forward(x: Tensor, offset = 0): Tensor {
    checkInput(this, x);
    const { cos, sin, interleaved } = this;
    return rope(x, { tables: { cos, sin }, offset, interleaved });
  }

  protected override describe(): string {
    return `${this.headDim}, ${this.cos.shape[0]}`;
  }

  private tables(
    maxPositions: number,
    place: Pick<Parameters<typeof ropeTables>[2] & object, "dtype" | "backend">,
  ): RopeTables {
    const { headDim, base, scaling } = this;
    return ropeTables(maxPositions, headDim, {
      ...place,
      ...(base !== undefined && { base }),
      ...(scaling !== undefined && { scaling }),
    });
  }
}
