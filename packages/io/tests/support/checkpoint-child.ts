// Saves one checkpoint after the other until it is killed: into a folder, and over and over under one name. All values of
// all tensors are the number of the step.
import { cpu } from "@nf/backend-cpu";
import { full, type Tensor, use } from "@nf/core";
import { CheckpointFolder, saveCheckpoint } from "../../src/index.ts";

const [folder = "", start = "0"] = process.argv.slice(2);
await use(cpu());
const checkpoints = new CheckpointFolder(`${folder}/kept`, { keep: 2 });
for (let step = Number(start) + 1; ; step++) {
  const tensors: Record<string, Tensor> = { weight: full([64, 512], step), bias: full([7], step) };
  const model = { stateDict: () => tensors, loadStateDict() {} };
  await saveCheckpoint(`${folder}/one.safetensors`, { model }, { step });
  await checkpoints.save({ model }, { step, extra: { step } });
  process.stdout.write(`${step}\n`);
  for (const tensor of Object.values(tensors)) tensor.dispose();
}
