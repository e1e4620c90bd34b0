import type { SortCall } from "../backend/call.ts";
import { OptionError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { apply, composite } from "./apply.ts";
import { gather } from "./index-ops.ts";
import type { Op } from "./op.ts";
import { checkAxis, checkInteger, checkOptions, checkTensor } from "./options.ts";
import { copied, guarded } from "./programs.ts";
import { allocate, callOf, execute } from "./run.ts";
import { slice } from "./shape.ts";
import { withUnitDims } from "./views.ts";

/** Options of {@link sort} and {@link argsort}. */
export interface SortOptions {
  /** Axis to sort along; default the last. */
  readonly axis?: number;
  /** Greatest first; default false. */
  readonly descending?: boolean;
}

/** Options of {@link topk}. */
export interface TopkOptions {
  /** How many elements of the axis to give. */
  readonly k: number;
  /** Axis to choose along; default the last. */
  readonly axis?: number;
  /** The greatest (default) or the least elements. */
  readonly largest?: boolean;
}

/** Elements in order, and where they came from. */
export interface Sorted {
  readonly values: Tensor;
  /** Former positions along the axis, i32. */
  readonly indices: Tensor;
}

/** Values and former positions. Without a gradient: where one is wanted, the values are gathered. */
const SORT: Op<SortCall["attributes"]> = {
  name: "sort",
  forward([x], attributes, device) {
    const source = (x as Tensor).view;
    const values = allocate(device, source.dtype, source.shape, "sort");
    const indices = allocate(device, "i32", source.shape, "sort");
    if (values.size === 0) return [values, indices];
    indices.storage.range = [0, (source.shape[attributes.axis] as number) - 1];
    const outputs = [values.view, indices.view];
    return guarded([values, indices], () =>
      execute(device, callOf<SortCall>({ kernel: "sort", attributes }, [source], outputs)),
    );
  },
};

/** Sorts along one axis of x; a scalar is a line of one element. Only the first `k` are given, where told. */
function sorted(op: string, x: Tensor, axis: number | undefined, descending: boolean, k?: number): Sorted {
  checkTensor(op, x);
  const shape = x.rank === 0 ? [1] : x.shape;
  const along = checkAxis(op, axis ?? -1, shape.length);
  const length = shape[along] as number;
  if (k !== undefined && k > length) {
    throw new OptionError(`${op}: k is ${k}, but dimension ${along} has size ${length}.`);
  }
  return composite([x], () => {
    const line = withUnitDims(x, shape);
    const [plain, order] = apply(SORT, [line], { axis: along, descending }) as [Tensor, Tensor];
    // A part is copied, so that the rest does not stay in memory with it.
    const first = (all: Tensor): Tensor =>
      k === undefined || k === length
        ? all
        : copied(slice(all, ...shape.map((_, position) => (position === along ? ([0, k] as const) : null))));
    const indices = first(order);
    indices.storage.range = order.storage.range;
    const values = x.requiresGrad ? gather(line, along, indices) : first(plain);
    const back = x.rank === 0 && k !== 0 ? x.shape : values.shape;
    return { values: withUnitDims(values, back), indices: withUnitDims(indices, back) };
  });
}

/**
 * Elements in ascending or descending order along an axis, with their former positions. Equal ones keep their order; NaN
 * comes last both ways. The gradient of a value goes to its former position.
 */
export function sort(x: Tensor, options: SortOptions = {}): Sorted {
  checkOptions("sort", options, ["axis", "descending"]);
  return sorted("sort", x, options.axis, options.descending === true);
}

/** Positions along an axis, as i32, that put x in order. Equal elements keep their order; NaN comes last both ways. */
export function argsort(x: Tensor, options: SortOptions = {}): Tensor {
  checkOptions("argsort", options, ["axis", "descending"]);
  checkTensor("argsort", x);
  return composite([x], () => sorted("argsort", x, options.axis, options.descending === true).indices);
}

/**
 * The k greatest (or least) elements along an axis, best first, with their positions. The first of equal ones comes
 * first; NaN is chosen last. The gradient of a value goes to its position.
 */
export function topk(x: Tensor, options: TopkOptions): Sorted {
  checkOptions("topk", options ?? null, ["k", "axis", "largest"]);
  const k = checkInteger("topk", "k", options.k, 0);
  return sorted("topk", x, options.axis, options.largest !== false, k);
}
