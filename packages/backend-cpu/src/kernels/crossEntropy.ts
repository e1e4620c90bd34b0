import type { CrossEntropyCall, View } from "@nf/core";
import type { Context } from "../context.ts";
import { readDoubles, readFloats, writeFloats } from "../dense.ts";
import { greatestOf, sumOfExponentials } from "./softmax.ts";

/**
 * Makes the `crossEntropy` kernel. With smoothing s over C classes a row's loss is
 * `logSumExp(x) - (1 - s) x[target] - s / C Σ x`, computed relative to the greatest logit.
 */
export function makeCrossEntropy({ workspace }: Context): (call: CrossEntropyCall) => void {
  return ({ inputs, outputs, params, attributes }) => {
    const isForward = attributes.pass === "forward";
    const [logitsView, targetView] = (isForward ? inputs : inputs.slice(1)) as readonly [View, View];
    const [rows, classes] = logitsView.shape as readonly [number, number];
    const [ignored = -100, smoothing = 0] = params;
    const logits = readFloats(logitsView, workspace, "crossEntropy logits");
    const target = readDoubles(targetView, workspace, "crossEntropy target");
    const spread = smoothing / classes;
    if (isForward) {
      writeFloats(outputs[1] as View, workspace, "crossEntropy lse", (lse) => {
        writeFloats(outputs[0] as View, workspace, "crossEntropy loss", (loss) => {
          for (let row = 0; row < rows; row++) {
            const from = logits.offset + row * classes;
            const shift = greatestOf(logits.data, from, classes);
            const logSum = Math.log(sumOfExponentials(logits.data, from, classes, shift));
            lse.data[lse.offset + row] = shift + logSum;
            let value = 0;
            if (target[row] !== ignored) {
              value = logSum - (1 - smoothing) * (logits.data[from + target[row]] - shift);
              if (spread !== 0)
                for (let i = 0; i < classes; i++) value -= spread * (logits.data[from + i] - shift);
            }
            loss.data[loss.offset + row] = value;
          }
        });
      });
      return;
    }
    const gradient = readFloats(inputs[0] as View, workspace, "crossEntropy gradient");
    writeFloats(outputs[0] as View, workspace, "crossEntropy result", (to) => {
      for (let row = 0; row < rows; row++) {
        const from = logits.offset + row * classes;
        const at = to.offset + row * classes;
        if (target[row] === ignored) {
          to.data.fill(0, at, at + classes);
          continue;
        }
        // Computed anew instead of from the stored logSumExp, whose f32 rounding matters for large logits.
        const shift = greatestOf(logits.data, from, classes);
        const sum = sumOfExponentials(logits.data, from, classes, shift);
        const factor = gradient.data[gradient.offset + row];
        for (let i = 0; i < classes; i++) {
          const wanted = spread + (i === target[row] ? 1 - smoothing : 0);
          to.data[at + i] = factor * (Math.exp(logits.data[from + i] - shift) / sum - wanted);
        }
      }
    });
  };
}
