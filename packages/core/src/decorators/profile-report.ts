import type { Kernel } from "../backend/call.ts";

/** What the milliseconds of a report are: time inside `execute`, or until each call was done. */
export type ProfileTiming = "dispatch" | "completion";

/** Calls of one kernel, or of one program of it. */
export interface ProfileRow {
  readonly kernel: Kernel;
  /** Program, or pass of a fused kernel (`forward`, …); empty where a kernel has neither, and in sums over a kernel. */
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Bytes of the elements that input views reach; what is broadcast counts once. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Floating-point operations: a multiplication and an addition are two, any function is one. */
  readonly flops: number;
}

/** How often, how much, how long. */
export interface ProfileCount {
  readonly calls: number;
  readonly bytes: number;
  readonly milliseconds: number;
}

/** The data of a {@link ProfileReport}. */
export interface ProfileData {
  /** Name of the measured backend. */
  readonly backend: string;
  readonly timing: ProfileTiming;
  /** Calls that were not done when the report was made, and are not in it. */
  readonly pending: number;
  /** One row for each kernel and program. */
  readonly programs: readonly ProfileRow[];
  /** Buffers that the backend allocated; few once a loop is warm, because core pools them. */
  readonly allocations: ProfileCount;
  /** Buffers given back to the backend. */
  readonly frees: ProfileCount;
  /** Copies from the host. */
  readonly hostWrites: ProfileCount;
  /** Copies to the host. */
  readonly hostReads: ProfileCount;
}

/** A measurement of a backend: plain data (fit for JSON), and a table as text. */
export class ProfileReport implements ProfileData {
  readonly backend: string;
  readonly timing: ProfileTiming;
  readonly pending: number;
  readonly programs: readonly ProfileRow[];
  /** One row for each kernel, the slowest first. */
  readonly kernels: readonly ProfileRow[];
  /** Sum of all kernels. */
  readonly total: Omit<ProfileRow, "kernel" | "name">;
  readonly allocations: ProfileCount;
  readonly frees: ProfileCount;
  readonly hostWrites: ProfileCount;
  readonly hostReads: ProfileCount;

  /** Takes a snapshot of the data. */
  constructor(data: ProfileData) {
    this.backend = data.backend;
    this.timing = data.timing;
    this.pending = data.pending;
    this.programs = data.programs.map((row) => ({ ...row })).sort(slowestFirst);
    const kernels = new Map<Kernel, ProfileRow>();
    for (const row of this.programs) {
      const sum = kernels.get(row.kernel);
      kernels.set(row.kernel, {
        kernel: row.kernel,
        name: "",
        ...sumOf(sum === undefined ? [row] : [sum, row]),
      });
    }
    this.kernels = [...kernels.values()].sort(slowestFirst);
    this.total = sumOf(this.kernels);
    this.allocations = { ...data.allocations };
    this.frees = { ...data.frees };
    this.hostWrites = { ...data.hostWrites };
    this.hostReads = { ...data.hostReads };
  }

  /** A table by kernel, with its programs below it. */
  toString(): string {
    const header = ["kernel", "calls", "ms", "share", "read", "written", "GFLOP/s"];
    const rows: string[][] = [];
    for (const kernel of this.kernels) {
      rows.push(this.cells(kernel.kernel, kernel));
      const named = this.programs.filter((row) => row.kernel === kernel.kernel && row.name !== "");
      for (const row of named) rows.push(this.cells(`  ${row.name}`, row));
    }
    rows.push(this.cells("total", this.total));
    const widths = header.map((title, column) =>
      Math.max(title.length, ...rows.map((row) => (row[column] as string).length)),
    );
    const line = (cells: readonly string[]): string =>
      cells
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
        )
        .join("  ");
    const traffic = (title: string, { calls, bytes }: ProfileCount): string =>
      `${title} ${calls} (${size(bytes)})`;
    return [
      line(header),
      ...rows.map(line),
      [
        traffic("allocations", this.allocations),
        traffic("frees", this.frees),
        traffic("host writes", this.hostWrites),
        traffic("host reads", this.hostReads),
      ].join(", "),
      this.timing === "dispatch"
        ? `${this.backend}: ms is time inside execute; work that goes on after it returned is not in it.`
        : `${this.backend}: ms is time until each call was done, one call at a time.`,
      ...(this.pending === 0 ? [] : [`${this.pending} calls are still running and not counted.`]),
    ].join("\n");
  }

  private cells(title: string, row: Omit<ProfileRow, "kernel" | "name">): string[] {
    const { calls, milliseconds, bytesRead, bytesWritten, flops } = row;
    const all = this.total.milliseconds;
    return [
      title,
      String(calls),
      milliseconds.toFixed(3),
      all > 0 ? `${((100 * milliseconds) / all).toFixed(1)}%` : "-",
      size(bytesRead),
      size(bytesWritten),
      milliseconds > 0 && flops > 0 ? (flops / milliseconds / 1e6).toFixed(2) : "-",
    ];
  }
}

function slowestFirst(a: ProfileRow, b: ProfileRow): number {
  return b.milliseconds - a.milliseconds || b.calls - a.calls;
}

function sumOf(rows: readonly ProfileRow[]): ProfileReport["total"] {
  const total = { calls: 0, milliseconds: 0, bytesRead: 0, bytesWritten: 0, flops: 0 };
  for (const row of rows) {
    total.calls += row.calls;
    total.milliseconds += row.milliseconds;
    total.bytesRead += row.bytesRead;
    total.bytesWritten += row.bytesWritten;
    total.flops += row.flops;
  }
  return total;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 2 ** 20) return `${(bytes / 1024).toFixed(1)} KiB`;
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
