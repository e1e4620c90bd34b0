import { checkOptions, OptionError } from "@nf/core";
import { type Files, nodeFiles } from "./platform.ts";
import { counterOf, packageZones, type Zone } from "./rapl.ts";

/** What {@link measureEnergy} found. */
export type Measured<T> = { readonly result: T; readonly seconds: number } & (
  | { readonly joules: number; readonly notMeasured?: undefined }
  | { readonly joules?: undefined; readonly notMeasured: string }
);

/** Options of {@link measureEnergy}. */
export interface MeasureOptions {
  /** Folder with the counters; default `/sys/class/powercap`. */
  readonly folder?: string;
}

/** A counter wraps around after minutes at the soonest, at 200 W and the smallest range in use (65 kJ). */
const LOOK_EVERY_MS = 30_000;

/**
 * Joules that the processors of this machine took while something ran, from their own counters (RAPL: Intel and AMD
 * under Linux). They count the whole package: what else runs meanwhile is in it. Where there are none, or they may not
 * be read (often by root alone), `notMeasured` says why, and the work runs all the same.
 *
 * @param work what is measured; its error is thrown on.
 */
export async function measureEnergy<T>(
  work: () => T | Promise<T>,
  options: MeasureOptions = {},
): Promise<Measured<T>> {
  checkOptions("measureEnergy", options, ["folder"]);
  const { folder = "/sys/class/powercap" } = options;
  if (typeof folder !== "string")
    throw new OptionError(`measureEnergy: folder must be a path, got ${typeof folder}.`);
  const files = nodeFiles();
  const zones =
    files === undefined ? "this is no Node, and browsers show no energy" : packageZones(files, folder);
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (files === undefined || typeof zones === "string")
    return { result: await work(), seconds: seconds(), notMeasured: String(zones) };
  const meter = new Meter(files, zones);
  try {
    const result = await work();
    const took = seconds();
    const joules = meter.joules();
    return typeof joules === "string"
      ? { result, seconds: took, notMeasured: joules }
      : { result, seconds: took, joules };
  } finally {
    meter.stop();
  }
}

/** Adds up counters that wrap around. */
class Meter {
  private readonly files: Files;
  private readonly zones: readonly Zone[];
  private last: readonly number[] | undefined;
  private microjoules = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Why a counter could not be read; what it said is lost then. */
  private failure: string | undefined;

  constructor(files: Files, zones: readonly Zone[]) {
    this.files = files;
    this.zones = zones;
    this.look();
    this.plan();
  }

  /** Joules since the start, or why they are not known. */
  joules(): number | string {
    this.look();
    return this.failure ?? this.microjoules / 1e6;
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private plan(): void {
    this.timer = setTimeout(() => {
      this.look();
      this.plan();
    }, LOOK_EVERY_MS);
  }

  private look(): void {
    if (this.failure !== undefined) return;
    const counters: number[] = [];
    for (const { energy } of this.zones) {
      const value = counterOf(this.files, energy);
      if (typeof value === "string") {
        this.failure = value;
        return;
      }
      counters.push(value);
    }
    counters.forEach((value, i) => {
      const step = value - (this.last?.[i] ?? value);
      this.microjoules += step >= 0 ? step : step + (this.zones[i] as Zone).range;
    });
    this.last = counters;
  }
}
