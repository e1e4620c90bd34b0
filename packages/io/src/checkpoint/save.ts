import { checkInteger, checkOptions, OptionError } from "@nf/core";
import { CheckpointError, reasonOf } from "../errors.ts";
import { fileSystem } from "../files/file-system.ts";
import { replaceFile } from "../files/replace.ts";
import { bytesOf } from "../files/writable.ts";
import { type Plan, planSafetensors } from "../safetensors/write.ts";
import { DIGEST_AT, NO_DIGEST, sha256 } from "./digest.ts";
import { type CheckpointParts, checkParts, takePart } from "./parts.ts";
import { TreeEncoder } from "./tree.ts";

/** What a checkpoint says besides the states of its parts. */
export interface CheckpointFacts {
  /** Training steps done. */
  readonly step?: number;
  /** Epochs done. */
  readonly epoch?: number;
  /** Figures by name, such as a validation loss; a `CheckpointFolder` knows the best by one of them. */
  readonly metrics?: Readonly<Record<string, number>>;
  /** Anything of your own, without tensors: settings, a history. What a checkpoint does not hold is refused. */
  readonly extra?: unknown;
}

/** Of what the metadata says. */
export const VERSION = 1;
/** Where the metadata says it. */
export const STATE = "nanoflux.checkpoint";

/** What the JSON in a checkpoint holds. */
export interface CheckpointState {
  readonly version: typeof VERSION;
  readonly step: number | null;
  readonly epoch: number | null;
  readonly metrics: unknown;
  readonly extra: unknown;
  readonly parts: Readonly<Record<string, unknown>>;
}

/**
 * Writes where a training stands into one file: the state of each part (a model's parameters and buffers, an optimiser, a
 * schedule, a DataLoader, a generator), and facts. It is a safetensors file: its tensors can be read by anything that
 * reads those. The file appears under its name only whole and synced to disk, in place of an older one; whenever the
 * process is killed, the old or the new one is there. A SHA-256 over every byte lies in it.
 *
 * @throws OptionError for what a checkpoint cannot hold, naming its place; CheckpointError if the file cannot be written.
 *
 * @example
 * ```ts no-run
 * import { generator } from "@nf/core";
 * import { loadCheckpoint, saveCheckpoint } from "@nf/io";
 * import { Linear } from "@nf/nn";
 * import { Adam } from "@nf/optim";
 *
 * const model = new Linear(2, 1);
 * const optimizer = new Adam(model.parameters());
 * await saveCheckpoint("run.safetensors", { model, optimizer, random: generator() }, { step: 100 });
 * const { step } = await loadCheckpoint("run.safetensors", { model, optimizer, random: generator() });
 * ```
 */
export async function saveCheckpoint(
  path: string,
  parts: CheckpointParts,
  facts: CheckpointFacts = {},
): Promise<void> {
  if (typeof path !== "string" || path === "") {
    throw new OptionError(
      `saveCheckpoint: expected the path of a file, got ${path === "" ? '""' : typeof path}. It is followed by the parts: ` +
        'saveCheckpoint("run.safetensors", { model }).',
    );
  }
  const { header, entries } = planCheckpoint("saveCheckpoint", parts, facts);
  const { open } = fileSystem();
  try {
    await replaceFile(path, async (part) => {
      const handle = await open(part, "w");
      try {
        const hash = sha256();
        const write = async (bytes: Uint8Array): Promise<void> => {
          hash.update(bytes);
          await handle.writeFile(bytes);
        };
        await write(header);
        for (const [name, value] of entries) await write(await bytesOf("saveCheckpoint", name, value));
        await handle.write(new TextEncoder().encode(await hash.digest()), 0, NO_DIGEST.length, DIGEST_AT);
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new CheckpointError(
      `saveCheckpoint: ${path} could not be written: ${reasonOf(error)}. What was there before is as it was.`,
      { cause: error },
    );
  }
}

/** The same as {@link saveCheckpoint}, as bytes; for browsers. */
export async function encodeCheckpoint(
  parts: CheckpointParts,
  facts: CheckpointFacts = {},
): Promise<Uint8Array> {
  const { header, entries, size } = planCheckpoint("encodeCheckpoint", parts, facts);
  const file = new Uint8Array(header.length + size);
  file.set(header);
  let at = header.length;
  for (const [name, value] of entries) {
    const bytes = await bytesOf("encodeCheckpoint", name, value);
    file.set(bytes, at);
    at += bytes.length;
  }
  const hash = sha256();
  hash.update(file);
  file.set(new TextEncoder().encode(await hash.digest()), DIGEST_AT);
  return file;
}

/** All of it is taken at once: what the parts become while it is written is not mixed in, tensors apart. */
function planCheckpoint(op: string, parts: CheckpointParts, facts: CheckpointFacts): Plan {
  checkOptions(op, facts, ["step", "epoch", "metrics", "extra"]);
  checkParts(op, parts);
  const { step, epoch, metrics = {}, extra = null } = facts;
  if (step !== undefined) checkInteger(op, "step", step, 0);
  if (epoch !== undefined) checkInteger(op, "epoch", epoch, 0);
  for (const [name, value] of Object.entries(metrics))
    if (typeof value !== "number")
      throw new OptionError(`${op}: metrics.${name} must be a number, got ${typeof value}.`);
  const encoder = new TreeEncoder(op);
  const plain = encoder.encode(extra, "extra");
  if (encoder.tensors.size > 0) {
    throw new OptionError(
      `${op}: ${[...encoder.tensors.keys()].join(", ")} is a tensor. Give it as a part, an object with stateDict() and ` +
        "loadStateDict(); extra holds plain values.",
    );
  }
  const state: CheckpointState = {
    version: VERSION,
    step: step ?? null,
    epoch: epoch ?? null,
    metrics: encoder.encode(metrics, "metrics"),
    extra: plain,
    parts: Object.fromEntries(
      Object.entries(parts).map(([name, part]) => [name, takePart(encoder, name, part)]),
    ),
  };
  // The digest is the first of all: its place is known before anything is parsed.
  const metadata = { sha256: NO_DIGEST, [STATE]: JSON.stringify(state) };
  return planSafetensors(op, encoder.tensors, { metadata });
}
