import { BackendError } from "@nf/core";
import type { GpuBuffer } from "../buffer.ts";

/** Names of shaders that a message about a failed submission lists at most. */
const MOST_NAMES = 8;

interface Submission {
  readonly written: Set<GpuBuffer>;
  readonly labels: Set<string>;
  ended: boolean;
}

const begin = (): Submission => ({ written: new Set(), labels: new Set(), ended: false });

/**
 * What submissions write, for as long as it is not known how they ended. That one failed is known when others have been
 * made after it, which may have read what it should have written: whatever was written since then is not to be trusted.
 */
export class Submissions {
  private readonly open: Submission[] = [begin()];

  /** Says that the submission in the making writes a buffer. */
  note(label: string, buffer: GpuBuffer): void {
    const { written, labels } = this.open[this.open.length - 1];
    written.add(buffer);
    if (labels.size < MOST_NAMES) labels.add(label);
  }

  /** The submission in the making is sent off. `ends` tells what went wrong in it, if anything. */
  send(ends: readonly Promise<GPUError | null>[]): Promise<void> {
    const sent = this.open[this.open.length - 1];
    this.open.push(begin());
    return Promise.all(ends).then((errors) => {
      const error = errors.find((one) => one !== null);
      if (error !== undefined && error !== null) this.distrust(sent, error);
      sent.ended = true;
      while (this.open[0].ended) this.open.shift();
    });
  }

  private distrust(failed: Submission, error: GPUError): void {
    const noRoom = [...failed.written].find(({ dead }) => dead)?.fault;
    const reason =
      noRoom ??
      new BackendError(
        `webgpu: commands failed (${[...failed.labels].join(", ")}): ${error.message} What they should have written is lost.`,
      );
    for (const { written } of this.open.slice(this.open.indexOf(failed)))
      for (const buffer of written) buffer.fault ??= reason;
  }
}
