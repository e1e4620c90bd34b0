import type { RequiredKernels } from "@nf/core";
import { argReduce } from "./argReduce.ts";
import { gather, scatter } from "./gather.ts";
import { map } from "./map.ts";
import { matmul } from "./matmul.ts";
import { reduce } from "./reduce.ts";
import { scan } from "./scan.ts";
import { sort } from "./sort.ts";

/** All kernels of this backend. Leave one out, and this line does not compile. */
export const kernels = {
  map,
  reduce,
  argReduce,
  matmul,
  gather,
  scatter,
  scan,
  sort,
} satisfies RequiredKernels;
