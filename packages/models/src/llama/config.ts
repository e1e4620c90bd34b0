import { checkInteger, checkNumber, checkOptions, NanoFluxError, type RopeScaling } from "@nf/core";

/** Which linear maps add a bias. */
export interface LlamaBiases {
  /** Queries, keys and values (Qwen2). */
  readonly qkv: boolean;
  /** What attention gives back. */
  readonly out: boolean;
  /** All three maps of the feed-forward. */
  readonly mlp: boolean;
}

/** Sizes and choices of a model of the Llama family; {@link llamaConfig} fills in what is left out. */
export interface LlamaConfig {
  /** Number of tokens. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width inside the feed-forward. */
  readonly intermediateSize: number;
  /** Number of blocks. */
  readonly layers: number;
  /** Heads of queries. */
  readonly heads: number;
  /** Heads of keys and values; each serves `heads / kvHeads` heads of queries. Default `heads`. */
  readonly kvHeads: number;
  /** Width of a head, even. Default `hiddenSize / heads`. */
  readonly headDim: number;
  /** Positions that the model was made for. Default 2048. */
  readonly maxPositions: number;
  /** Added under the root of RMS norms. Default 1e-5. */
  readonly normEps: number;
  /** Base of the wavelengths of rotary positions. Default 10000. */
  readonly ropeBase: number;
  /** How wavelengths are stretched; default not. */
  readonly ropeScaling: RopeScaling | null;
  /** Whether rotary pairs are neighbours (llama2.c, GGUF) instead of half a head apart (Hugging Face). Default false. */
  readonly ropeInterleaved: boolean;
  /** Whether the head shares the embedding's weight. Default false. */
  readonly tiedHead: boolean;
  /** Default none. */
  readonly biases: LlamaBiases;
  /** For each layer how many positions back a query sees, itself included, or null for all. Default null each. */
  readonly windows: readonly (number | null)[];
}

/** What {@link llamaConfig} cannot do without. */
type Sizes = "vocabSize" | "hiddenSize" | "intermediateSize" | "layers" | "heads";

/** A {@link LlamaConfig} with only its sizes required. */
export type LlamaSettings = Pick<LlamaConfig, Sizes> & Partial<Omit<LlamaConfig, Sizes>>;

const SETTINGS = [
  "vocabSize",
  "hiddenSize",
  "intermediateSize",
  "layers",
  "heads",
  "kvHeads",
  "headDim",
  "maxPositions",
  "normEps",
  "ropeBase",
  "ropeScaling",
  "ropeInterleaved",
  "tiedHead",
  "biases",
  "windows",
];

/** A configuration that no model of this family can be made from; lists everything that is wrong with it. */
export class LlamaConfigError extends NanoFluxError {
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[]) {
    super("NF_DATA", `${source}: ${problems.length === 1 ? problems[0] : `\n  ${problems.join("\n  ")}`}`);
    this.problems = problems;
  }
}

/**
 * A checked configuration.
 *
 * @throws OptionError for an unknown setting or a value out of its domain, LlamaConfigError for values that do not fit
 * each other
 *
 * @example
 * ```ts no-run
 * import { llamaConfig } from "@nf/models";
 *
 * const tiny = llamaConfig({ vocabSize: 512, hiddenSize: 64, intermediateSize: 172, layers: 5, heads: 8, kvHeads: 4 });
 * ```
 */
export function llamaConfig(settings: LlamaSettings): LlamaConfig {
  const op = "llamaConfig";
  checkOptions(op, settings, SETTINGS);
  const { vocabSize, hiddenSize, intermediateSize, layers, heads } = settings;
  const config: LlamaConfig = {
    vocabSize,
    hiddenSize,
    intermediateSize,
    layers,
    heads,
    kvHeads: settings.kvHeads ?? heads,
    headDim: settings.headDim ?? hiddenSize / heads,
    maxPositions: settings.maxPositions ?? 2048,
    normEps: settings.normEps ?? 1e-5,
    ropeBase: settings.ropeBase ?? 10000,
    ropeScaling: settings.ropeScaling ?? null,
    ropeInterleaved: settings.ropeInterleaved ?? false,
    tiedHead: settings.tiedHead ?? false,
    biases: settings.biases ?? { qkv: false, out: false, mlp: false },
    windows: settings.windows ?? new Array<null>(layers).fill(null),
  };
  for (const name of ["vocabSize", "hiddenSize", "intermediateSize", "layers", "heads", "kvHeads"] as const)
    checkInteger(op, name, config[name], 1);
  checkInteger(op, "maxPositions", config.maxPositions, 1);
  checkNumber(op, "normEps", config.normEps, 0);
  checkNumber(op, "ropeBase", config.ropeBase, 1);
  checkOptions(`${op}: biases`, config.biases, ["qkv", "out", "mlp"]);
  const problems: string[] = [];
  if (!Number.isInteger(config.headDim) || config.headDim < 2 || config.headDim % 2 !== 0) {
    problems.push(
      `headDim must be a positive even number, got ${config.headDim} (hiddenSize ${hiddenSize} over ${heads} heads, ` +
        "unless it is given).",
    );
  }
  if (heads % config.kvHeads !== 0)
    problems.push(`heads (${heads}) must be a multiple of kvHeads (${config.kvHeads}).`);
  if (config.windows.length !== layers) {
    problems.push(
      `windows must have an entry for each of the ${layers} layers, got ${config.windows.length}.`,
    );
  }
  for (const window of config.windows) {
    if (window !== null && !(Number.isInteger(window) && window >= 1))
      problems.push(`each of windows must be null or a whole number from 1, got ${window}.`);
  }
  if (problems.length > 0) throw new LlamaConfigError(op, problems);
  return config;
}

/** Number of weights and biases of a model, those of a tied head once. */
export function llamaParameters(config: LlamaConfig): number {
  const { vocabSize, hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, biases } = config;
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  const attention = hiddenSize * (2 * queries + 2 * keys);
  const offsets =
    (biases.qkv ? queries + 2 * keys : 0) +
    (biases.out ? hiddenSize : 0) +
    (biases.mlp ? 2 * intermediateSize + hiddenSize : 0);
  const block = attention + 3 * hiddenSize * intermediateSize + 2 * hiddenSize + offsets;
  const tables = (config.tiedHead ? 1 : 2) * vocabSize * hiddenSize;
  return tables + layers * block + hiddenSize;
}
