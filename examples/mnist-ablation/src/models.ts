import { BatchNorm1d, Flatten, Linear, ReLU, sequential } from "@nf/nn";

/** The four models: what stands between the linear layers of an MLP 784, 256, 128, 10. */
export const MODELS = ["linear", "linear_relu", "linear_bn", "linear_relu_bn"] as const;
/** One of {@link MODELS}. */
export type ModelName = (typeof MODELS)[number];

/** Builds one of them. */
export function build(name: ModelName) {
  const [bn, relu] = [name.includes("bn"), name.includes("relu")];
  const hidden = (from: number, to: number) => [
    new Linear(from, to),
    ...(bn ? [new BatchNorm1d(to)] : []),
    ...(relu ? [new ReLU()] : []),
  ];
  return sequential(new Flatten(), ...hidden(784, 256), ...hidden(256, 128), new Linear(128, 10));
}
