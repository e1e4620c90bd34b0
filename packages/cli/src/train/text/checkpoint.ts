import { type Backend, generator, NanoFluxError, type Tensor } from "@nf/core";
import { openSafetensors, type StoredValues, toTensor, type WeightFile, writeSafetensors } from "@nf/io";
import type { Gpt } from "@nf/models";
import type { AdamW } from "@nf/optim";
import {
  damaged,
  digestOf,
  type HashedTensor,
  type Header,
  parseHeader,
  type RunState,
  VERSION,
} from "./header.ts";

const KEY = "nanogpt-run";
const DIGEST = "sha256";
const MODEL = "model.";
const OPTIMIZER = "optimizer.";

/**
 * Writes all that a run needs to go on as if it had not been interrupted: weights, the optimiser's state, and where random
 * numbers stand, with a checksum over all of it. The file appears only whole, in place of an older one.
 */
export async function saveCheckpoint(
  path: string,
  model: Gpt,
  optimizer: AdamW,
  run: RunState,
): Promise<void> {
  const { state, paramGroups, optimizer: name } = optimizer.stateDict();
  const tensors = new Map<string, StoredValues & { readonly bytes: Uint8Array }>();
  const counts: Record<string, number> = {};
  for (const [key, tensor] of Object.entries(model.stateDict()))
    tensors.set(MODEL + key, await storedOf(tensor));
  for (const [index, { count, slots }] of Object.entries(state)) {
    counts[index] = count;
    for (const [slot, tensor] of Object.entries(slots))
      tensors.set(`${OPTIMIZER}${index}.${slot}`, await storedOf(tensor));
  }
  const header: Header = {
    version: VERSION,
    ...run,
    generator: generator().state(),
    optimizer: { optimizer: name, counts, paramGroups },
  };
  const json = JSON.stringify(header);
  await writeSafetensors(path, tensors, { metadata: { [KEY]: json, [DIGEST]: digestOf(json, tensors) } });
}

/** Weights and what the optimiser keeps for them are f32, which files hold as the host does. */
async function storedOf(tensor: Tensor): Promise<StoredValues & { readonly bytes: Uint8Array }> {
  const { buffer, byteOffset, byteLength } = await tensor.data();
  return { dtype: tensor.dtype, shape: tensor.shape, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** A checkpoint whose header was read, and whose checksum was found right. */
export interface Checkpoint extends RunState {
  /** Puts weights, optimiser and random numbers where they were, on a backend. */
  restore(model: Gpt, optimizer: AdamW, backend: Backend): Promise<void>;
}

/**
 * Opens a checkpoint, and checks all of it.
 *
 * @throws CliError for a file that is none, or is damaged anywhere
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const header = await opened(path, async (file) => checked(file, path));
  const { step, rounds, seconds, settings, backend, text } = header;
  return {
    ...{ step, rounds, seconds, settings, backend, text },
    restore: (model, optimizer, on) =>
      opened(path, async (file) => {
        // It may have changed since it was opened first.
        await checked(file, path);
        await restore(file, path, header, model, optimizer, on);
      }),
  };
}

async function opened<T>(path: string, run: (file: WeightFile) => Promise<T>): Promise<T> {
  let file: WeightFile;
  try {
    file = await openSafetensors(path);
  } catch (error) {
    if (!(error instanceof NanoFluxError)) throw error;
    throw damaged(path, `it is no sound file (${error.message.replace(/\.$/, "")})`, { cause: error });
  }
  try {
    return await run(file);
  } finally {
    await file.close();
  }
}

async function checked(file: WeightFile, path: string): Promise<Header> {
  const json = file.metadata.get(KEY);
  const header = parseHeader(json, path);
  const tensors = new Map<string, HashedTensor>();
  for (const [name, { dtype, shape }] of file.tensors)
    tensors.set(name, { dtype, shape, bytes: await file.read(name) });
  if (file.metadata.get(DIGEST) !== digestOf(String(json), tensors))
    throw damaged(path, "its SHA-256 is not the one that was written with it");
  return header;
}

async function restore(
  file: WeightFile,
  path: string,
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
        const [, index = "", slot = ""] = /^optimizer\.(\d+)\.(\w+)$/.exec(name) ?? [];
        const count = header.optimizer.counts[index];
        if (count === undefined)
          throw damaged(path, `its header does not know the tensor ${JSON.stringify(name)}`);
        state[index] ??= { count, slots: {} };
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
