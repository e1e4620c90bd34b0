import { greater, maskedSelect, nonzero, Scope, type Tensor } from "@nf/core";
import fc from "fast-check";
import { shapes } from "../cases/define.ts";
import { type Check, type Context, requireDType } from "../check.ts";
import { anyLayout, type Layout, lay, settle } from "../layout.ts";
import { indexAt, type Nd, nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { check, expectValues } from "./expect.ts";
import { checkProperty } from "./property.ts";

interface Example {
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly seed: number;
}

const anyExample: fc.Arbitrary<Example> = fc.record({
  shape: shapes(0, 4, 4),
  layout: anyLayout,
  seed: fc.nat(0x7fffffff),
});

/** Half of the values are 0, some are NaN. */
function valuesFor({ shape, layout, seed }: Example): Nd {
  const source = new Source(seed);
  const draw = (): number => (source.chance(2) ? 0 : source.chance(8) ? NaN : source.between(-3, 3));
  const length = shape.reduce((a, b) => a * b, 1);
  return settle(
    nd(
      shape,
      Array.from({ length }, () => draw()),
    ),
    layout,
  );
}

async function runOne(context: Context, example: Example): Promise<void> {
  const values = valuesFor(example);
  const scope = new Scope();
  const made: Tensor[] = [];
  try {
    const x = scope.run(() => lay(values, "f32", example.layout));
    const found = await nonzero(x);
    made.push(found);
    const positions = [...values.data.keys()];
    const wanted = positions
      .filter((i) => values.data[i] !== 0)
      .flatMap((i) => [...indexAt(example.shape, i)]);
    expectValues(context, "nonzero", await found.data(), wanted);
    const chosen = await maskedSelect(
      x,
      scope.run(() => greater(x, 0)),
    );
    made.push(chosen);
    const greaterThanZero = values.data.filter((value) => value > 0);
    expectValues(context, "maskedSelect", await chosen.data(), greaterThanZero);
  } finally {
    for (const one of made) one.dispose();
    scope.dispose();
  }
}

async function property(context: Context): Promise<void> {
  requireDType(context.backend, ["map", "gather"], "f32");
  const run = async (batch: readonly Example[]): Promise<void> => {
    for (const example of batch) await runOne(context, example);
  };
  const show = ({ shape, layout, seed }: Example): string =>
    `[${shape.join(", ")}], values ${seed}, layout ${JSON.stringify(layout)}`;
  await checkProperty(context, anyExample, run, show);
}

/** Checks of the operations whose shape depends on values, which are the only asynchronous ones. */
export function valueShapeChecks(): Check[] {
  return [check("transforms", "complete", "nonzero and maskedSelect on random examples", property)];
}
