import { type Backend, type GeneratorState, generator, type Tensor } from "@nf/core";
import { openSafetensors, toTensor, type WeightFile, writeSafetensors } from "@nf/io";
import type { Gpt } from "@nf/models";
import type { AdamW, OptimizerStateDict } from "@nf/optim";
import { CliError } from "../../errors.ts";
import type { TextSettings } from "./settings.ts";

/** Everything that a run is besides its tensors. */
export interface RunState {
  /** Steps done. */
  readonly step: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  readonly settings: TextSettings;
  /** The text that is trained on, to know it again. */
  readonly text: {
    readonly name: string;
    readonly sha256: string;
    /** Absolute path of the file that was given; absent for tinyshakespeare. */
    readonly path?: string;
  };
}

/** What the header of a checkpoint holds. */
interface Header extends RunState {
  readonly version: 1;
  /** Where random numbers go on. */
  readonly generator: GeneratorState;
  readonly optimizer: {
    readonly optimizer: string;
    /** Steps of each parameter. */
    readonly counts: Readonly<Record<string, number>>;
    readonly paramGroups: OptimizerStateDict["paramGroups"];
  };
}

const KEY = "nanogpt-run";
const MODEL = "model.";
const OPTIMIZER = "optimizer.";

/**
 * Writes all that a run needs to go on as if it had not been interrupted: weights, the optimiser's state, and where random
 * numbers stand. The file appears only whole, in place of an older one.
 */
export async function saveCheckpoint(
  path: string,
  model: Gpt,
  optimizer: AdamW,
  run: RunState,
): Promise<void> {
  const { state, paramGroups, optimizer: name } = optimizer.stateDict();
  const tensors = new Map<string, Tensor>();
  const counts: Record<string, number> = {};
  for (const [key, tensor] of Object.entries(model.stateDict())) tensors.set(MODEL + key, tensor);
  for (const [index, { count, slots }] of Object.entries(state)) {
    counts[index] = count;
    for (const [slot, tensor] of Object.entries(slots)) tensors.set(`${OPTIMIZER}${index}.${slot}`, tensor);
  }
  const header: Header = {
    version: 1,
    ...run,
    generator: generator().state(),
    optimizer: { optimizer: name, counts, paramGroups },
  };
  await writeSafetensors(path, tensors, { metadata: { [KEY]: JSON.stringify(header) } });
}

/** A checkpoint whose header was read. */
export interface Checkpoint extends RunState {
  /** Puts weights, optimiser and random numbers where they were, on a backend. */
  restore(model: Gpt, optimizer: AdamW, backend: Backend): Promise<void>;
}

/**
 * Opens a checkpoint.
 *
 * @throws CliError for a file that is none
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const file = await openSafetensors(path);
  let header: Header;
  try {
    header = headerOf(file, path);
  } finally {
    await file.close();
  }
  return {
    step: header.step,
    seconds: header.seconds,
    settings: header.settings,
    text: header.text,
    async restore(model, optimizer, backend) {
      const opened = await openSafetensors(path);
      try {
        await restore(opened, header, model, optimizer, backend);
      } finally {
        await opened.close();
      }
    },
  };
}

function headerOf(file: WeightFile, path: string): Header {
  const json = file.metadata.get(KEY);
  const header: Partial<Header> | undefined = typeof json === "string" ? JSON.parse(json) : undefined;
  if (header?.version !== 1) throw new CliError(`${path} is no checkpoint of nf train nanogpt.`);
  return header as Header;
}

async function restore(
  file: WeightFile,
  header: Header,
  model: Gpt,
  optimizer: AdamW,
  backend: Backend,
): Promise<void> {
  const weights: Record<string, Tensor> = {};
  const state: Record<string, { count: number; slots: Record<string, Tensor> }> = {};
  const loaded: Tensor[] = [];
  try {
    for (const name of file.tensors.keys()) {
      const tensor = await toTensor(file, name, { backend });
      loaded.push(tensor);
      if (name.startsWith(MODEL)) weights[name.slice(MODEL.length)] = tensor;
      else {
        const [index = "", slot = ""] = name.slice(OPTIMIZER.length).split(".");
        state[index] ??= { count: header.optimizer.counts[index] ?? 0, slots: {} };
        state[index].slots[slot] = tensor;
      }
    }
    model.loadStateDict(weights);
    const { optimizer: name, paramGroups } = header.optimizer;
    optimizer.loadStateDict({ optimizer: name, state, paramGroups });
  } finally {
    for (const tensor of loaded) tensor.dispose();
  }
  generator().setState(header.generator);
}
