import { cpu } from "@nf/backend-cpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { tensorOf, valuesOf } from "./helper.ts";

/** A backend that runs `mapMany` as the maps it stands for, and remembers its calls. */
class Many extends core.BackendDecorator {
  readonly groups: number[] = [];
  maps = 0;
  /** Buffers that it takes in one call. */
  most = Infinity;

  override supports(call: core.Call): core.Support {
    if (call.kernel !== "mapMany") return super.supports(call);
    return call.buffers.length > this.most ? { reason: "too many buffers" } : "yes";
  }

  override execute(call: core.Call): void {
    if (call.kernel === "map") this.maps++;
    if (call.kernel !== "mapMany") {
      super.execute(call);
      return;
    }
    const { program, params, attributes } = call;
    this.groups.push(attributes.groups);
    for (let group = 0; group < attributes.groups; group++) {
      const part = (views: readonly core.View[], count: number): readonly core.View[] =>
        views.slice(group * count, (group + 1) * count);
      const inputs = part(call.inputs, program.inputs.length);
      const outputs = part(call.outputs, program.results.length);
      const buffers = [...new Set([...inputs, ...outputs].map(({ buffer }) => buffer))];
      super.execute({ kernel: "map", program, params, inputs, outputs, buffers });
    }
  }
}

let many: Many;
const scope = new core.Scope();
beforeAll(async () => {
  const inner = await cpu();
  const { capabilities } = inner;
  const dtypes = { ...capabilities.dtypes, mapMany: capabilities.dtypes.map };
  many = new Many("many", inner, { ...capabilities, dtypes, maxBuffersPerCall: 4 });
  await core.use(many);
});
afterAll(() => scope.dispose());

const sgd = core.defineUpdate({
  name: "sgd",
  state: 1,
  inputs: 1,
  params: ["lr"],
  body: ([p], [g], [lr]) => [core.scalar.sub(p!, core.scalar.mul(g!, lr!))],
});
const target = (p: core.Tensor, g: core.Tensor): core.UpdateTarget => ({ state: [p], inputs: [g] });
const of = (values: readonly number[], dtype: core.DType = "f32"): core.Tensor =>
  tensorOf(values, [values.length], dtype);

/** What was called: groups of each `mapMany`, and plain maps. */
function callsOf(run: () => void): { groups: number[]; maps: number } {
  const [before, maps] = [many.groups.length, many.maps];
  run();
  return { groups: many.groups.slice(before), maps: many.maps - maps };
}

describe("updates of many tensors", () => {
  const run = (body: () => void) => () => scope.run(body);

  it(
    "are one call, of tensors of any shape, and raise the version of each",
    run(() => {
      const [a, b] = [of([1, 2, 3]), of([10])];
      const [ga, gb] = [of([1, 1, 1]), of([2])];
      const calls = callsOf(() => core.runUpdates(sgd, [target(a, ga), target(b, gb)], [0.5]));
      expect(calls).toEqual({ groups: [2], maps: 0 });
      expect([valuesOf(a), valuesOf(b)]).toEqual([[0.5, 1.5, 2.5], [9]]);
      expect([a.storage.version, b.storage.version]).toEqual([1, 1]);
      expect(a.storage.writer).toBe("sgd");
    }),
  );

  it(
    "are one call however many buffers that is, where the backend takes it",
    run(() => {
      const targets = Array.from({ length: 10 }, (_, i) => target(of([i, 2 * i]), of([1, 2])));
      expect(callsOf(() => core.runUpdates(sgd, targets, [1]))).toEqual({ groups: [10], maps: 0 });
      targets.forEach(({ state: [p] }, i) => {
        expect(valuesOf(p as core.Tensor)).toEqual([i - 1, 2 * i - 2]);
      });
      many.most = 19;
      expect(callsOf(() => core.runUpdates(sgd, targets, [1]))).toEqual({ groups: [], maps: 10 });
      many.most = Infinity;
    }),
  );

  it(
    "are maps one by one where they cannot be one call",
    run(() => {
      const whole = of([1, 2, 3, 4]);
      const halves = [whole.slice([0, 2]), whole.slice([2, 4])] as const;
      const g = of([1, 1]);
      const shared = callsOf(() =>
        core.runUpdates(sgd, [target(halves[0], g), target(halves[1], of([1, 1]))], [1]),
      );
      expect(shared).toEqual({ groups: [], maps: 2 });
      expect(valuesOf(whole)).toEqual([0, 1, 2, 3]);
      const mixed = callsOf(() =>
        core.runUpdates(sgd, [target(of([1]), of([1])), target(of([1], "f64"), of([1], "f64"))], [1]),
      );
      expect(mixed.groups).toEqual([]);
      const off = callsOf(() =>
        core.withFusion("off", () =>
          core.runUpdates(sgd, [target(of([1]), of([1])), target(of([1]), of([1]))], [1]),
        ),
      );
      expect(off).toEqual({ groups: [], maps: 2 });
      const empty = callsOf(() =>
        core.runUpdates(sgd, [target(of([]), of([])), target(of([1]), of([1]))], [1]),
      );
      expect(empty).toEqual({ groups: [], maps: 1 });
    }),
  );

  it(
    "check every target before anything is written",
    run(() => {
      const a = of([1]);
      expect(() => core.runUpdates(sgd, [target(a, of([1])), target(of([1]), of([1, 2]))], [1])).toThrow(
        core.ShapeError,
      );
      expect(valuesOf(a)).toEqual([1]);
    }),
  );
});
