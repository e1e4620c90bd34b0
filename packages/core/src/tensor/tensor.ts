import type { Node } from "../autograd/tape.ts";
import type { Backend } from "../backend/backend.ts";
import type { Shape, View } from "../backend/view.ts";
import { DTYPES, type DType, isFloat } from "../dtype.ts";
import { BackendError, DTypeError, GradientError, LifetimeError, ShapeError } from "../errors.ts";
import { makeRoot, type Root, unwatch } from "../memory/roots.ts";
import type { Owner } from "../memory/scope.ts";
import type { Storage } from "../memory/storage.ts";
import type { Device } from "../runtime/device.ts";
import { formatValues } from "./format.ts";
import { decode, gatherView, type HostArray, hostArray, spanOf } from "./host.ts";
import type { Kinded } from "./kinds.ts";
import type { TensorMethods } from "./methods.ts";

/** Numbers in nested arrays, as `toArray` gives and `tensor` takes them. */
export type Nested = number | boolean | readonly Nested[];

/** Receives the gradient of a tensor during backward; what it returns replaces it. */
export type GradientHook = (gradient: Tensor) => Tensor | undefined;

/**
 * An immutable n-dimensional array on a backend. Operations are functions of `@nf/core` (`add(a, b)`); the common ones
 * are methods too (`a.add(b)`). `K` is a compile-time kind ({@link Spatial}, {@link Flat}, …) that layers check; plain
 * `Tensor` fits everywhere.
 */
export class Tensor<K = unknown> implements Kinded<K> {
  kind?(kind: K): void;
  /** Whether `parameter()` made it one: part of a model's weights, frozen or not. */
  isParameter = false;
  /** @internal */
  view: View;
  /** @internal */
  storage: Storage;
  /** @internal Operation that made it, for messages. */
  readonly origin: string;
  /** @internal Where on the tape it was made; undefined for leaves and constants. */
  node: Node | undefined = undefined;
  /** @internal Which output of the node it is. */
  outputIndex = 0;
  /** @internal Leaf that wants a gradient. */
  leafGradient = false;
  /** @internal Who ends it. */
  owner: Owner | undefined = undefined;
  /** @internal What the collector returns if it is dropped; undefined while somebody owns it. */
  root: Root | undefined = undefined;
  /** @internal Place in the owner's list. */
  slot = 0;
  /** @internal Of a gradient: how many places of a backward still wait for it. */
  uses = 0;
  /** @internal Why it may no longer be used. */
  ended: string | undefined = undefined;
  /** @internal What {@link Tensor.grad} shows. */
  gradient: Tensor | null = null;
  /** @internal Hooks of a leaf; those of other tensors are on the node. */
  hooks: Set<GradientHook> | undefined = undefined;
  /** @internal What to end when the gradient is reset: the graph that wrote it. */
  gradientSource: { end(): void } | undefined = undefined;

  /** @internal Takes over one reference to the storage. Owners are set by whoever makes it. */
  constructor(storage: Storage, view: View, origin: string) {
    this.storage = storage;
    this.view = view;
    this.origin = origin;
    storage.device.liveTensors++;
  }

  /** Sizes of the dimensions; `[]` for a scalar. */
  get shape(): Shape {
    return this.view.shape;
  }

  /** Element type. */
  get dtype(): DType {
    return this.view.dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.view.size;
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.view.shape.length;
  }

  /** @internal */
  get device(): Device {
    return this.storage.device;
  }

  /** The backend it lives on. */
  get backend(): Backend {
    return this.storage.device.backend;
  }

  /** Whether operations on it are recorded for a gradient. Can be set on leaves, to freeze a parameter and thaw it. */
  get requiresGrad(): boolean {
    return this.leafGradient || this.node !== undefined;
  }

  set requiresGrad(wanted: boolean) {
    if (this.node !== undefined) {
      throw new GradientError(
        `requiresGrad: the result of "${this.origin}" is part of a graph. Only leaves can be switched; use x.detach().`,
      );
    }
    if (wanted && !isFloat(this.dtype))
      throw new DTypeError(`requiresGrad: needs a float tensor, got ${this.dtype}.`);
    this.leafGradient = wanted;
  }

  /**
   * Gradient that `backward` accumulated; null before, and after `zeroGrad`. Only leaves have one. It can be set, for
   * example to a clipped one: the tensor then belongs to this one, and the gradient it replaces ends.
   */
  get grad(): Tensor | null {
    return this.gradient;
  }

  set grad(value: Tensor | null) {
    const before = this.gradient;
    if (value === before) return;
    if (value !== null) {
      if (!(value instanceof Tensor) || value.dtype !== this.dtype) {
        const what = value instanceof Tensor ? `one of ${value.dtype}` : String(value);
        throw new DTypeError(`grad: expected a ${this.dtype} tensor or null, got ${what}.`);
      }
      value.assertAlive("grad");
      if (value.shape.length !== this.rank || value.shape.some((size, axis) => size !== this.shape[axis])) {
        throw new ShapeError(
          `grad: a gradient of shape [${value.shape.join(", ")}] does not fit a tensor of shape [${this.shape.join(", ")}].`,
        );
      }
      before?.end("another gradient took its place");
      value.owner?.abandon(value);
      if (this.root !== undefined && value.node === undefined) {
        if (value.root !== undefined) unwatch(value);
        value.root = undefined;
        this.root.adopt(value);
      } else if (value.root === undefined) makeRoot(value);
    } else before?.end("the gradient was reset, as zeroGrad() does");
    this.gradient = value;
  }

  /** Whether it is not the result of a recorded operation. */
  get isLeaf(): boolean {
    return this.node === undefined;
  }

  /** Whether its memory was given back. */
  get isDisposed(): boolean {
    return this.ended !== undefined;
  }

  /**
   * Its values, row-major, once the backend has computed them. The one way to read that works on every backend.
   * @throws LifetimeError if it was disposed of.
   */
  async data(): Promise<HostArray> {
    this.assertAlive("data");
    const { view, storage } = this;
    if (view.size === 0) return hostArray(view.dtype, 0);
    const { first, count } = spanOf(view);
    const bytes = DTYPES[view.dtype].bytes;
    storage.retain();
    try {
      return rowMajor(await this.backend.read(view.buffer, first * bytes, count * bytes), view, first);
    } finally {
      storage.release();
    }
  }

  /** Its values at once, where the backend can; elsewhere an error that points to {@link data}. */
  dataSync(): HostArray {
    this.assertAlive("dataSync");
    const { view, backend } = this;
    if (backend.readSync === undefined || !backend.capabilities.readSync) {
      throw new BackendError(
        `dataSync: backend ${this.device.label} cannot read synchronously. Use await x.data().`,
        "NF_UNSUPPORTED",
      );
    }
    if (view.size === 0) return hostArray(view.dtype, 0);
    const { first, count } = spanOf(view);
    const bytes = DTYPES[view.dtype].bytes;
    return rowMajor(backend.readSync(view.buffer, first * bytes, count * bytes), view, first);
  }

  /** The value of a tensor of one element. */
  async item(): Promise<number> {
    return single(this.shape, await this.data());
  }

  /** The value of a tensor of one element at once, where the backend can read synchronously. */
  itemSync(): number {
    return single(this.shape, this.dataSync());
  }

  /** Its values as nested arrays; bool as true and false. */
  async toArray(): Promise<Nested> {
    return nest(await this.data(), this.shape, this.dtype);
  }

  /** Takes it out of the scope, batch or graph that would end it. Then it lives until `dispose()`. */
  keep(): this {
    this.assertAlive("keep");
    if (this.owner !== undefined) {
      this.owner.abandon(this);
      makeRoot(this);
    }
    return this;
  }

  /** Gives its memory back now. A second call does nothing. What the tape saved of it stays. */
  dispose(): void {
    this.end("dispose() was called");
  }

  /** Ends it with a `using` declaration. */
  [Symbol.dispose](): void {
    this.end("its `using` block ended");
  }

  /** @internal */
  end(reason: string): void {
    if (this.ended !== undefined) return;
    this.ended = reason;
    if (this.owner !== undefined) this.owner.abandon(this);
    if (this.root !== undefined) unwatch(this);
    this.root = undefined;
    this.node = undefined;
    this.storage.device.liveTensors--;
    this.storage.release();
  }

  /** @internal @throws LifetimeError naming the operation that wants it. */
  assertAlive(op: string): void {
    if (this.ended === undefined) return;
    throw new LifetimeError(
      `${op}: the result of "${this.origin}" of shape [${this.shape.join(", ")}] was ended because ${this.ended}. ` +
        "To use it longer, call .keep() on it before (and .dispose() when done), or await x.data() in time.",
    );
  }

  /** As NumPy prints it, with shape, dtype and backend. */
  toString(): string {
    const facts = `shape=[${this.shape.join(", ")}], dtype=${this.dtype}, backend=${this.device.label}`;
    const gradient = this.requiresGrad ? ", requiresGrad" : "";
    if (this.isDisposed) return `Tensor(<disposed: ${this.ended}>, ${facts})`;
    const readable = this.backend.readSync !== undefined && this.backend.capabilities.readSync;
    const values = readable ? formatValues(this.dataSync(), this.shape, this.dtype) : "<await data()>";
    // Blank lines between matrices stay empty.
    return `Tensor(${values.replace(/\n(?!\n)/g, "\n       ")}, ${facts}${gradient})`;
  }
}

/** The operations that are methods as well; see {@link TensorMethods}. */
export interface Tensor<K = unknown> extends TensorMethods {}

/** Shapes, dtypes and layouts of tensors. They keep no memory: a view does not hold its storage. */
export function viewsOf(tensors: readonly Tensor[]): readonly View[] {
  const views = new Array<View>(tensors.length);
  for (let i = 0; i < tensors.length; i++) views[i] = (tensors[i] as Tensor).view;
  return views;
}

function rowMajor(bytes: Uint8Array, view: View, first: number): HostArray {
  const stretch = decode(bytes, view.dtype);
  return view.contiguous ? stretch : gatherView(stretch, view, first);
}

function single(shape: Shape, values: HostArray): number {
  if (values.length !== 1) {
    throw new ShapeError(
      `item: needs a tensor of one element, got shape [${shape.join(", ")}]. Use await x.data().`,
    );
  }
  return values[0] as number;
}

function nest(values: HostArray, shape: Shape, dtype: DType): Nested {
  const build = (axis: number, offset: number): Nested => {
    if (axis === shape.length) return dtype === "bool" ? values[offset] !== 0 : (values[offset] as number);
    const step = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    return Array.from({ length: shape[axis] as number }, (_, index) =>
      build(axis + 1, offset + index * step),
    );
  };
  return build(0, 0);
}
