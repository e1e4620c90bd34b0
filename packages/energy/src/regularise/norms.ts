import { abs, add, type DType, OptionError, square, sum, Tensor } from "@nf/core";

/**
 * Sum of the absolute values of all elements: its gradient pulls every one of them towards 0 at the same pace, so that
 * many end there (lasso; Tibshirani 1996).
 *
 * @param parameters tensors of any shapes and one float dtype, such as `model.parameters()`.
 * @returns a 0-d tensor, to be scaled and added to the loss.
 * @throws OptionError where there is none.
 */
export function l1(parameters: Iterable<Tensor>): Tensor {
  return total("l1", parameters, (parameter) => sum(abs(parameter)));
}

/**
 * Sum of the squares of all elements (ridge): as weight decay of `2 * factor` in plain SGD, and unlike decoupled decay
 * in adaptive optimisers.
 *
 * @param parameters tensors of any shapes and one float dtype.
 * @returns a 0-d tensor.
 * @throws OptionError where there is none.
 */
export function l2(parameters: Iterable<Tensor>): Tensor {
  return total("l2", parameters, (parameter) => sum(square(parameter)));
}

/** Terms of several tensors added up. */
function total(name: string, parameters: Iterable<Tensor>, term: (parameter: Tensor) => Tensor): Tensor {
  const terms: Tensor[] = [];
  const dtypes = new Set<DType>();
  for (const parameter of parameters) {
    if (!(parameter instanceof Tensor))
      throw new OptionError(`${name}: expected tensors, got ${typeof parameter}. Pass model.parameters().`);
    dtypes.add(parameter.dtype);
    terms.push(term(parameter));
  }
  if (terms.length === 0) throw new OptionError(`${name}: there are no parameters. Pass model.parameters().`);
  if (dtypes.size > 1) {
    throw new OptionError(
      `${name}: the parameters are of several dtypes (${[...dtypes].join(", ")}). Add up the terms of each on its own, cast to one.`,
    );
  }
  return terms.reduce(add);
}
