import { type FileHandle, open, rm } from "node:fs/promises";
import { reasonOf } from "../errors.ts";

/** One address and the partial file it is fetched into. */
export interface Transfer {
  readonly url: string;
  readonly part: string;
  /** Exact size of the whole file, if known. */
  readonly bytes: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly timeout: number;
  readonly fetch: typeof globalThis.fetch;
  readonly onProgress: (received: number, total: number | undefined) => void;
}

/** The network's or the server's fault, as opposed to the disk's. */
export class TransferError extends Error {
  /** Trying this address again is of no use. */
  readonly permanent: boolean;

  constructor(message: string, permanent: boolean) {
    super(message);
    this.permanent = permanent;
  }
}

/**
 * Fetches what is missing of a file behind its first `have` bytes. A server that knows no ranges, or sends another one,
 * is followed from the start.
 *
 * @throws TransferError if the answer does not end with the whole file. What has arrived stays in the partial file.
 */
export async function fetchInto(transfer: Transfer, have: number): Promise<void> {
  const { url, bytes, part, signal } = transfer;
  const watchdog = new Watchdog(transfer.timeout);
  const abort = signal === undefined ? watchdog.signal : AbortSignal.any([signal, watchdog.signal]);
  try {
    const response = await network(watchdog, () =>
      transfer.fetch(url, { headers: headersFor(have), signal: abort }),
    );
    const { status, body } = response;
    const start = startOf(response, have);
    if (start === undefined || body === null) {
      await body?.cancel();
      // The bytes there are belong to another file, or the server counts differently: from the start, then.
      const misfit = status === 416 || status === 206;
      if (misfit) await rm(part, { force: true });
      throw new TransferError(
        misfit ? "the answer is another range of bytes" : `HTTP ${status}`,
        isFinal(status),
      );
    }
    const length = response.headers.get("content-length");
    const whole =
      length === null || response.headers.has("content-encoding") ? undefined : start + Number(length);
    if (bytes !== undefined && whole !== undefined && whole < bytes) {
      await body.cancel();
      throw new TransferError(`the file there has ${whole} bytes, expected ${bytes}`, true);
    }
    const total = bytes ?? (length === null ? undefined : start + Number(length));
    const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
    const handle = await open(part, start > 0 ? "r+" : "w");
    let received = start;
    try {
      transfer.onProgress(received, total);
      for (;;) {
        const { done, value } = await network(watchdog, () => reader.read());
        if (done) break;
        if (bytes !== undefined && received + value.length > bytes) {
          throw new TransferError(`the answer is longer than the ${bytes} bytes of the file`, true);
        }
        await writeAll(handle, value, received);
        received += value.length;
        transfer.onProgress(received, total);
      }
      if (total !== undefined && received < total) {
        throw new TransferError(`the connection ended after ${received} of ${total} bytes`, false);
      }
      await handle.sync();
    } finally {
      await handle.close();
      await reader.cancel().catch(() => {});
    }
  } finally {
    watchdog.stop();
  }
}

function headersFor(have: number): Record<string, string> {
  // A server that compressed on the way would send other bytes than the file's.
  return { "accept-encoding": "identity", ...(have > 0 && { range: `bytes=${have}-` }) };
}

/** The position that the body starts at; undefined if the answer is of no use. */
function startOf(response: Response, have: number): number | undefined {
  if (response.status === 200) return 0;
  if (response.status !== 206) return undefined;
  const range = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
  return Number(range?.[1]) === have ? have : undefined;
}

/** Whether the same request would get the same answer. */
function isFinal(status: number): boolean {
  return status < 500 && ![206, 408, 416, 429].includes(status);
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const result = await handle.write(bytes, written, bytes.length - written, position + written);
    written += result.bytesWritten;
  }
}

/** Waits for the network no longer than the watchdog allows, and marks its failures as the network's. */
async function network<T>(watchdog: Watchdog, fn: () => Promise<T>): Promise<T> {
  watchdog.start();
  try {
    return await fn();
  } catch (error) {
    throw new TransferError(
      watchdog.signal.aborted ? reasonOf(watchdog.signal.reason) : reasonOf(error),
      false,
    );
  } finally {
    watchdog.stop();
  }
}

/** Aborts a connection that stays silent. */
class Watchdog {
  readonly #controller = new AbortController();
  readonly #timeout: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(): void {
    this.stop();
    this.#timer = setTimeout(
      () => this.#controller.abort(new Error(`no byte within ${this.#timeout} ms`)),
      this.#timeout,
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
