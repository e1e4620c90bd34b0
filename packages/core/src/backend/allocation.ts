import { BackendError, OutOfMemoryError } from "../errors.ts";

/**
 * Refuses a buffer that a backend cannot give: the first thing that `allocate` does. All sizes are bytes.
 *
 * @param backend its name, for messages
 * @param maxBufferBytes most of one buffer
 * @param liveBytes what is in use
 * @param takes what the buffer would take with its padding
 * @param maxBytes most that may be in use, the option of that name; default no limit
 * @throws BackendError for what is no size, OutOfMemoryError with the size and the limit
 */
export function checkAllocation(
  backend: string,
  byteLength: number,
  maxBufferBytes: number,
  liveBytes = 0,
  takes: number = byteLength,
  maxBytes: number = Infinity,
): void {
  if (!Number.isSafeInteger(byteLength) || byteLength < 0)
    throw new BackendError(`${backend}: a buffer's size must be a whole number of bytes, got ${byteLength}.`);
  if (byteLength > maxBufferBytes) {
    throw new OutOfMemoryError(
      `${backend}: a buffer of ${byteLength} bytes was asked for, the limit of one buffer is ${maxBufferBytes}. Make the batch smaller.`,
      byteLength,
      maxBufferBytes,
    );
  }
  if (liveBytes + takes > maxBytes) {
    throw new OutOfMemoryError(
      `${backend}: ${byteLength} bytes were asked for while ${liveBytes} are in use; maxBytes is ${maxBytes}. Make the batch smaller, free tensors, or raise maxBytes.`,
      byteLength,
      maxBytes,
    );
  }
}
