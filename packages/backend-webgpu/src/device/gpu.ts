import { BackendError, checkFailure, OutOfMemoryError, type Program } from "@nf/core";
import type { OpenDevice } from "../adapter.ts";
import type { AdapterClass } from "../adapterClass.ts";
import { GpuBuffer, paddedSize } from "../buffer.ts";
import { Bindings } from "./bindings.ts";
import { Layouts } from "./layouts.ts";
import { type Nap, napFor } from "./nap.ts";
import { Recent } from "./recent.ts";
import { Scratch } from "./scratch.ts";
import { compileShader, type Shader, type ShaderSource } from "./shader.ts";
import { Staging } from "./staging.ts";
import { Submissions } from "./submissions.ts";
import { Uniforms } from "./uniforms.ts";
import { encodeParams, wholeNumbers } from "./words.ts";

// GPUBufferUsage and GPUMapMode: the namespaces are globals of browsers only.
const STORAGE = 128 | 4 | 8;
const MAP_READ = 1;

/** Dispatches after which commands are sent off, so that the GPU works while more are written. */
const MOST_DISPATCHES = 48;
/** Bytes of freed buffers that may wait for a submission. */
const MOST_WAITING_BYTES = 1 << 28;
/**
 * Shaders, and programs whose checks may have failed, that are kept: more than any training has, and a bound for programs
 * that are made anew at each call.
 */
const MOST_SHADERS = 4_096;
/** How long after a failed read the loss of the device may be told. */
const LOSS_MS = 200;
/** Work groups of one dimension. */
const MOST_GROUPS = 65_535;

/** A grid of work groups, or their number, which is folded where it is more than a dimension takes. */
export type Groups = number | readonly [number, number, number];

/**
 * The device at work: one command encoder until somebody reads, commands in the order in which they come, and errors,
 * which arrive later than what caused them, on the reads that they concern.
 */
export class Gpu {
  readonly device: GPUDevice;
  readonly adapterClass: AdapterClass;
  readonly description: string;
  /** Invocations of a subgroup, or 0 where kernels cannot count on one. */
  readonly subgroupSize: number;
  /** A word that failed checks are written to. */
  readonly faultWord: GpuBuffer;
  readonly uniforms: Uniforms;
  readonly bindings: Bindings;
  /** Buffers for what passes between the dispatches of one kernel. */
  readonly scratch: Scratch;
  private readonly layouts: Layouts;
  private readonly shaders: Recent<string, Shader>;
  private readonly programs: Recent<number, Program>;
  // Dawn ends with its instance.
  readonly keep: unknown;
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private dispatches = 0;
  private submission = 0;
  private readonly submissions = new Submissions();
  private waiting: GpuBuffer[] = [];
  private waitingBytes = 0;
  private readonly staging: Staging;
  private readonly nap: Nap | undefined;
  private checked = false;
  private pending = new Set<Promise<void>>();
  /** The first failure of a shader: nothing that it computed is right. */
  private broken: Error | undefined;
  private lost: BackendError | undefined;
  private readonly waiters = new Set<(error: Error) => void>();
  /** Reads under way; what a check found concerns each of them. */
  private readonly reading = new Set<{ failure: Error | undefined }>();

  constructor(open: OpenDevice, mostShaders: number = MOST_SHADERS) {
    this.shaders = new Recent(mostShaders);
    this.programs = new Recent(mostShaders);
    this.device = open.device;
    this.adapterClass = open.adapterClass;
    this.description = open.description;
    this.subgroupSize = open.subgroupSize;
    this.keep = open.keep;
    this.layouts = new Layouts(this.device);
    this.uniforms = new Uniforms(this.device, this.layouts.uniform);
    this.bindings = new Bindings(this.device);
    this.scratch = new Scratch(this);
    this.staging = new Staging(this.device);
    this.nap = napFor(this.adapterClass);
    this.faultWord = new GpuBuffer(16, this.create("faults", 16, STORAGE), this);
    void this.device.lost.then(({ reason, message }) => {
      this.lost ??= new BackendError(
        `webgpu: the device was lost (${reason ?? "unknown"}${message === "" ? "" : `: ${message}`}). What it held is gone; create the backend anew.`,
      );
      for (const reject of this.waiters) reject(this.lost);
    });
  }

  /** Throws where the device is lost. */
  checkAlive(): void {
    if (this.lost !== undefined) throw this.lost;
  }

  /** A new storage buffer. An adapter that has no room says so later: the buffer then carries the fault. */
  allocate(byteLength: number, owner: object, outOfMemory: () => Error): GpuBuffer {
    this.checkAlive();
    this.device.pushErrorScope("out-of-memory");
    const buffer = new GpuBuffer(byteLength, this.create("storage", paddedSize(byteLength), STORAGE), owner);
    this.track(
      this.device.popErrorScope().then((error) => {
        if (error === null) return;
        buffer.fault = outOfMemory();
        buffer.dead = true;
      }),
    );
    return buffer;
  }

  /** Gives a buffer back once the commands that use it are submitted. */
  free(buffer: GpuBuffer): void {
    this.bindings.forget(buffer);
    if (buffer.lastUse < this.submission) {
      buffer.gpu.destroy();
      return;
    }
    this.waiting.push(buffer);
    this.waitingBytes += buffer.byteLength;
    if (this.waitingBytes > MOST_WAITING_BYTES) this.flush();
  }

  /** Copies bytes in, after all commands before. */
  write(buffer: GpuBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.checkAlive();
    // Writes of the queue come before commands that are not submitted yet.
    if (buffer.lastUse === this.submission) this.flush();
    this.device.queue.writeBuffer(buffer.gpu, byteOffset, bytes as Uint8Array<ArrayBuffer>);
  }

  /** The shader of a key, compiled when it is first asked for. */
  shader(key: string, source: () => ShaderSource): Shader {
    let shader = this.shaders.get(key);
    if (shader === undefined) {
      shader = compileShader(this.device, this.layouts, source(), (error) => {
        this.broken ??= new BackendError(`webgpu: a shader is wrong. ${error.message}`);
      });
      this.shaders.set(key, shader);
    }
    return shader;
  }

  /** Shaders that are compiled. */
  get shaderCount(): number {
    return this.shaders.size;
  }

  /**
   * Runs a shader.
   *
   * @param buffers in the order of the shader's buffers
   * @param geometry whole numbers in the order of its names
   * @param params changing numbers, converted to the dtypes that it declares
   */
  dispatch(
    shader: Shader,
    buffers: readonly GpuBuffer[],
    geometry: readonly number[],
    params: readonly number[],
    groups: Groups,
  ): void {
    this.checkAlive();
    if (this.uniforms.full) {
      this.flush();
      this.uniforms.clear();
    }
    if (this.pass === undefined) {
      this.encoder ??= this.device.createCommandEncoder({ label: "NanoFlux" });
      this.pass = this.encoder.beginComputePass();
    }
    const { pass } = this;
    pass.setPipeline(shader.pipeline);
    pass.setBindGroup(0, this.bindings.group(shader.storage, buffers));
    pass.setBindGroup(1, this.uniforms.group(wholeNumbers(geometry)));
    if (shader.params.length > 0)
      pass.setBindGroup(2, this.uniforms.group(encodeParams(shader.params, params)));
    if (typeof groups !== "number") pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    else if (groups <= MOST_GROUPS) pass.dispatchWorkgroups(groups);
    else {
      const rows = Math.ceil(groups / MOST_GROUPS);
      pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
    }
    this.note(shader, buffers);
    if (++this.dispatches >= MOST_DISPATCHES) this.flush();
  }

  /** Says that a dispatch may write {@link faultCode} of a program to the fault word. */
  expectFaults(program: Program): void {
    this.checked = true;
    if (this.programs.get(program.id) === undefined) this.programs.set(program.id, program);
  }

  /** Copies bytes out, after all commands before. */
  async read(buffer: GpuBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    this.checkAlive();
    const most = Math.floor(this.device.limits.maxBufferSize / 8) * 4;
    if (byteLength > most) {
      const parts = [
        await this.read(buffer, byteOffset, most),
        await this.read(buffer, byteOffset + most, byteLength - most),
      ];
      const whole = new Uint8Array(byteLength);
      parts.forEach((part, i) => {
        whole.set(part, i * most);
      });
      return whole;
    }
    const start = byteOffset - (byteOffset % 4);
    const end = Math.ceil((byteOffset + byteLength) / 4) * 4;
    const size = end - start + 16;
    let noRoom: Promise<GPUError | null> = Promise.resolve(null);
    let staging = this.staging.find(size);
    if (staging === undefined) {
      // What was computed is sent off on its own, so that it stays where there is no room for the copy.
      this.flush();
      this.device.pushErrorScope("out-of-memory");
      staging = this.staging.create(size);
      noRoom = this.device.popErrorScope();
    }
    this.encoder ??= this.device.createCommandEncoder({ label: "NanoFlux" });
    this.endPass();
    const faults = this.checked;
    if (end > start) this.encoder.copyBufferToBuffer(buffer.gpu, start, staging, 16, end - start);
    if (faults) {
      this.encoder.copyBufferToBuffer(this.faultWord.gpu, 0, staging, 0, 4);
      this.encoder.clearBuffer(this.faultWord.gpu, 0, 4);
      this.checked = false;
    }
    this.flush();
    const read: { failure: Error | undefined } = { failure: undefined };
    this.reading.add(read);
    let mapped = false;
    this.nap?.begin();
    try {
      if ((await this.orLost(noRoom)) !== null) {
        throw new OutOfMemoryError(
          `webgpu: the GPU has no room for the ${size} bytes that a read is copied into. Read less at once, or free tensors.`,
          size,
        );
      }
      await this.orLost(staging.mapAsync(MAP_READ, 0, size));
      // What went wrong before the copy is known by then.
      await this.settled();
      const copy = new Uint8Array(staging.getMappedRange(0, size)).slice();
      staging.unmap();
      mapped = true;
      if (faults) this.report(new Uint32Array(copy.buffer, 0, 1)[0]);
      const failure = this.broken ?? buffer.fault ?? read.failure;
      if (failure !== undefined) throw failure;
      const from = 16 + byteOffset - start;
      return copy.slice(from, from + byteLength);
    } finally {
      this.nap?.end();
      if (mapped) this.staging.give(staging);
      else staging.destroy();
      this.reading.delete(read);
    }
  }

  /** Resolves when all that was dispatched is done. */
  async synchronize(): Promise<void> {
    this.checkAlive();
    // A copy makes the mapping wait for the commands.
    await this.read(this.faultWord, 0, 4);
  }

  /** Sends off what was written so far. */
  flush(): void {
    if (this.encoder !== undefined) {
      this.endPass();
      this.device.pushErrorScope("out-of-memory");
      this.device.pushErrorScope("validation");
      this.device.queue.submit([this.encoder.finish()]);
      this.track(this.submissions.send([this.device.popErrorScope(), this.device.popErrorScope()]));
      this.encoder = undefined;
      this.dispatches = 0;
    }
    this.submission++;
    for (const buffer of this.waiting) buffer.gpu.destroy();
    this.waiting = [];
    this.waitingBytes = 0;
  }

  /** Ends the device; what is being read rejects. */
  dispose(): void {
    this.lost ??= new BackendError("webgpu: the backend was disposed of. Create a new one.");
    for (const reject of this.waiters) reject(this.lost);
    this.staging.clear();
    this.faultWord.gpu.destroy();
    this.uniforms.clear();
    this.device.destroy();
  }

  private create(label: string, size: number, usage: number): GPUBuffer {
    return this.device.createBuffer({ label, size, usage });
  }

  private endPass(): void {
    this.pass?.end();
    this.pass = undefined;
  }

  /** Remembers who uses and writes what: for frees, writes and failures. */
  private note(shader: Shader, buffers: readonly GpuBuffer[]): void {
    for (let i = 0; i < buffers.length; i++) {
      const buffer = buffers[i];
      buffer.lastUse = this.submission;
      // The word is written by whom it may concern, and cleared when it is read.
      if (shader.writes[i] && buffer !== this.faultWord) this.submissions.note(shader.label, buffer);
    }
  }

  /** Tells the reads under way of a failed check. */
  private report(word: number): void {
    if (word === 0) return;
    const program = this.programs.get((word >>> 4) - 1);
    const failure =
      program === undefined
        ? new BackendError(
            "webgpu: a check of a program failed, one of too many since the last read to tell which. Read more often.",
          )
        : checkFailure(program, word & 15);
    for (const read of this.reading) read.failure ??= failure;
  }

  private track(promise: Promise<void>): void {
    const entry = promise.catch(() => undefined).finally(() => this.pending.delete(entry));
    this.pending.add(entry);
  }

  private async settled(): Promise<void> {
    await this.orLost(Promise.all(this.pending));
  }

  /** What a promise gives, or a rejection as soon as the device is lost. */
  private orLost<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.waiters.delete(fail);
      };
      const fail = (error: unknown): void => {
        end();
        reject(this.lost ?? error);
      };
      this.waiters.add(fail);
      promise.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          // Of a device that is being lost, buffers hear first.
          pause(LOSS_MS).then(() => fail(error));
        },
      );
    });
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** What a failed check of a program writes to the fault word. */
export function faultCode(program: Program, code: number): number {
  return (program.id + 1) * 16 + code;
}
