import { cpu } from "@nf/backend-cpu";
import type { Backend } from "@nf/core";
import { describe, expect, it } from "vitest";
import { type RunOptions, runConformance, type Scorecard } from "../src/index.ts";
import * as accumulate from "./planted/accumulate.ts";
import * as backward from "./planted/backward.ts";
import * as integers from "./planted/integers.ts";
import * as kernels from "./planted/kernels.ts";
import * as memory from "./planted/memory.ts";
import * as precision from "./planted/precision.ts";
import * as zeros from "./planted/zeros.ts";

/** A fault, and the checks that must find it. */
type Case = readonly [fault: string, plant: (wrapped: Backend) => Backend, family: string, checks: RegExp];

const CASES: readonly Case[] = [
  ["a wrong stride", kernels.wrongStride, "kernels", /^map: every form of program.*f32/],
  [
    "a negative stride read forwards",
    kernels.backwardsForwards,
    "kernels",
    /^map: every form of program.*f32/,
  ],
  [
    "an offset of an output that is ignored",
    kernels.outputOffsetIgnored,
    "kernels",
    /^map: every form of program.*i32/,
  ],
  ["a write outside the view", kernels.writesOutside, "kernels", /^map: every form of program.*f32/],
  ["parameters of the first call kept", kernels.paramsKept, "kernels", /^map: every form of program.*i32/],
  ["coordinates merged wrongly", kernels.coordinatesMerged, "kernels", /^map: every form of program.*f32/],
  ["f16 cut instead of rounded", kernels.truncatedHalf, "kernels", /^map: f32 to every dtype/],
  ["a cast that rounds", kernels.roundingCast, "kernels", /^map: f32 to every dtype/],
  ["integer division towards zero", kernels.truncatedDivision, "binary", /^floorDivide.* i32/],
  ["a remainder with the dividend's sign", kernels.dividendSign, "binary", /^remainder.* i32/],
  ["wrong random bits", kernels.wrongBits, "kernels", /^map: random bits/],
  ["NaN swallowed by max", kernels.nanSwallowed, "kernels", /^reduce of f32/],
  ["a sum that rounds after every term", kernels.naiveSum, "kernels", /^reduce: sums of/],
  ["the last of equals instead of the first", kernels.lastTie, "kernels", /^argReduce of i32/],
  ["zeros skipped in a product", kernels.zerosSkipped, "kernels", /^matmul of f32,/],
  ["16-bit weights read wrongly", kernels.weightsLost, "kernels", /^matmul of f32 and bf16 weights/],
  ["an epilogue that is dropped", kernels.epilogueDropped, "kernels", /^matmul with an epilogue/],
  ["a scatter that does not add up", kernels.scatterSets, "index", /^scatterAdd f32/],
  ["an exclusive scan", kernels.exclusiveScan, "scan", /^cumsum f32/],
  ["a scan that never runs backwards", kernels.scanForwards, "scan", /^cumprod.* f32/],
  ["an unstable sort", kernels.unstableSort, "kernels", /^sort of u32/],
  ["a kernel that is declared and missing", kernels.sortMissing, "kernels", /^sort of f32/],
  ["padding off by one", kernels.offByOnePad, "convolution", /^conv2d f32/],
  ["strides of two axes swapped", kernels.swappedStride, "convolution", /^conv2d f32/],
  ["a dropped gradient", kernels.droppedGradient, "convolution", /^conv1d gradient/],
  ["NaN swallowed by max pooling", kernels.poolSwallowsNaN, "pooling", /^maxPool2d.* edges/],
  ["a mean that counts padding", kernels.meanOfWholeWindow, "pooling", /^avgPool2d f32/],
  ["attention to later keys", kernels.notCausal, "attention", /^scaledDotProductAttention.* f32/],
  ["an ignored class that counts", kernels.ignoredCounts, "losses", /^crossEntropy.* f32/],
  [
    "a fused kernel that is off by a thousandth",
    kernels.fusedSoftmaxWrong,
    "fused",
    /^softmax equals .*softmax$/,
  ],
  ["a fused gradient that is off", kernels.fusedBackwardWrong, "fused", /^norm equals .*layerNorm$/],
  ...(
    [
      ["conv", /^conv equals .*conv1d$/],
      ["pool", /^pool equals .*avgPool2d$/],
      ["softmax", /^softmax equals .*softmax$/],
      ["norm", /^norm equals .*layerNorm$/],
      ["attention", /^attention equals .*Attention$/],
      ["rope", /^rope equals .*rope$/],
      ["crossEntropy", /^crossEntropy equals .*crossEntropy$/],
      ["embeddingGrad", /^embeddingGrad equals .*embedding$/],
    ] as const
  ).flatMap(([kernel, checks]): Case[] => [
    [`16-bit gradients of ${kernel} that are zeros`, backward.noHalfGradient(kernel), "fused", checks],
    [`bf16 gradients of ${kernel} that are zeros`, backward.noBfloatGradient(kernel), "fused", checks],
  ]),
  [
    "a wrong softmax whose backward is declined",
    backward.forwardOnlyWrong,
    "fused",
    /^softmax equals .*softmax$/,
  ],
  ["softmax of bf16 declared and declined", backward.bfloatDeclined, "fused", /^softmax takes calls/],
  ["steps over many tensors that are lost in i8", backward.noByteSteps, "fused", /^mapMany equals/],
  ["steps that write before all is read", backward.writesEarly, "fused", /^mapMany equals/],
  ["a scan of one block only", kernels.onlyFirstBlock("scan"), "scan", /^cumsum beyond a block f32/],
  ["a sort of one block only", kernels.onlyFirstBlock("sort"), "scan", /^sort.* beyond a block f32/],
  ["a gather of one block only", kernels.onlyFirstBlock("gather"), "index", /^gather beyond a block i32/],
  ["a norm of one block only", kernels.onlyFirstBlock("norm"), "normalise", /^layerNorm beyond a block f32/],
  ["attention of one block only", kernels.onlyFirstBlock("attention"), "attention", /beyond a block f32/],
  [
    "a convolution of one block only",
    kernels.onlyFirstBlock("conv"),
    "convolution",
    /^conv2d beyond a block f32/,
  ],
  ["a sum that differs from time to time", kernels.nonDeterministicSum, "determinism", /^long sums/],
  ["a product of f32 added up in bf16", accumulate.matmulInBfloat, "kernels", /^matmul of f32, views/],
  ["a product of f16 added up in f16", accumulate.matmulOfHalfsInHalf, "kernels", /^matmul of f16, views/],
  [
    "a product of bf16 added up in bf16",
    accumulate.matmulOfBfloatsInBfloat,
    "kernels",
    /^matmul of bf16, views/,
  ],
  ["a long product added up in turn", accumulate.matmulInTurn, "determinism", /^long sums/],
  ["a long sum added up in turn", accumulate.sumsInTurn, "determinism", /^long sums/],
  ["long sums of columns added up in turn", accumulate.sumsInTurn, "kernels", /^reduce: sums of/],
  ["running sums that round at every term", accumulate.runsInTurn, "determinism", /^long sums/],
  ["a sum without the last of each 128", accumulate.dropsLastOfBlock, "kernels", /^reduce of f32, beyond/],
  ["sin whose period is that of f32", accumulate.sinReducedInFloat, "unary", /^sin f32/],
  ["sin of few periods only", accumulate.sinUnreduced, "kernels", /^map: functions of f32/],
  ["tanh that is 1 from 4 on", accumulate.tanhSaturates, "unary", /^tanh f32/],
  ["expm1 that is exp less 1", accumulate.expm1ByExp, "unary", /^expm1 f32/],
  ["erf that is right to 1.5e-7", accumulate.erfOfFiveTerms, "unary", /^erf f32/],
  ["faults of kernels that are lost", kernels.faultsSwallowed, "errors", /^faults in a kernel/],
  ["i32 map through f32", integers.mapThroughFloat, "binary", /^add i32/],
  ["i32 copy through f32", integers.copyThroughFloat, "shape", /^concat i32/],
  ["i32 sum through f32", integers.sumThroughFloat, "reduce", /^sum i32/],
  ["i32 matmul through f32", integers.matmulThroughFloat, "products", /^matmul i32/],
  ["i32 gather through f32", integers.gatherThroughFloat, "index", /^gather i32/],
  ["i32 scatterAdd through f32", integers.scatterThroughFloat, "index", /^scatterAdd i32/],
  ["i32 scan through f32", integers.scanThroughFloat, "scan", /^cumprod i32/],
  ["numbers beside i32 through f32", integers.numbersThroughFloat, "create", /^full of limits i32/],
  ["u32 compared as signed", integers.comparesAsSigned, "binary", /^less u32/],
  ["u32 divided as signed", integers.dividesAsSigned, "binary", /^floorDivide u32/],
  ["u32 converted as signed", integers.convertsAsSigned, "select", /^cast to f32 u32/],
  ["u32 sort as signed", integers.sortsAsSigned, "scan", /^sort u32/],
  ["u32 argmax as signed", integers.choosesAsSigned, "reduce", /^argmax u32/],
  ["u32 running maxima as signed", integers.scansAsSigned, "scan", /^cummax u32/],
  ["i8 saturates instead of wrapping", integers.saturates, "binary", /^add i8/],
  ["inputs of matmul in TF32", precision.tf32Matmul, "products", /^matmul f32/],
  ["inputs of a convolution in bf16", precision.bf16Conv, "convolution", /^conv2d f32/],
  ["a variance from the mean of squares", precision.squaresLessSquare, "normalise", /^layerNorm f32/],
  ["softmax without its maximum taken off", precision.softmaxOfRaw, "softmax", /^softmax edges/],
  ["exp that is off by 2e-6", precision.coarseExp, "unary", /^exp f32/],
  ["zeros that lose their sign", precision.unsignedZeros, "index", /^gather f32/],
  ["a root that loses the sign of zero", zeros.functionsUnsigned, "unary", /^sqrt f32/],
  ["a product that loses the sign of zero", zeros.functionsUnsigned, "binary", /^mul f32/],
  ["functions that lose the sign of zero", zeros.functionsUnsigned, "kernels", /^map: every scalar.* f32/],
  ["functions of zeros without sign", zeros.functionsUnsigned, "kernels", /^map: functions of f32/],
  ["a sort that loses the sign of zero", zeros.sortUnsigned, "kernels", /^sort of f32/],
  ["positions of nine bits", zeros.shortPositions, "kernels", /^argReduce: a line of/],
  ["an order of sixteen bits", zeros.shortOrder, "kernels", /^sort: a line of/],
  ["products of f16 cut off", zeros.productsCut, "kernels", /^matmul of f16, views/],
  ["products of bf16 cut off", zeros.productsCut, "kernels", /^matmul of bf16, views/],
  ["buffers that are never freed", memory.leakedBuffer, "faults", /^buffers that are freed/],
  ["reads that share their memory", memory.staleAlias, "transfer", /^writes and reads are copies/],
  ["reads that ignore their offset", memory.readOffsetIgnored, "transfer", /^bytes of odd sizes/],
  ["a write that copies too late", memory.lateWrite, "transfer", /^writes and reads are copies/],
  ["a buffer handed out twice", memory.sharedBuffer, "transfer", /^live buffers keep/],
  ["a second dispose that throws", memory.brokenDoubleDispose, "faults", /^create, dispose/],
  ["a backend that works on after its end", memory.undead, "faults", /^use after dispose/],
  ["a buffer too small where memory ran out", memory.shortBuffer, "faults", /^out of memory/],
  ["a fused kernel that is declared and declined", memory.declaredDeclined, "capabilities", /^fused kernels/],
  ["calls that no kernel takes, taken", memory.yesToAll, "capabilities", /^a kernel that does not exist/],
];

const run = (plant: (wrapped: Backend) => Backend, options: RunOptions): Promise<Scorecard> =>
  runConformance(async () => plant(await cpu()), {
    examples: 5,
    limited: async (maxBytes) => plant(await cpu({ maxBytes })),
    ...options,
  });

const only =
  (cases: readonly Case[]): NonNullable<RunOptions["skip"]> =>
  ({ family, name }) =>
    cases.some(([, , own, checks]) => own === family && checks.test(name))
      ? undefined
      : "not about this fault";

describe("faults planted in a backend", () => {
  it.each(CASES)("%s is caught", async (...one) => {
    const [, plant, family] = one;
    const card = await run(plant, { families: [family], skip: only([one]) });
    const found = card.families[0]!.failures.filter(({ check }) => one[3].test(check));
    expect(found.length).toBeGreaterThan(0);
    for (const { message, seed } of found) {
      expect(message).toContain(family);
      expect(seed).toBe(card.seed);
    }
  });

  it("a backend that has no backward of its own passes", { timeout: 120_000 }, async () => {
    const card = await run(backward.forwardOnly, {
      families: ["fused"],
      skip: ({ name }) =>
        /its decomposition, (?!.*beyond)[^,]*$|takes calls/.test(name) ? undefined : "not about passes",
    });
    const [{ failures, notApplicables }] = card.families as [Scorecard["families"][number]];
    expect(failures).toEqual([]);
    expect(card.passed).toBeGreaterThan(20);
    // A transposed convolution is the backward of a plain one.
    expect(notApplicables.map(({ check }) => check)).toEqual([
      "conv equals its decomposition, convTranspose1d",
      "conv equals its decomposition, convTranspose2d",
      "conv equals its decomposition, convTranspose3d",
    ]);
  });

  it("a backend without faults passes the same checks", { timeout: 120_000 }, async () => {
    const card = await run((wrapped) => wrapped, {
      families: [...new Set(CASES.map(([, , family]) => family))],
      skip: only(CASES),
    });
    expect(card.families.flatMap(({ failures }) => failures)).toEqual([]);
    expect(card.passed).toBeGreaterThan(35);
    for (const [fault, , family, checks] of CASES) {
      const { failures, notApplicables } = card.families.find((one) => one.family === family)!;
      expect([
        fault,
        failures.length,
        notApplicables.filter(({ check }) => checks.test(check)).length,
      ]).toEqual([fault, 0, 0]);
    }
  });
});
