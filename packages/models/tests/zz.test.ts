import { it } from "vitest";
it("x", { timeout: 300000 }, async () => {
  if (process.env["NOREG"]) Object.assign(globalThis, { FinalizationRegistry: class { register() {} unregister() {} } });
  const { cpu } = await import("@nf/backend-cpu");
  const { fromData, memory, use, zeros } = await import("@nf/core");
  const { CrossEntropyLoss } = await import("@nf/nn");
  const { Adam } = await import("@nf/optim");
  const { LENET, lenet } = await import("../src/index.ts");
  await use(cpu());
  const batch = 1;
  const model = lenet();
  const criterion = new CrossEntropyLoss();
  const optimizer = new Adam(model.parameters(), { lr: 1e-4 });
  const x = zeros([batch, ...LENET.input]);
  const y = fromData(new Int32Array(batch), [batch]);
  const out: string[] = [];
  for (let step = 0; step < 4001; step++) {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    if (step % 100 === 0) await loss.item();
    if (step % 500 === 0) { globalThis.gc?.(); const m = process.memoryUsage(); out.push([step, (m.rss/1e6).toFixed(1), (m.heapUsed/1e6).toFixed(2), (m.heapTotal/1e6).toFixed(1), memory().liveTensors].join(" ")); }
  }
  console.log(out.join("\n"));
});
