import { cpu } from "@nf/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { addProgram, altered, copyProgram, download, mapCall, upload } from "./helper.ts";

const { makeView, validate, ValidationError } = core;

let checked: core.ValidatedBackend;
let inner: core.Backend;
beforeEach(async () => {
  inner = await cpu();
  checked = validate(inner);
});

const fault = (message: RegExp): unknown =>
  expect.objectContaining({ code: "NF_VALIDATION", message: expect.stringMatching(message) });

/** A view of an uploaded vector 0 … n-1 with other facts. */
function vector(n: number, change: Partial<core.View> = {}): core.View {
  const view = upload(
    checked,
    [n],
    Array.from({ length: n }, (_, i) => i),
  );
  return { ...view, ...change };
}

describe("validate", () => {
  it("lets right calls through with their numbers: in place, strided, interleaved, broadcast", () => {
    const x = vector(6);
    const out = vector(6);
    checked.execute(mapCall(addProgram, [x, x], [out]));
    checked.execute(mapCall(addProgram, [out, x], [out]));
    expect(download(checked, out)).toEqual([0, 3, 6, 9, 12, 15]);
    const evens = makeView(x.buffer, "f32", [3], [2], 0);
    const odds = makeView(x.buffer, "f32", [3], [2], 1);
    checked.execute(mapCall(copyProgram, [evens], [odds]));
    expect(download(checked, x)).toEqual([0, 0, 2, 2, 4, 4]);
    const still = makeView(x.buffer, "f32", [6], [0], 4);
    checked.execute(mapCall(copyProgram, [still], [out]));
    expect(download(checked, out)).toEqual([4, 4, 4, 4, 4, 4]);
  });

  it("catches views that leave their buffer, or do not hold together", () => {
    const [x, out] = [vector(4), vector(4)];
    const cases: [core.View, RegExp][] = [
      [
        makeView(x.buffer, "f32", [4], [1], 1),
        /map "copy", input 0: expected elements inside its buffer of 16 bytes, got bytes 4 to 20/,
      ],
      [makeView(x.buffer, "f32", [4], [-1], 0), /bytes -12 to 4/],
      [makeView(x.buffer, "f64", [4], [1], 0), /bytes 0 to 32/],
      [{ ...x, size: 5 }, /input 0: expected size 4 of shape \[4\], got 5/],
      [
        { ...x, strides: [2], contiguous: true },
        /input 0: expected contiguous to be false for strides \[2\]/,
      ],
      [{ ...x, strides: [] }, /input 0: expected 1 whole strides/],
      [{ ...x, offset: 0.5 }, /whole offset, got 0.5/],
      [{ ...x, shape: [2.5], size: 2.5 }, /whole sizes, got \[2.5\]/],
    ];
    for (const [view, message] of cases)
      expect(() => checked.execute(mapCall(copyProgram, [view], [out]))).toThrow(fault(message));
    expect(() =>
      checked.execute(mapCall(copyProgram, [x], [makeView(out.buffer, "f32", [4], [1], 2)])),
    ).toThrow(fault(/output 0: expected elements inside/));
    expect(download(checked, out)).toEqual([0, 1, 2, 3]);
  });

  it("catches outputs that overlap an input, each other, or themselves", () => {
    const [x, y] = [vector(6), vector(6)];
    const part = (offset: number): core.View => makeView(x.buffer, "f32", [4], [1], offset);
    const cases: [core.Call, RegExp][] = [
      [
        mapCall(copyProgram, [part(0)], [part(2)]),
        /output 0: expected an input's own view, or one apart from all inputs, got overlap with input 0/,
      ],
      [mapCall(addProgram, [part(0), part(1)], [part(0)]), /overlap with input 1/],
      [mapCall(copyProgram, [makeView(x.buffer, "f32", [6], [-1], 5)], [x]), /overlap with input 0/],
      [
        mapCall(copyProgram, [y], [makeView(x.buffer, "f32", [6], [0], 0)]),
        /output 0: expected elements that are written once, got strides \[0\]/,
      ],
      [
        mapCall(
          copyProgram,
          [makeView(y.buffer, "f32", [2, 3], [3, 1], 0)],
          [makeView(x.buffer, "f32", [2, 3], [1, 1], 0)],
        ),
        /written once/,
      ],
    ];
    for (const [call, message] of cases) expect(() => checked.execute(call)).toThrow(fault(message));
    const twice = core.program("twice", ["f32"], [], ([v]) => [
      v as core.Expr,
      core.scalar.neg(v as core.Expr),
    ]);
    const four = makeView(y.buffer, "f32", [4], [1], 0);
    expect(() => checked.execute(mapCall(twice, [four], [part(0), part(1)]))).toThrow(
      fault(/map "twice", output 1: expected outputs apart from each other, got overlap with output 0/),
    );
    const index = { ...vector(4), dtype: "i32" } satisfies core.View;
    const scatter: core.Call = {
      kernel: "scatter",
      buffers: [x.buffer, index.buffer],
      inputs: [part(0), index],
      outputs: [part(0)],
      params: [],
      attributes: { axis: 0, mode: "add" },
    };
    expect(() => checked.execute(scatter)).toThrow(fault(/scatter, output 0: .*overlap with input 0/));
  });

  it("catches stale, foreign and repeated buffers, and reads and writes out of range", async () => {
    const [x, out] = [vector(4), vector(4)];
    const dead = vector(4);
    checked.free(dead.buffer);
    const foreign = upload(inner, [4], [1, 2, 3, 4]);
    const good = mapCall(copyProgram, [x], [out]);
    const cases: [() => unknown, RegExp][] = [
      [
        () => checked.execute(mapCall(copyProgram, [dead], [out])),
        /^validate\(cpu\): map "copy", buffer 0: expected a live buffer of this backend, got one that was already freed\.$/,
      ],
      [() => checked.execute(mapCall(copyProgram, [foreign], [out])), /buffer 0: .*another backend made/],
      [() => checked.execute({ ...good, buffers: [x.buffer, x.buffer, out.buffer] }), /distinct buffers/],
      [() => checked.execute({ ...good, buffers: [out.buffer, x.buffer] }), /order of first use/],
      [() => checked.execute({ ...good, buffers: [x.buffer] }), /order of first use/],
      [() => checked.free(dead.buffer), /free, buffer: .*already freed/],
      [() => checked.free(foreign.buffer), /another backend made/],
      [() => checked.write(dead.buffer, 0, new Uint8Array(4)), /write, buffer: .*already freed/],
      [
        () => checked.write(x.buffer, 14, new Uint8Array(4)),
        /write, range: expected bytes within the buffer of 16, got 14 to 18/,
      ],
      [() => checked.readSync?.(x.buffer, -1, 4), /readSync, range/],
      [() => checked.allocate(-1), /allocate, byteLength/],
    ];
    for (const [act, message] of cases) {
      expect(act).toThrow(fault(message));
      expect(act).toThrow(ValidationError);
    }
    await expect(checked.read(dead.buffer, 0, 4)).rejects.toThrow(/already freed/);
    await checked.dispose();
    expect(() => checked.execute(good)).toThrow(fault(/after dispose\(\)/));
  });

  it("catches empty operands, and shapes, dtypes, axes and counts against the contract", () => {
    const x = upload(checked, [2, 3], [1, 2, 3, 4, 5, 6]);
    const y = upload(checked, [2, 3], [0, 0, 0, 0, 0, 0]);
    const as = (view: core.View, shape: readonly number[], dtype: core.DType = "f32"): core.View =>
      core.contiguousView(view.buffer, dtype, shape);
    const base = { buffers: [x.buffer, y.buffer], params: [] };
    const cases: [core.Call, RegExp][] = [
      [mapCall(copyProgram, [as(x, [0, 3])], [as(y, [0, 3])]), /elements: core runs nothing on empty views/],
      [mapCall(copyProgram, [as(x, [3, 2])], [y]), /input 0: expected shape \[2, 3\], got \[3, 2\]/],
      [
        mapCall(copyProgram, [as(x, [2, 3], "i32")], [y]),
        /input 0: expected a dtype computed in f32, got i32/,
      ],
      [mapCall(addProgram, [x], [y]), /program inputs: expected 2 of them, got 1/],
      [mapCall(copyProgram, [x], [y], [1]), /params: expected 0 numbers, got 1/],
      [
        {
          ...base,
          kernel: "reduce",
          program: copyProgram,
          inputs: [x],
          outputs: [as(y, [2, 1])],
          attributes: { kinds: ["sum"], axes: [0] },
        },
        /reduce "copy", output 0: expected shape \[1, 3\], got \[2, 1\]/,
      ],
      [
        {
          ...base,
          kernel: "reduce",
          program: copyProgram,
          inputs: [x],
          outputs: [as(y, [1, 1])],
          attributes: { kinds: ["sum"], axes: [1, 0] },
        },
        /axes: expected ascending axes/,
      ],
      [
        {
          ...base,
          kernel: "reduce",
          program: copyProgram,
          inputs: [x],
          outputs: [as(y, [1, 1])],
          attributes: { kinds: [], axes: [0, 1] },
        },
        /kinds: expected one for each/,
      ],
      [
        {
          ...base,
          kernel: "argReduce",
          inputs: [x],
          outputs: [as(y, [2, 1])],
          attributes: { kind: "max", axes: [1] },
        },
        /output 0: expected dtype i32, got f32/,
      ],
      [
        { ...base, kernel: "matmul", inputs: [x, as(x, [2, 3])], outputs: [y] },
        /matmul, input 1: expected shape \[3, 3\], got \[2, 3\]/,
      ],
      [
        {
          ...base,
          kernel: "gather",
          inputs: [x, as(x, [1, 2], "i32")],
          outputs: [as(y, [1, 2])],
          attributes: { axis: 1 },
        },
        /gather, input 0: expected shape \[1, 3\], got \[2, 3\]/,
      ],
      [
        {
          ...base,
          kernel: "gather",
          inputs: [x, as(x, [2, 2])],
          outputs: [as(y, [2, 2])],
          attributes: { axis: 1 },
        },
        /input 1: expected dtype i32/,
      ],
      [
        {
          ...base,
          kernel: "scan",
          inputs: [x],
          outputs: [y],
          attributes: { kind: "sum", axis: 2, reverse: false },
        },
        /axis: expected an axis of \[2, 3\], got 2/,
      ],
      [
        { ...base, kernel: "sort", inputs: [x], outputs: [y], attributes: { axis: 0, descending: false } },
        /outputs: expected 2 of them/,
      ],
      [
        {
          ...base,
          kernel: "softmax",
          inputs: [x],
          outputs: [as(y, [3, 2])],
          attributes: { pass: "forward", log: false },
        },
        /softmax "forward", output 0: expected shape/,
      ],
      [
        {
          ...base,
          kernel: "crossEntropy",
          inputs: [x, as(x, [2])],
          outputs: [as(y, [2]), as(y, [2])],
          attributes: { pass: "forward" },
        },
        /target: expected dtype i32/,
      ],
      [
        {
          ...base,
          kernel: "conv",
          inputs: [as(x, [1, 1, 2, 3]), as(x, [1, 1, 2, 2])],
          outputs: [as(y, [1, 1, 2, 2])],
          attributes: {
            pass: "forward",
            groups: 1,
            stride: [1, 1],
            dilation: [1, 1],
            padding: [
              [0, 0],
              [0, 0],
            ],
          },
        },
        /conv "forward", out: expected shape \[1, 1, 1, 2\]/,
      ],
      [
        {
          ...base,
          kernel: "pool",
          inputs: [as(x, [1, 1, 6])],
          outputs: [as(y, [1, 1, 2])],
          attributes: {
            pass: "forward",
            kind: "max",
            kernelSize: [2],
            stride: [2],
            dilation: [1],
            padding: [[0, 0]],
            countIncludePad: true,
            countedPadding: [[0, 0]],
          },
        },
        /out: expected shape \[1, 1, 3\]/,
      ],
      [
        {
          ...base,
          kernel: "mapMany",
          program: copyProgram,
          inputs: [x, as(x, [3])],
          outputs: [y],
          attributes: { groups: 2 },
        },
        /outputs: expected 2 of them/,
      ],
      [
        {
          ...base,
          kernel: "rope",
          inputs: [x, as(x, [2, 2]), as(x, [2, 2])],
          outputs: [y],
          attributes: { interleaved: false, inverse: false },
        },
        /cos, sin 0: expected shape \[2, 1.5\]/,
      ],
    ];
    for (const [call, message] of cases)
      expect(() => checked.execute(call), String(message)).toThrow(fault(message));
    expect(() =>
      checked.execute(
        Object.assign({ ...mapCall(copyProgram, [x], [y]) }, JSON.parse('{ "kernel": "fill" }')),
      ),
    ).toThrow(fault(/kernel: expected a kernel that core knows, got fill/));
    expect(download(checked, y)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("catches what the backend never declared or declined", async () => {
    const narrow = validate(
      await altered(
        { maxBuffersPerCall: 2, dtypes: { ...inner.capabilities.dtypes, map: ["f32"] } },
        () => "after-copy",
      ),
    );
    const [a, b, c] = [upload(narrow, [2], [1, 2]), upload(narrow, [2], [1, 2]), upload(narrow, [2], [1, 2])];
    expect(() => narrow.execute(mapCall(addProgram, [a, b], [c]))).toThrow(
      fault(/buffers: expected at most 2, got 3/),
    );
    const ints = core.program("ints", ["i32"], [], ([x]) => x as core.Expr);
    const as = (view: core.View): core.View => ({ ...view, dtype: "i32" });
    expect(() => narrow.execute(mapCall(ints, [as(a)], [as(b)]))).toThrow(
      fault(/input 0: expected a dtype declared for map \(f32\), got i32/),
    );
    const softmax: core.Call = {
      kernel: "softmax",
      buffers: [a.buffer, b.buffer],
      inputs: [a],
      outputs: [b],
      params: [],
      attributes: { pass: "forward", log: false },
    };
    expect(() => narrow.execute(softmax)).toThrow(fault(/supports\(\) answers with "yes", got after-copy/));
  });
});
