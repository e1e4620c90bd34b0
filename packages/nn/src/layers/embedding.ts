import {
  arange,
  assign,
  checkInteger,
  type DType,
  detach,
  embedding,
  equal,
  type Flat,
  type Generator,
  noGrad,
  parameter,
  scope,
  type Tensor,
  type Tokens,
  unsqueeze,
  where,
  zeros,
} from "@nf/core";
import { composite } from "@nf/core/op";
import { checkInput, checkLayerOptions } from "../check.ts";
import { into, normal } from "../init.ts";
import { Layer } from "./layer.ts";

/** Options of {@link Embedding}. */
export interface EmbeddingOptions {
  /** Id of padding, from the end where negative: its row starts as 0, and gets no gradient. Default none. */
  readonly paddingIdx?: number;
  /** Where the initial values come from; default the generator that `manualSeed` seeds. */
  readonly generator?: Generator;
  /** dtype of the table; default `f32`. */
  readonly dtype?: DType;
}

/**
 * A learned row for each id: integers `[…]` to `[…, embeddingDim]`. The table starts normal with standard deviation 1,
 * as in PyTorch.
 */
export class Embedding<const D extends number = number> extends Layer<Tokens, Flat<D>> {
  readonly numEmbeddings: number;
  readonly embeddingDim: D;
  /** Id of padding, or null. */
  readonly paddingIdx: number | null;
  /** `[numEmbeddings, embeddingDim]`. */
  readonly weight: Tensor;

  constructor(numEmbeddings: number, embeddingDim: D, options: EmbeddingOptions = {}) {
    super();
    checkLayerOptions("Embedding", options, ["paddingIdx", "generator", "dtype"]);
    checkInteger("Embedding", "numEmbeddings", numEmbeddings, 1);
    checkInteger("Embedding", "embeddingDim", embeddingDim, 1);
    const { paddingIdx, generator, dtype = "f32" } = options;
    if (paddingIdx !== undefined)
      checkInteger("Embedding", "paddingIdx", paddingIdx, -numEmbeddings, numEmbeddings - 1);
    this.numEmbeddings = numEmbeddings;
    this.embeddingDim = embeddingDim;
    this.paddingIdx = paddingIdx === undefined ? null : (paddingIdx + numEmbeddings) % numEmbeddings;
    this.weight = parameter(zeros([numEmbeddings, embeddingDim], { dtype }));
    this.resetParameters(generator);
  }

  override resetParameters(generator?: Generator): void {
    into(this.weight, normal, { generator });
    this.clearPadding();
  }

  /** Makes the row of padding 0: what a layer with initial values of its own calls after them. */
  protected clearPadding(): void {
    const { weight, paddingIdx } = this;
    if (paddingIdx === null) return;
    scope(() =>
      noGrad(() => {
        const ids = arange(0, this.numEmbeddings, 1, { dtype: "i32", backend: weight.backend });
        assign(weight, where(unsqueeze(equal(ids, paddingIdx), 1), 0, weight));
      }),
    );
  }

  /** @throws IndexError for an id outside of the table. */
  override forward(input: Tensor<Tokens>): Tensor<Flat<D>> {
    checkInput(this, input);
    const { weight, paddingIdx } = this;
    if (paddingIdx === null) return embedding(weight, input);
    return composite([weight, input], () => {
      const rows = embedding(weight, input);
      return where(unsqueeze(equal(input, paddingIdx), -1), detach(rows), rows);
    });
  }

  protected override describe(): string {
    const { numEmbeddings, embeddingDim, paddingIdx } = this;
    return `${numEmbeddings}, ${embeddingDim}${paddingIdx === null ? "" : `, { paddingIdx: ${paddingIdx} }`}`;
  }
}
