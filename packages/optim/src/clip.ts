import {
  abs,
  add,
  cast,
  checkNumber,
  checkOptions,
  clip,
  type DType,
  div,
  minimum,
  mul,
  noGrad,
  norm,
  OptionError,
  Scope,
  stack,
  sum,
  Tensor,
  type Tree,
  treeLeaves,
  treeMap,
  zeros,
} from "@nf/core";

/** Options of {@link clipGradNorm} and {@link clipNorm}. */
export interface ClipNormOptions {
  /** Which norm: 2 (default), 1, Infinity for the greatest absolute value, or any other number above 0. */
  readonly normType?: number;
}

/** What lives until gradients of a parameter are clipped again: the norm, which few look at. */
const scopes: WeakMap<Tensor, Scope> = new WeakMap();

/** Added to the norm, so that gradients that are all zero stay so. PyTorch's. */
const EPS = 1e-6;

/**
 * Scales the gradients of parameters so that their norm, as of one long vector, is at most `maxNorm`. Call it between
 * `backward()` and `step()`. Parameters without a gradient are passed over.
 *
 * @returns the norm before, a scalar. It is infinite or NaN if a gradient is, and all gradients become NaN (or 0) then: read
 * it before `step()` where that may happen. The scalar ends when gradients of these parameters are clipped again; `.keep()` it longer.
 * @throws OptionError for what are no parameters, a negative `maxNorm` or an unknown option. Pascanu et al., "On the difficulty of
 * training recurrent neural networks", 2013.
 *
 * @example
 * ```ts no-run
 * import { type Tensor } from "@nf/core";
 * import { Linear } from "@nf/nn";
 * import { clipGradNorm, SGD } from "@nf/optim";
 *
 * const model = new Linear(2, 1);
 * const optimizer = new SGD(model.parameters());
 * function step(loss: Tensor): void {
 *   loss.backward();
 *   clipGradNorm(model.parameters(), 1);
 *   optimizer.step();
 * }
 * ```
 */
export function clipGradNorm(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  options: ClipNormOptions = {},
): Tensor {
  const holders = holdersOf("clipGradNorm", parameters);
  const gradients = holders.map(({ grad }) => grad as Tensor);
  const normType = checkNorm("clipGradNorm", maxNorm, options);
  const scope = new Scope();
  const [first] = holders;
  if (first !== undefined) {
    scopes.get(first)?.dispose();
    scopes.set(first, scope);
  }
  return scope.run(() =>
    noGrad(() => {
      const total = totalNorm(gradients, normType);
      const share = shareOf(total, maxNorm);
      for (const holder of holders) holder.grad = scaled(holder.grad as Tensor, share);
      return total;
    }),
  );
}

/**
 * Clips each element of the gradients of parameters to -`clipValue` … `clipValue`. NaN stays NaN.
 *
 * @throws OptionError for what are no parameters, or a negative value.
 */
export function clipGradValue(parameters: Iterable<Tensor>, clipValue: number): void {
  checkNumber("clipGradValue", "clipValue", clipValue, 0);
  const holders = holdersOf("clipGradValue", parameters);
  noGrad(() => {
    for (const holder of holders)
      holder.grad = clip(holder.grad as Tensor, { min: -clipValue, max: clipValue });
  });
}

/** {@link clipGradNorm} as a pure function of a tree of gradients: the clipped tree, and the norm before. */
export function clipNorm<T extends Tree>(
  grads: T,
  maxNorm: number,
  options: ClipNormOptions = {},
): [grads: T, norm: Tensor] {
  const normType = checkNorm("clipNorm", maxNorm, options);
  return noGrad(() => {
    const total = totalNorm(treeLeaves(grads), normType);
    const share = shareOf(total, maxNorm);
    return [treeMap((leaf) => scaled(leaf, share), grads), total];
  });
}

/** {@link clipGradValue} as a pure function of a tree of gradients. */
export function clipValue<T extends Tree>(grads: T, value: number): T {
  checkNumber("clipValue", "value", value, 0);
  return noGrad(() => treeMap((leaf) => clip(leaf, { min: -value, max: value }), grads));
}

function checkNorm(caller: string, maxNorm: number, options: ClipNormOptions): number {
  checkOptions(caller, options, ["normType"]);
  checkNumber(caller, "maxNorm", maxNorm, 0);
  const { normType = 2 } = options;
  if (!(typeof normType === "number" && normType > 0))
    throw new OptionError(`${caller}: normType must be a number above 0, got ${String(normType)}.`);
  return normType;
}

/** The parameters that have a gradient. */
function holdersOf(caller: string, parameters: Iterable<Tensor>): readonly Tensor[] {
  const list = parameters instanceof Tensor ? [parameters] : parameters;
  if (typeof list?.[Symbol.iterator] !== "function" || typeof list === "string")
    throw new OptionError(`${caller}: pass the parameters, as in ${caller}(model.parameters(), 1).`);
  return [...list].filter((parameter, position) => {
    if (!(parameter instanceof Tensor))
      throw new OptionError(`${caller}: parameter ${position} is not a tensor.`);
    return parameter.grad !== null;
  });
}

/** The norm of all elements of all tensors, in f32, or f64 where one of them is. */
function totalNorm(tensors: readonly Tensor[], normType: number): Tensor {
  if (tensors.length === 0) return zeros([]);
  const dtype: DType = tensors.some((one) => one.dtype === "f64") ? "f64" : "f32";
  const norms = tensors.map((one) => {
    // There is nothing to take the greatest of in an empty one.
    if (one.size === 0) return cast(sum(abs(one)), dtype);
    return norm(cast(one, dtype), { p: normType });
  });
  return norms.length === 1 ? (norms[0] as Tensor) : norm(stack(norms), { p: normType });
}

/** What every gradient is multiplied by: at most 1, NaN where the norm is. */
function shareOf(total: Tensor, maxNorm: number): Tensor {
  return minimum(div(maxNorm, add(total, EPS)), 1);
}

function scaled(gradient: Tensor, share: Tensor): Tensor {
  return mul(gradient, cast(share, gradient.dtype));
}
