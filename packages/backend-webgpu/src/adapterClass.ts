/** What kind of hardware computes; kernels choose tiles and work groups by it. */
export type AdapterClass = "software" | "integrated" | "discrete";

/** All of them. */
export const ADAPTER_CLASSES: readonly AdapterClass[] = ["software", "integrated", "discrete"];
