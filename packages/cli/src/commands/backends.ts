import { type BackendReport, defaultBackend, FASTEST, probeBackends } from "../backends.ts";
import { table } from "../format.ts";
import { EXIT, type Io, say } from "../io.ts";
import type { CommonOptions } from "../options.ts";

function row({ name, available, reason, threads, dtypes }: BackendReport): string[] {
  return available
    ? [name, "yes", String(threads), (dtypes ?? []).join(" ")]
    : [name, "no", "", reason ?? ""];
}

/** `nf backends`: what there is to compute with. */
export async function runBackends(io: Io, { json }: CommonOptions): Promise<number> {
  const backends = await probeBackends(io.importModule);
  const best = defaultBackend(backends);
  const forTexts = defaultBackend(backends, FASTEST);
  if (json) {
    say(io.stdout, JSON.stringify({ default: best ?? null, defaultForTexts: forTexts ?? null, backends }));
    return EXIT.done;
  }
  say(io.stdout, table([["backend", "available", "threads", "dtypes, or why not"], ...backends.map(row)]));
  for (const { name, description } of backends)
    if (description !== undefined) say(io.stdout, `\n${name} runs on ${description}`);
  say(io.stdout);
  say(
    io.stdout,
    best === undefined
      ? "None is available: npm install @nf/backend-cpu"
      : `Used unless --backend says otherwise: ${best}${forTexts === best ? "" : `; by generate and chat: ${forTexts}`}`,
  );
  return EXIT.done;
}
