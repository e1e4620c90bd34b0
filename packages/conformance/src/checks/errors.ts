import * as nf from "@nf/core";
import { type Check, type Context, requireDType } from "../check.ts";
import { check, expectError, expectValues } from "./expect.ts";
import { MISUSE } from "./misuse.ts";

const FAMILY = "errors";

/** Every misuse of the table: a typed error that names what was wrong, and nothing left behind. */
async function misuse(context: Context): Promise<void> {
  for (const [what, call, code, says] of MISUSE) {
    const scope = new nf.Scope();
    try {
      await expectError(context, what, () => scope.run(call), code, says);
    } finally {
      scope.dispose();
    }
  }
}

/** What only a kernel can see. Backends that run calls later report it at the first read or `synchronize`. */
const LATE: readonly (readonly [string, () => nf.Tensor, readonly nf.ErrorCode[]])[] = [
  [
    "floorDivide by zero",
    () => nf.floorDivide(nf.tensor([1, 2, 3], { dtype: "i32" }), nf.tensor([1, 0, 2], { dtype: "i32" })),
    ["NF_ARITHMETIC"],
  ],
  [
    "remainder by zero",
    () => nf.remainder(nf.tensor([1, 2], { dtype: "i32" }), nf.tensor([1, 0], { dtype: "i32" })),
    ["NF_ARITHMETIC"],
  ],
  [
    "take of a computed index",
    () => nf.take(nf.zeros([3]), nf.add(nf.tensor([0, 1], { dtype: "i32" }), 2)),
    ["NF_INDEX", "NF_ARITHMETIC"],
  ],
  [
    "gather of a computed index below 0",
    () => nf.gather(nf.zeros([3]), 0, nf.sub(nf.tensor([0, 1], { dtype: "i32" }), 1)),
    ["NF_INDEX", "NF_ARITHMETIC"],
  ],
];

async function late(context: Context): Promise<void> {
  requireDType(context.backend, ["map", "gather"], "i32");
  for (const [what, call, codes] of LATE) {
    for (let round = 0; round < 3; round++) {
      const scope = new nf.Scope();
      try {
        const fault = async (): Promise<unknown> => {
          const result = scope.run(call);
          const values = await result.data();
          await context.backend.synchronize();
          return values;
        };
        await expectError(context, what, fault, codes);
        const next = scope.run(() => nf.add(nf.tensor([1, 2, 3]), 1));
        expectValues(context, `the operation after ${what}`, await next.data(), [2, 3, 4]);
      } finally {
        scope.dispose();
      }
    }
  }
}

/** Reading a tensor that is gone, and reading at once where that is not possible. */
async function reads(context: Context): Promise<void> {
  const x = nf.tensor([1, 2]);
  await expectError(context, "item of two elements", () => x.item(), "NF_SHAPE", /item: .*\[2\]/);
  if (!context.backend.capabilities.readSync)
    await expectError(
      context,
      "dataSync without readSync",
      () => x.dataSync(),
      "NF_UNSUPPORTED",
      /await x\.data\(\)/,
    );
  x.dispose();
  await expectError(context, "data() of a disposed tensor", () => x.data(), "NF_DEAD_TENSOR");
}

/** Checks that misuse is refused on this backend, with typed errors that name operation, shapes, dtypes or index. */
export function errorChecks(): Check[] {
  return [
    check(FAMILY, "inference", "misuse throws typed errors that say what was wrong", misuse),
    check(FAMILY, "inference", "faults in a kernel are errors, and the next operation is right", late),
    check(FAMILY, "inference", "reading what cannot be read", reads),
  ];
}
