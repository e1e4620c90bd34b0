import type { HistoryRow } from "@nf/train";

const share = (value: number | undefined): string =>
  value === undefined ? "" : `${(100 * value).toFixed(2)} %`;

/** Lines of a table: columns as wide as their widest cell, the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? "").length)),
  );
  return rows.map((row) =>
    widths
      .map((width, i) => (i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width)))
      .join("  "),
  );
}

/** A line for each evaluation of a classifier: loss and accuracy as it was trained and on the test set. */
export function epochTable(history: readonly HistoryRow<"accuracy">[]): readonly string[] {
  return table([
    ["epoch", "train loss", "accuracy", "test loss", "accuracy", "seconds"],
    ...history.map(({ epoch, train, validation, seconds }) => [
      String(epoch),
      train.loss.toFixed(4),
      share(train.accuracy),
      validation?.["loss"]?.toFixed(4) ?? "",
      share(validation?.["accuracy"]),
      seconds.toFixed(1),
    ]),
  ]);
}
