// Trains the toy net and prints a digest of its weights, the optimiser's state and the history: steps to do, folder of the
// checkpoints, and, where it is to be interrupted, after which step.
import { createHash } from "node:crypto";
import { cpu } from "@nf/backend-cpu";
import { wasm } from "@nf/backend-wasm";
import { type Backend, use } from "@nf/core";
import { Adam, InverseSqrtLR } from "@nf/optim";
import { fit } from "../../src/index.ts";
import { loader, net, task } from "./toy.ts";

const [name, folder = "", stopAfter = "0"] = process.argv.slice(2);
const backend: Backend = await use(name === "wasm" ? wasm({ threads: 1 }) : cpu());
const model = net(0.3);
const optimizer = new Adam(model.parameters(), { lr: 0.05 });
const result = await fit(model, {
  ...task,
  data: loader(16),
  optimizer,
  schedule: new InverseSqrtLR(optimizer, { warmupSteps: 3 }),
  steps: 6,
  validation: loader(50),
  earlyStopping: { patience: 9 },
  // In the middle of an epoch, figures unread.
  callbacks: [
    {
      async onStep({ step }) {
        if (step !== Number(stopAfter)) return;
        process.kill(process.pid, "SIGINT");
        // Signals come when the event loop turns.
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
    },
  ],
  checkpoints: { folder, resume: true },
});
const hash = createHash("sha256");
const { state, paramGroups } = optimizer.stateDict();
const slots = Object.values(state).flatMap((one) => Object.values(one.slots));
for (const tensor of [...model.parameters(), ...slots])
  hash.update(new Uint8Array((await tensor.data()).slice().buffer));
hash.update(JSON.stringify([paramGroups, Object.values(state).map(({ count }) => count)]));
// Means are sums in f32 between two reads, and an interruption is one: their last bits may differ.
const round = (_key: string, value: unknown) =>
  typeof value === "number" ? Number(value.toPrecision(6)) : value;
const history = JSON.parse(
  JSON.stringify(
    result.history.map(({ seconds, ...row }) => row),
    round,
  ),
);
process.stdout.write(JSON.stringify([result.step, result.ending, hash.digest("hex"), history]));
await backend.dispose();
