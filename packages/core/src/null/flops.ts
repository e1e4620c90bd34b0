import type { Call } from "../backend/call.ts";
import { sizeOf, type View } from "../backend/view.ts";
import { isFloat } from "../dtype.ts";
import type { ScalarOp } from "../scalar/ops.ts";
import type { Program } from "../scalar/program.ts";

/** What moves or chooses values rather than computing them. */
const FREE: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "input",
  "param",
  "coordinate",
  "const",
  "stated",
  "check",
  "cast",
  "bitcast",
  "select",
]);

const flopsByProgram = new WeakMap<Program, number>();

function programFlops(program: Program): number {
  let count = flopsByProgram.get(program);
  if (count === undefined) {
    count = program.instructions.filter((expr) => isFloat(expr.dtype) && !FREE.has(expr.op)).length;
    flopsByProgram.set(program, count);
  }
  return count;
}

/**
 * Floating-point operations of a call, as the field counts them: an addition is one, a multiplication another, and so
 * is any function such as exp. Integer work, comparisons and moving data count nothing, nor does what a kernel
 * computes to find its way (padding that is skipped counts as if it were there).
 */
export function flopsOf(call: Call): number {
  const first = call.inputs[0] as View;
  const output = call.outputs[0] as View;
  const last = first?.shape.at(-1) ?? 1;
  switch (call.kernel) {
    case "map":
      return output.size * programFlops(call.program);
    case "mapMany":
      return call.outputs
        .filter((_, index) => index % call.program.results.length === 0)
        .reduce((flops, { size }) => flops + size * programFlops(call.program), 0);
    case "reduce": {
      const points = first === undefined ? output.size : first.size;
      const combining = call.outputs.filter(({ dtype }) => isFloat(dtype)).length;
      return points * (programFlops(call.program) + combining);
    }
    case "matmul":
      return output.size * (2 * last + (call.program === undefined ? 0 : programFlops(call.program)));
    case "scatter":
      return isFloat(output.dtype) && call.attributes.mode === "add" ? first.size : 0;
    case "scan":
      return isFloat(output.dtype) && call.attributes.kind !== "max" ? first.size : 0;
    case "conv": {
      const { pass } = call.attributes;
      const [out, weight] = pass === "forward" ? [output, call.inputs[1]] : [first, call.inputs[1]];
      const kernel = (pass === "weightGrad" ? output : (weight as View)).shape;
      const bias = pass === "forward" && call.inputs.length > 2 ? out.size : 0;
      return 2 * out.size * sizeOf(kernel.slice(1)) + bias;
    }
    case "pool": {
      const { pass, kind, kernelSize } = call.attributes;
      const windows = (pass === "forward" ? output : first).size;
      // Comparisons are none; a mean adds the window up and divides, and back it divides and spreads.
      return kind === "max" ? (pass === "forward" ? 0 : windows) : windows * (sizeOf(kernelSize) + 1);
    }
    case "softmax":
      // forward: subtract, exp, add up, divide; backward: multiply, add up, subtract, multiply.
      return 4 * output.size;
    case "norm":
      return (
        (call.attributes.pass === "forward" ? 7 : 12) *
        (call.inputs[call.attributes.pass === "forward" ? 0 : 1] as View).size
      );
    case "attention": {
      const forward = call.attributes.pass === "forward";
      const query = call.inputs[forward ? 0 : 1] as View;
      const key = call.inputs[forward ? 1 : 2] as View;
      const keys = key.shape[2] as number;
      // Two products forward, five backward, and the softmax of each pair.
      return (query.size / last) * keys * ((forward ? 4 : 10) * last + 4);
    }
    case "rope":
      return 3 * output.size;
    case "crossEntropy":
      return 4 * (call.attributes.pass === "forward" ? first : (call.inputs[1] as View)).size;
    case "embeddingGrad":
      return first.size;
    case "quantizedMatmul":
      return output.size * 2 * call.attributes.inner;
    default:
      return 0;
  }
}
