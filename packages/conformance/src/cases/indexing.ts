import type { SliceIndex } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { ALL, axisFor, between, data, indices, NUMBERS, row, shapes, shapesText } from "./define.ts";

const FAMILY = "index";

/** The index with the position along an axis replaced. */
const moved = (index: readonly number[], axis: number, position: number): number[] =>
  index.map((i, one) => (one === axis ? position : i));

function gatherInstance(x: readonly number[], axis: number, index: readonly number[]): Instance {
  const along = reference.axisOf(axis, x.length);
  return {
    label: `${shapesText(x, index)} axis ${axis}`,
    operands: [data(x), indices(index, x[along]!)],
    run: ([source, at]) => nf.gather(source!, axis, at!),
    reference: ([source, at]) =>
      reference.build(index, (place, i) => reference.at(source!, moved(place, along, at!.data[i]!))),
  };
}

/** Shapes of a source and of an index no larger, except along one axis. */
const indexed: fc.Arbitrary<readonly [number[], number, number[]]> = shapes(1, 3, 4, 1).chain((x) =>
  fc
    .tuple(
      axisFor(x.length),
      fc.array(fc.nat(5), { minLength: x.length, maxLength: x.length }),
      between(0, 5),
    )
    .map(([axis, smaller, length]) => {
      const along = reference.axisOf(axis, x.length);
      return [
        x,
        axis,
        x.map((size, i) => (i === along ? length : Math.max(1, size - Math.max(0, smaller[i]! - 3)))),
      ] as const;
    }),
);

const SCATTERS = { scatter: nf.scatter, scatterAdd: nf.scatterAdd } as const;

function scatterInstance(
  op: "scatter" | "scatterAdd",
  x: readonly number[],
  axis: number,
  index: readonly number[],
): Instance {
  const along = reference.axisOf(axis, x.length);
  const size = x[along]!;
  const count = reference.count(index);
  // Positions that are replaced must differ along the axis, since which of equal ones stays is not specified.
  const distinct = {
    shape: index,
    dtype: "i32",
    values: (source: { shuffle<T>(list: readonly T[]): T[] }) => {
      const lines = new Map<string, number[]>();
      return Array.from({ length: count }, (_, i) => {
        const place = reference.indexAt(index, i);
        const key = moved(place, along, 0).join();
        const line = lines.get(key) ?? source.shuffle(Array.from({ length: size }, (__, k) => k));
        lines.set(key, line);
        return line[place[along]!]!;
      });
    },
  } as const;
  return {
    label: `${shapesText(x, index)} axis ${axis}`,
    operands: [data(x), op === "scatter" ? distinct : indices(index, size), data(index)],
    run: ([base, at, updates]) => SCATTERS[op](base!, axis, at!, updates!),
    reference: ([base, at, updates]) => {
      const result = [...base!.data];
      for (let i = 0; i < count; i++) {
        const target = reference.position(x, moved(reference.indexAt(index, i), along, at!.data[i]!));
        result[target] = op === "scatter" ? updates!.data[i]! : result[target]! + updates!.data[i]!;
      }
      return reference.nd(x, result);
    },
  };
}

function selectRow(op: "indexSelect" | "take" | "embedding" | "at"): Row {
  const instance = (x: readonly number[], axis: number, index: readonly number[]): Instance => {
    const along = op === "take" || op === "embedding" ? 0 : reference.axisOf(axis, x.length);
    const size = op === "take" ? reference.count(x) : x[along]!;
    return {
      label: `${shapesText(x, index)}${op === "indexSelect" || op === "at" ? ` axis ${axis}` : ""}`,
      operands: [data(x), indices(index, size)],
      run: ([source, where]) =>
        op === "indexSelect"
          ? nf.indexSelect(source!, axis, where!)
          : op === "at"
            ? nf.at(source!, ...x.slice(0, along).map(() => null), where!)
            : op === "take"
              ? nf.take(source!, where!)
              : nf.embedding(source!, where!),
      reference: ([source, where]) => {
        if (op === "take") return reference.build(index, (_, i) => source!.data[where!.data[i]!]!);
        if (op === "embedding")
          return reference.build([...index, x[1]!], (place) =>
            reference.at(source!, [reference.at(where!, place.slice(0, -1)), place.at(-1)!]),
          );
        return reference.build(moved(x, along, index[0]!), (place) =>
          reference.at(source!, moved(place, along, where!.data[place[along]!]!)),
        );
      },
    };
  };
  const any = shapes(op === "embedding" ? 2 : 1, op === "embedding" ? 2 : 3, 4, 1).chain((x) =>
    fc
      .tuple(
        axisFor(x.length),
        op === "take" || op === "embedding" ? shapes(0, 2, 4) : fc.tuple(between(0, 6)).map(([n]) => [n!]),
      )
      .map(([axis, index]) => instance(x, axis, index)),
  );
  const fixed =
    op === "embedding"
      ? [instance([5, 3], 0, [4]), instance([5, 2], 0, [2, 3]), instance([2, 2], 0, [])]
      : op === "take"
        ? [instance([2, 3], 0, [2, 2]), instance([4], 0, [0]), instance([2, 1, 3, 1, 2], 0, [5])]
        : [
            instance([4, 3], 0, [6]),
            instance([2, 4, 3], -2, [3]),
            instance([3], 0, [0]),
            instance([2, 1, 3, 1, 2], 2, [4]),
          ];
  return row(FAMILY, {
    op,
    kernels: ["gather", "scatter"],
    dtypes: ALL,
    tolerance: "exact",
    instances: fixed,
    arbitrary: any,
  });
}

function indexAddRow(): Row {
  const instance = (x: readonly number[], axis: number, length: number): Instance => {
    const along = reference.axisOf(axis, x.length);
    const source = moved(x, along, length);
    return {
      label: `${shapesText(x, source)} axis ${axis}`,
      operands: [data(x), indices([length], x[along]!), data(source)],
      run: ([base, at, updates]) => nf.indexAdd(base!, axis, at!, updates!),
      reference: ([base, at, updates]) => {
        const result = [...base!.data];
        updates!.data.forEach((value, i) => {
          const place = reference.indexAt(source, i);
          result[reference.position(x, moved(place, along, at!.data[place[along]!]!))]! += value;
        });
        return reference.nd(x, result);
      },
    };
  };
  return row(FAMILY, {
    op: "indexAdd",
    kernels: ["gather", "scatter"],
    dtypes: NUMBERS,
    tolerance: "composed",
    instances: [instance([4, 3], 0, 6), instance([2, 3, 2], 1, 4), instance([3], -1, 0)],
    arbitrary: shapes(1, 3, 4, 1).chain((x) =>
      fc.tuple(axisFor(x.length), between(0, 5)).map(([axis, length]) => instance(x, axis, length)),
    ),
  });
}

function oneHotRow(): Row {
  const instance = (shape: readonly number[], classes: number): Instance => ({
    label: `${shapesText(shape)} of ${classes}`,
    operands: [{ ...indices(shape, classes), dtype: "i32" }],
    run: ([index], dtype) => nf.oneHot(index!, classes, { dtype }),
    reference: ([index]) =>
      reference.build([...shape, classes], (place) =>
        reference.at(index!, place.slice(0, -1)) === place.at(-1) ? 1 : 0,
      ),
  });
  return row(FAMILY, {
    op: "oneHot",
    dtypes: ALL,
    order: 0,
    tolerance: "exact",
    instances: [instance([4], 3), instance([2, 3], 5), instance([], 2), instance([0], 3)],
    arbitrary: fc.tuple(shapes(0, 3, 4), between(1, 6)).map(([shape, classes]) => instance(shape, classes)),
  });
}

/** NumPy's basic slicing. */
function sliced(x: Nd, parts: readonly SliceIndex[]): Nd {
  const cuts = x.shape.map((size, axis) => {
    const part = parts[axis] ?? null;
    if (part === null) return { places: Array.from({ length: size }, (_, i) => i), drop: false };
    if (typeof part === "number") return { places: [part < 0 ? part + size : part], drop: true };
    const { start, end, step = 1 } = "length" in part ? { start: part[0], end: part[1] } : part;
    const places: number[] = [];
    const wrap = (position: number): number => (position < 0 ? position + size : position);
    let from = start === undefined ? (step > 0 ? 0 : size - 1) : wrap(start);
    const to = end === undefined ? (step > 0 ? size : -1) : wrap(end);
    from = step > 0 ? Math.max(0, from) : Math.min(size - 1, from);
    for (let i = from; step > 0 ? i < Math.min(to, size) : i > Math.max(to, -1); i += step) places.push(i);
    return { places, drop: false };
  });
  const whole = reference.build(
    cuts.map(({ places }) => places.length),
    (index) =>
      reference.at(
        x,
        index.map((i, axis) => cuts[axis]!.places[i]!),
      ),
  );
  return reference.reshape(
    whole,
    cuts.flatMap(({ places, drop }) => (drop ? [] : [places.length])),
  );
}

function sliceRow(): Row {
  const instance = (x: readonly number[], ...parts: readonly SliceIndex[]): Instance => ({
    label: `${shapesText(x)} ${JSON.stringify(parts)}`,
    operands: [data(x)],
    run: ([source]) => nf.slice(source!, ...parts),
    reference: ([source]) => sliced(source!, parts),
  });
  const any = shapes(1, 4, 5, 1).chain((x) => {
    const part = (size: number): fc.Arbitrary<SliceIndex> =>
      fc.oneof(
        fc.constant(null),
        between(-size, size - 1),
        fc.tuple(between(-size, size), between(-size, size)),
        fc.record({ start: between(0, size - 1), step: between(1, 3) }),
        fc.record({ step: between(-3, -1) }),
      );
    return fc.tuple(...x.map(part)).map((parts) => instance(x, ...parts));
  });
  return row(FAMILY, {
    op: "slice",
    dtypes: ALL,
    tolerance: "exact",
    instances: [
      instance([5], [1, 4]),
      instance([5], { step: -1 }),
      instance([4, 6], 1, { start: 1, step: 2 }),
      instance([3, 4], null, -1),
      instance([4], [2, 2]),
      instance([2, 1, 3, 1, 2], null, 0, { step: -2 }),
      instance([6], { start: 4, end: 0, step: -2 }),
      instance([3], [-2, 9]),
    ],
    arbitrary: any,
  });
}

function gatherRow(): Row {
  return row(FAMILY, {
    op: "gather",
    kernels: ["gather", "scatter"],
    dtypes: ALL,
    tolerance: "exact",
    instances: [
      gatherInstance([4, 3], 0, [2, 3]),
      gatherInstance([4, 3], 1, [4, 5]),
      gatherInstance([2, 3, 4], -2, [2, 2, 3]),
      gatherInstance([5], 0, [7]),
      gatherInstance([3], 0, [0]),
      gatherInstance([2, 1, 3, 1, 2], 2, [2, 1, 4, 1, 2]),
    ],
    large: [gatherInstance([131, 5], 0, [257, 5]), gatherInstance([3, 257], 1, [3, 130])],
    arbitrary: indexed.map(([x, axis, index]) => gatherInstance(x, axis, index)),
  });
}

function scatterRow(op: "scatter" | "scatterAdd"): Row {
  const fit = ([x, axis, index]: readonly [number[], number, number[]]): Instance => {
    const along = reference.axisOf(axis, x.length);
    return scatterInstance(
      op,
      x,
      axis,
      op === "scatter" ? moved(index, along, Math.min(index[along]!, x[along]!)) : index,
    );
  };
  return row(FAMILY, {
    op,
    kernels: ["gather", "scatter"],
    dtypes: NUMBERS,
    tolerance: op === "scatter" ? "exact" : "composed",
    instances: [
      scatterInstance(op, [4, 3], 0, [2, 3]),
      scatterInstance(op, [3, 4], 1, [2, 3]),
      scatterInstance(op, [2, 3, 4], -1, [2, 2, 4]),
      ...(op === "scatterAdd"
        ? [scatterInstance(op, [3], 0, [9]), scatterInstance(op, [2, 2], 0, [7, 2])]
        : []),
    ],
    large: [scatterInstance(op, [131, 5], 0, [100, 5]), scatterInstance(op, [3, 257], 1, [3, 130])],
    arbitrary: indexed.map(fit),
  });
}

/** Parts of tensors by position, and writing to positions. */
export function indexRows(): readonly Row[] {
  return [
    gatherRow(),
    scatterRow("scatterAdd"),
    scatterRow("scatter"),
    selectRow("indexSelect"),
    selectRow("take"),
    selectRow("embedding"),
    selectRow("at"),
    indexAddRow(),
    oneHotRow(),
    sliceRow(),
  ];
}
