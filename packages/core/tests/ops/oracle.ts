/*
 * A plain n-dimensional array on the host, slow and obvious: what results are compared with.
 */

/** Values in row-major order under a shape. */
export interface Host {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Number of elements. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** All positions of a shape, row-major. */
export function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (heads, size) => heads.flatMap((head) => Array.from({ length: size }, (_, i) => [...head, i])),
    [[]],
  );
}

/** The value at a position; positions of broadcast dimensions (size 1, or missing in front) do not count. */
export function at({ shape, values }: Host, position: readonly number[]): number {
  const own = position.slice(position.length - shape.length);
  return values[own.reduce((flat, p, axis) => flat * shape[axis]! + (shape[axis] === 1 ? 0 : p), 0)]!;
}

/** An array of a function of the position. */
export function build(shape: readonly number[], value: (position: number[]) => number): Host {
  return { shape, values: positions(shape).map(value) };
}

/** The shape that two shapes broadcast to. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const [left, right] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    return left === 1 ? right : left;
  });
}

/** A function of all values along axes, for each place of the others. */
export function reduce(
  x: Host,
  axes: readonly number[],
  keepDims: boolean,
  combine: (values: readonly number[]) => number,
): Host {
  const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const groups = new Map<string, number[]>(positions(kept).map((place) => [place.join(), []]));
  positions(x.shape).forEach((position, i) => {
    groups.get(position.map((p, axis) => (axes.includes(axis) ? 0 : p)).join())!.push(x.values[i]!);
  });
  const shape = keepDims ? kept : kept.filter((_, axis) => !axes.includes(axis));
  return { shape, values: [...groups.values()].map(combine) };
}

/** Matrix product of the last two dimensions, the others broadcast. */
export function matmul(a: Host, b: Host): Host {
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1)!;
  const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return build([...batch, rows, columns], (position) => {
    const [i, j] = position.slice(-2) as [number, number];
    const lead = position.slice(0, -2);
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += at(a, [...lead, i, k]) * at(b, [...lead, k, j]);
    return sum;
  });
}

/** Places along a dimension that a slice names, by NumPy's rules. */
export function slicePlaces(
  size: number,
  start: number | undefined,
  end: number | undefined,
  step: number,
): number[] {
  const wrap = (place: number): number => (place < 0 ? place + size : place);
  const places: number[] = [];
  if (step > 0) {
    const stop = Math.min(end === undefined ? size : wrap(end), size);
    for (let i = Math.max(start === undefined ? 0 : wrap(start), 0); i < stop; i += step) places.push(i);
  } else {
    const stop = Math.max(end === undefined ? -1 : wrap(end), -1);
    for (let i = Math.min(start === undefined ? size - 1 : wrap(start), size - 1); i > stop; i += step)
      places.push(i);
  }
  return places;
}
