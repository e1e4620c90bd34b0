import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cpu } from "@nf/backend-cpu";
import { fromData, use } from "@nf/core";
import { loadInto, openWeights } from "@nf/io";
import { beforeAll, describe, expect, it } from "vitest";
import * as nn from "../src/index.ts";

/*
 * A model that PyTorch trained and saved as safetensors (goldens/layers.py) is loaded under PyTorch's own names, and gives
 * PyTorch's output.
 */

const folder = new URL("../../../goldens/layers/", import.meta.url);
const golden: Readonly<Record<"input" | "output", { readonly shape: number[]; readonly data: number[] }>> =
  JSON.parse(readFileSync(new URL("network.json", folder), "utf8"));

beforeAll(async () => {
  await use(cpu());
});

/** The model of `network` in goldens/layers.py. */
function network() {
  const tracked = { trackRunningStats: true } as const;
  return nn.sequential(
    nn.block(
      "Body",
      new nn.Conv2d(3, 8, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(8),
      new nn.PReLU({ numParameters: 8 }),
      new nn.Residual(
        nn.sequential(
          new nn.Conv2d(8, 8, 3, { padding: 1, groups: 8 }),
          new nn.GroupNorm(4, 8),
          new nn.SiLU(),
        ),
      ),
      new nn.MaxPool2d(2),
      new nn.ConvTranspose2d(8, 4, 2, { stride: 2 }),
      new nn.InstanceNorm2d(4, { affine: true, ...tracked }),
      new nn.Upsample({ scaleFactor: 2 }),
      new nn.PixelUnshuffle(2),
      new nn.AdaptiveAvgPool2d([2, 3]),
      new nn.Hardswish(),
      new nn.Dropout2d(0.25),
      new nn.Flatten(2),
      new nn.Conv1d(16, 8, 3),
      new nn.BatchNorm1d(8, { momentum: null }),
      new nn.ConvTranspose1d(8, 4, 3),
      new nn.InstanceNorm1d(4, tracked),
      new nn.ELU(),
    ),
    new nn.Unflatten(1, [2, 2, 1]),
    new nn.ConvTranspose3d(2, 2, 2),
    new nn.BatchNorm3d(2),
    new nn.InstanceNorm3d(2, { affine: true, ...tracked }),
    new nn.AvgPool3d([1, 2, 1]),
    new nn.Conv3d(2, 4, [2, 1, 1]),
    new nn.Flatten(),
    new nn.Linear(56, 12),
    new nn.BatchNorm1d(12),
    new nn.LayerNorm(12),
    new nn.GLU(),
    new nn.RMSNorm(6),
    new nn.PReLU(),
    new nn.Linear(6, 5),
    new nn.LogSoftmax(),
  );
}

describe("a state dict of PyTorch", () => {
  it("loads from safetensors, and gives PyTorch's output", async () => {
    const model = network();
    const file = await openWeights(fileURLToPath(new URL("network.safetensors", folder)));
    await loadInto(model, file);
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(model.stateDict()).sort());
    await file.close();
    const { input, output } = golden;
    const got = await model
      .eval()
      .forward(fromData(Float32Array.from(input.data), input.shape))
      .data();
    for (const [index, value] of output.data.entries()) expect(got[index]).toBeCloseTo(value, 5);
    expect(await model.layers[0].layers[1].numBatchesTracked?.item()).toBe(4);
  });
});
