export { createBackend, createBackend as native } from "./create.ts";
export type { MatmulPrecision, NativeOptions } from "./options.ts";
export { type Pinned, pin } from "./pin.ts";
