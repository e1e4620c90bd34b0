import type { Inspection, InspectRow } from "./inspect.ts";

/** Columns of text, and after them columns of numbers. */
const HEADERS = ["Layer (Type)", "Input", "Output", "Param #"] as const;
const FIRST_NUMBER = 3;
const GAP = "  ";

/** The text of an inspection: columns, tree lines, totals. */
export function renderTable(inspection: Inspection): string {
  const { rows, parameters, trainable, buffers, bytes } = inspection;
  const [root] = rows;
  const extra = [
    ...(root?.flops === undefined ? [] : [{ header: "FLOPs", of: (row: InspectRow) => row.flops }]),
    ...(root?.bytes === undefined ? [] : [{ header: "Bytes moved", of: (row: InspectRow) => row.bytes }]),
  ];
  const headers = [...HEADERS, ...extra.map(({ header }) => header)];
  const cells = rows.map((row, index) => [
    `${treeLines(rows, index)}${title(row)}`,
    shapes(row.inputs),
    shapes(row.outputs),
    count(row.parameters),
    ...extra.map(({ of }) => count(of(row) ?? 0)),
  ]);
  const widths = headers.map((header, column) =>
    Math.max(...cells.map((row) => (row[column] ?? "").length), header.length),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column >= FIRST_NUMBER ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join(GAP)
      .trimEnd();
  const rule = "─".repeat(widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1)));
  const totals = [
    `Total params: ${count(parameters)}`,
    `Trainable params: ${count(trainable)}`,
    ...(parameters === trainable ? [] : [`Frozen params: ${count(parameters - trainable)}`]),
    ...(buffers === 0 ? [] : [`Buffer elements: ${count(buffers)}`]),
    `Size: ${size(bytes)}`,
  ];
  return [line(headers), rule, ...cells.map(line), rule, ...totals].join("\n");
}

function title({ name, type }: InspectRow): string {
  return name === "" ? type : `${name} (${type})`;
}

/** `│  ├─ `: for each ancestor whether more of its siblings follow, then the branch of the row itself. */
function treeLines(rows: readonly InspectRow[], index: number): string {
  const depth = rows[index]?.depth ?? 0;
  let lines = "";
  for (let level = 1; level <= depth; level++) {
    const more = siblingFollows(rows, index, level);
    if (level === depth) lines += more ? "├─ " : "└─ ";
    else lines += more ? "│  " : "   ";
  }
  return lines;
}

/** Whether a row at `level` comes before the tree climbs above it. */
function siblingFollows(rows: readonly InspectRow[], index: number, level: number): boolean {
  const next = rows.slice(index + 1).find((row) => row.depth <= level);
  return next?.depth === level;
}

function shapes(list: InspectRow["inputs"]): string {
  if (list === undefined) return "not called";
  return list.length === 0 ? "-" : list.map((shape) => `[${shape.join(", ")}]`).join(" ");
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
