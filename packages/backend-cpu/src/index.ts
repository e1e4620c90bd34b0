export { createBackend, createBackend as cpu } from "./backend.ts";
export type { CpuOptions } from "./options.ts";
