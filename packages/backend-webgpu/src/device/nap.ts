/** Milliseconds that a nap takes at most, and at first; later ones take a share of what was waited so far. */
const LONGEST = 0.5;
const SHORTEST = 0.05;
const SHARE = 0.1;

/**
 * Naps while something is awaited. In Node, Dawn asks on the main thread whether something happened, again and again
 * without a pause; a software adapter computes on the processors that this takes. So the main thread sleeps between two
 * questions, never longer than half a millisecond at a time.
 */
export class Nap {
  private readonly cell = new Int32Array(new SharedArrayBuffer(4));
  private readonly later: (callback: () => void) => void;
  private waiting = 0;
  private since = 0;
  private planned = false;

  /** @param later calls back when the event loop has had its turn, as Node's `setImmediate` */
  constructor(later: (callback: () => void) => void) {
    this.later = later;
  }

  /** Something is awaited from here on. */
  begin(): void {
    if (this.waiting++ === 0) this.since = performance.now();
    this.plan();
  }

  /** It has come. */
  end(): void {
    this.waiting--;
  }

  private plan(): void {
    if (this.planned) return;
    this.planned = true;
    this.later(() => {
      this.planned = false;
      if (this.waiting === 0) return;
      const waited = performance.now() - this.since;
      Atomics.wait(this.cell, 0, 0, Math.min(LONGEST, SHORTEST + SHARE * waited));
      this.plan();
    });
  }
}

/** What a host says of itself where Node's globals are. */
interface Host {
  readonly setImmediate?: (callback: () => void) => void;
  readonly process?: { readonly versions?: Readonly<Record<string, string | undefined>> };
}

/** Hosts with Node's globals and a WebGPU that is not Dawn's package, or with a main thread that must not sleep. */
const OTHERS = ["electron", "deno", "bun"];

/** Naps for an adapter of this class where this runs, if they help: in Node, whose WebGPU is always a package. */
export function napFor(adapterClass: string, host: Host = globalThis as Host): Nap | undefined {
  const { process, setImmediate: later } = host;
  const versions = process?.versions ?? {};
  const node = versions["node"] !== undefined && OTHERS.every((name) => versions[name] === undefined);
  return adapterClass === "software" && node && later !== undefined ? new Nap(later) : undefined;
}
