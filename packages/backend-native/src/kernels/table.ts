import type { Call, FusedCall, RequiredCall } from "@nf/core";
import type { KernelEntry } from "../context.ts";
import { attention } from "./attention.ts";
import { gather, scatter } from "./gather.ts";
import { map, mapMany } from "./map.ts";
import { matmul } from "./matmul.ts";
import { scan, sort } from "./order.ts";
import { quantizedMatmul } from "./quantized.ts";
import { argReduce, reduce } from "./reduce.ts";
import { crossEntropy, norm, softmax } from "./rows.ts";
import { embeddingGrad, rope } from "./tokens.ts";
import { conv, pool } from "./window.ts";

type Required = { readonly [K in RequiredCall["kernel"]]: KernelEntry<Extract<Call, { kernel: K }>> };
type Fused = { readonly [K in FusedCall["kernel"]]?: KernelEntry<Extract<Call, { kernel: K }>> };

/** A kernel whose key in the table says which calls it meets. */
export type AnyKernel = KernelEntry<Call>;

const required = {
  map,
  reduce,
  argReduce,
  matmul,
  gather,
  scatter,
  scan,
  sort,
} satisfies Required;
const fused = {
  attention,
  conv,
  crossEntropy,
  embeddingGrad,
  mapMany,
  norm,
  pool,
  quantizedMatmul,
  rope,
  softmax,
} satisfies Fused;

/** All kernels. A missing required one does not compile. */
export const kernels: Readonly<Partial<Record<Call["kernel"], AnyKernel>>> = {
  // The key of a kernel is its call's discriminant, so each entry meets calls of its own kind alone.
  ...(required as Readonly<Record<string, unknown>>),
  ...fused,
} as Readonly<Partial<Record<Call["kernel"], AnyKernel>>>;
