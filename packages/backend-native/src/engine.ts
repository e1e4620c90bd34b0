import {
  ArithmeticError,
  BackendError,
  type Call,
  CHECK_CODES,
  checkFailure,
  DTYPE_NAMES,
  type DType,
  OutOfMemoryError,
  type Program,
  type View,
} from "@nf/core";
import type { Binding } from "./binding.ts";
import type { NativeBuffer } from "./buffer.ts";
import type { MatmulPrecision } from "./options.ts";
import { Programs } from "./programs/programs.ts";

/** Text of what was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The numbers of dtypes in Rust. */
const DTYPE_CODE: Readonly<Record<DType, number>> = Object.fromEntries(
  DTYPE_NAMES.map((name, index) => [name, index]),
) as Record<DType, number>;

/** Words before the attributes, see `Engine::run` in crates/binding/src/engine.rs. */
const HEADER = 6;
const MOST_ATTRIBUTES = 64;
const FIRST_WORDS = 4096;
const MAX_RANK = 16;
/** Up to here, bytes travel through the words. */
const FEW_BYTES = 1024;
/** Words of a view, at most. */
const VIEW_WORDS = 5 + 2 * MAX_RANK;

/** Bytes of a buffer that are no copy. */
export interface Look {
  readonly number: number;
  readonly bytes: Uint8Array;
  /** How many there were when the look began: fewer once somebody transferred them. */
  readonly length: number;
  ended: boolean;
}

/**
 * One engine of the compiled module: writes calls into an array of numbers that both sides see, and runs them. Nothing is
 * made for a call, so there is nothing to collect.
 */
export class Engine {
  readonly threads: number;
  readonly matmulPrecision: MatmulPrecision;
  protected readonly binding: Binding;
  protected readonly id: number;
  protected readonly programs: Programs;
  private words: Float64Array;
  /** The words as bytes. */
  private staging: Uint8Array;
  private attributes = 0;
  private looks = 0;
  protected closed = false;

  constructor(binding: Binding, threads: number, maxBytes: number, matmulPrecision: MatmulPrecision) {
    this.binding = binding;
    this.threads = threads;
    this.matmulPrecision = matmulPrecision;
    this.words = new Float64Array(FIRST_WORDS);
    this.staging = new Uint8Array(this.words.buffer);
    this.id = binding.open(maxBytes, threads, this.words);
    this.programs = new Programs(binding, this.id);
  }

  /** A new buffer's handle, or -1 above the limit, or -2 where the machine has no room. */
  allocate(bytes: number): number {
    return this.binding.allocate(this.id, bytes);
  }

  free(handle: number): void {
    this.binding.free(this.id, handle);
  }

  /** Bytes of live buffers. */
  get liveBytes(): number {
    return this.binding.live(this.id);
  }

  write(handle: number, offset: number, bytes: Uint8Array): void {
    const { length } = bytes;
    if (length > FEW_BYTES) {
      this.binding.write(this.id, handle, offset, bytes);
      return;
    }
    this.staging.set(bytes);
    this.binding.poke(this.id, handle, offset, length);
  }

  read(handle: number, offset: number, length: number): Uint8Array {
    if (length > FEW_BYTES) {
      const bytes = new Uint8Array(length);
      this.binding.read(this.id, handle, offset, bytes);
      return bytes;
    }
    this.binding.peek(this.id, handle, offset, length);
    return this.staging.slice(0, length);
  }

  /** The bytes where they are, which stay there until {@link Engine.unlook}, or until the array is collected. */
  look(handle: number, offset: number, length: number): Look {
    this.looks = (this.looks + 1) >>> 0;
    const bytes = this.binding.look(this.id, handle, offset, length, this.looks);
    return { number: this.looks, bytes, length, ended: false };
  }

  /** Ends a look. Where somebody transferred its array, the memory stays until whoever has it now is collected. */
  unlook(look: Look): void {
    const { number, bytes, length, ended } = look;
    if (ended || bytes.byteLength !== length) return;
    look.ended = true;
    if (length > 0) this.binding.detach(bytes.buffer);
    if (!this.closed) this.binding.unlook(this.id, number);
  }

  /** Begins a call: whatever one that was given up had appended is forgotten. */
  begin(): void {
    this.attributes = 0;
  }

  /** Appends an attribute to the next call: a whole number that Rust finds in `call.attributes`, in order. */
  attr(value: number): void {
    this.words[HEADER + this.attributes++] = value;
  }

  /** Appends several. */
  attrs(values: readonly number[]): void {
    for (let i = 0; i < values.length; i++) this.attr(values[i] as number);
  }

  /**
   * Writes a call's views and params, and runs a kernel on it.
   *
   * @throws ArithmeticError where a check failed, OutOfMemoryError where scratch memory ran out, BackendError where
   * something else went wrong in Rust
   */
  run(kernel: number, call: Call, program?: Program): void {
    const { inputs, outputs, params } = call;
    const attributes = this.attributes;
    this.attributes = 0;
    const most = HEADER + attributes + params.length + (inputs.length + outputs.length) * VIEW_WORDS;
    if (attributes > MOST_ATTRIBUTES || most > this.words.length) this.makeRoom(call, attributes, most);
    const { words } = this;
    words[1] = program === undefined ? 0 : this.programs.number(program) + 1;
    words[2] = inputs.length;
    words[3] = outputs.length;
    words[4] = attributes;
    words[5] = params.length;
    let at = HEADER + attributes;
    for (let i = 0; i < params.length; i++) words[at++] = params[i] as number;
    for (let i = 0; i < inputs.length; i++) at = writeView(words, at, inputs[i] as View);
    for (let k = 0; k < outputs.length; k++) at = writeView(words, at, outputs[k] as View);
    let result: number;
    try {
      result = this.binding.run(this.id, kernel);
    } catch (error) {
      throw failed(call.kernel, reasonOf(error), error);
    }
    if (result !== 0) this.fail(call, result);
  }

  close(): void {
    this.closed = true;
    this.binding.close(this.id);
    this.words = new Float64Array(0);
    this.staging = new Uint8Array(0);
  }

  private makeRoom(call: Call, attributes: number, most: number): void {
    if (attributes > MOST_ATTRIBUTES) {
      throw new BackendError(
        `native: ${call.kernel} was called with ${attributes} numbers, at most ${MOST_ATTRIBUTES} are possible here.`,
        "NF_UNSUPPORTED",
      );
    }
    const words = new Float64Array(most * 2);
    words.set(this.words);
    this.binding.attach(this.id, words);
    this.words = words;
    this.staging = new Uint8Array(words.buffer);
  }

  private fail(call: Call, result: number): never {
    if (result < 0) throw outOfScratch(call.kernel, this.words[0] as number, this.liveBytes);
    throw checkFailed(call.kernel, "program" in call ? call.program : undefined, result - 1);
  }
}

/** What a kernel throws that found a call wrong, or panicked. */
export function failed(kernel: string, why: string, cause: unknown): BackendError {
  return new BackendError(`native: ${kernel} failed: ${why}`, "NF_BACKEND", { cause });
}

/** What a kernel throws that had no room for what it works on. */
export function outOfScratch(kernel: string, bytes: number, liveBytes: number): OutOfMemoryError {
  return new OutOfMemoryError(
    `native: ${kernel} asked for ${bytes} bytes of scratch memory while buffers take ${liveBytes}, and the ` +
      "machine has no more. Make the batch smaller or free tensors.",
    bytes,
    liveBytes,
  );
}

/** What a kernel throws whose check failed, its program's or its own. */
export function checkFailed(kernel: string, program: Program | undefined, code: number): ArithmeticError {
  if (program !== undefined) return checkFailure(program, code);
  return new ArithmeticError(`${kernel}: ${CHECK_CODES[code] ?? `check ${code} failed`}.`);
}

/** Writes a view as `Words::view` in crates/binding/src/words.rs reads it; returns the place after it. */
function writeView(words: Float64Array, start: number, view: View): number {
  const { shape, strides, contiguous } = view;
  const rank = shape.length;
  let at = start;
  words[at++] = (view.buffer as NativeBuffer).handle;
  words[at++] = DTYPE_CODE[view.dtype];
  words[at++] = view.offset;
  words[at++] = rank;
  words[at++] = contiguous ? 1 : 0;
  for (let axis = 0; axis < rank; axis++) words[at++] = shape[axis] as number;
  if (!contiguous) for (let axis = 0; axis < rank; axis++) words[at++] = strides[axis] as number;
  return at;
}
