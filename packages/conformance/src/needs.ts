import type { Backend, DType, RequiredKernel } from "@nf/core";
import { NotApplicable, undeclared } from "./check.ts";
import type { Row } from "./model.ts";

/** The kernels a row needs on the tested dtype. */
export const kernelsOf = (row: Row): Row["kernels"] => ["map", ...row.kernels];

/** No operation of core has more results than these. */
const RESULTS = [0, 1, 2] as const;

/** Dtypes that a row's operands and results have when one is tested; every tensor needs `map` of its dtype. */
function dtypesAround(row: Row, tested: DType): ReadonlySet<DType> {
  const operands = row.instances.flatMap(({ operands }) => operands.map(({ dtype }) => dtype ?? tested));
  const results = RESULTS.map((k) => row.result(tested, k));
  return new Set([...operands, ...results, ...(row.uses ?? [])]);
}

/**
 * Why a backend cannot run a row in a dtype, as its capabilities tell: a kernel, an operand or a result of a dtype
 * that is not declared. Undefined if it can.
 *
 * @param kernels needed beside the row's own
 */
export function lacking(
  backend: Backend,
  row: Row,
  tested: DType,
  kernels: readonly RequiredKernel[] = [],
): string | undefined {
  const own = undeclared(backend, [...kernelsOf(row), ...kernels], tested);
  if (own !== undefined) return own;
  for (const dtype of dtypesAround(row, tested)) {
    const reason = undeclared(backend, ["map"], dtype);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** The dtypes a row can be run in. @throws NotApplicable if there is none */
export function runnable(
  backend: Backend,
  row: Row,
  among: readonly DType[] = row.dtypes,
): readonly [DType, ...DType[]] {
  const [first, ...others] = among.filter((dtype) => lacking(backend, row, dtype) === undefined);
  if (first !== undefined) return [first, ...others];
  const [tried] = among;
  throw new NotApplicable(
    (tried === undefined ? undefined : lacking(backend, row, tried)) ?? "no dtype of the case is declared",
  );
}
