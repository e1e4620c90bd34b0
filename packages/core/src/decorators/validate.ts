import type { Backend } from "../backend/backend.ts";
import type { Call } from "../backend/call.ts";
import { showShape } from "../backend/geometry.ts";
import { type BackendBuffer, isContiguous, sizeOf, type View } from "../backend/view.ts";
import type { DType } from "../dtype.ts";
import { BackendError, ValidationError } from "../errors.ts";
import { checkOptions } from "../ops/options.ts";
import { distinctBuffers } from "../ops/run.ts";
import { checkContract, type Fail } from "./contracts.ts";
import { BackendDecorator, callName } from "./decorator.ts";
import { faultsOf, firstFault, type NumberFaults } from "./numbers.ts";
import { byteSpan, overlap, overlapsItself, sameElements } from "./overlap.ts";

/** Options of {@link validate}. */
export interface ValidateOptions {
  /**
   * Look for the call where NaN or infinity first appears: in an output, where neither inputs nor numbers had any.
   * Reads every float operand of every call, so it is slow, and needs synchronous reads. Default false.
   */
  readonly nan?: boolean;
  /**
   * Fill buffers with bytes that read as NaN (and as -1) when they are allocated and before they are freed, so that
   * use of what was never written, or no longer belongs to anybody, shows. Default true.
   */
  readonly poison?: boolean;
}

const POISON = 0xff;
const POISON_STEP = 1 << 20;

/** A backend that checks every call to another one; see {@link validate}. */
export class ValidatedBackend extends BackendDecorator {
  private readonly live = new Set<BackendBuffer>();
  private readonly freed = new WeakSet<BackendBuffer>();
  private readonly findsNaN: boolean;
  private readonly poisons: boolean;
  private disposed = false;

  /** @internal Use {@link validate}. */
  constructor(wrapped: Backend, { nan = false, poison = true }: ValidateOptions) {
    super("validate", wrapped);
    this.findsNaN = nan;
    this.poisons = poison;
    if (nan && (wrapped.readSync === undefined || !wrapped.capabilities.readSync)) {
      throw new BackendError(
        `validate: nan needs synchronous reads, which backend ${wrapped.name} does not have. Leave the option out.`,
        "NF_UNSUPPORTED",
      );
    }
  }

  override allocate(byteLength: number): BackendBuffer {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0)
      this.fail("allocate", "byteLength", "a whole number of bytes", String(byteLength));
    const buffer = this.wrapped.allocate(byteLength);
    if (this.live.has(buffer)) this.fail("allocate", "result", "a new buffer", "one that is still in use");
    if (buffer.byteLength < byteLength)
      this.fail("allocate", "result", `at least ${byteLength} bytes`, String(buffer.byteLength));
    this.live.add(buffer);
    this.poison(buffer);
    return buffer;
  }

  override free(buffer: BackendBuffer): void {
    this.checkBuffer("free", "buffer", buffer);
    this.poison(buffer);
    this.live.delete(buffer);
    this.freed.add(buffer);
    this.wrapped.free(buffer);
  }

  override write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.checkRange("write", buffer, byteOffset, bytes.byteLength);
    this.wrapped.write(buffer, byteOffset, bytes);
  }

  override async read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    this.checkRange("read", buffer, byteOffset, byteLength);
    return this.checkBytes(await this.wrapped.read(buffer, byteOffset, byteLength), byteLength);
  }

  protected override readNow(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    this.checkRange("readSync", buffer, byteOffset, byteLength);
    return this.checkBytes(super.readNow(buffer, byteOffset, byteLength), byteLength);
  }

  override execute(call: Call): void {
    const fail: Fail = (operand, expected, got) => this.fail(nameOf(call), operand, expected, got);
    this.checkCall(call, fail);
    if (!this.findsNaN) {
      this.wrapped.execute(call);
      return;
    }
    const read = (view: View): NumberFaults => faultsOf(this.wrapped, view);
    const before = call.inputs.map(read);
    // It adds to what the output holds.
    if (call.kernel === "scatter") before.push(...call.outputs.map(read));
    this.wrapped.execute(call);
    call.outputs.forEach((view, index) => {
      const fault = firstFault(call, index, before, read(view));
      if (fault !== undefined)
        fail(`output ${index}`, "finite numbers, since it was given nothing else", fault);
    });
  }

  override async dispose(): Promise<void> {
    this.disposed = true;
    this.live.clear();
    await this.wrapped.dispose();
  }

  private checkCall(call: Call, fail: Fail): void {
    const { buffers, inputs, outputs } = call;
    buffers.forEach((buffer, index) => {
      this.checkBuffer(nameOf(call), `buffer ${index}`, buffer);
    });
    if (new Set(buffers).size !== buffers.length)
      fail("buffers", "distinct buffers", "one of them more than once");
    const used = distinctBuffers(inputs, outputs);
    if (used.length !== buffers.length || used.some((buffer, index) => buffer !== buffers[index]))
      fail(
        "buffers",
        "those of the views in order of first use",
        `${buffers.length} where views use ${used.length}`,
      );
    const { maxBuffersPerCall } = this.capabilities;
    if (isRequired(call) && buffers.length > maxBuffersPerCall)
      fail("buffers", `at most ${maxBuffersPerCall}`, String(buffers.length));
    inputs.forEach((view, index) => {
      checkView(`input ${index}`, view, fail);
    });
    outputs.forEach((view, index) => {
      checkView(`output ${index}`, view, fail);
      if (overlapsItself(view))
        fail(`output ${index}`, "elements that are written once", `strides ${showShape(view.strides)}`);
    });
    checkContract(call, fail);
    this.checkDTypes(call, fail);
    checkOverlaps(call, fail);
    const support = isRequired(call) ? "yes" : this.wrapped.supports(call);
    if (support !== "yes")
      fail(
        "call",
        'one that supports() answers with "yes"',
        support === "after-copy" ? support : support.reason,
      );
  }

  /** Kernels compute what they are declared for. Indices are `i32` everywhere. */
  private checkDTypes({ kernel, inputs, outputs }: Call, fail: Fail): void {
    const declared = this.capabilities.dtypes[kernel];
    if (declared === undefined) fail("kernel", "one that the capabilities declare", kernel);
    const check = (operand: string, dtype: DType): void => {
      if (!declared.includes(dtype))
        fail(operand, `a dtype declared for ${kernel} (${declared.join(", ")})`, dtype);
    };
    // Position 1 is an index, or blocks of quantised weights.
    const kernelsWithIndex = ["gather", "scatter", "embeddingGrad", "quantizedMatmul"];
    const indices = kernelsWithIndex.includes(kernel) ? [1] : [];
    inputs.forEach(({ dtype }, index) => {
      const isIndex = indices.includes(index) || (kernel === "crossEntropy" && dtype === "i32");
      if (!isIndex) check(`input ${index}`, dtype);
    });
    if (kernel === "argReduce") return;
    outputs.forEach(({ dtype }, index) => {
      if (!(kernel === "sort" && index === 1)) check(`output ${index}`, dtype);
    });
  }

  private checkBuffer(what: string, operand: string, buffer: BackendBuffer): void {
    if (this.live.has(buffer)) return;
    if (this.disposed) this.fail(what, operand, "a backend that is open", "a call after dispose()");
    this.fail(
      what,
      operand,
      "a live buffer of this backend",
      this.freed.has(buffer) ? "one that was already freed" : "one that another backend made",
    );
  }

  private checkRange(what: string, buffer: BackendBuffer, byteOffset: number, byteLength: number): void {
    this.checkBuffer(what, "buffer", buffer);
    const whole = Number.isSafeInteger(byteOffset) && Number.isSafeInteger(byteLength);
    if (!whole || byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > buffer.byteLength) {
      this.fail(
        what,
        "range",
        `bytes within the buffer of ${buffer.byteLength}`,
        `${byteOffset} to ${byteOffset + byteLength}`,
      );
    }
  }

  private checkBytes(bytes: Uint8Array, byteLength: number): Uint8Array {
    if (bytes.byteLength !== byteLength)
      this.fail("read", "result", `${byteLength} bytes`, String(bytes.byteLength));
    return bytes;
  }

  private poison(buffer: BackendBuffer): void {
    if (!this.poisons) return;
    const bytes = new Uint8Array(Math.min(buffer.byteLength, POISON_STEP)).fill(POISON);
    for (let at = 0; at < buffer.byteLength; at += POISON_STEP)
      this.wrapped.write(buffer, at, bytes.subarray(0, buffer.byteLength - at));
  }

  private fail(what: string, operand: string, expected: string, got: string): never {
    throw new ValidationError(`${this.name}: ${what}, ${operand}: expected ${expected}, got ${got}.`);
  }
}

/** Whether a backend must run the call without being asked. */
function isRequired(call: Call): boolean {
  switch (call.kernel) {
    case "map":
    case "reduce":
    case "argReduce":
    case "gather":
    case "scatter":
    case "scan":
    case "sort":
      return true;
    case "matmul":
      return call.program === undefined;
    default:
      return false;
  }
}

function nameOf(call: Call): string {
  const name = callName(call);
  return name === "" ? call.kernel : `${call.kernel} "${name}"`;
}

/** A view's own facts, and that it lies inside its buffer. */
function checkView(operand: string, view: View, fail: Fail): void {
  const { shape, strides, offset, size, contiguous, buffer } = view;
  const whole = (values: readonly number[]): boolean => values.every((value) => Number.isSafeInteger(value));
  if (!whole(shape) || shape.some((extent) => extent < 0)) fail(operand, "whole sizes", showShape(shape));
  if (!whole(strides) || strides.length !== shape.length)
    fail(operand, `${shape.length} whole strides`, showShape(strides));
  if (!Number.isSafeInteger(offset)) fail(operand, "a whole offset", String(offset));
  if (size !== sizeOf(shape))
    fail(operand, `size ${sizeOf(shape)} of shape ${showShape(shape)}`, String(size));
  if (size === 0) fail(operand, "elements: core runs nothing on empty views", `shape ${showShape(shape)}`);
  if (contiguous !== isContiguous(shape, strides))
    fail(operand, `contiguous to be ${!contiguous} for strides ${showShape(strides)}`, String(contiguous));
  const [start, end] = byteSpan(view);
  if (start < 0 || end > buffer.byteLength)
    fail(operand, `elements inside its buffer of ${buffer.byteLength} bytes`, `bytes ${start} to ${end}`);
}

/** Outputs are apart from each other, and each equals an input or is apart from it. */
function checkOverlaps({ kernel, inputs, outputs }: Call, fail: Fail): void {
  outputs.forEach((output, index) => {
    outputs.slice(0, index).forEach((other, otherIndex) => {
      if (overlap(output, other))
        fail(`output ${index}`, "outputs apart from each other", `overlap with output ${otherIndex}`);
    });
    inputs.forEach((input, inputIndex) => {
      // Scatter goes on reading its inputs while it writes, in another order.
      if (kernel !== "scatter" && sameElements(output, input)) return;
      if (overlap(output, input))
        fail(
          `output ${index}`,
          "an input's own view, or one apart from all inputs",
          `overlap with input ${inputIndex}`,
        );
    });
  });
}

/**
 * Checks every call to a backend: that buffers are distinct, alive and its own; that views lie inside them; that outputs
 * are not empty and overlap nothing they must not; that shapes and dtypes keep the kernel's contract; with `nan`, that no
 * NaN or infinity comes out of nothing. `use` the result in the place of the backend, for tests and to find a fault.
 *
 * @throws ValidationError (from the call) that names kernel, program, operand, what was expected and what came.
 */
export function validate(backend: Backend, options: ValidateOptions = {}): ValidatedBackend {
  checkOptions("validate", options, ["nan", "poison"] satisfies (keyof ValidateOptions)[]);
  return new ValidatedBackend(backend, options);
}
