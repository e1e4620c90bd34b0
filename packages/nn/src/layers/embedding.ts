import {
  checkInteger,
  checkOptions,
  type DType,
  embedding,
  type Generator,
  parameter,
  type Tensor,
  type Tokens,
  zeros,
} from "@nf/core";
import { checkInput } from "../check.ts";
import { into, normal } from "../init.ts";
import { Layer } from "./layer.ts";

/** Options of {@link Embedding}. */
export interface EmbeddingOptions {
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the table; default `f32`. */
  readonly dtype?: DType;
}

/**
 * A learned row for each id: integers `[…]` to `[…, embeddingDim]`. The table starts normal with standard deviation 1,
 * as in PyTorch.
 */
export class Embedding extends Layer<Tokens> {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  /** `[numEmbeddings, embeddingDim]`. */
  readonly weight: Tensor;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super();
    checkOptions("Embedding", options, ["generator", "dtype"]);
    checkInteger("Embedding", "numEmbeddings", numEmbeddings, 1);
    checkInteger("Embedding", "embeddingDim", embeddingDim, 1);
    const { generator, dtype = "f32" } = options;
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.weight = parameter(zeros([numEmbeddings, embeddingDim], { dtype }));
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    into(this.weight, normal, { generator });
  }

  /** @throws IndexError for an id outside of the table. */
  override forward(input: Tensor<Tokens>): Tensor {
    checkInput(this, input);
    return embedding(this.weight, input);
  }

  protected override describe(): string {
    return `${this.numEmbeddings}, ${this.embeddingDim}`;
  }
}
