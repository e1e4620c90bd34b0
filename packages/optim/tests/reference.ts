import type { AdamOptions, SGDOptions } from "../src/index.ts";

/** The optimisers on plain numbers, as PyTorch's documentation states them: what the programs are checked against. */
export type Reference = (p: readonly number[], gradients: readonly (readonly number[])[]) => number[];

/** SGD with all its options. */
export function sgdReference(options: SGDOptions): Reference {
  const {
    lr = 1e-3,
    momentum = 0,
    dampening = 0,
    weightDecay = 0,
    nesterov = false,
    maximize = false,
  } = options;
  return (start, gradients) =>
    start.map((value, element) => {
      let p = value;
      let buffer: number | undefined;
      for (const row of gradients) {
        let g = (maximize ? -1 : 1) * (row[element] as number) + weightDecay * p;
        if (momentum !== 0) {
          buffer = buffer === undefined ? g : momentum * buffer + (1 - dampening) * g;
          g = nesterov ? g + momentum * buffer : buffer;
        }
        p -= lr * g;
      }
      return p;
    });
}

/** Adam, or AdamW where `decoupled`. */
export function adamReference(options: AdamOptions, decoupled: boolean): Reference {
  const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, amsgrad = false, maximize = false } = options;
  const weightDecay = options.weightDecay ?? (decoupled ? 0.01 : 0);
  return (start, gradients) =>
    start.map((value, element) => {
      let p = value;
      let m = 0;
      let v = 0;
      let greatest = 0;
      gradients.forEach((row, index) => {
        let g = (maximize ? -1 : 1) * (row[element] as number);
        if (decoupled) p -= lr * weightDecay * p;
        else g += weightDecay * p;
        m = betas[0] * m + (1 - betas[0]) * g;
        v = betas[1] * v + (1 - betas[1]) * g * g;
        greatest = Math.max(greatest, v);
        const mHat = m / (1 - betas[0] ** (index + 1));
        const vHat = (amsgrad ? greatest : v) / (1 - betas[1] ** (index + 1));
        p -= (lr * mHat) / (Math.sqrt(vHat) + eps);
      });
      return p;
    });
}
