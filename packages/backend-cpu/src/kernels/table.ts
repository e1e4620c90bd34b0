import type { FusedKernels, RequiredKernels } from "@nf/core";
import type { Context } from "../context.ts";
import { makeArgReduce } from "./argReduce.ts";
import { makeAttention } from "./attention.ts";
import { makeConv } from "./conv.ts";
import { makeCrossEntropy } from "./crossEntropy.ts";
import { makeEmbeddingGrad } from "./embeddingGrad.ts";
import { gather, scatter } from "./gather.ts";
import { makeMap } from "./map.ts";
import { makeMapMany } from "./mapMany.ts";
import { makeMatmul } from "./matmul.ts";
import { makeNorm } from "./norm.ts";
import { makePool } from "./pool.ts";
import { makeQuantizedMatmul } from "./quantizedMatmul.ts";
import { makeReduce } from "./reduce.ts";
import { makeRope } from "./rope.ts";
import { makeScan } from "./scan.ts";
import { makeSoftmax } from "./softmax.ts";
import { makeSort } from "./sort.ts";

/** The kernels of one backend instance. A missing required one does not compile. */
export function makeKernels(context: Context): RequiredKernels & FusedKernels {
  const map = makeMap(context);
  const required = {
    map,
    reduce: makeReduce(context),
    argReduce: makeArgReduce(context),
    matmul: makeMatmul(context, map),
    gather,
    scatter,
    scan: makeScan(context),
    sort: makeSort(context),
  } satisfies RequiredKernels;
  const fused = {
    conv: makeConv(context),
    pool: makePool(context),
    softmax: makeSoftmax(context),
    norm: makeNorm(context),
    attention: makeAttention(context),
    rope: makeRope(context),
    crossEntropy: makeCrossEntropy(context),
    embeddingGrad: makeEmbeddingGrad(context),
    quantizedMatmul: makeQuantizedMatmul(context),
    mapMany: makeMapMany(map),
  } satisfies FusedKernels;
  return { ...required, ...fused };
}
