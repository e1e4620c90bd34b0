// The browser's `navigator.gpu` in Node, for peers that look for it: the same Dawn that ours runs on.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const gpu = create([]);
Object.defineProperty(globalThis, "navigator", {
  value: { gpu, userAgent: "Node", platform: process.platform },
  configurable: true,
});
