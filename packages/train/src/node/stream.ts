/** A stream to write to, and what it knows of a terminal behind it. */
export interface OutputStream extends NodeJS.WritableStream {
  /** Whether a person watches: progress is a bar then, and lines otherwise. */
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. */
  readonly columns?: number;
}

/** Writes a line. */
export function say(stream: OutputStream, line: string): void {
  stream.write(`${line}\n`);
}
