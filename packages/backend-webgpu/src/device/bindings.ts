import type { GpuBuffer } from "../buffer.ts";
import type { StorageLayout } from "./layouts.ts";

/** Groups after which all are forgotten: sizes that change all the time meet in ever new company. */
const MOST_GROUPS = 16_384;

/** Bind groups of storage buffers, found again by layout and buffers. After the first step of a loop all are found. */
export class Bindings {
  private readonly device: GPUDevice;
  private readonly groups = new Map<string, GPUBindGroup>();
  private readonly keys = new Map<number, Set<string>>();

  constructor(device: GPUDevice) {
    this.device = device;
  }

  /** Bind groups that are kept. */
  get size(): number {
    return this.groups.size;
  }

  /** The group that binds these buffers in order. */
  group({ id, layout }: StorageLayout, buffers: readonly GpuBuffer[]): GPUBindGroup {
    let key = `${id}`;
    for (let i = 0; i < buffers.length; i++) key += `,${buffers[i].id}`;
    let group = this.groups.get(key);
    if (group === undefined) {
      if (this.groups.size >= MOST_GROUPS) {
        this.groups.clear();
        this.keys.clear();
      }
      // What is wrong with a buffer is told by the submission that uses the group.
      this.device.pushErrorScope("validation");
      group = this.device.createBindGroup({
        layout,
        entries: buffers.map(({ gpu }, binding) => ({ binding, resource: { buffer: gpu } })),
      });
      this.device.popErrorScope().catch(() => undefined);
      this.groups.set(key, group);
      for (const buffer of buffers) {
        const keys = this.keys.get(buffer.id);
        if (keys === undefined) this.keys.set(buffer.id, new Set([key]));
        else keys.add(key);
      }
    }
    return group;
  }

  /** Forgets the groups of a buffer that is given back. */
  forget(buffer: GpuBuffer): void {
    const keys = this.keys.get(buffer.id) ?? [];
    this.keys.delete(buffer.id);
    for (const key of keys) {
      this.groups.delete(key);
      // Its neighbours may live on, parameters for the whole of a training.
      for (const id of key.split(",").slice(1)) this.keys.get(Number(id))?.delete(key);
    }
  }
}
