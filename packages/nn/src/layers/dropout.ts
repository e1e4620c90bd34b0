import {
  dropout,
  dropout1d,
  dropout2d,
  type Generator,
  OptionError,
  reshape,
  type Spatial,
  type Tensor,
} from "@nf/core";
import { checkLayerOptions, checkSpatial, show } from "../check.ts";
import { Layer, type Same } from "./layer.ts";

/** Options of {@link Dropout} and its forms for channels. */
export interface DropoutOptions {
  /** Where the masks come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
}

/** What the dropout layers share. */
abstract class Dropping<In> extends Layer<In, Same> {
  /** Probability of an element (or a channel) to be dropped. */
  readonly p: number;
  readonly generator: Generator | undefined;

  constructor(layer: string, p: number, options: DropoutOptions) {
    super();
    checkLayerOptions(layer, options, ["generator"]);
    if (typeof p !== "number" || !(p >= 0 && p <= 1))
      throw new OptionError(`${layer}: p is a probability from 0 to 1, got ${show(p)}.`);
    this.p = p;
    this.generator = options.generator;
  }

  /** Options of core's functions. */
  protected get settings(): {
    readonly p: number;
    readonly training: boolean;
    readonly generator?: Generator;
  } {
    const { p, training, generator } = this;
    return { p, training, ...(generator !== undefined && { generator }) };
  }

  protected override describe(): string {
    return String(this.p);
  }
}

/**
 * In training, sets each element to 0 with probability `p` and scales the others by 1 / (1 - p); otherwise passes the
 * input on. Srivastava et al., "Dropout", 2014.
 */
export class Dropout extends Dropping<unknown> {
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super("Dropout", p, options);
  }

  override forward<K>(input: Tensor<K>): Tensor<K> {
    return dropout(input, this.settings);
  }
}

/** {@link Dropout} of whole channels of signals `[batch, channels, length]`. Tompson et al. 2015, arXiv:1411.4280. */
export class Dropout1d extends Dropping<Spatial<1>> {
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super("Dropout1d", p, options);
  }

  override forward<C extends number>(input: Tensor<Spatial<1, C>>): Tensor<Spatial<1, C>> {
    checkSpatial(this, input, 1);
    return dropout1d(input, this.settings);
  }
}

/** {@link Dropout} of whole channels of images `[batch, channels, height, width]`. Tompson et al. 2015, arXiv:1411.4280. */
export class Dropout2d extends Dropping<Spatial<2>> {
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super("Dropout2d", p, options);
  }

  override forward<C extends number>(input: Tensor<Spatial<2, C>>): Tensor<Spatial<2, C>> {
    checkSpatial(this, input, 2);
    return dropout2d(input, this.settings);
  }
}

/** {@link Dropout} of whole channels of volumes `[batch, channels, depth, height, width]`. */
export class Dropout3d extends Dropping<Spatial<3>> {
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super("Dropout3d", p, options);
  }

  override forward<C extends number>(input: Tensor<Spatial<3, C>>): Tensor<Spatial<3, C>> {
    checkSpatial(this, input, 3);
    if (!this.training || this.p === 0) return dropout(input, this.settings);
    const [batch, channels, depth, height, width] = input.shape as [number, number, number, number, number];
    const planes = reshape(input, [batch, channels, depth * height, width]);
    return reshape(dropout2d(planes, this.settings), input.shape);
  }
}
