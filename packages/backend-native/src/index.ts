export { createBackend, createBackend as native } from "./create.ts";
export type { MatmulPrecision, NativeOptions } from "./options.ts";
