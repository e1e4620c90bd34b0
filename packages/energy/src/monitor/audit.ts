import { checkOptions, type DType, isFloat, OptionError } from "@nf/core";
import { type InputShapes, inspectModel, type Module } from "@nf/nn";
import { renderAudit } from "./render.ts";
import { CHIP_45NM, type EnergyTable } from "./table.ts";

/** Options of {@link audit}. */
export interface AuditOptions {
  /** Samples in the batch that is sent through; default 1. */
  readonly batch?: number;
  /** dtype of the input, as the inspector takes it; default `f32`. */
  readonly dtype?: DType | readonly DType[];
  /** What operations and bytes cost; default {@link CHIP_45NM}. */
  readonly table?: EnergyTable;
}

/** What one layer of a model does in a forward pass. */
export interface AuditRow {
  /** Dotted name from the model; empty for what the model does outside of its layers. */
  readonly path: string;
  /** Class of the layer. */
  readonly type: string;
  readonly parameters: number;
  /** Floating-point operations: a multiplication and an addition are two, any function is one. */
  readonly flops: number;
  /** Bytes that kernels read and write. */
  readonly bytes: number;
  /** Estimated energy of both. */
  readonly joules: number;
}

/** An audit: rows and totals as data, a table with bars as text (`String(…)`). */
export interface Audit {
  /** Leaves in the order of the model's tree; last, where there is any, what is done outside of them. */
  readonly rows: readonly AuditRow[];
  readonly total: Omit<AuditRow, "path" | "type">;
  /** What the estimate rests on. */
  readonly source: string;
  toString(): string;
}

/**
 * What a forward pass of a model costs, layer by layer: operations, bytes, parameters, and an estimate of joules from a
 * table of energy per operation and byte. Everything is counted, nothing is computed, so models of any size are
 * audited at once. The estimate counts each byte as one of main memory: it is for comparing layers and models.
 *
 * @param inputShape shape of one sample without the batch; a list for several inputs.
 * @throws OptionError where the table does not know the dtype of the parameters.
 *
 * @example
 * ```ts no-run
 * console.log(String(audit(model, [1, 28, 28], { batch: 64 })));
 * ```
 */
export function audit(model: Module, inputShape: InputShapes, options: AuditOptions = {}): Audit {
  checkOptions("audit", options, ["batch", "dtype", "table"]);
  const { table = CHIP_45NM, ...inspected } = options;
  const perFlop = costOf(model, options, table);
  const { rows } = inspectModel(model, inputShape, { ...inspected, flops: true, bytes: true });
  const joules = (flops: number, bytes: number): number => flops * perFlop + bytes * table.perByte;
  const isLeaf = (path: string): boolean =>
    !rows.some((row) => row.path !== path && (path === "" || row.path.startsWith(`${path}.`)));
  const found = rows
    .filter(({ path, inputs }) => isLeaf(path) && inputs !== undefined)
    .map(({ path, type, parameters, flops = 0, bytes = 0 }) => ({
      ...{ path, type, parameters, flops, bytes },
      joules: joules(flops, bytes),
    }));
  const root = rows[0];
  const { flops = 0, bytes = 0, parameters = 0, type = "" } = root ?? {};
  const sum = (key: "flops" | "bytes" | "parameters"): number =>
    found.reduce((total, row) => total + row[key], 0);
  const rest = {
    ...{ path: "", type },
    parameters: parameters - sum("parameters"),
    flops: flops - sum("flops"),
    bytes: bytes - sum("bytes"),
  };
  const outside = rest.flops > 0 || rest.bytes > 0 || rest.parameters > 0;
  const result = {
    rows: outside ? [...found, { ...rest, joules: joules(rest.flops, rest.bytes) }] : found,
    total: { parameters, flops, bytes, joules: joules(flops, bytes) },
    source: table.source,
  };
  return { ...result, toString: () => renderAudit(result) };
}

/** Joules of an operation in the dtype that the model computes in. */
function costOf(model: Module, { dtype = "f32" }: AuditOptions, table: EnergyTable): number {
  const inputs = [dtype].flat();
  const computed =
    model.parameters().find((parameter) => isFloat(parameter.dtype))?.dtype ?? inputs.find(isFloat) ?? "f32";
  const cost = table.perFlop[computed];
  if (cost === undefined) {
    const known = Object.keys(table.perFlop).join(", ");
    throw new OptionError(
      `audit: the table knows what an operation costs in ${known}, not in ${computed}. Pass a table that does, as { table }.`,
    );
  }
  return cost;
}
