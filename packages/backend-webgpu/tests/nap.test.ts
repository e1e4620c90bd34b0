import { describe, expect, it } from "vitest";
import { Nap, napFor } from "../src/device/nap.ts";

/** An event loop whose turns are taken by hand. */
function turns(): { later: (callback: () => void) => void; take: () => number; planned: () => number } {
  const waiting: (() => void)[] = [];
  return {
    later: (callback) => waiting.push(callback),
    /** Milliseconds that the next turn takes. */
    take: () => {
      const begin = performance.now();
      waiting.shift()?.();
      return performance.now() - begin;
    },
    planned: () => waiting.length,
  };
}

describe("naps", () => {
  it("are taken while something is awaited, each short, and end with it", () => {
    const { later, take, planned } = turns();
    const nap = new Nap(later);
    expect(planned()).toBe(0);
    nap.begin();
    nap.begin();
    for (let i = 0; i < 20; i++) {
      // One at a time, however much is awaited.
      expect(planned()).toBe(1);
      expect(take()).toBeGreaterThan(0.04);
    }
    nap.end();
    take();
    expect(planned()).toBe(1);
    nap.end();
    take();
    expect(planned()).toBe(0);
    // And once more.
    nap.begin();
    expect(planned()).toBe(1);
    nap.end();
  });

  it("let timers and promises have their turn", async () => {
    const nap = new Nap(setImmediate);
    nap.begin();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await new Promise((resolve) => setTimeout(resolve, 60));
    clearInterval(timer);
    nap.end();
    expect(ticks).toBeGreaterThan(3);
  });

  it("are for software adapters in Node", () => {
    const host = (versions: Record<string, string>) => ({ setImmediate, process: { versions } });
    expect(napFor("software")).toBeInstanceOf(Nap);
    expect(napFor("software", host({ node: "24.0.0" }))).toBeInstanceOf(Nap);
    expect(napFor("discrete")).toBeUndefined();
    // A page, and hosts that have Node's globals and a WebGPU of their own.
    expect(napFor("software", {})).toBeUndefined();
    expect(napFor("software", { setImmediate })).toBeUndefined();
    for (const name of ["electron", "deno", "bun"])
      expect(napFor("software", host({ node: "24.0.0", [name]: "1.0.0" })), name).toBeUndefined();
  });
});
