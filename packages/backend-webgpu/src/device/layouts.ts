/** Whether a shader reads a buffer or also writes it. */
export type BufferAccess = "read" | "write";

/** A layout of storage buffers, and what it is known by. */
export interface StorageLayout {
  readonly id: number;
  readonly layout: GPUBindGroupLayout;
}

// GPUShaderStage.COMPUTE: the namespace is a global of browsers only.
const COMPUTE = 4;

/** Bind group layouts and pipeline layouts, one of each kind: shaders of one signature share bind groups. */
export class Layouts {
  /** One uniform block. */
  readonly uniform: GPUBindGroupLayout;
  private readonly device: GPUDevice;
  private readonly storage = new Map<string, StorageLayout>();
  private readonly pipelines = new Map<string, GPUPipelineLayout>();

  constructor(device: GPUDevice) {
    this.device = device;
    this.uniform = device.createBindGroupLayout({
      label: "uniform",
      entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: "uniform" } }],
    });
  }

  /** The layout of group 0: storage buffers in order. */
  of(accesses: readonly BufferAccess[]): StorageLayout {
    const key = accesses.map((access) => access[0]).join("");
    let found = this.storage.get(key);
    if (found === undefined) {
      const layout = this.device.createBindGroupLayout({
        label: `buffers ${key}`,
        entries: accesses.map((access, binding) => ({
          binding,
          visibility: COMPUTE,
          buffer: { type: access === "read" ? "read-only-storage" : "storage" },
        })),
      });
      found = { id: this.storage.size, layout };
      this.storage.set(key, found);
    }
    return found;
  }

  /** The layout of a pipeline: buffers, geometry and, where it has some, parameters. */
  pipeline(storage: StorageLayout, params: boolean): GPUPipelineLayout {
    const key = `${storage.id} ${params}`;
    let found = this.pipelines.get(key);
    if (found === undefined) {
      const groups = [storage.layout, this.uniform, ...(params ? [this.uniform] : [])];
      found = this.device.createPipelineLayout({ label: key, bindGroupLayouts: groups });
      this.pipelines.set(key, found);
    }
    return found;
  }
}
