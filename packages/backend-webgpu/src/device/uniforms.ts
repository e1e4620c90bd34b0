/** Bytes of one slab; slots begin at multiples of what offsets of uniform bindings must be. */
const SLAB_BYTES = 65_536;
const SLOT_ALIGNMENT = 256;
/** Slots after which all are forgotten: numbers that change from step to step leave one behind each. */
const MOST_SLOTS = 8_192;

// GPUBufferUsage.UNIFORM | COPY_DST: the namespace is a global of browsers only.
const USAGE = 64 | 8;

interface Slot {
  readonly words: Uint32Array;
  readonly group: GPUBindGroup;
}

/**
 * Small uniform blocks, one for each content: what a call says about sizes and strides is uploaded once and found again
 * by what it says.
 */
export class Uniforms {
  private readonly device: GPUDevice;
  private readonly layout: GPUBindGroupLayout;
  private readonly slots = new Map<number, Slot[]>();
  private slabs: GPUBuffer[] = [];
  private used = SLAB_BYTES;
  private count = 0;

  constructor(device: GPUDevice, layout: GPUBindGroupLayout) {
    this.device = device;
    this.layout = layout;
  }

  /** Whether it is time to {@link clear}. */
  get full(): boolean {
    return this.count >= MOST_SLOTS;
  }

  /** The bind group of a block with this content. */
  group(words: Uint32Array): GPUBindGroup {
    let hash = words.length;
    for (let i = 0; i < words.length; i++) {
      hash = Math.imul(hash ^ words[i], 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    const candidates = this.slots.get(hash);
    if (candidates === undefined) {
      const slot = this.create(words);
      this.slots.set(hash, [slot]);
      return slot.group;
    }
    for (const slot of candidates) if (equal(slot.words, words)) return slot.group;
    const slot = this.create(words);
    candidates.push(slot);
    return slot.group;
  }

  /** Forgets all blocks. Nothing that was not submitted may use one. */
  clear(): void {
    for (const slab of this.slabs) slab.destroy();
    this.slabs = [];
    this.slots.clear();
    this.used = SLAB_BYTES;
    this.count = 0;
  }

  private create(words: Uint32Array): Slot {
    // Blocks are bound in whole vectors.
    const size = Math.max(16, Math.ceil(words.length / 4) * 16);
    if (this.used + size > SLAB_BYTES) {
      this.slabs.push(this.device.createBuffer({ label: "uniforms", size: SLAB_BYTES, usage: USAGE }));
      this.used = 0;
    }
    const buffer = this.slabs[this.slabs.length - 1];
    const offset = this.used;
    this.used += Math.ceil(size / SLOT_ALIGNMENT) * SLOT_ALIGNMENT;
    this.count++;
    const own = words.slice();
    // No command uses this part of the slab yet, so the write may come before those that wait.
    this.device.queue.writeBuffer(buffer, offset, own);
    const group = this.device.createBindGroup({
      layout: this.layout,
      entries: [{ binding: 0, resource: { buffer, offset, size } }],
    });
    return { words: own, group };
  }
}

function equal(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
