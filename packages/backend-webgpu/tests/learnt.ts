import { expect } from "vitest";
import type { Learnt } from "./browser/pages/app/learn.ts";

/** Expects that LeNet-5 has learnt on the backend, and that its weights say the same on cpu. */
export function expectLearnt({ backend, accuracy, alike }: Learnt): void {
  expect(backend).toBe("webgpu");
  expect(accuracy).toBeGreaterThan(0.9);
  // A tie may fall to either side on another device.
  expect(alike).toBeGreaterThanOrEqual(199);
}
