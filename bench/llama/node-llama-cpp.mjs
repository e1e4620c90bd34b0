// llama.cpp through node-llama-cpp, on the processor, by its prebuilt binary.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { answer, megabytes } from "./answer.mjs";
import { promptOf, room } from "./shapes.mjs";

/** Greedy, and on past tokens that end texts. */
const GREEDY = { temperature: 0, yieldEogToken: true };
let vocabulary;
let sequence;

async function go(tokens, count) {
  let done = 0;
  for await (const _ of sequence.evaluate(tokens, GREEDY)) if (++done === count) break;
  if (done < count) throw new Error(`ended after ${done} of ${count} tokens`);
}

async function moveTo(length) {
  const missing = length - sequence.nextTokenIndex;
  if (missing > 0) await go(promptOf(missing, vocabulary), 1);
  const end = sequence.nextTokenIndex;
  if (end > length) await sequence.eraseContextTokenRanges([{ start: length, end }]);
  if (sequence.nextTokenIndex !== length)
    throw new Error(`stands at ${sequence.nextTokenIndex}, not ${length}`);
}

await answer({
  async load({ threads, path, work, shape }) {
    const llama = await getLlama({
      gpu: false,
      build: "never",
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.error,
      maxThreads: threads,
    });
    const start = performance.now();
    const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
    const seconds = (performance.now() - start) / 1000;
    const context = await model.createContext({
      contextSize: room(work),
      batchSize: 512,
      threads: { ideal: threads, min: threads },
    });
    sequence = context.getSequence();
    vocabulary = shape.vocabulary;
    const prompt = promptOf(16, vocabulary);
    const last = [prompt.at(-1), { generateNext: { token: true, probabilities: true } }];
    const results = await sequence.controlledEvaluate([...prompt.slice(0, -1), last]);
    const probabilities = [...results.at(-1).next.probabilities].slice(0, 200);
    return { seconds, probabilities, threads: context.currentThreads };
  },
  async prefill({ work }) {
    await sequence.clearHistory();
    const tokens = promptOf(work.prompt, vocabulary);
    const start = performance.now();
    await go(tokens, 1);
    return { tokensPerSecond: (1000 * work.prompt) / (performance.now() - start), rss: megabytes() };
  },
  async decode({ position, work }) {
    await moveTo(position);
    const start = performance.now();
    await go([300], work.tokens);
    return { tokensPerSecond: (1000 * work.tokens) / (performance.now() - start) };
  },
});
