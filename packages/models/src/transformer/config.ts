import { checkChoice, checkInteger, checkNumber, checkOptions, NanoFluxError } from "@nf/core";

/** A mixture of experts in the place of each feed-forward. */
export interface TransformerExperts {
  /** Feed-forwards that the gate chooses from. */
  readonly count: number;
  /** How many of them each position gets; default 2, or 1 where there is only one. */
  readonly topK?: number;
  /** Weight of the load-balancing loss in {@link Transformer.loss}; default 0.01. */
  readonly balance?: number;
}

/** Sizes and choices of an encoder-decoder, with PyTorch's names where it has them. Made by {@link transformerConfig}. */
export interface TransformerConfig {
  readonly sourceVocabSize: number;
  readonly targetVocabSize: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  /** Heads of each attention; divides `dModel`. */
  readonly nhead: number;
  readonly numEncoderLayers: number;
  readonly numDecoderLayers: number;
  /** Width inside of a feed-forward. */
  readonly dimFeedforward: number;
  /** Of the sums of embeddings and positions, and of the result of each sublayer. */
  readonly dropout: number;
  /** Of the weights of attention; goes without the fused kernel of a backend. */
  readonly attentionDropout: number;
  readonly activation: "relu" | "gelu";
  /** Whether the norms come before the sublayers (pre-norm), rather than after the residual sums (post-norm). */
  readonly normFirst: boolean;
  /** Whether a norm follows the last layer of the encoder, and of the decoder. */
  readonly finalNorm: boolean;
  readonly layerNormEps: number;
  /** Longest sequence that there are positions for. */
  readonly maxPositions: number;
  /** Whether source and target share one embedding. */
  readonly tiedEmbeddings: boolean;
  /** Whether the target's embedding is the output layer as well. */
  readonly tiedOutput: boolean;
  /** Id of padding, which is not attended to and not learned; null without. */
  readonly padId: number | null;
  /** Id that a target begins with. */
  readonly bosId: number;
  /** Id that a target ends with. */
  readonly eosId: number;
  /** Null: ordinary feed-forwards. */
  readonly experts: Required<TransformerExperts> | null;
}

/** What {@link transformerConfig} takes: the two vocabularies, and what is to differ from the base model of the paper. */
export type TransformerSettings = Pick<TransformerConfig, "sourceVocabSize" | "targetVocabSize"> &
  Partial<Omit<TransformerConfig, "experts">> & { readonly experts?: TransformerExperts | null };

/** A configuration whose values do not fit each other; lists everything that is wrong with it. */
export class TransformerConfigError extends NanoFluxError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      "NF_OPTION",
      `transformerConfig: ${problems.length === 1 ? problems[0] : `\n  ${problems.join("\n  ")}`}`,
    );
    this.problems = problems;
  }
}

/** The base model of the paper: 6 layers of width 512, post-norm. */
const BASE: Omit<TransformerConfig, "sourceVocabSize" | "targetVocabSize" | "finalNorm"> = {
  dModel: 512,
  nhead: 8,
  numEncoderLayers: 6,
  numDecoderLayers: 6,
  dimFeedforward: 2048,
  dropout: 0.1,
  attentionDropout: 0,
  activation: "relu",
  normFirst: false,
  layerNormEps: 1e-5,
  maxPositions: 512,
  tiedEmbeddings: false,
  tiedOutput: false,
  padId: 0,
  bosId: 1,
  eosId: 2,
  experts: null,
};

const SETTINGS = ["sourceVocabSize", "targetVocabSize", "finalNorm", ...Object.keys(BASE)];

/**
 * A checked configuration; what is not given is as in the base model of "Attention Is All You Need", with separate embeddings.
 * `finalNorm` is on with pre-norm and off with post-norm unless it is given (torch.nn.Transformer always has it).
 *
 * @throws OptionError for an unknown setting or a value out of its domain, TransformerConfigError for values that do
 * not fit each other
 *
 * @example
 * ```ts no-run
 * import { transformerConfig } from "@nf/models";
 *
 * const small = transformerConfig({
 *   sourceVocabSize: 6000,
 *   targetVocabSize: 8000,
 *   dModel: 256,
 *   numEncoderLayers: 3,
 *   numDecoderLayers: 3,
 *   dimFeedforward: 512,
 *   tiedOutput: true,
 * });
 * ```
 */
export function transformerConfig(settings: TransformerSettings): TransformerConfig {
  const op = "transformerConfig";
  checkOptions(op, settings, SETTINGS);
  const { experts = null, ...given } = settings;
  const config: TransformerConfig = {
    ...BASE,
    finalNorm: settings.normFirst ?? BASE.normFirst,
    ...given,
    experts: experts === null ? null : { topK: Math.min(2, experts.count), balance: 0.01, ...experts },
  };
  for (const name of [
    ...(["sourceVocabSize", "targetVocabSize", "dModel", "nhead", "dimFeedforward", "maxPositions"] as const),
    ...(["numEncoderLayers", "numDecoderLayers"] as const),
  ])
    checkInteger(op, name, config[name], 1);
  for (const name of ["bosId", "eosId", ...(config.padId === null ? [] : (["padId"] as const))] as const)
    checkInteger(op, name, config[name] as number, 0);
  checkNumber(op, "dropout", config.dropout, 0, 1);
  checkNumber(op, "attentionDropout", config.attentionDropout, 0, 1);
  checkNumber(op, "layerNormEps", config.layerNormEps, 0, Number.MAX_VALUE);
  checkChoice(op, "activation", config.activation, ["relu", "gelu"]);
  if (config.experts !== null) checkExperts(config.experts);
  const problems = misfits(config);
  if (problems.length > 0) throw new TransformerConfigError(problems);
  return config;
}

function checkExperts(experts: Required<TransformerExperts>): void {
  const op = "transformerConfig: experts";
  checkOptions(op, experts, ["count", "topK", "balance"]);
  checkInteger(op, "count", experts.count, 1);
  checkInteger(op, "topK", experts.topK, 1, experts.count);
  checkNumber(op, "balance", experts.balance, 0, Number.MAX_VALUE);
}

function misfits(config: TransformerConfig): readonly string[] {
  const { sourceVocabSize, targetVocabSize, dModel, nhead, padId, bosId, eosId } = config;
  const problems: string[] = [];
  for (const name of ["normFirst", "finalNorm", "tiedEmbeddings", "tiedOutput"] as const)
    if (typeof config[name] !== "boolean")
      problems.push(`${name} must be true or false, got ${String(config[name])}.`);
  if (dModel % nhead !== 0) problems.push(`dModel (${dModel}) must be a multiple of nhead (${nhead}).`);
  if (config.tiedEmbeddings && sourceVocabSize !== targetVocabSize) {
    problems.push(
      `tiedEmbeddings needs one vocabulary, got ${sourceVocabSize} and ${targetVocabSize} tokens. Use tiedOutput alone, or a joint vocabulary.`,
    );
  }
  const ids = Object.entries({ bosId, eosId, ...(padId !== null && { padId }) });
  for (const [name, id] of ids)
    if (id >= targetVocabSize)
      problems.push(`${name} (${id}) is no id of the target's ${targetVocabSize} tokens.`);
  if (padId !== null && padId >= sourceVocabSize)
    problems.push(`padId (${padId}) is no id of the source's ${sourceVocabSize} tokens.`);
  if (new Set(ids.map(([, id]) => id)).size < ids.length)
    problems.push(`padId, bosId and eosId must differ, got ${padId}, ${bosId} and ${eosId}.`);
  return problems;
}

/** Number of weights and biases of a model; shared ones once. */
export function transformerParameters(config: TransformerConfig): number {
  const { sourceVocabSize, targetVocabSize, dModel, dimFeedforward, experts } = config;
  const norm = 2 * dModel;
  const attention = 4 * (dModel * dModel + dModel);
  const expert = 2 * dModel * dimFeedforward + dimFeedforward + dModel;
  const feedForward = experts === null ? expert : experts.count * (expert + dModel);
  const encoder = config.numEncoderLayers * (attention + feedForward + 2 * norm);
  const decoder = config.numDecoderLayers * (2 * attention + feedForward + 3 * norm);
  const rows = (config.tiedEmbeddings ? 0 : sourceVocabSize) + targetVocabSize * (config.tiedOutput ? 1 : 2);
  return rows * dModel + encoder + decoder + (config.finalNorm ? 2 * norm : 0);
}
