import { checkChoice, checkInteger, checkOptions, OptionError } from "@nf/core";
import { CheckpointError, reasonOf } from "../errors.ts";
import { fileSystem, joinPath, namesIn } from "../files/file-system.ts";
import { type CheckpointContents, openCheckpoint, peekCheckpoint } from "./load.ts";
import type { CheckpointParts } from "./parts.ts";
import { type CheckpointFacts, saveCheckpoint } from "./save.ts";

/** What makes a checkpoint the best. */
export interface BestBy {
  /** Name of one of the metrics that checkpoints are saved with. */
  readonly metric: string;
  /** Whether the least or the greatest is the best; default `"min"`. */
  readonly mode?: "min" | "max";
}

/** Options of {@link CheckpointFolder}. */
export interface CheckpointFolderOptions {
  /** How many of the newest are kept; default 3. */
  readonly keep?: number;
  /** Keeps the best one as well, however old. Default: none is. */
  readonly best?: BestBy;
}

/** A checkpoint in a folder. */
export interface CheckpointInfo extends CheckpointContents {
  readonly path: string;
  readonly step: number;
}

const NAME = /^step-(\d{9,15})\.safetensors$/;
const PART = /^step-\d{9,15}\.safetensors\.\d+\.\d+\.part$/;

/**
 * The checkpoints of one run: the newest few and the best in a folder, older ones removed. Everything there is to know is
 * read from the files, so that nothing can be out of step with them. One process writes into a folder at a time.
 *
 * @example
 * ```ts no-run
 * import { CheckpointFolder } from "@nf/io";
 * import { Linear } from "@nf/nn";
 *
 * const model = new Linear(2, 1);
 * const folder = new CheckpointFolder("run/checkpoints", { keep: 2, best: { metric: "loss" } });
 * await folder.save({ model }, { step: 100, metrics: { loss: 0.3 } });
 * const newest = await folder.latest();
 * ```
 */
export class CheckpointFolder {
  readonly path: string;
  readonly keep: number;
  readonly bestBy: Required<BestBy> | undefined;
  #swept = false;
  /** What checkpoints turned out to be, and of which state of the file: a large one is not read at each save. */
  readonly #verdicts = new Map<
    string,
    { readonly stamp: string; readonly info: CheckpointInfo | undefined }
  >();

  /** @throws OptionError for an unknown option or a value out of its domain */
  constructor(path: string, options: CheckpointFolderOptions = {}) {
    if (typeof path !== "string" || path === "")
      throw new OptionError(`CheckpointFolder: expected the path of a folder, got ${JSON.stringify(path)}.`);
    checkOptions("CheckpointFolder", options, ["keep", "best"]);
    this.path = path;
    this.keep = checkInteger("CheckpointFolder", "keep", options.keep ?? 3, 1);
    const { best } = options;
    if (best === undefined) return;
    checkOptions("CheckpointFolder best", best, ["metric", "mode"]);
    if (typeof best.metric !== "string")
      throw new OptionError("CheckpointFolder: best.metric must be the name of a metric.");
    const mode = checkChoice("CheckpointFolder", "best.mode", best.mode ?? "min", ["min", "max"]);
    this.bestBy = { metric: best.metric, mode };
  }

  /**
   * Writes a checkpoint named by its step, in place of one of the same step, and then removes those that are neither this one
   * nor among the newest nor the best. Only those that are whole count, and only those are removed: every bit of a file is
   * checked once, and again when it has changed.
   *
   * @returns its path
   * @throws what `saveCheckpoint` throws
   */
  async save(parts: CheckpointParts, facts: CheckpointFacts & { readonly step: number }): Promise<string> {
    checkInteger("CheckpointFolder.save", "step", facts.step, 0);
    const { mkdir } = fileSystem();
    try {
      await mkdir(this.path, { recursive: true });
      await this.#sweep();
    } catch (error) {
      throw new CheckpointError(
        `${this.path}: cannot be written to: ${reasonOf(error)}. Choose another folder.`,
        {
          cause: error,
        },
      );
    }
    const path = joinPath(this.path, `step-${String(facts.step).padStart(9, "0")}.safetensors`);
    await saveCheckpoint(path, parts, facts);
    await this.#prune(path);
    return path;
  }

  /** All whose headers can be read, newest first. Their tensors were not looked at. */
  async list(): Promise<readonly CheckpointInfo[]> {
    const found: CheckpointInfo[] = [];
    for (const path of await this.#paths()) {
      try {
        const contents = await peekCheckpoint(path);
        if (contents.step !== undefined) found.push({ ...contents, step: contents.step, path });
      } catch {
        // Damaged: it is nobody's newest or best, and stays for whoever wants to look at it.
      }
    }
    return found;
  }

  /**
   * The newest that is whole: every bit was checked. Damaged ones are passed over.
   *
   * @param onDamaged is told of each that was
   * @returns undefined where there is none at all
   * @throws CheckpointError if there are some and all are damaged: a run is not to begin anew by accident
   */
  async latest(
    onDamaged?: (path: string, error: CheckpointError) => void,
  ): Promise<CheckpointInfo | undefined> {
    return this.#firstSound(await this.#paths(), onDamaged);
  }

  /**
   * The best by the metric of the options, among those that are whole.
   *
   * @throws OptionError for a folder that was made without `best`
   */
  async best(): Promise<CheckpointInfo | undefined> {
    if (this.bestBy === undefined)
      throw new OptionError(
        'CheckpointFolder.best: say what is best when making it: { best: { metric: "loss" } }.',
      );
    const ranked = this.#ranked(await this.list());
    return this.#firstSound(ranked.map(({ path }) => path));
  }

  async #firstSound(
    paths: readonly string[],
    onDamaged?: (path: string, error: CheckpointError) => void,
  ): Promise<CheckpointInfo | undefined> {
    for (const path of paths) {
      try {
        const checkpoint = await openCheckpoint(path);
        await checkpoint.close();
        const { step = 0, epoch, metrics, extra, parts } = checkpoint;
        return { path, step, epoch, metrics, extra, parts };
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        onDamaged?.(path, error);
      }
    }
    if (paths.length === 0) return undefined;
    throw new CheckpointError(
      `${this.path}: all ${paths.length} checkpoints are damaged. Put a sound copy there, or begin anew in another folder.`,
    );
  }

  /** Best first; those without the metric, or with NaN, are not among them. */
  #ranked(all: readonly CheckpointInfo[]): readonly CheckpointInfo[] {
    if (this.bestBy === undefined) return [];
    const { metric, mode } = this.bestBy;
    const figureOf = ({ metrics }: CheckpointInfo): number =>
      Object.hasOwn(metrics, metric) ? (metrics[metric] as number) : Number.NaN;
    const sign = mode === "min" ? 1 : -1;
    return all
      .filter((info) => !Number.isNaN(figureOf(info)))
      .sort((a, b) => sign * (figureOf(a) - figureOf(b)) || b.step - a.step);
  }

  /** Paths of all checkpoints, newest first. */
  async #paths(): Promise<readonly string[]> {
    const names = (await namesIn(this.path)) ?? [];
    const steps = names.flatMap((name) => {
      const step = NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ name, step: Number(step) }];
    });
    return steps.sort((a, b) => b.step - a.step).map(({ name }) => joinPath(this.path, name));
  }

  /** Removes what is whole and not to be kept. What was just `written` is kept, though a newer one may be there. */
  async #prune(written: string): Promise<void> {
    const sound: CheckpointInfo[] = [];
    const paths = await this.#paths();
    for (const path of paths) {
      const info = await this.#soundAt(path);
      if (info !== undefined) sound.push(info);
    }
    const kept = new Set([written, ...sound.slice(0, this.keep).map(({ path }) => path)]);
    const best = this.#ranked(sound)[0];
    if (best !== undefined) kept.add(best.path);
    for (const { path } of sound) if (!kept.has(path)) await fileSystem().rm(path, { force: true });
    for (const path of this.#verdicts.keys()) if (!paths.includes(path)) this.#verdicts.delete(path);
  }

  /** What a file says, if every bit of it is what was written. */
  async #soundAt(path: string): Promise<CheckpointInfo | undefined> {
    try {
      const { size, mtimeNs, ino } = await fileSystem().stat(path, { bigint: true });
      const stamp = `${size} ${mtimeNs} ${ino}`;
      const known = this.#verdicts.get(path);
      if (known?.stamp === stamp) return known.info;
      const info = await this.#firstSound([path]).catch(() => undefined);
      this.#verdicts.set(path, { stamp, info });
      return info;
    } catch {
      // Cannot be looked at: it is left where it is.
      return undefined;
    }
  }

  /** Removes what a process left behind that was killed while it wrote. */
  async #sweep(): Promise<void> {
    if (this.#swept) return;
    this.#swept = true;
    for (const name of (await namesIn(this.path)) ?? [])
      if (PART.test(name)) await fileSystem().rm(joinPath(this.path, name), { force: true });
  }
}
