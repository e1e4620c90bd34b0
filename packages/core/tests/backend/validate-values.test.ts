import { cpu } from "@nf/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { Slow, trainSteps, upload } from "./helper.ts";

const { validate } = core;

let checked: core.ValidatedBackend;
let inner: core.Backend;
beforeEach(async () => {
  inner = await cpu();
  checked = validate(inner);
});

const fault = (message: RegExp): unknown =>
  expect.objectContaining({ code: "NF_VALIDATION", message: expect.stringMatching(message) });

describe("validate, with values", () => {
  it("names the call where NaN or an infinity first appears", async () => {
    const strict = validate(await cpu(), { nan: true });
    await core.use(strict);
    const x = core.tensor([1, 0, -1]);
    expect(() => core.log(x)).toThrow(
      fault(/^validate\(cpu\): map "log", output 0: expected finite numbers, .*, got NaN at element 2\.$/),
    );
    expect(() => core.reciprocal(x)).toThrow(fault(/map "reciprocal".*an infinity at element 1/));
    expect(() => core.exp(x.mul(1000))).toThrow(fault(/map "exp".*infinity at element 0/));
    expect(() => core.ones([2]).mul(3e38).sum()).toThrow(fault(/^validate\(cpu\): reduce "\w+", output 0/));
    // What was handed in as such is no news.
    const masked = core.where(core.tensor([true, false, true]), x, -Infinity);
    expect(Array.from(core.softmax(masked).dataSync())[1]).toBe(0);
    const given = core.tensor([Number.NaN, Infinity]);
    expect(given.add(1).dataSync()[0]).toBeNaN();
    expect(core.full([2], Number.NaN).dataSync()[0]).toBeNaN();
    expect(() => masked.sub(masked)).toThrow(fault(/NaN at element 1, of infinite operands/));
    expect(
      core
        .tensor([[1, 0]])
        .matmul(core.tensor([[Infinity], [1]]))
        .itemSync(),
    ).toBe(Infinity);
  });

  it("finds it in a training step by the kernel's name, and a healthy one trains", async () => {
    const strict = validate(await cpu(), { nan: true });
    await core.use(strict);
    const losses = trainSteps(4);
    await core.use(cpu());
    expect(losses).toEqual(trainSteps(4));
    const w = core.parameter(core.tensor([0, 1], { backend: strict }));
    expect(() => core.sqrt(w).sum().backward()).toThrow(fault(/map "sqrt'"/));
  });

  it("poisons memory, so that what was never written shows", async () => {
    const clean = validate(await cpu(), { poison: false });
    const raw = (backend: core.Backend, bytes: number): number[] =>
      Array.from(backend.readSync?.(backend.allocate(bytes), 0, bytes) ?? []);
    expect(raw(checked, 6)).toEqual([255, 255, 255, 255, 255, 255]);
    expect(raw(clean, 3)).toEqual([0, 0, 0]);
    const large = checked.allocate(2 ** 20 + 5);
    expect(Array.from(checked.readSync?.(large, 2 ** 20 - 1, 6) ?? [])).toEqual([
      255, 255, 255, 255, 255, 255,
    ]);
    const freed: number[][] = [];
    class Watching extends core.BackendDecorator {
      override free(buffer: core.BackendBuffer): void {
        freed.push(Array.from(this.wrapped.readSync?.(buffer, 0, 4) ?? []));
        super.free(buffer);
      }
    }
    const outer = validate(new Watching("watching", await cpu()));
    outer.free(upload(outer, [1], [1]).buffer);
    expect(freed).toEqual([[255, 255, 255, 255]]);
  });

  it("refuses unknown options, and nan where nothing can be read at once", async () => {
    expect(() => validate(inner, { NaN: true } as core.ValidateOptions)).toThrow(
      expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(/nan, poison/) }),
    );
    const slow = new Slow(await cpu(), 0);
    expect(() => validate(slow, { nan: true })).toThrow(expect.objectContaining({ code: "NF_UNSUPPORTED" }));
    await core.use(validate(slow));
    expect(Array.from(await core.ones([2]).add(1).data())).toEqual([2, 2]);
  });

  it("works around itself and around profile", async () => {
    const stack = validate(core.profile(validate(await cpu(), { nan: true })), { poison: false });
    expect(stack.name).toBe("validate(profile(validate(cpu)))");
    await core.use(stack);
    const losses = trainSteps(3);
    expect(losses[2] as number).toBeLessThan(losses[0] as number);
  });
});
