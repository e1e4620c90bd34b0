/** `44426` as `44,426`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A share of 1 as a percentage: `0.9775` as `97.75 %`. */
export function percent(share: number, decimals = 2): string {
  return `${(share * 100).toFixed(decimals)} %`;
}

/** A loss with three digits that count. */
export function lossText(loss: number): string {
  return loss >= 1000 ? loss.toExponential(2) : loss.toPrecision(3);
}

/** Seconds for people: `4.2 s`, `1 min 05 s`, `2 h 03 min`. */
export function duration(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** One of several, in words: `a`, `a or b`, `a, b or c`. */
export function orList(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} or ${last}`;
}

/** A table of text: columns as wide as their widest cell, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
