/* Kernels of all backends are called in the same way. */
export * from "../../backend-cpu/tests/helper.ts";
