import { cpu } from "@nf/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import { addProgram, download, mapCall, Slow, trainSteps, upload } from "./helper.ts";

const { profile, validate } = core;

let inner: core.Backend;
let profiled: core.ProfiledBackend;
beforeEach(async () => {
  inner = await cpu();
  profiled = profile(inner);
  await core.use(profiled);
});

describe("profile", () => {
  it("counts calls, bytes, operations by kernel and by program, and host traffic", () => {
    const a = core.ones([8, 16]);
    const b = core.ones([16, 4]);
    profiled.reset();
    const c = a.matmul(b);
    const d = c.add(core.tensor([1, 2, 3, 4])).relu();
    expect(d.sum().itemSync()).toBe(8 * (16 * 4 + 10));
    const report = profiled.report();
    expect(report.backend).toBe("cpu");
    expect(report.timing).toBe("dispatch");
    expect(Object.fromEntries(report.kernels.map((row) => [row.kernel, row.calls]))).toEqual({
      matmul: 1,
      map: 2,
      reduce: 1,
    });
    const row = (kernel: string, name = ""): core.ProfileRow =>
      report.programs.find((one) => one.kernel === kernel && one.name === name) as core.ProfileRow;
    expect(row("matmul")).toMatchObject({
      bytesRead: 4 * (8 * 16 + 16 * 4),
      bytesWritten: 4 * 8 * 4,
      flops: 2 * 8 * 16 * 4,
    });
    // The vector was broadcast: its four elements count once.
    expect(row("map", "add")).toMatchObject({ bytesRead: 4 * (32 + 4), bytesWritten: 4 * 32, flops: 32 });
    expect(row("map", "relu")).toMatchObject({ calls: 1, bytesRead: 128, bytesWritten: 128 });
    expect(report.hostWrites).toMatchObject({ calls: 1, bytes: 16 });
    expect(report.hostReads).toMatchObject({ calls: 1, bytes: 4 });
    expect(report.total).toMatchObject({ calls: 4 });
    expect(report.total.milliseconds).toBeGreaterThan(0);
    expect(report.total.milliseconds).toBeCloseTo(
      report.programs.reduce((sum, { milliseconds }) => sum + milliseconds, 0),
    );
  });

  it("counts allocations, which end once a loop is warm", () => {
    trainSteps(2);
    const warm = profiled.report().allocations;
    expect(warm.calls).toBeGreaterThan(5);
    expect(warm.calls).toBe(core.memory(profiled).poolMisses);
    core.releaseMemory(profiled);
    expect(profiled.report().frees.calls).toBeGreaterThan(0);
  });

  it("gives snapshots, is reset, and prints a table", () => {
    core.ones([4]).exp();
    const first = profiled.report();
    core.ones([4]).exp();
    expect(profiled.report().total.calls).toBe(2 * first.total.calls);
    profiled.reset();
    expect(profiled.report()).toMatchObject({ kernels: [], total: { calls: 0, milliseconds: 0 } });
    const lines = first.toString().split("\n");
    expect(lines[0]).toMatch(/^kernel +calls +ms +share +read +written +GFLOP\/s$/);
    expect(lines.find((line) => line.startsWith("  exp"))).toMatch(/ 1 +\d+\.\d{3} +.* 16 B +16 B/);
    expect(lines.find((line) => line.startsWith("total"))).toMatch(/100\.0%/);
    expect(first.toString()).toMatch(/host writes 0 \(0 B\)/);
    expect(first.toString()).toMatch(/cpu: ms is time inside execute; work that goes on/);
    expect(JSON.parse(JSON.stringify(first))).toMatchObject({ timing: "dispatch", pending: 0 });
  });

  it("keeps name, capabilities, answers and buffers of what it wraps", async () => {
    expect(profiled.name).toBe("profile(cpu)");
    expect(profiled.capabilities).toBe(inner.capabilities);
    expect(profiled.wrapped).toBe(inner);
    const [a, out] = [upload(profiled, [2], [1, 2]), upload(profiled, [2], [0, 0])];
    profiled.execute(mapCall(addProgram, [a, a], [out]));
    expect(download(inner, out)).toEqual([2, 4]);
    expect(() => profile(inner, { wait: true } as core.ProfileOptions)).toThrow(
      expect.objectContaining({ code: "NF_OPTION" }),
    );
    await profiled.dispose();
    expect(() => inner.allocate(4)).toThrow(/dispose/);
  });

  it("does not change numbers, alone or around another decorator", async () => {
    const seen = trainSteps(5);
    await core.use(cpu());
    expect(seen).toEqual(trainSteps(5));
    const both = profile(validate(await cpu()));
    expect(both.name).toBe("profile(validate(cpu))");
    await core.use(both);
    expect(trainSteps(5)).toEqual(seen);
    expect(both.report().kernels.map(({ kernel }) => kernel)).toEqual(
      expect.arrayContaining(["conv", "pool", "matmul", "crossEntropy", "map", "reduce"]),
    );
  });
});

describe("profile of a backend that works asynchronously", () => {
  it("says that dispatch alone is measured", async () => {
    const slow = profile(new Slow(await cpu(), 20));
    await core.use(slow);
    await core.ones([4]).exp().data();
    expect(slow.report().total.milliseconds).toBeLessThan(20);
    expect(slow.report().toString()).toMatch(/work that goes on after it returned is not in it/);
  });

  it("gives each call its own time with synchronize, in order, with the same numbers", async () => {
    const slow = profile(new Slow(await cpu(), 15), { synchronize: true });
    expect(slow.capabilities.readSync).toBe(false);
    expect(slow.readSync).toBeUndefined();
    await core.use(slow);
    const host = Float32Array.from([1, 2, 3]);
    const x = core.fromData(host, [3]);
    const y = x.mul(2).add(1);
    host.fill(99);
    expect(slow.report().pending).toBeGreaterThan(0);
    expect(slow.report().toString()).toMatch(/\d+ calls are still running/);
    expect(Array.from(await y.data())).toEqual([3, 5, 7]);
    const report = slow.report();
    expect(report).toMatchObject({ timing: "completion", pending: 0 });
    for (const row of report.programs) expect(row.milliseconds / row.calls).toBeGreaterThanOrEqual(14);
    expect(report.toString()).toMatch(/until each call was done/);
  });

  it.each([false, true])("reads what was there when it was asked, synchronize %s", async (synchronize) => {
    const backend = profile(await cpu(), { synchronize });
    await core.use(backend);
    const x = core.tensor([1, 2]);
    const before = x.data();
    core.assign(x, core.tensor([5, 6]));
    expect([...(await before)]).toEqual([1, 2]);
    expect([...(await x.data())]).toEqual([5, 6]);
    await backend.dispose();
  });

  it("brings an error in a queued call out of the next wait, and goes on", async () => {
    const slow = profile(await cpu(), { synchronize: true });
    await core.use(slow);
    const index = core.tensor(Int32Array.from([0, 7])).add(0);
    const table = core.ones([3, 2]);
    const bad = core.indexSelect(table, 0, index);
    await expect(bad.data()).rejects.toThrow(/out of range/);
    expect(Array.from(await table.add(1).data())).toEqual([2, 2, 2, 2, 2, 2]);
    await slow.synchronize();
    await slow.dispose();
  });
});
