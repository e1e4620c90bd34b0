export { createBackend, createBackend as webgpu } from "./create.ts";
export type { WebgpuOptions } from "./options.ts";
