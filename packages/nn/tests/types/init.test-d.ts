// Compiled, never run: initialisers take their own options through `into`, and no others.
import { Generator, type Tensor } from "@nf/core";
import { init } from "../../src/index.ts";

declare const weight: Tensor;

init.into(weight, init.normal);
init.into(weight, init.normal, { std: 0.02 });
init.into(weight, init.normal, { std: 0.02, generator: new Generator(1) });
init.into(weight, init.uniform, { low: -1, high: 1 });
init.into(weight, init.kaimingUniform, { nonlinearity: "relu" });
init.into(weight, init.xavierUniform, {});
init.into(weight, init.constant, { value: 3 });
init.into(weight, init.biasUniform, { weightShape: [3, 4] });
init.into(weight, (shape, options) => init.normal(shape, { ...options, std: 2 }));

// @ts-expect-error a normal has no bounds
init.into(weight, init.normal, { low: -1 });
// @ts-expect-error nor has a uniform a deviation
init.into(weight, init.uniform, { std: 1 });
// @ts-expect-error a constant needs its value
init.into(weight, init.constant);
// @ts-expect-error
init.into(weight, init.kaimingUniform, { nonlinearity: "relux" });
