import { use } from "@nf/core";
import { inspect, inspectModel } from "@nf/nn";
import { openBestBackend } from "../backends.ts";
import { EXIT, type Io, say } from "../io.ts";
import { MODELS } from "../models.ts";
import type { InspectCommandOptions, ModelName } from "../options.ts";

/** `nf inspect`: a model's layers, shapes and parameter counts, from a forward pass of zeros. */
export async function runInspect(
  io: Io,
  name: ModelName,
  { json, flops = false, bytes = false }: InspectCommandOptions,
): Promise<number> {
  const backend = await use(openBestBackend(io.importModule, (note) => say(io.stderr, note)));
  try {
    const { create, input, dtype } = MODELS[name];
    const model = create();
    const options = { dtype, flops, bytes };
    if (json) say(io.stdout, JSON.stringify({ model: name, input, ...inspectModel(model, input, options) }));
    else say(io.stdout, inspect(model, input, options));
    return EXIT.done;
  } finally {
    await backend.dispose();
  }
}
