import { cpu } from "@nf/backend-cpu";
import { use } from "@nf/core";
import { inspect, inspectModel } from "@nf/nn";
import { beforeAll, expect, it } from "vitest";
import { Gpt, LENET, lenet, NANOGPT } from "../src/index.ts";

beforeAll(async () => {
  await use(cpu());
});

it("LeNet-5: 156 + 2,416 + 30,840 + 10,164 + 850 = 44,426", () => {
  expect(`\n${inspect(lenet(), LENET.input)}\n`).toBe(`
Layer (Type)      Input           Output          Param #
─────────────────────────────────────────────────────────
Sequential        [1, 1, 28, 28]  [1, 10]          44,426
├─ 0 (Conv2d)     [1, 1, 28, 28]  [1, 6, 24, 24]      156
├─ 1 (ReLU)       [1, 6, 24, 24]  [1, 6, 24, 24]        0
├─ 2 (MaxPool2d)  [1, 6, 24, 24]  [1, 6, 12, 12]        0
├─ 3 (Conv2d)     [1, 6, 12, 12]  [1, 16, 8, 8]     2,416
├─ 4 (ReLU)       [1, 16, 8, 8]   [1, 16, 8, 8]         0
├─ 5 (MaxPool2d)  [1, 16, 8, 8]   [1, 16, 4, 4]         0
├─ 6 (Flatten)    [1, 16, 4, 4]   [1, 256]              0
├─ 7 (Linear)     [1, 256]        [1, 120]         30,840
├─ 8 (ReLU)       [1, 120]        [1, 120]              0
├─ 9 (Linear)     [1, 120]        [1, 84]          10,164
├─ 10 (ReLU)      [1, 84]         [1, 84]               0
└─ 11 (Linear)    [1, 84]         [1, 10]             850
─────────────────────────────────────────────────────────
Total params: 44,426
Trainable params: 44,426
Size: 173.5 KiB
`);
  const [root] = inspectModel(lenet(), LENET.input, { flops: true }).rows;
  expect(root?.flops).toBe(572_658);
});

it("nanoGPT: embedding, positions, three blocks, norm and head make 626,625", () => {
  const options = { dtype: "i32" } as const;
  expect(`\n${inspect(new Gpt(NANOGPT), [NANOGPT.maxPositions], options)}\n`).toBe(`
Layer (Type)                        Input          Output                                     Param #
─────────────────────────────────────────────────────────────────────────────────────────────────────
Gpt                                 [1, 128]       [1, 128, 65]                               626,625
├─ embedding (GptEmbedding)         [1, 128]       [1, 128, 128]                                8,320
├─ position (GptPosition)           [1, 128]       [128, 128]                                  16,384
├─ dropout (Dropout)                [1, 128, 128]  [1, 128, 128]                                    0
├─ blocks.0 (GptBlock)              [1, 128, 128]  [1, 128, 128]                              197,760
│  ├─ attentionNorm (LayerNorm)     [1, 128, 128]  [1, 128, 128]                                  256
│  ├─ attention (GptAttention)      [1, 128, 128]  [1, 128, 128]                               65,536
│  │  ├─ qkv (GptQkv)               [1, 128, 128]  [1, 128, 128] [1, 128, 128] [1, 128, 128]   49,152
│  │  ├─ out (GptLinear)            [1, 128, 128]  [1, 128, 128]                               16,384
│  │  └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
│  ├─ feedForwardNorm (LayerNorm)   [1, 128, 128]  [1, 128, 128]                                  256
│  └─ feedForward (GptFeedForward)  [1, 128, 128]  [1, 128, 128]                              131,712
│     ├─ up (GptLinear)             [1, 128, 128]  [1, 128, 512]                               66,048
│     ├─ down (GptLinear)           [1, 128, 512]  [1, 128, 128]                               65,664
│     └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
├─ blocks.1 (GptBlock)              [1, 128, 128]  [1, 128, 128]                              197,760
│  ├─ attentionNorm (LayerNorm)     [1, 128, 128]  [1, 128, 128]                                  256
│  ├─ attention (GptAttention)      [1, 128, 128]  [1, 128, 128]                               65,536
│  │  ├─ qkv (GptQkv)               [1, 128, 128]  [1, 128, 128] [1, 128, 128] [1, 128, 128]   49,152
│  │  ├─ out (GptLinear)            [1, 128, 128]  [1, 128, 128]                               16,384
│  │  └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
│  ├─ feedForwardNorm (LayerNorm)   [1, 128, 128]  [1, 128, 128]                                  256
│  └─ feedForward (GptFeedForward)  [1, 128, 128]  [1, 128, 128]                              131,712
│     ├─ up (GptLinear)             [1, 128, 128]  [1, 128, 512]                               66,048
│     ├─ down (GptLinear)           [1, 128, 512]  [1, 128, 128]                               65,664
│     └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
├─ blocks.2 (GptBlock)              [1, 128, 128]  [1, 128, 128]                              197,760
│  ├─ attentionNorm (LayerNorm)     [1, 128, 128]  [1, 128, 128]                                  256
│  ├─ attention (GptAttention)      [1, 128, 128]  [1, 128, 128]                               65,536
│  │  ├─ qkv (GptQkv)               [1, 128, 128]  [1, 128, 128] [1, 128, 128] [1, 128, 128]   49,152
│  │  ├─ out (GptLinear)            [1, 128, 128]  [1, 128, 128]                               16,384
│  │  └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
│  ├─ feedForwardNorm (LayerNorm)   [1, 128, 128]  [1, 128, 128]                                  256
│  └─ feedForward (GptFeedForward)  [1, 128, 128]  [1, 128, 128]                              131,712
│     ├─ up (GptLinear)             [1, 128, 128]  [1, 128, 512]                               66,048
│     ├─ down (GptLinear)           [1, 128, 512]  [1, 128, 128]                               65,664
│     └─ dropout (Dropout)          [1, 128, 128]  [1, 128, 128]                                    0
├─ norm (LayerNorm)                 [1, 128, 128]  [1, 128, 128]                                  256
└─ head (GptLinear)                 [1, 128, 128]  [1, 128, 65]                                 8,385
─────────────────────────────────────────────────────────────────────────────────────────────────────
Total params: 626,625
Trainable params: 626,625
Size: 2.4 MiB
`);
  const { rows } = inspectModel(new Gpt(NANOGPT), [NANOGPT.maxPositions], { ...options, flops: true });
  // Twice the weights for each of 128 positions, and the bias, of the head.
  expect(rows.at(-1)?.flops).toBe(128 * 65 * (2 * 128 + 1));
  expect(rows[0]?.flops).toBe(181_035_136);
});
