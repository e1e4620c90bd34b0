// Compiled, never run: gradients have the types of the arguments they are of.
import { grad, type Tensor, valueAndGrad } from "../../src/index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<_T extends true>(): void;

interface Params {
  readonly weight: Tensor;
  readonly bias: Tensor;
}
declare const params: Params;
declare const x: Tensor;
declare function loss(params: Params, factor: number, x: Tensor): Tensor;

const first = grad(loss)(params, 2, x);
expectType<Equal<typeof first, Params>>();

const third = grad(loss, { argnums: 2 })(params, 2, x);
expectType<Equal<typeof third, Tensor>>();

const both = grad(loss, { argnums: [2, 0] })(params, 2, x);
expectType<Equal<typeof both, [Tensor, Params]>>();

const [value, gradient] = valueAndGrad(loss, { argnums: 2, createGraph: true })(params, 2, x);
expectType<Equal<typeof value, Tensor>>();
expectType<Equal<typeof gradient, Tensor>>();

const [, gradients] = valueAndGrad(loss, { argnums: [0, 2] })(params, 2, x);
expectType<Equal<typeof gradients, [Params, Tensor]>>();

// @ts-expect-error the function takes its parameters first
grad(loss)(x, 2, x);
// @ts-expect-error no such option
grad(loss, { argnum: 0 });
