import { type MapCall, makeView, program, type RopeCall, scalar as s, type View } from "@nf/core";
import type { KernelEntry } from "../context.ts";

const TURN = program("rope", ["f32", "f32", "f32", "f32"], [], ([a, b, cos, sin]) => [
  s.sub(s.mul(a, cos), s.mul(b, sin)),
  s.add(s.mul(b, cos), s.mul(a, sin)),
]);
const TURN_BACK = program("rope inverse", ["f32", "f32", "f32", "f32"], [], ([a, b, cos, sin]) => [
  s.add(s.mul(a, cos), s.mul(b, sin)),
  s.sub(s.mul(b, cos), s.mul(a, sin)),
]);

/** The `rope` kernel: a map over pairs, whose halves are views of their own. */
export function makeRope(map: KernelEntry<MapCall>): KernelEntry<RopeCall> {
  return {
    dtypes: ["f32", "f16", "bf16"],
    run: ({ buffers, inputs: [x, cos, sin], outputs: [out], attributes: { interleaved, inverse } }) => {
      map.run({
        kernel: "map",
        program: inverse ? TURN_BACK : TURN,
        buffers,
        inputs: [...halves(x, interleaved), repeated(cos, x), repeated(sin, x)],
        outputs: halves(out, interleaved),
        params: [],
      });
    },
  };
}

/** The first and the second elements of all pairs. */
function halves({ buffer, dtype, shape, strides, offset }: View, interleaved: boolean): readonly View[] {
  const half = shape[shape.length - 1] / 2;
  const step = strides[strides.length - 1];
  const [apart, between] = interleaved ? [step, 2 * step] : [half * step, step];
  const own = [...shape.slice(0, -1), half];
  const steps = [...strides.slice(0, -1), between];
  return [offset, offset + apart].map((from) => makeView(buffer, dtype, own, steps, from));
}

/** A table of angles for all that comes before the positions. */
function repeated({ buffer, dtype, shape, strides, offset }: View, x: View): View {
  const lead = x.shape.slice(0, -2);
  return makeView(buffer, dtype, [...lead, ...shape], [...lead.map(() => 0), ...strides], offset);
}
