import {
  assign,
  cast,
  checkNumber,
  checkOptions,
  DTYPES,
  DTypeError,
  div,
  matmul,
  mul,
  noGrad,
  norm,
  reshape,
  ShapeError,
  scope,
  slice,
  sub,
  type Tensor,
  transpose,
  zerosLike,
} from "@nf/core";
import { COMMON, type InitOptions, normal, sampling } from "./common.ts";

/** Options of {@link orthogonal}. */
export interface OrthogonalOptions extends InitOptions {
  /** Factor of the matrix; default 1. */
  readonly gain?: number;
}

/**
 * A random matrix whose rows (or columns, where there are fewer of them) are orthogonal and of length `gain`. Dimensions behind the first count as
 * one. Saxe, McClelland, Ganguli 2013, arXiv:1312.6120.
 *
 * @throws ShapeError for fewer than two dimensions.
 */
export function orthogonal(shape: readonly number[], options: OrthogonalOptions = {}): Tensor {
  checkOptions("init.orthogonal", options, [...COMMON, "gain"]);
  const { gain = 1 } = options;
  checkNumber("init.orthogonal", "gain", gain);
  if (shape.length < 2) {
    throw new ShapeError(
      `init.orthogonal: needs a shape of at least 2 dimensions, got [${shape.join(", ")}]. Initialise biases with init.zeros.`,
    );
  }
  const { dtype = "f32" } = options;
  if (!Object.hasOwn(DTYPES, dtype) || DTYPES[dtype].kind !== "float")
    throw new DTypeError(`init.orthogonal: dtype must be one of floats, got ${String(dtype)}.`);
  const [rows = 0, ...rest] = shape;
  const columns = rest.reduce((product, size) => product * size, 1);
  return noGrad(() => {
    const wide = rows <= columns;
    // Halves are too coarse to make anything orthogonal in.
    const compute = dtype === "f64" ? "f64" : "f32";
    const drawn = normal(wide ? [rows, columns] : [columns, rows], {
      ...sampling(options),
      dtype: compute,
    });
    const q = mul(orthonormalRows(drawn), gain);
    return cast(reshape(wide ? q : transpose(q), shape), dtype);
  });
}

/** The Q of a QR decomposition with a positive diagonal of R, whose columns are the rows here: Gram-Schmidt, each row twice. */
function orthonormalRows(a: Tensor): Tensor {
  const [rows, columns] = a.shape as readonly [number, number];
  const q = zerosLike(a);
  if (columns === 0) return q;
  for (let row = 0; row < rows; row++) {
    scope(() => {
      let rest = slice(a, row); //                                         [columns]
      if (row > 0) {
        const before = slice(q, [0, row]); //                              [row, columns]
        // Once is not enough: what rounding leaves of the rows before weighs much where little of this one is left.
        for (let time = 0; time < 2; time++) rest = sub(rest, matmul(matmul(before, rest), before));
      }
      assign(slice(q, row), div(rest, norm(rest)));
    });
  }
  return q;
}
