// NanoFlux with a model of the Llama family, by its public functions.
import { memory, profile, use } from "@nf/core";
import { openWeights } from "@nf/io";
import { generateTokens, KVCache, readLlama } from "@nf/models";
import { answer, megabytes } from "./answer.mjs";
import { promptOf, room } from "./shapes.mjs";

const MAKERS = {
  native: async () => (await import("@nf/backend-native")).native,
  wasm: async () => (await import("@nf/backend-wasm")).wasm,
  cpu: async () => (await import("@nf/backend-cpu")).cpu,
};

const GREEDY = { greedy: true };
let backend;
let profiler;
let model;
let cache;

/** Computes tokens after what the cache holds, and gives `count` more, one a step. */
async function go(tokens, count, options = {}) {
  let last;
  for await (const token of generateTokens(model, cache, tokens, { ...GREEDY, maxTokens: count, ...options }))
    last = token;
  return last;
}

await answer({
  async load({ backend: name, threads, path, work, profiled }) {
    const make = await MAKERS[name]();
    const bare = await make(name === "cpu" ? {} : { threads });
    const missing = ["quantizedMatmul", "attention", "norm", "rope"].filter(
      (kernel) => bare.capabilities.dtypes[kernel] === undefined,
    );
    profiler = profiled ? profile(bare) : undefined;
    backend = profiler ?? bare;
    await use(backend);
    const start = performance.now();
    const file = await openWeights(path);
    const loaded = await readLlama(file, { backend, maxSequenceLength: room(work) });
    await file.close();
    const seconds = (performance.now() - start) / 1000;
    model = loaded.model;
    cache = new KVCache(model.config, room(work), { backend });
    const { vocabSize } = model.config;
    const first = await go(promptOf(16, vocabSize), 1, { logits: true });
    const likely = top(first.logits, 5);
    const kept = memory(backend);
    return {
      seconds,
      missing,
      likely,
      threads: bare.capabilities.threads,
      megabytes: Math.round(kept.liveBytes / 1e6),
    };
  },
  async prefill({ work }) {
    cache.truncate(0);
    const tokens = promptOf(work.prompt, model.config.vocabSize);
    const start = performance.now();
    await go(tokens, 1, chunked(work));
    return { tokensPerSecond: (1000 * work.prompt) / (performance.now() - start), rss: megabytes() };
  },
  async decode({ position, work }) {
    const missing = position - cache.length;
    if (missing > 0) await go(promptOf(missing, model.config.vocabSize), 1, chunked(work));
    cache.truncate(position);
    const before = memory(backend).poolMisses;
    profiler?.reset();
    const start = performance.now();
    await go([300], work.tokens);
    const spent = performance.now() - start;
    const allocations = (memory(backend).poolMisses - before) / work.tokens;
    const rate = { tokensPerSecond: (1000 * work.tokens) / spent, allocations };
    if (profiler === undefined) return rate;
    const report = profiler.report();
    const step = (value) => value / work.tokens;
    const rows = report.programs.map(({ kernel, name, calls, milliseconds }) => ({
      kernel: `${kernel} ${name}`,
      "calls a step": step(calls),
      "µs a step": Math.round(1000 * step(milliseconds)),
    }));
    return { ...rate, milliseconds: step(spent), inKernels: step(report.total.milliseconds), rows };
  },
});

function chunked({ chunk }) {
  return chunk === undefined ? {} : { prefillChunk: chunk };
}

/** The likeliest tokens with their probabilities. */
function top(logits, count) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  return order.slice(0, count).map((id) => [id, Math.exp(logits[id] - most) / total]);
}
