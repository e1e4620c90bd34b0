import { type Backend, type BackendBuffer, OutOfMemoryError } from "@nf/core";
import { replaced } from "./host.ts";

/** Buffers are never given back. */
export const leakedBuffer = (wrapped: Backend): Backend =>
  replaced(wrapped, () => ({ free: () => undefined }));

/** Every read gives the same memory, so that an earlier one changes. */
export const staleAlias = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => {
    const shared = new Uint8Array(2 ** 20);
    return {
      read: async (buffer, byteOffset, byteLength) => {
        const own = shared.subarray(0, byteLength);
        own.set(inner.readSync!(buffer, byteOffset, byteLength));
        return own;
      },
    };
  });

/** Reads start at the beginning, whatever they were asked for. */
export const readOffsetIgnored = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => ({
    read: (buffer, _byteOffset, byteLength) => inner.read(buffer, 0, byteLength),
  }));

/** Keeps the array it was given to write, and copies it only when somebody reads. */
export const lateWrite = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => {
    let waiting: (() => void) | undefined;
    const flush = (): void => {
      waiting?.();
      waiting = undefined;
    };
    return {
      write: (buffer, byteOffset, bytes) => {
        flush();
        waiting = () => inner.write(buffer, byteOffset, bytes);
      },
      read: (buffer, byteOffset, byteLength) => {
        flush();
        return inner.read(buffer, byteOffset, byteLength);
      },
      execute: (call) => {
        flush();
        inner.execute(call);
      },
      free: (buffer) => {
        flush();
        inner.free(buffer);
      },
    };
  });

/** A second dispose throws. */
export const brokenDoubleDispose = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => {
    let ended = false;
    return {
      dispose: async () => {
        if (ended) throw new TypeError("Cannot read properties of undefined");
        ended = true;
        await inner.dispose();
      },
    };
  });

/** Works on after its end, as if nothing were. */
export const undead = (wrapped: Backend): Backend =>
  replaced(wrapped, () => ({ dispose: async () => undefined }));

/** Too little memory is not reported: a buffer too small is handed out. */
export const shortBuffer = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => ({
    allocate: (byteLength) => {
      try {
        return inner.allocate(byteLength);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        return inner.allocate(16);
      }
    },
  }));

/** Every fortieth buffer is one that is still in use. */
export const sharedBuffer = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => {
    let count = 0;
    let last: BackendBuffer | undefined;
    const shared = new Set<BackendBuffer>();
    return {
      allocate: (byteLength) => {
        if (++count % 40 === 0 && last !== undefined && last.byteLength >= byteLength) {
          shared.add(last);
          return last;
        }
        last = inner.allocate(byteLength);
        return last;
      },
      free: (buffer) => {
        if (buffer === last) last = undefined;
        if (!shared.delete(buffer)) inner.free(buffer);
      },
    };
  });

/** Says it computes f16 convolutions, and declines them. */
export const declaredDeclined = (wrapped: Backend): Backend =>
  replaced(wrapped, (inner) => ({
    supports: (call) =>
      call.kernel === "conv" && call.outputs[0]?.dtype === "f16"
        ? { reason: "not yet" }
        : inner.supports(call),
  }));

/** Takes calls of kernels that do not exist, and does nothing. */
export const yesToAll = (wrapped: Backend): Backend => {
  const kernels = Object.keys(wrapped.capabilities.dtypes);
  return replaced(wrapped, (inner) => ({
    supports: () => "yes",
    execute: (call) => {
      if (kernels.includes(call.kernel)) inner.execute(call);
    },
  }));
};
