import type { Row } from "../model.ts";
import { activationRows } from "./activations.ts";
import { attentionRows } from "./attention.ts";
import { binaryRows } from "./binary.ts";
import { cellRows } from "./cells.ts";
import { convolutionRows } from "./convolution.ts";
import { createRows } from "./create.ts";
import { indexRows } from "./indexing.ts";
import { integerRows } from "./integers.ts";
import { lossRows } from "./losses.ts";
import { normaliseRows } from "./normalise.ts";
import { poolingRows } from "./pooling.ts";
import { productRows } from "./products.ts";
import { randomRows } from "./random.ts";
import { reduceRows } from "./reduce.ts";
import { scanRows } from "./scan.ts";
import { selectRows } from "./select.ts";
import { shapeRows } from "./shape.ts";
import { softmaxRows } from "./softmax.ts";
import { unaryRows } from "./unary.ts";

/** The large instances of a row as a row: in 32-bit dtypes and f64, to the first order, without random examples. */
function beyondBlocks({ large, ...row }: Row): Row {
  return {
    ...row,
    variant: `${row.variant ?? ""} beyond a block`.trim(),
    dtypes: row.dtypes.filter((dtype) => ["f32", "f64", "i32", "u32"].includes(dtype)),
    order: Math.min(row.order, 1) as Row["order"],
    instances: large ?? [],
    edges: [],
    fixed: true,
  };
}

/** One row for every operation of core and each of its variants. */
export function allRows(): readonly Row[] {
  return families().flatMap((row) => (row.large === undefined ? [row] : [row, beyondBlocks(row)]));
}

function families(): readonly Row[] {
  return [
    ...unaryRows(),
    ...activationRows(),
    ...binaryRows(),
    ...integerRows(),
    ...selectRows(),
    ...reduceRows(),
    ...scanRows(),
    ...productRows(),
    ...convolutionRows(),
    ...poolingRows(),
    ...normaliseRows(),
    ...softmaxRows(),
    ...attentionRows(),
    ...indexRows(),
    ...shapeRows(),
    ...lossRows(),
    ...cellRows(),
    ...randomRows(),
    ...createRows(),
  ];
}
