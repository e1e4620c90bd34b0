import { PassThrough } from "node:stream";
import type { ImportModule, Io, OutputStream } from "../src/index.ts";
import { main } from "../src/index.ts";

/** A stream that remembers what was written to it. */
export function capture(terminal?: { columns: number }): { stream: OutputStream; text(): string } {
  const chunks: string[] = [];
  const stream = new PassThrough();
  stream.on("data", (chunk: Buffer) => chunks.push(chunk.toString("utf8")));
  if (terminal !== undefined) Object.assign(stream, { isTTY: true, columns: terminal.columns });
  return { stream, text: () => chunks.join("") };
}

/** What a command said and how it ended. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `nf` inside this process. */
export async function nf(argv: readonly string[], io: Partial<Io> = {}): Promise<Ran> {
  const stdout = capture();
  const stderr = capture();
  const code = await main({
    argv,
    stdout: stdout.stream,
    stderr: stderr.stream,
    cwd: process.cwd(),
    signal: new AbortController().signal,
    importModule: nothingInstalled,
    ...io,
  });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** A machine without any backend. */
export const nothingInstalled: ImportModule = async () => undefined;

/** The last line that holds anything. */
export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
