import { showShape } from "../backend/geometry.ts";
import { sizeOf } from "../backend/view.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { composite, together } from "./apply.ts";
import { mul } from "./binary.ts";
import { diagonal } from "./diagonal.ts";
import { matmul } from "./matmul.ts";
import { checkTensor, show } from "./options.ts";
import { expandTo } from "./programs.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./shape.ts";
import { ownResult, permuteTo, withUnitDims } from "./views.ts";

/** A tensor whose dimensions have labels: letters, and "…1", "…2" (counted from the end) for what an ellipsis covers. */
interface Labelled {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/**
 * Sum of products in Einstein's notation: dimensions with one letter run together, and letters that the result lacks
 * are added up. `...` stands for any further dimensions, which broadcast; a letter twice in one term takes the
 * diagonal. Without `->` the result has the letters that occur once, in alphabetical order, after the ellipsis.
 * Operands are contracted from left to right, through matmul where two of them share a sum.
 *
 * @example
 * ```ts no-run
 * import { einsum, ones } from "@nf/core";
 * const [q, k] = [ones([2, 4, 3]), ones([2, 5, 3])];
 * einsum("bid,bjd->bij", q, k);   // scores, shape [2, 4, 5]
 * einsum("ii", ones([3, 3]));     // the trace
 * ```
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { terms, output } = parse(equation, operands);
  checkSizes(equation, terms, operands);
  return composite(together("einsum", operands), () => {
    let rest = terms.map((labels, i) => withDiagonals({ x: operands[i] as Tensor, labels }));
    while (rest.length > 1) {
      const [first, second, ...others] = rest as [Labelled, Labelled, ...Labelled[]];
      const needed = new Set([...output, ...others.flatMap(({ labels }) => labels)]);
      rest = [contracted(first, second, needed), ...others];
    }
    const last = summed(rest[0] as Labelled, new Set(output));
    const order = output.map((label) => last.labels.indexOf(label));
    return ownResult(operands[0] as Tensor, permuteTo(last.x, order));
  });
}

interface Parsed {
  readonly terms: readonly (readonly string[])[];
  readonly output: readonly string[];
}

function parse(equation: string, operands: readonly Tensor[]): Parsed {
  if (typeof equation !== "string")
    throw new OptionError(`einsum: the equation must be a string like "ij,jk->ik", got ${show(equation)}.`);
  for (const operand of operands) checkTensor("einsum", operand);
  const sides = equation.replaceAll(/\s/g, "").split("->");
  const inputs = (sides[0] as string).split(",");
  const wellFormed = /^[a-zA-Z]*(\.\.\.)?[a-zA-Z]*$/;
  if (sides.length > 2 || ![...inputs, sides[1] ?? ""].every((term) => wellFormed.test(term))) {
    throw new OptionError(
      `einsum: cannot read "${equation}". Terms are letters with at most one "...", joined by commas, then perhaps "->" and the result's.`,
    );
  }
  if (inputs.length !== operands.length) {
    throw new OptionError(`einsum: "${equation}" has ${inputs.length} terms for ${operands.length} tensors.`);
  }
  const terms = inputs.map((term, i) => labelsOf(equation, term, i, operands[i] as Tensor));
  const all = terms.flat();
  const covered = Math.max(0, ...terms.map((labels) => labels.filter(isEllipsis).length));
  const ellipsis = ellipsisLabels(covered);
  if (sides[1] === undefined) {
    const once = all.filter((label) => !isEllipsis(label) && all.indexOf(label) === all.lastIndexOf(label));
    return { terms, output: [...ellipsis, ...once.sort()] };
  }
  const output = spread(sides[1], ellipsis);
  output.forEach((label, position) => {
    if (!all.includes(label))
      throw new OptionError(`einsum: the result of "${equation}" names "${label}", which no term has.`);
    if (output.indexOf(label) !== position)
      throw new OptionError(`einsum: the result of "${equation}" names "${label}" twice.`);
  });
  return { terms, output };
}

function isEllipsis(label: string): boolean {
  return label.startsWith("…");
}

/** Labels of the dimensions under an ellipsis: the last one is "…1" in every term, since they are aligned there. */
function ellipsisLabels(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `…${count - i}`);
}

function spread(term: string, ellipsis: readonly string[]): readonly string[] {
  const [before = "", after] = term.split("...");
  return after === undefined ? [...before] : [...before, ...ellipsis, ...after];
}

function labelsOf(equation: string, term: string, position: number, x: Tensor): readonly string[] {
  const letters = term.replace("...", "").length;
  const covered = x.rank - letters;
  if (covered < 0 || (covered > 0 && !term.includes("..."))) {
    throw new ShapeError(
      `einsum: term "${term}" of "${equation}" names ${letters} dimensions, tensor ${position} has shape ${showShape(x.shape)}.`,
    );
  }
  return spread(term, ellipsisLabels(covered));
}

/** Every label has one size, or 1 where it broadcasts. */
function checkSizes(equation: string, terms: Parsed["terms"], operands: readonly Tensor[]): void {
  const sizes = new Map<string, number>();
  terms.forEach((labels, i) => {
    const { shape } = operands[i] as Tensor;
    labels.forEach((label, axis) => {
      const size = shape[axis] as number;
      if (shape[labels.indexOf(label)] !== size) {
        throw new ShapeError(
          `einsum: "${label}" stands for dimensions of different sizes in tensor ${i} of shape ${showShape(shape)}; a diagonal needs equal ones.`,
        );
      }
      const known = sizes.get(label) ?? 1;
      if (size !== known && size !== 1 && known !== 1) {
        throw new ShapeError(
          `einsum: "${isEllipsis(label) ? "..." : label}" of "${equation}" is ${known} in one tensor and ${size} in tensor ${i} of shape ${showShape(shape)}.`,
        );
      }
      if (size !== 1) sizes.set(label, size);
    });
  });
}

/** Dimensions with one letter become their diagonal. */
function withDiagonals({ x, labels }: Labelled): Labelled {
  const axis2 = labels.findIndex((label, axis) => labels.indexOf(label) !== axis);
  if (axis2 < 0) return { x, labels };
  const label = labels[axis2] as string;
  const axis1 = labels.indexOf(label);
  const others = labels.filter((_, axis) => axis !== axis1 && axis !== axis2);
  return withDiagonals({ x: diagonal(x, { axis1, axis2 }), labels: [...others, label] });
}

/** Adds up the dimensions whose labels nobody needs. */
function summed({ x, labels }: Labelled, needed: ReadonlySet<string>): Labelled {
  const axes = labels.flatMap((label, axis) => (needed.has(label) ? [] : [axis]));
  if (axes.length === 0) return { x, labels };
  return { x: sum(x, { axis: axes }), labels: labels.filter((label) => needed.has(label)) };
}

/** The product of two, with the labels that only they have added up. */
function contracted(a: Labelled, b: Labelled, needed: ReadonlySet<string>): Labelled {
  const left = summed(a, new Set([...needed, ...b.labels]));
  const right = summed(b, new Set([...needed, ...a.labels]));
  const shared = left.labels.filter((label) => right.labels.includes(label));
  const batch = shared.filter((label) => needed.has(label));
  const inner = shared.filter((label) => !needed.has(label));
  const rows = left.labels.filter((label) => !shared.includes(label));
  const columns = right.labels.filter((label) => !shared.includes(label));
  const labels = [...batch, ...rows, ...columns];
  if (inner.length === 0 || rows.length + columns.length === 0) {
    const order = [...labels, ...inner];
    const product = mul(aligned(left, order), aligned(right, order));
    return summed({ x: product, labels: order }, needed);
  }
  const innerSizes = inner.map((label) => {
    const size = sizeOfLabel(label, left);
    return size === 1 ? sizeOfLabel(label, right) : size;
  });
  /** A batch of matrices: the batch stays as it is, for it broadcasts; inner dimensions take their common size. */
  const matrices = (operand: Labelled, second: readonly string[], third: readonly string[]): Tensor => {
    const ordered = aligned(operand, [...batch, ...second, ...third]);
    const group = (names: readonly string[]): number[] =>
      names.map((label) =>
        names === inner ? (innerSizes[inner.indexOf(label)] as number) : sizeOfLabel(label, operand),
      );
    const lead = ordered.shape.slice(0, batch.length);
    const whole = expandTo(ordered, [...lead, ...group(second), ...group(third)]);
    return reshape(whole, [...lead, sizeOf(group(second)), sizeOf(group(third))]);
  };
  const product = matmul(matrices(left, rows, inner), matrices(right, inner, columns));
  const outer = [
    ...rows.map((label) => sizeOfLabel(label, left)),
    ...columns.map((label) => sizeOfLabel(label, right)),
  ];
  return { x: reshape(product, [...product.shape.slice(0, batch.length), ...outer]), labels };
}

function sizeOfLabel(label: string, { x, labels }: Labelled): number {
  return x.shape[labels.indexOf(label)] as number;
}

/** The tensor with its dimensions in an order of labels, size 1 for those it lacks. */
function aligned({ x, labels }: Labelled, order: readonly string[]): Tensor {
  const own = order.filter((label) => labels.includes(label));
  const ordered = permuteTo(
    x,
    own.map((label) => labels.indexOf(label)),
  );
  return withUnitDims(
    ordered,
    order.map((label) => (labels.includes(label) ? sizeOfLabel(label, { x, labels }) : 1)),
  );
}
