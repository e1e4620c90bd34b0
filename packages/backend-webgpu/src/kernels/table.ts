import type { Call, FusedCall, RequiredCall } from "@nf/core";
import type { Context, KernelEntry } from "../context.ts";
import { makeArgReduce } from "./argReduce.ts";
import { makeAttention } from "./attention.ts";
import { makeConv } from "./conv.ts";
import { makeCrossEntropy } from "./crossEntropy.ts";
import { makeEmbeddingGrad } from "./embeddingGrad.ts";
import { makeGather } from "./gather.ts";
import { makeMap } from "./map.ts";
import { makeMapMany } from "./mapMany.ts";
import { makeMatmul } from "./matmul.ts";
import { makeNorm } from "./norm.ts";
import { makePool } from "./pool.ts";
import { makeQuantizedMatmul } from "./quantizedMatmul.ts";
import { makeReduce } from "./reduce.ts";
import { makeRope } from "./rope.ts";
import { makeScan } from "./scan.ts";
import { makeScatter } from "./scatter.ts";
import { makeSoftmax } from "./softmax.ts";
import { makeSort } from "./sort.ts";

type Required = { readonly [K in RequiredCall["kernel"]]: KernelEntry<Extract<Call, { kernel: K }>> };
type Fused = { readonly [K in FusedCall["kernel"]]?: KernelEntry<Extract<Call, { kernel: K }>> };

/** A kernel whose key in the table says which calls it meets. */
export type AnyKernel = KernelEntry<Call>;

/** The kernels of one backend instance. A missing required one does not compile. */
export function makeKernels(context: Context): Readonly<Partial<Record<Call["kernel"], AnyKernel>>> {
  const map = makeMap(context);
  const required = {
    map,
    reduce: makeReduce(context),
    argReduce: makeArgReduce(context),
    matmul: makeMatmul(context),
    gather: makeGather(context),
    scatter: makeScatter(context),
    scan: makeScan(context),
    sort: makeSort(context),
  } satisfies Required;
  const fused = {
    conv: makeConv(context),
    embeddingGrad: makeEmbeddingGrad(context),
    pool: makePool(context),
    softmax: makeSoftmax(context),
    norm: makeNorm(context),
    attention: makeAttention(context),
    rope: makeRope(map),
    crossEntropy: makeCrossEntropy(context),
    mapMany: makeMapMany(map),
    quantizedMatmul: makeQuantizedMatmul(context),
  } satisfies Fused;
  // The key of a kernel is its call's discriminant, so each entry meets calls of its own kind alone.
  return { ...required, ...fused } as Readonly<Partial<Record<Call["kernel"], AnyKernel>>>;
}
