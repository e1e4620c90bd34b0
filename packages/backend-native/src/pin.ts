import { type Backend, BackendDecorator, BackendError, type HostArray, Scope, type Tensor } from "@nf/core";
import { NativeBackend } from "./backend.ts";

/** A tensor's values where the backend has them. */
export interface Pinned {
  /**
   * The values, row-major, in the backend's own memory: nothing is copied. Only to be read. They are those of the tensor:
   * what is assigned to it shows. What is sent to a worker is a copy; do not call the buffer's own `transfer()`.
   */
  readonly values: HostArray;
  /** Ends it at once: `values` has length 0 from here on. A second call does nothing. */
  release(): void;
}

/** Ends the hold on a tensor's memory whose array nobody has any more. */
const collected = new FinalizationRegistry<Scope>((hold) => hold.dispose());

/**
 * A look at a tensor's values without the copy that `dataSync()` makes. The memory stays as long as somebody has `values`,
 * or until `release()`: also when the tensor is disposed of, its scope ends or the backend is disposed of.
 *
 * Where the backend is asynchronous, all work must be done: `await backend.synchronize()` before.
 *
 * @throws BackendError where the tensor lives on another backend; with code `NF_UNSUPPORTED` where its elements are f16 or
 * bf16 (which JavaScript gets as f32) or do not lie row-major without gaps; and where asynchronous work is under way
 * @throws LifetimeError if the tensor was disposed of
 */
export function pin(tensor: Tensor): Pinned {
  const backend = nativeOf(tensor.backend);
  if (tensor.dtype === "f16" || tensor.dtype === "bf16") {
    throw new BackendError(
      `pin: ${tensor.dtype} values become f32 on the way to JavaScript. Read a copy with data().`,
      "NF_UNSUPPORTED",
    );
  }
  // Another tensor over the same memory keeps it from being used for anything else.
  const hold = new Scope("it was released");
  const { result: values, found } = reading(backend, tensor, hold);
  if (found.some(({ bytes }) => bytes.buffer !== values.buffer)) {
    backend.unlook(found);
    hold.dispose();
    throw new BackendError(
      `pin: the elements of this tensor of shape [${tensor.shape.join(", ")}] do not lie row-major without gaps, as after ` +
        "a transposition. Read a copy with data(), or pin clone(x).",
      "NF_UNSUPPORTED",
    );
  }
  const { buffer } = values;
  collected.register(buffer, hold, hold);
  return {
    values,
    release() {
      collected.unregister(hold);
      backend.unlook(found);
      hold.dispose();
    },
  };
}

function reading(
  backend: NativeBackend,
  tensor: Tensor,
  hold: Scope,
): ReturnType<typeof backend.look<HostArray>> {
  try {
    return backend.look(() => hold.run(() => tensor.detach()).dataSync());
  } catch (error) {
    hold.dispose();
    throw error;
  }
}

/** The native backend, also inside of decorators. */
function nativeOf(backend: Backend): NativeBackend {
  const inside = backend instanceof BackendDecorator ? backend.wrapped : backend;
  if (inside instanceof NativeBackend) return inside;
  if (inside !== backend) return nativeOf(inside);
  throw new BackendError(`pin: the tensor lives on ${backend.name}; pin works on native alone. Use data().`);
}
