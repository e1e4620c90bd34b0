// GPUBufferUsage.MAP_READ | COPY_DST: the namespace is a global of browsers only.
const USAGE = 1 | 8;
const LEAST_BYTES = 4_096;
/** Bytes that lie ready at most. */
const MOST_IDLE_BYTES = 1 << 26;

/** Buffers that reads are copied into, used again: a new one makes a read five times as slow. */
export class Staging {
  private readonly device: GPUDevice;
  private idle: GPUBuffer[] = [];

  constructor(device: GPUDevice) {
    this.device = device;
  }

  /** One of at least so many bytes that lies ready. */
  find(size: number): GPUBuffer | undefined {
    const index = this.idle.findIndex((buffer) => buffer.size >= size);
    return index < 0 ? undefined : this.idle.splice(index, 1)[0];
  }

  /** A new one of at least so many bytes, which can be mapped. */
  create(size: number): GPUBuffer {
    // One that was too small is of no use any more.
    this.idle.pop()?.destroy();
    const rounded = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(size)));
    const bytes = Math.min(rounded, this.device.limits.maxBufferSize);
    return this.device.createBuffer({ label: "staging", size: bytes, usage: USAGE });
  }

  /** Takes a buffer back that is not mapped any more. */
  give(buffer: GPUBuffer): void {
    const bytes = this.idle.reduce((sum, { size }) => sum + size, buffer.size);
    if (bytes > MOST_IDLE_BYTES) buffer.destroy();
    else this.idle.push(buffer);
  }

  /** Destroys what lies ready. */
  clear(): void {
    for (const buffer of this.idle) buffer.destroy();
    this.idle = [];
  }
}
