import {
  type Backend,
  type BackendBuffer,
  BackendDecorator,
  type Call,
  DTYPES,
  type DType,
  type View,
} from "@nf/core";
import { decode, elementsOf, encode } from "../../src/kernels/memory.ts";
import { indexAt } from "../../src/reference/nd.ts";

/** Values of a view, row-major, read at once. */
export function valuesOf(backend: Backend, view: View): number[] {
  const bytes = backend.readSync!(view.buffer, 0, wholeElements(view.buffer, view.dtype));
  return elementsOf(view, decode(view.dtype, bytes)).values;
}

/** Writes values into the elements of a view, row-major. */
export function setValues(backend: Backend, view: View, values: readonly number[]): void {
  const bytes = DTYPES[view.dtype].bytes;
  values.forEach((value, i) => {
    const place = indexAt(view.shape, i).reduce(
      (sum, index, axis) => sum + index * view.strides[axis]!,
      view.offset,
    );
    backend.write(view.buffer, place * bytes, encode(view.dtype, [value]));
  });
}

function wholeElements(buffer: BackendBuffer, dtype: DType): number {
  return Math.floor(buffer.byteLength / DTYPES[dtype].bytes) * DTYPES[dtype].bytes;
}

/** Changes calls on their way, or what they wrote. */
export class Planted extends BackendDecorator {
  private readonly plant: (call: Call, run: (call: Call) => void, backend: Backend) => void;

  constructor(wrapped: Backend, plant: (call: Call, run: (call: Call) => void, backend: Backend) => void) {
    super("planted", wrapped);
    this.plant = plant;
  }

  override execute(call: Call): void {
    this.plant(call, (one) => super.execute(one), this.wrapped);
  }
}

/** A backend with some of its methods replaced. */
export function replaced(wrapped: Backend, make: (inner: Backend) => Partial<Backend>): Backend {
  return Object.assign(new Planted(wrapped, (call, run) => run(call)), make(wrapped));
}
