export { createBackend, createBackend as native } from "./backend.ts";
export type { NativeOptions } from "./options.ts";
