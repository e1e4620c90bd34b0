import type { Workspace } from "../workspace.ts";

/*
 * The inner kernels of matrix multiplication, after Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication", 2008: blocks of both operands are copied into panels, so that the innermost loop walks memory in
 * order and a small tile of the result stays in registers. All in doubles, which JavaScript computes without
 * conversions. Convolutions use the same engine with copiers of their own.
 */

/** Rows and columns of a register tile; measured best of 2 x 4 ... 6 x 4 under V8. */
const TILE = 3;
/** Greatest block: of the result `ROWS x COLUMNS`, and this deep at a time. A block of A fills a second-level cache. */
const ROWS = 192;
const COLUMNS = 192;
const DEPTH = 256;

/** Numbers that can be read and written by index. */
export type Source = Float32Array | Float64Array;

/** Copies `count` rows of A (or columns of B) from `first` on, `depth` deep from `start` on, into panels. */
export type Packer = (
  panels: Float64Array,
  first: number,
  count: number,
  start: number,
  depth: number,
) => void;

/** Takes a finished block: `rows x columns` of it at (`row`, `column`), with rows `rowLength` apart. */
export type Taker = (
  block: Float64Array,
  rowLength: number,
  row: number,
  column: number,
  rows: number,
  columns: number,
) => void;

/** Multiplies matrices given as copiers, block by block. */
type Engine = (
  rows: number,
  columns: number,
  depth: number,
  packA: Packer,
  packB: Packer,
  take: Taker,
) => void;

let engine: Engine | undefined;

/**
 * Computes A B, A `rows x depth` and B `depth x columns`, with operands and result reached through functions.
 *
 * There is one engine with one set of blocks in a process, made at the first use: V8 then knows the arrays as
 * constants and checks bounds against numbers in the code, which makes the inner loop a third faster than arrays
 * passed in.
 */
export function multiply(
  rows: number,
  columns: number,
  depth: number,
  packA: Packer,
  packB: Packer,
  take: Taker,
): void {
  engine ??= makeEngine();
  engine(rows, columns, depth, packA, packB, take);
}

function makeEngine(): Engine {
  const a = new Float64Array(ROWS * DEPTH);
  const b = new Float64Array(COLUMNS * DEPTH);
  const c = new Float64Array(ROWS * COLUMNS);

  /** Adds a panel of A, from `ao`, times a panel of B, from `bo`, to the tile of C at `co`. */
  function multiplyPanels(depth: number, ao: number, bo: number, co: number): void {
    let c00 = 0;
    let c01 = 0;
    let c02 = 0;
    let c10 = 0;
    let c11 = 0;
    let c12 = 0;
    let c20 = 0;
    let c21 = 0;
    let c22 = 0;
    let i = ao | 0;
    let j = bo | 0;
    const end = (i + Math.imul(depth, TILE)) | 0;
    while (i < end) {
      const b0 = b[j];
      const b1 = b[(j + 1) | 0];
      const b2 = b[(j + 2) | 0];
      const a0 = a[i];
      c00 += a0 * b0;
      c01 += a0 * b1;
      c02 += a0 * b2;
      const a1 = a[(i + 1) | 0];
      c10 += a1 * b0;
      c11 += a1 * b1;
      c12 += a1 * b2;
      const a2 = a[(i + 2) | 0];
      c20 += a2 * b0;
      c21 += a2 * b1;
      c22 += a2 * b2;
      i = (i + TILE) | 0;
      j = (j + TILE) | 0;
    }
    const row1 = (co + COLUMNS) | 0;
    const row2 = (row1 + COLUMNS) | 0;
    c[co] += c00;
    c[(co + 1) | 0] += c01;
    c[(co + 2) | 0] += c02;
    c[row1] += c10;
    c[(row1 + 1) | 0] += c11;
    c[(row1 + 2) | 0] += c12;
    c[row2] += c20;
    c[(row2 + 1) | 0] += c21;
    c[(row2 + 2) | 0] += c22;
  }

  function multiplyBlock(rows: number, columns: number, depth: number): void {
    const panel = depth * TILE;
    for (let column = 0, bo = 0; column < columns; column += TILE, bo += panel) {
      for (let row = 0, ao = 0; row < rows; row += TILE, ao += panel) {
        multiplyPanels(depth, ao, bo, row * COLUMNS + column);
      }
    }
  }

  return (rows, columns, depth, packA, packB, take) => {
    for (let row = 0; row < rows; row += ROWS) {
      const m = Math.min(ROWS, rows - row);
      for (let column = 0; column < columns; column += COLUMNS) {
        const n = Math.min(COLUMNS, columns - column);
        c.fill(0, 0, Math.ceil(m / TILE) * TILE * COLUMNS);
        for (let k = 0; k < depth; k += DEPTH) {
          const kc = Math.min(DEPTH, depth - k);
          // In a shallow product the block of A is still there from the last block of columns.
          if (column === 0 || depth > DEPTH) packA(a, row, m, k, kc);
          packB(b, column, n, k, kc);
          multiplyBlock(m, n, kc);
        }
        take(c, COLUMNS, row, column, m, n);
      }
    }
  };
}

/**
 * Copies a `count x depth` matrix with strides into panels of {@link TILE} rows, each stored depth-major; missing rows
 * of the last panel are zero. With strides swapped the same packs columns.
 */
export function packPanels(
  source: Source,
  offset: number,
  acrossStride: number,
  depthStride: number,
  count: number,
  depth: number,
  panels: Float64Array,
): void {
  let to = 0;
  let first = offset;
  let row = 0;
  for (; row + TILE <= count; row += TILE) {
    let at0 = first;
    let at1 = (first + acrossStride) | 0;
    let at2 = (at1 + acrossStride) | 0;
    for (let k = 0; k < depth; k++) {
      panels[to] = source[at0];
      panels[(to + 1) | 0] = source[at1];
      panels[(to + 2) | 0] = source[at2];
      to = (to + TILE) | 0;
      at0 = (at0 + depthStride) | 0;
      at1 = (at1 + depthStride) | 0;
      at2 = (at2 + depthStride) | 0;
    }
    first += TILE * acrossStride;
  }
  if (row === count) return;
  for (let k = 0; k < depth; k++) {
    for (let r = 0; r < TILE; r++) {
      panels[to++] = row + r < count ? source[first + r * acrossStride + k * depthStride] : 0;
    }
  }
}

/** A matrix in memory: element (i, j) at `offset + i * rowStride + j * columnStride`. */
export interface Matrix<T> {
  readonly data: T;
  readonly offset: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A packer of the rows of a matrix; depth runs along its columns. */
export function packRows({ data, offset, rowStride, columnStride }: Matrix<Source>): Packer {
  return (panels, first, count, start, depth) => {
    packPanels(
      data,
      offset + first * rowStride + start * columnStride,
      rowStride,
      columnStride,
      count,
      depth,
      panels,
    );
  };
}

/** A packer of the columns of a matrix; depth runs along its rows. */
export function packColumns({ data, offset, rowStride, columnStride }: Matrix<Source>): Packer {
  return packRows({ data, offset, rowStride: columnStride, columnStride: rowStride });
}

/** out = A B, blocked and packed. */
export function multiplyBlocked(
  rows: number,
  columns: number,
  depth: number,
  a: Matrix<Source>,
  b: Matrix<Source>,
  out: Matrix<Source>,
): void {
  multiply(rows, columns, depth, packRows(a), packColumns(b), (block, rowLength, row, column, m, n) => {
    unpack(block, rowLength, m, n, out, row, column);
  });
}

function unpack(
  block: Float64Array,
  rowLength: number,
  rows: number,
  columns: number,
  out: Matrix<Source>,
  row: number,
  column: number,
): void {
  const { data, columnStride } = out;
  for (let i = 0; i < rows; i++) {
    let at = out.offset + (row + i) * out.rowStride + column * columnStride;
    const from = i * rowLength;
    for (let j = 0; j < columns; j++) {
      data[at] = block[from + j];
      at += columnStride;
    }
  }
}

/** out = A B without packing, for matrices so small or thin that copying would cost more than it saves. */
export function multiplyDirect(
  workspace: Workspace,
  rows: number,
  columns: number,
  depth: number,
  a: Matrix<Source>,
  b: Matrix<Source>,
  out: Matrix<Source>,
): void {
  // Walk B along its shorter stride: as dot products, or row by row into a row of sums.
  if (Math.abs(b.rowStride) <= Math.abs(b.columnStride)) {
    for (let i = 0; i < rows; i++) dotProducts(a.offset + i * a.rowStride, i, columns, depth, a, b, out);
    return;
  }
  const sums = workspace.float64("gemm row", columns);
  for (let i = 0; i < rows; i++) {
    sums.fill(0, 0, columns);
    for (let k = 0; k < depth; k++) {
      const factor = a.data[a.offset + i * a.rowStride + k * a.columnStride];
      let bt = b.offset + k * b.rowStride;
      for (let j = 0; j < columns; j++) {
        sums[j] += factor * b.data[bt];
        bt += b.columnStride;
      }
    }
    let to = out.offset + i * out.rowStride;
    for (let j = 0; j < columns; j++) {
      out.data[to] = sums[j];
      to += out.columnStride;
    }
  }
}

/**
 * One row of a product as dot products, four at a time: a sum has to wait for its last addition, and four sums do not wait
 * for each other. Each adds up in order, so that the result does not depend on the grouping.
 */
function dotProducts(
  aRow: number,
  row: number,
  columns: number,
  depth: number,
  a: Matrix<Source>,
  b: Matrix<Source>,
  out: Matrix<Source>,
): void {
  const { data: left, columnStride: aStep } = a;
  const { data: right, rowStride: bStep, columnStride: next } = b;
  let to = out.offset + row * out.rowStride;
  let j = 0;
  for (; j + 4 <= columns; j += 4) {
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    let at = aRow;
    let bt = b.offset + j * next;
    for (let k = 0; k < depth; k++) {
      const factor = left[at];
      s0 += factor * right[bt];
      s1 += factor * right[bt + next];
      s2 += factor * right[bt + 2 * next];
      s3 += factor * right[bt + 3 * next];
      at += aStep;
      bt += bStep;
    }
    out.data[to] = s0;
    out.data[to + out.columnStride] = s1;
    out.data[to + 2 * out.columnStride] = s2;
    out.data[to + 3 * out.columnStride] = s3;
    to += 4 * out.columnStride;
  }
  for (; j < columns; j++) {
    let sum = 0;
    let at = aRow;
    let bt = b.offset + j * next;
    for (let k = 0; k < depth; k++) {
      sum += left[at] * right[bt];
      at += aStep;
      bt += bStep;
    }
    out.data[to] = sum;
    to += out.columnStride;
  }
}
