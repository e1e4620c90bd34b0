import {
  ArithmeticError,
  BackendError,
  type Call,
  CHECK_CODES,
  checkFailure,
  DTYPE_NAMES,
  DTYPES,
  type DType,
  NanoFluxError,
  type View,
} from "@nf/core";
import type { WasmBuffer } from "./buffer.ts";
import { MATH, mathFunction } from "./math.ts";
import { MIB, makeMemory, SharedHeap } from "./memory.ts";
import { chooseFlavour, loadModule, requireWasm } from "./module.ts";
import {
  type AnyWorker,
  coreCount,
  type WasmApi,
  type WasmMemory,
  type WasmModule,
  type WasmTable,
  wasmApi,
} from "./platform.ts";
import { mayWait, singleThreadReason, startWorker } from "./threads.ts";

const THREAD_SCRATCH = MIB;
const STACK = 2 * MIB;
/** First size of the arena for scratch memory, and the size above which it is not kept from call to call. */
const ARENA = 4 * MIB;
const LARGEST_ARENA = 512 * MIB;

/** Words of a View and bytes of a Call in c/nf.h. */
const VIEW_WORDS = 40;
const MAX_RANK = 16;
const CALL_BYTES = 32;
const MOST_ATTRIBUTES = 256;
const MOST_PARAMS = 256;
const FEWEST_VIEWS = 64;

/** Size of an Emitted in c/program.h, rounded up. */
const EMITTED_BYTES = 80;

/** A kernel of the module: takes the address of a call, returns 0 or a failed check's code + 1. */
export type KernelFunction = (call: number) => number;

interface Exports {
  readonly __indirect_function_table: WasmTable;
  readonly __stack_pointer: { value: number };
  readonly __heap_base: { readonly value: number };
  pool_init(threads: number, mayWait: number): void;
  pool_quit(): void;
  pool_lost(): void;
  scratch_init(arena: number, bytes: number, threadBlocks: number): void;
  scratch_reset(): number;
}

/** The numbers of dtypes in C. */
const DTYPE_CODE: Readonly<Record<DType, number>> = Object.fromEntries(
  DTYPE_NAMES.map((name, index) => [name, index]),
) as Record<DType, number>;
const DTYPE_BYTES: Readonly<Record<DType, number>> = Object.fromEntries(
  DTYPE_NAMES.map((name) => [name, DTYPES[name].bytes]),
) as Record<DType, number>;

/** How to start an {@link Engine}. */
export interface EngineOptions {
  readonly threads: number | undefined;
  readonly relaxed: boolean | "auto";
}

/** One instance of the module with its memory, heap and threads; writes calls and runs kernels. */
export class Engine extends SharedHeap {
  /** Threads that kernels use. */
  threads = 1;
  /** Why there is one thread although more were wanted, if so. */
  singleThreaded: string | undefined;
  readonly workers: AnyWorker[] = [];
  private exports: Exports | undefined;
  private kernels: Readonly<Record<string, unknown>> = {};
  private broken: string | undefined;
  private disposed = false;
  private arena = 0;
  private arenaBytes = 0;
  private readonly extraBlocks: number[] = [];
  private stackTop = 0;
  private call = 0;
  private attributesAt = 0;
  private paramsAt = 0;
  private viewsAt = 0;
  private viewCapacity = 0;
  private attributes = 0;

  private constructor(memory: WasmMemory, heapBase: number, maximumPages: number) {
    super(memory, heapBase, maximumPages);
  }

  /**
   * Loads the module, makes its memory and starts its threads.
   * @throws BackendError where WebAssembly or what it needs is missing
   */
  static async create(options: EngineOptions): Promise<Engine> {
    const api = requireWasm();
    const module = await loadModule(api, chooseFlavour(api, options.relaxed));
    const { memory, maximum } = makeMemory(api.Memory);
    let engine: Engine | undefined;
    const env = {
      memory,
      now: () => performance.now(),
      math: mathFunction(),
      scratch_block: (bytes: number) => (engine as Engine).scratchBlock(bytes),
      scratch_return: (kept: number) => (engine as Engine).returnBlocks(kept >>> 0),
      worker_lost: () => (engine as Engine).workerLost(),
      // The main thread loads a program when it emits it.
      load_program: () => 0,
    };
    const { exports } = await api.instantiate(module, { env });
    const known = exports as Record<string, unknown> & Exports;
    engine = new Engine(memory, known.__heap_base.value, maximum);
    await engine.start(known, module, options);
    return engine;
  }

  private async start(
    exports: Exports & Record<string, unknown>,
    module: WasmModule,
    { threads }: EngineOptions,
  ): Promise<void> {
    this.exports = exports;
    this.kernels = exports;
    this.stackTop = exports.__stack_pointer.value;
    const wanted = threads ?? Math.min(coreCount(), 8);
    const reason = wanted > 1 ? singleThreadReason() : undefined;
    const count = reason === undefined ? wanted : 1;
    this.singleThreaded = reason;
    const blocks = this.reserve(count * THREAD_SCRATCH);
    this.arena = this.reserve(ARENA);
    this.arenaBytes = ARENA;
    exports.scratch_init(this.arena, ARENA, blocks);
    this.makeCallArea(FEWEST_VIEWS);
    try {
      const starts = Array.from({ length: count - 1 }, (_, index) => {
        const stack = this.reserve(STACK) + STACK;
        const start = { module, memory: this.memory as WasmMemory, stack, thread: index + 1, math: MATH };
        return startWorker(start, (why) => this.noteLoss(why));
      });
      const settled = await Promise.allSettled(starts);
      for (const result of settled) if (result.status === "fulfilled") this.workers.push(result.value);
      const failed = settled.find((result) => result.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    } catch (error) {
      this.singleThreaded = `a worker could not start: ${error instanceof Error ? error.message : String(error)}`;
      exports.pool_quit();
      this.workers.length = 0;
    }
    this.threads = this.workers.length + 1;
    exports.pool_init(this.threads, mayWait() ? 1 : 0);
  }

  /** An exported kernel by its name in C. */
  kernel(name: string): KernelFunction {
    const found = this.kernels[name];
    if (typeof found !== "function") throw new BackendError(`wasm: the module has no kernel "${name}".`);
    return found as KernelFunction;
  }

  /** Appends an attribute to the next call: a 32-bit integer that C finds in `call->attr`, in order. */
  attr(value: number): void {
    this.i32[(this.attributesAt >>> 2) + this.attributes++] = value;
  }

  /** Appends several. */
  attrs(values: readonly number[]): void {
    for (let i = 0; i < values.length; i++) this.attr(values[i] as number);
  }

  /**
   * Writes a call's views and params, runs a kernel on it, and takes scratch memory back.
   *
   * @param program address of the encoded program, or 0
   * @throws ArithmeticError where a check failed, OutOfMemoryError where scratch memory ran out, BackendError where a
   * worker was lost
   */
  run(kernel: KernelFunction, call: Call, program = 0): void {
    this.runViews(kernel, call, call.inputs, call.outputs, program);
  }

  /** The same with other views than the call's own. */
  runViews(
    kernel: KernelFunction,
    call: Call,
    inputs: readonly View[],
    outputs: readonly View[],
    program = 0,
  ): void {
    if (this.exports === undefined || this.broken !== undefined) this.refuse(call.kernel);
    const views = inputs.length + outputs.length;
    if (views > this.viewCapacity) this.makeCallArea(views * 2);
    const { params } = call;
    if (params.length > MOST_PARAMS) this.tooMany(call, `${params.length} parameters`, MOST_PARAMS);
    if (this.attributes > MOST_ATTRIBUTES) this.tooMany(call, `${this.attributes} numbers`, MOST_ATTRIBUTES);
    const word = this.call >>> 2;
    const { i32 } = this;
    i32[word] = inputs.length;
    i32[word + 1] = outputs.length;
    i32[word + 3] = this.viewsAt + inputs.length * VIEW_WORDS * 4;
    i32[word + 6] = program;
    i32[word + 7] = params.length;
    let at = this.viewsAt >>> 2;
    for (let i = 0; i < inputs.length; i++, at += VIEW_WORDS) this.writeView(at, inputs[i] as View, call);
    for (let k = 0; k < outputs.length; k++, at += VIEW_WORDS) this.writeView(at, outputs[k] as View, call);
    const paramAt = this.paramsAt >>> 3;
    for (let i = 0; i < params.length; i++) this.f64[paramAt + i] = params[i] as number;
    this.attributes = 0;
    let fault: number;
    try {
      fault = kernel(this.call);
    } catch (error) {
      this.afterFailure(call, error);
    }
    this.resetScratch();
    if (fault !== 0) this.fail(call, fault - 1);
  }

  /**
   * Loads an emitted module (src/programs/emit.ts) into this thread's table, and lays it out for the other threads, who
   * load it when they first meet it.
   *
   * @returns address of the Emitted of c/program.h, or undefined where this engine may not compile
   */
  install(code: Uint8Array): number | undefined {
    const exports = this.exports as Exports;
    const table = exports.__indirect_function_table;
    // Compiling is a luxury: where memory is short, programs are interpreted.
    const address = this.heap.take(EMITTED_BYTES + code.length);
    if (address === undefined) return undefined;
    let run: unknown;
    try {
      const { Module, Instance } = wasmApi() as WasmApi;
      run = new Instance(new Module(code), { env: { memory: this.memory } }).exports["run"];
    } catch {
      this.heap.give(address);
      return undefined;
    }
    const index = table.grow(1);
    table.set(index, run);
    this.u8.fill(0, address, address + EMITTED_BYTES);
    this.u8.set(code, address + EMITTED_BYTES);
    this.i32.set([index, address + EMITTED_BYTES, code.length], address >>> 2);
    // This thread, number 0, has it.
    this.u8[address + 12] = 1;
    return address;
  }

  /** Ends threads; the memory goes with the last reference to it. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.broken ??= "it was disposed";
    this.exports?.pool_quit();
    // A worker that was lost does not hear that.
    for (const worker of this.workers) void worker.terminate();
    this.workers.length = 0;
    this.exports = undefined;
    this.kernels = {};
    this.release();
  }

  private writeView(at: number, view: View, call: Call): void {
    const { i32 } = this;
    const { dtype, shape, strides } = view;
    const rank = shape.length;
    if (rank > MAX_RANK) this.tooMany(call, `${rank} dimensions`, MAX_RANK);
    i32[at] = DTYPE_CODE[dtype];
    i32[at + 1] = rank;
    i32[at + 2] = (view.buffer as WasmBuffer).address + view.offset * DTYPE_BYTES[dtype];
    i32[at + 3] = view.size;
    i32[at + 4] = view.contiguous ? 1 : 0;
    for (let axis = 0; axis < rank; axis++) {
      i32[at + 8 + axis] = shape[axis] as number;
      i32[at + 24 + axis] = strides[axis] as number;
    }
  }

  private makeCallArea(views: number): void {
    const old = this.call;
    const attributeBytes = MOST_ATTRIBUTES * 4;
    const paramBytes = MOST_PARAMS * 8;
    this.call = this.reserve(CALL_BYTES + attributeBytes + paramBytes + views * VIEW_WORDS * 4 + 64);
    const attributesAt = this.call + 64;
    // Attributes of the call under way were written already.
    if (old !== 0) this.u8.copyWithin(attributesAt, this.attributesAt, this.attributesAt + attributeBytes);
    this.attributesAt = attributesAt;
    this.paramsAt = this.attributesAt + attributeBytes;
    this.viewsAt = this.paramsAt + paramBytes;
    this.viewCapacity = views;
    const word = this.call >>> 2;
    this.i32[word + 2] = this.viewsAt;
    this.i32[word + 4] = this.attributesAt;
    this.i32[word + 5] = this.paramsAt;
    if (old !== 0) this.heap.give(old);
  }

  private scratchBlock(bytes: number): number {
    const address = this.reserve(bytes);
    this.extraBlocks.push(address);
    return address;
  }

  /** Takes extra blocks back, all but the first `kept`. */
  private returnBlocks(kept: number): void {
    for (const address of this.extraBlocks.splice(kept)) this.heap.give(address);
  }

  private resetScratch(): void {
    const asked = (this.exports as Exports).scratch_reset();
    this.returnBlocks(0);
    if (asked <= this.arenaBytes || asked > LARGEST_ARENA) return;
    // The same call finds room the next time.
    this.heap.give(this.arena);
    const grown = this.heap.take(asked * 1.25);
    const address = grown ?? this.reserve(this.arenaBytes);
    if (grown !== undefined) this.arenaBytes = Math.floor(asked * 1.25);
    this.arena = address;
    (this.exports as Exports).scratch_init(address, this.arenaBytes, 0);
  }

  private afterFailure(call: Call, error: unknown): never {
    const exports = this.exports as Exports;
    exports.__stack_pointer.value = this.stackTop;
    this.resetScratch();
    if (error instanceof NanoFluxError) throw error;
    // A trap may have left a job half done.
    const why = error instanceof Error ? error.message : String(error);
    this.broken = `the kernel "${call.kernel}" failed (${why})`;
    throw new BackendError(`wasm: ${this.broken}. Create a new backend.`, "NF_BACKEND", { cause: error });
  }

  private fail(call: Call, code: number): never {
    if ("program" in call && call.program !== undefined) throw checkFailure(call.program, code);
    throw new ArithmeticError(`${call.kernel}: ${CHECK_CODES[code] ?? `check ${code} failed`}.`);
  }

  private tooMany(call: Call, what: string, most: number): never {
    this.attributes = 0;
    throw new BackendError(
      `wasm: ${call.kernel} was called with ${what}, at most ${most} are possible here.`,
      "NF_UNSUPPORTED",
    );
  }

  private noteLoss(why: string): void {
    if (this.disposed) return;
    this.broken ??= `a worker was lost (${why})`;
    this.exports?.pool_lost();
  }

  private workerLost(): never {
    this.broken ??= "a worker was lost while it computed";
    throw new BackendError(`wasm: ${this.broken}. Create a new backend.`);
  }

  private refuse(what: string): never {
    this.attributes = 0;
    throw new BackendError(
      `wasm: ${what} cannot run: ${this.broken ?? "the engine is not ready"}. Create a new backend.`,
    );
  }
}
