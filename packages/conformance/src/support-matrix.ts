import {
  type Backend,
  BackendDecorator,
  type Call,
  DTYPE_NAMES,
  type DType,
  type Kernel,
  use,
} from "@nf/core";
import { backendMaker, REQUIRED_KERNELS } from "./arguments.ts";
import { allRows } from "./cases/index.ts";
import type { CreateBackend } from "./check.ts";
import { listOf, pointOf, scoped, tensorsOf } from "./evaluate.ts";
import { DENSE } from "./layout.ts";
import type { Row } from "./model.ts";
import { lacking } from "./needs.ts";
import { Source } from "./source.ts";

/**
 * How a backend computes an operation in a dtype.
 * - `kernels`: with the required kernels.
 * - `fused`: with a kernel of its own, at least where it takes the call.
 * - `undeclared`: a kernel that it needs does not declare the dtype, or that of an operand or a result.
 * - `none`: the operation does not take the dtype on any backend.
 */
export type SupportKind = "kernels" | "fused" | "undeclared" | "none";

/** An operation and how it is computed, by dtype. */
export interface SupportRow {
  readonly op: string;
  readonly family: string;
  readonly dtypes: Readonly<Record<DType, SupportKind>>;
}

/** What a backend computes and how: operations by dtype. */
export interface SupportMatrix {
  readonly backend: string;
  readonly dtypes: readonly DType[];
  readonly rows: readonly SupportRow[];
}

const REQUIRED: readonly Kernel[] = REQUIRED_KERNELS;
const RANK: readonly SupportKind[] = ["none", "undeclared", "kernels", "fused"];

/** Notes whether a fused kernel ran. */
class Watched extends BackendDecorator {
  fused = false;

  constructor(wrapped: Backend) {
    super("watched", wrapped);
  }

  override execute(call: Call): void {
    if (!REQUIRED.includes(call.kernel)) this.fused = true;
    super.execute(call);
  }
}

async function kindOf(backend: Watched, row: Row, dtype: DType): Promise<SupportKind> {
  if (!row.dtypes.includes(dtype)) return "none";
  if (lacking(backend, row, dtype) !== undefined) return "undeclared";
  backend.fused = false;
  const source = new Source(1);
  await scoped(
    () =>
      row.instances.flatMap((instance) => {
        const point = pointOf(instance, dtype, [DENSE], source.split());
        return listOf(point.instance.run(tensorsOf(point), dtype));
      }),
    () => backend.synchronize(),
  );
  return backend.fused ? "fused" : "kernels";
}

/**
 * Finds out how a backend computes every operation in every dtype, by running it. Whichever backend was in use before
 * is not in use afterwards.
 *
 * @throws OptionError for what is no function
 * @throws BackendError where it gives no backend
 */
export async function supportMatrix(createBackend: CreateBackend): Promise<SupportMatrix> {
  const inner = await backendMaker("supportMatrix", "createBackend", createBackend)();
  const backend = new Watched(inner);
  await use(backend);
  try {
    const rows = new Map<string, SupportRow>();
    for (const row of allRows()) {
      const before = rows.get(row.op)?.dtypes;
      const entries: (readonly [DType, SupportKind])[] = [];
      for (const dtype of DTYPE_NAMES) {
        const [kind, known] = [await kindOf(backend, row, dtype), before?.[dtype] ?? "none"];
        entries.push([dtype, RANK.indexOf(kind) > RANK.indexOf(known) ? kind : known]);
      }
      const dtypes = Object.fromEntries(entries) as Record<DType, SupportKind>;
      rows.set(row.op, { op: row.op, family: row.family, dtypes });
    }
    return { backend: inner.name, dtypes: DTYPE_NAMES, rows: [...rows.values()] };
  } finally {
    await backend.dispose();
  }
}
