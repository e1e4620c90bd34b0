import type { Tensor } from "@nf/core";
import { CheckpointError } from "../errors.ts";
import { JsonError, parseJson, plainJson } from "../files/json.ts";
import { LocatedFile } from "../files/located.ts";
import { type ByteSource, type FileInput, openSource } from "../files/source.ts";
import { readHeader } from "../safetensors/header.ts";
import { openSafetensors } from "../safetensors/safetensors.ts";
import { toTensor } from "../tensors/to-tensor.ts";
import type { WeightFile } from "../weight-file.ts";
import { verify } from "./digest.ts";
import { backendOf, type CheckpointParts, checkParts, restorePart, type TakenPart } from "./parts.ts";
import { type CheckpointState, STATE, VERSION } from "./save.ts";
import { decodeTree, tensorsIn } from "./tree.ts";

/** What an opened checkpoint says. */
export interface CheckpointContents {
  /** Training steps done; undefined where none were told. */
  readonly step: number | undefined;
  /** Epochs done, likewise. */
  readonly epoch: number | undefined;
  readonly metrics: Readonly<Record<string, number>>;
  /** As it was given; null where nothing was. Check what you rely on: its type is not known here. */
  readonly extra: unknown;
  /** Names of the parts. */
  readonly parts: readonly string[];
}

/** A checkpoint whose every bit was checked. */
export interface Checkpoint extends CheckpointContents {
  /** What messages call it. */
  readonly name: string;
  /**
   * Puts parts where they were when it was saved, on the backends where they are; others in the file are left alone.
   *
   * @throws CheckpointError if the file lacks one of them, and whatever a part's `loadStateDict` or `setState` throws for a
   * state that does not fit: parts that come before it in the object are loaded then.
   */
  load(parts: CheckpointParts): Promise<void>;
  /** Gives the file back. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint: a path (Node), bytes or a `Blob`. All of it is read once to compare its SHA-256; nothing is loaded.
 *
 * @throws CheckpointError for a file that is no checkpoint, or of which any bit is another than was written.
 */
export async function openCheckpoint(input: FileInput): Promise<Checkpoint> {
  // One opening for both: what was checked is what is read, though the name may stand for a newer file by then.
  const source = await openSource(input);
  try {
    await check(source);
    const { tensors, metadata } = await readHeader(source);
    const file = new LocatedFile("safetensors", source, tensors, metadata);
    return checkpointOf(file, stateOf(file));
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * Puts parts where they were when a checkpoint was saved, and gives the facts that were saved with them.
 *
 * @throws as {@link openCheckpoint} and {@link Checkpoint.load}
 */
export async function loadCheckpoint(input: FileInput, parts: CheckpointParts): Promise<CheckpointContents> {
  checkParts("loadCheckpoint", parts);
  const checkpoint = await openCheckpoint(input);
  try {
    await checkpoint.load(parts);
    const { step, epoch, metrics, extra } = checkpoint;
    return { step, epoch, metrics, extra, parts: checkpoint.parts };
  } finally {
    await checkpoint.close();
  }
}

/** The facts of a checkpoint by its header alone: quick, and for files that are checked otherwise. */
export async function peekCheckpoint(path: string): Promise<CheckpointContents> {
  const file = await openSafetensors(path);
  try {
    return factsOf(stateOf(file));
  } finally {
    await file.close();
  }
}

/** Refuses a file that is no checkpoint, or is not whole. */
async function check(source: ByteSource): Promise<void> {
  const verdict = await verify(source);
  if (verdict === "other") {
    throw new CheckpointError(
      `${source.name}: is no checkpoint, or its start is damaged. Checkpoints are what saveCheckpoint writes; weights alone ` +
        "are read with openWeights and loadInto.",
    );
  }
  if (verdict === "damaged") {
    throw new CheckpointError(
      `${source.name}: is damaged: its SHA-256 is not the one that was written with it. Take an older checkpoint, or a sound ` +
        "copy of this one.",
    );
  }
}

function checkpointOf(file: WeightFile, state: CheckpointState): Checkpoint {
  return {
    name: file.name,
    ...factsOf(state),
    async load(parts) {
      checkParts("Checkpoint.load", parts);
      const missing = Object.keys(parts).filter((name) => !Object.hasOwn(state.parts, name));
      if (missing.length > 0) {
        throw new CheckpointError(
          `${file.name}: holds no ${missing.join(", ")}. It holds ${Object.keys(state.parts).join(", ") || "no parts"}.`,
        );
      }
      for (const [name, part] of Object.entries(parts)) {
        const json = state.parts[name];
        const backend = backendOf(part);
        const tensors = new Map<string, Tensor>();
        try {
          for (const one of tensorsIn(json))
            tensors.set(one, await toTensor(file, one, backend === undefined ? {} : { backend }));
          const taken = decodeTree(json, (one) => tensors.get(one) as Tensor);
          restorePart("Checkpoint.load", name, part, taken as TakenPart);
        } finally {
          for (const tensor of tensors.values()) tensor.dispose();
        }
      }
    },
    close: () => file.close(),
  };
}

function factsOf(state: CheckpointState): CheckpointContents {
  const plain = (json: unknown): unknown => decodeTree(json, noTensor);
  return {
    step: state.step ?? undefined,
    epoch: state.epoch ?? undefined,
    metrics: plain(state.metrics) as Readonly<Record<string, number>>,
    extra: plain(state.extra),
    parts: Object.keys(state.parts),
  };
}

function noTensor(name: string): never {
  throw new CheckpointError(
    `The tensor ${name} is where none can be. The file was not written by saveCheckpoint.`,
  );
}

/** The state that a file's metadata holds. Its bits were compared, so that only another version can be wrong with it. */
function stateOf(file: WeightFile): CheckpointState {
  const text = file.metadata.get(STATE);
  const fail = (what: string): CheckpointError =>
    new CheckpointError(`${file.name}: is no checkpoint that can be read here: ${what}.`);
  if (typeof text !== "string") throw fail(`its metadata has no ${STATE}`);
  let json: unknown;
  try {
    json = plainJson(parseJson(new TextEncoder().encode(text)));
  } catch (error) {
    if (error instanceof JsonError) throw fail(`its state is no JSON: ${error.message}`);
    throw error;
  }
  const state = json as Partial<CheckpointState> | null;
  if (state?.version !== VERSION)
    throw fail(`its state has version ${String(state?.version)}, this package reads ${VERSION}`);
  if (typeof state.parts !== "object" || state.parts === null) throw fail("its state has no parts");
  return state as CheckpointState;
}
