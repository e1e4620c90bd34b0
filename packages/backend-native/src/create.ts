import { availableParallelism } from "node:os";
import { isMainThread } from "node:worker_threads";
import { type Backend, OptionError } from "@nf/core";
import { AsyncBackend, AsyncEngine } from "./async.ts";
import { NativeBackend } from "./backend.ts";
import { loadBinding } from "./binding.ts";
import { Engine } from "./engine.ts";
import { checkOptions, defaultMaxBytes, type NativeOptions } from "./options.ts";

/**
 * Makes a backend of machine code: Rust kernels with the processor's vectors, on all of its cores. Node only.
 *
 * @throws OptionError for an option that does not exist or is out of its domain; BackendError where there is no binary for
 * this platform, saying what to do
 */
export async function createBackend(options: NativeOptions = {}): Promise<Backend> {
  checkOptions(options);
  const binding = loadBinding();
  const threads = options.threads ?? availableParallelism();
  const pool = binding.start(threads, isMainThread);
  if (threads > pool) {
    throw new OptionError(
      `native: ${threads} threads were asked for, but this process began with a pool of ${pool}. Ask for at most ${pool}, ` +
        "or create the backend with the most threads first.",
    );
  }
  const maxBytes = options.maxBytes ?? defaultMaxBytes();
  const precision = options.matmulPrecision ?? "f32";
  if (options.async === true)
    return new AsyncBackend(new AsyncEngine(binding, threads, maxBytes, precision), maxBytes);
  return new NativeBackend(new Engine(binding, threads, maxBytes, precision), maxBytes);
}
