// Compiled, never run: each wrong composition fails to compile, with the message that is tested.
import type { Flat, Spatial, Tensor } from "@nf/core";
import {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AvgPool3d,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  block,
  Conv1d,
  Conv2d,
  Conv3d,
  ConvTranspose2d,
  Dropout2d,
  Embedding,
  Flatten,
  GlobalAvgPool,
  GroupNorm,
  Hardswish,
  InstanceNorm1d,
  InstanceNorm2d,
  Linear,
  LSTM,
  MaxPool3d,
  type Mismatch,
  PixelShuffle,
  ReflectionPad2d,
  ReLU,
  Residual,
  RMSNorm,
  sequential,
  Unflatten,
  Upsample,
  ZeroPad1d,
} from "../../src/index.ts";
import type { Chain, Demand, LayerLike } from "../../src/layers/layer.ts";
import type { EntryDemand } from "../../src/layers/sequential.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<_T extends true>(): void;
declare const untyped: Tensor;
declare const signal: Tensor<Spatial<1, 4>>;
declare const image: Tensor<Spatial<2, 3>>;
declare const features: Tensor<Flat<8>>;

/** What stands in the place of the last layer of a chain. */
type Last<L extends readonly LayerLike[]> = Demand<L, "1">;
type Says<L extends readonly LayerLike[], Message extends string> = Equal<Last<L>, Mismatch<Message>>;

// Right compositions, and what they give.
const classifier = sequential(
  new Conv2d(3, 16, 3, { bias: false }),
  new BatchNorm2d(16),
  new ReLU(),
  new Residual(sequential(new Conv2d(16, 16, 3, { padding: 1 }), new GroupNorm(4, 16), new Hardswish())),
  new Dropout2d(),
  new AdaptiveAvgPool2d(4),
  new Upsample({ scaleFactor: 2 }),
  new ConvTranspose2d(16, 8, 2),
  new InstanceNorm2d(8),
  new GlobalAvgPool(),
  new BatchNorm1d(8),
  new RMSNorm(8),
  new Linear(8, 10),
);
const scores = classifier.forward(image);
expectType<Equal<typeof scores, Tensor<Flat<10>>>>();

const generator = sequential(
  new Linear(8, 64),
  new BatchNorm1d(64),
  new Unflatten(1, [4, 4, 4]),
  new Conv2d(4, 1, 3),
);
const picture = generator.forward(features);
expectType<Equal<typeof picture, Tensor<Spatial<2, 1>>>>();

// One layer for two kinds passes on the one that came.
const normal = sequential(new Conv1d(4, 6, 3), new BatchNorm1d(6), new AdaptiveAvgPool1d(2)).forward(signal);
expectType<Equal<typeof normal, Tensor<Spatial<1, 6>>>>();
sequential(new Flatten(), new BatchNorm1d(100), new Linear(100, 10));
// What one knows of the channels and the other of the dimensions is put together.
const shuffled = sequential(new PixelShuffle(2), new GroupNorm(2, 4)).forward(untyped);
expectType<Equal<typeof shuffled, Tensor<Spatial<2, 4>>>>();

// Layers with names are checked as those without.
const named = sequential(
  ["conv", new Conv2d(3, 6, 3)],
  ["pool", new GlobalAvgPool()],
  ["out", new Linear(6, 2)],
);
expectType<Equal<ReturnType<typeof named.forward>, Tensor<Flat<2>>>>();
const stem = block("Stem", new Conv2d(3, 6, 3), new BatchNorm2d(6));
expectType<Equal<ReturnType<typeof stem.forward>, Tensor<Spatial<2, 6>>>>();

// A layer of which nothing is known fits everywhere.
declare const anything: LayerLike;
sequential(new Linear(2, 3), anything, new Linear(4, 5));

// 1. The wrong number of channels for a normalisation.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new BatchNorm2d(8));
expectType<
  Says<
    [Conv2d<3, 6>, BatchNorm2d<8>],
    "layer 1 takes Spatial<2, 8>, but the layer before it gives Spatial<2, 6>"
  >
>();
// 2. A normalisation of images after a convolution of signals.
// @ts-expect-error
sequential(new Conv1d(3, 6, 3), new BatchNorm2d(6));
expectType<
  Says<
    [Conv1d<3, 6>, BatchNorm2d<6>],
    "layer 1 takes Spatial<2, 6>, but the layer before it gives Spatial<1, 6>"
  >
>();
// 3. A normalisation of features or signals after a convolution of images; the message names both.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new BatchNorm1d(6));
expectType<
  Says<
    [Conv2d<3, 6>, BatchNorm1d<6>],
    "layer 1 takes Flat<6> or Spatial<1, 6>, but the layer before it gives Spatial<2, 6>"
  >
>();
// 4. Of features with another width.
// @ts-expect-error
sequential(new Linear(8, 4), new BatchNorm1d(8));
expectType<
  Says<
    [Linear<8, 4>, BatchNorm1d<8>],
    "layer 1 takes Flat<8> or Spatial<1, 8>, but the layer before it gives Flat<4>"
  >
>();
// 5. After a normalisation of features, of which a convolution can make nothing.
// @ts-expect-error
sequential(new Linear(8, 4), new BatchNorm1d(4), new Conv1d(4, 8, 3));
// 6. Volumes and images.
// @ts-expect-error
sequential(new Conv3d(1, 2, 3), new BatchNorm2d(2));
// 7.
// @ts-expect-error
sequential(new Conv2d(1, 2, 3), new BatchNorm3d(2));
// 8.
// @ts-expect-error
sequential(new Conv2d(1, 2, 3), new MaxPool3d(2));
// 9.
// @ts-expect-error
sequential(new Linear(3, 3), new AvgPool3d(2));
// 10. Groups of channels that are not there.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new GroupNorm(4, 8));
expectType<
  Says<
    [Conv2d<3, 6>, GroupNorm<8>],
    "layer 1 takes Flat<8> or Spatial<number, 8>, but the layer before it gives Spatial<2, 6>"
  >
>();
// 11. An instance normalisation of another number of dimensions.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new InstanceNorm1d(6));
// 12. Pooling of features.
// @ts-expect-error
sequential(new Linear(8, 4), new AdaptiveAvgPool2d(1));
// 13. Pooling to one place is not flat.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new AdaptiveAvgPool2d(1), new Linear(6, 10));
// 14. A global pooling leaves as many features as there were channels.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new GlobalAvgPool(), new Linear(8, 10));
type Pooled = Chain<[Conv2d<3, 6>, GlobalAvgPool, Linear<8, 10>]>[2];
expectType<Equal<Pooled, Mismatch<"layer 2 takes Flat<8>, but the layer before it gives Flat<6>">>>();
// 15. Global pooling of features.
// @ts-expect-error
sequential(new Linear(8, 4), new GlobalAvgPool());
// 16. Enlarging features.
// @ts-expect-error
sequential(new Linear(8, 4), new Upsample({ scaleFactor: 2 }));
// 17. Shuffling the pixels of a signal.
// @ts-expect-error
sequential(new Conv1d(3, 8, 3), new PixelShuffle(2));
// 18. Transposed convolutions count channels as others do.
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new ConvTranspose2d(8, 3, 2));
// 19. What Unflatten makes has channels.
// @ts-expect-error
sequential(new Linear(8, 64), new Unflatten(1, [4, 4, 4]), new Conv2d(16, 1, 3));
// 20. And dimensions.
// @ts-expect-error
sequential(new Linear(8, 64), new Unflatten(1, [16, 4]), new Conv2d(16, 1, 3));
// 21. A block that cannot be added to its own input.
// @ts-expect-error
new Residual(new Linear(8, 4));
// 22.
// @ts-expect-error
new Residual(sequential(new Conv2d(3, 6, 3), new ReLU()));
// 23. A residual block of other features.
// @ts-expect-error
sequential(new Linear(8, 4), new Residual(new Linear(8, 8)));
expectType<
  Says<[Linear<8, 4>, Residual<Linear<8, 8>>], "layer 1 takes Flat<8>, but the layer before it gives Flat<4>">
>();
// 24. A layer with a name, in a block with one.
// @ts-expect-error
sequential(["conv", new Conv2d(3, 6, 3)], ["norm", new BatchNorm2d(3)]);
// 25.
// @ts-expect-error
block("Stem", new Conv2d(3, 6, 3), new BatchNorm2d(3));
// 26. A block after a block.
// @ts-expect-error
sequential(stem, new Conv2d(3, 6, 3));
// 27. Dropping channels of features.
// @ts-expect-error
sequential(new Linear(8, 4), new Dropout2d());
// 28. Token ids after features.
// @ts-expect-error
sequential(new Linear(8, 4), new Embedding(10, 4));
expectType<Says<[Linear<8, 4>, Embedding], "layer 1 takes Tokens, but the layer before it gives Flat<4>">>();
// Rows of an embedding are features.
const embedded = sequential(new Embedding(10, 8), new Linear(8, 4));
expectType<Equal<ReturnType<typeof embedded.forward>, Tensor<Flat<4>>>>();
// @ts-expect-error as many as it has
sequential(new Embedding(10, 8), new Linear(16, 4));
// @ts-expect-error which a convolution does not take
sequential(new Embedding(10, 8), new Conv1d(8, 4, 3));
// Padding keeps channels, and is for its number of dimensions.
const padded = sequential(new Conv2d(3, 6, 3), new ReflectionPad2d(1), new Conv2d(6, 4, 3));
expectType<Equal<ReturnType<typeof padded.forward>, Tensor<Spatial<2, 4>>>>();
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new ZeroPad1d(1));
// @ts-expect-error
sequential(new Conv2d(3, 6, 3), new ReflectionPad2d(1), new Conv2d(8, 4, 3));
// 29. Tensors of the wrong kind.
// @ts-expect-error
new BatchNorm2d(3).forward(signal);
// 30.
// @ts-expect-error
new InstanceNorm2d(4).forward(image);
// 31. What is no layer is marked where it stands, and told what it is.
type Entry<E extends readonly unknown[], Message extends string> = Equal<
  EntryDemand<E, keyof E & "1">,
  Mismatch<Message>
>;
// @ts-expect-error
sequential(new Linear(8, 4), ReLU, new Linear(4, 2));
expectType<Entry<[Linear<8, 4>, typeof ReLU], "layer 1 is a class: make a layer of it with new">>();
// 32.
// @ts-expect-error
sequential(new Linear(8, 4), [new ReLU(), new Linear(4, 2)]);
expectType<
  Entry<[Linear<8, 4>, [ReLU, Linear<4, 2>]], "layer 1 is a list: spread it, or name one layer with it">
>();
// 33.
// @ts-expect-error
block("Recurrent", new Linear(4, 8), new LSTM(8, 16), new Linear(16, 2));
expectType<
  Entry<[Linear<4, 8>, LSTM<8>], "layer 1 does not give one tensor for one: call it in a module of your own">
>();
