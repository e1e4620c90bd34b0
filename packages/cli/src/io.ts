import type { OutputStream } from "@nf/train/node";

export type { OutputStream };

/** Imports a package by name; `undefined` where it is not installed. */
export type ImportModule = (name: string) => Promise<unknown>;

/** All of the outside world that a command touches, so that tests can stand in for it. */
export interface Io {
  /** Arguments after the name of the command: `["train", "lenet"]`. */
  readonly argv: readonly string[];
  /** Lines that the user types; absent where there are none. */
  readonly stdin?: NodeJS.ReadableStream;
  /** Results, and nothing else. */
  readonly stdout: OutputStream;
  /** Progress, notes and errors. */
  readonly stderr: OutputStream;
  /** Folder that relative paths start from. */
  readonly cwd: string;
  /** Aborted when the user asks to stop, with a {@link StopReason} as its reason. */
  readonly signal: AbortSignal;
  /** How backends are loaded. */
  readonly importModule: ImportModule;
}

/** Why a run was asked to stop. */
export type StopReason = "SIGINT" | "SIGTERM";

/** Exit codes: what a shell may rely on. */
export const EXIT = {
  done: 0,
  /** Something failed that is not the arguments' fault. */
  failed: 1,
  /** The arguments are wrong. */
  usage: 2,
} as const;

/** Exit code of a run that was asked to stop: 128 and the signal's number, as shells have it. */
export function stopCode(signal: AbortSignal): number {
  return signal.reason === "SIGTERM" ? 143 : 130;
}

/** Writes a line. */
export function say(stream: OutputStream, line = ""): void {
  stream.write(`${line}\n`);
}
