// Decoding and prefilling with a model of the Llama family, against llama.cpp (node-llama-cpp): `node llama.mjs --help`.
import { mkdir, mkdtemp, rm, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Party } from "./lib/contest.mjs";
import { machine } from "./lib/measure.mjs";
import { options } from "./lib/options.mjs";
import { SHAPES } from "./llama/shapes.mjs";
import { parametersOf, TYPES, weightBytes, writeModel } from "./llama/write.mjs";

const HELP = `node llama.mjs [options]

A model with random weights is written as GGUF, one file a type, and decoded and prefilled by NanoFlux and by llama.cpp
(node-llama-cpp, its prebuilt binary, no graphics card), which take turns. Each has a process for each number of threads;
the best of them counts.

--backend <name>      native (default), wasm or cpu
--shape <name>        tinyllama (default), 135m, 42m
--types <list>        ${TYPES.join(",")} (default: all three)
--threads <list>      default 1,2
--positions <list>    positions that tokens are decoded from; default 16,512
--prompt <n>          tokens of the prompt that is prefilled; default 512
--tokens <n>          tokens decoded in a turn; default 32
--chunk <n>           tokens of the prompt that NanoFlux computes at a time; default its own
--rounds <n>          turns that count, after one that does not; default 5
--folder <path>       where models are written and stay; default a temporary folder, which is removed
--only <name>         ours or peer
--profile             where a step of NanoFlux spends its time, instead of the contest
--json                one JSON object instead of tables`;

const values = {
  backend: "native",
  shape: "tinyllama",
  types: TYPES.join(","),
  threads: "1,2",
  positions: "16,512",
  prompt: "512",
  tokens: "32",
  rounds: "5",
  ...options({
    help: HELP,
    values: [
      ...["backend", "shape", "types", "threads", "positions", "prompt", "tokens", "chunk", "rounds"],
      ...["folder", "only"],
    ],
    flags: ["profile", "json"],
  }),
};

const here = new URL(".", import.meta.url).pathname;
const say = (text) => process.stderr.write(text);
const shape = SHAPES[oneOf("shape", values.shape, Object.keys(SHAPES))];
const backend = oneOf("backend", values.backend, ["native", "wasm", "cpu"]);
const types = values.types.split(",").map((type) => oneOf("types", type, TYPES));
const threadCounts = numbers("threads", 1, 64);
const rounds = number("rounds", values.rounds, 1, 1000);
const only = values.only === undefined ? undefined : oneOf("only", values.only, ["ours", "peer"]);
const work = {
  positions: numbers("positions", 1, shape.positions),
  prompt: number("prompt", values.prompt, 1, shape.positions),
  tokens: number("tokens", values.tokens, 1, shape.positions),
  ...(values.chunk !== undefined && { chunk: number("chunk", values.chunk, 1, shape.positions) }),
};
if (Math.max(work.prompt, ...work.positions) + work.tokens >= shape.positions)
  refuse(`positions and tokens must fit into the model's ${shape.positions} positions.`);

const temporary = values.folder === undefined;
const folder = temporary ? await mkdtemp(join(tmpdir(), "nf-llama-")) : values.folder;
const clean = async () => temporary && (await rm(folder, { recursive: true, force: true }));
const results = [];
const open = [];
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await Promise.all(open.map((party) => party.end()));
    await clean();
    process.exit(130);
  });
}
try {
  for (const type of types) {
    const path = await model(type);
    results.push(...(values.profile ? await profile(type, path) : await contest(type, path)));
    if (temporary) await rm(path);
  }
} finally {
  await clean();
}
if (values.json)
  console.log(JSON.stringify({ machine, shape: values.shape, backend, work, rounds, results }));
else if (!values.profile) report();
if (results.some(({ ours }) => ours?.cannot !== undefined)) process.exitCode = 1;

function refuse(message) {
  console.error(`${message} See --help.`);
  process.exit(2);
}

function oneOf(name, value, choices) {
  return choices.includes(value) ? value : refuse(`--${name}: expected ${choices.join(", ")}, got ${value}.`);
}

function number(name, text, low, high) {
  const value = Number(text);
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  return refuse(`--${name}: expected whole numbers from ${low} to ${high}, got ${text}.`);
}

function numbers(name, low, high) {
  return values[name].split(",").map((text) => number(name, text, low, high));
}

/** Writes the model of a type, unless a folder that was given has it. */
async function model(type) {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${values.shape}-${type}.gguf`);
  const { all } = weightBytes(shape, type);
  const there = await stat(path).catch(() => undefined);
  // The vocabulary and the header take about 2 MB.
  if (there !== undefined && there.size >= all && there.size < all + 1e7) return path;
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < 1.1 * all + 1e8)
    throw new Error(
      `${folder} has room for ${gigabytes(bavail * bsize)}, the model takes ${gigabytes(all)}.`,
    );
  let told = -1;
  await writeModel(path, shape, type, (share) => {
    const percent = Math.floor(share * 20) * 5;
    if (percent !== told) say(`\rwriting ${path}, ${gigabytes(all)}: ${percent} %`);
    told = percent;
  });
  say("\n");
  return path;
}

function gigabytes(bytes) {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Starts a process with a model; what it says of it, or `cannot`. */
async function start(script, request) {
  const party = new Party(process.execPath, [script], here);
  open.push(party);
  const loaded = await party.ask({ type: "load", shape, work, ...request });
  return { party, loaded };
}

async function end() {
  await Promise.all(open.splice(0).map((party) => party.end()));
}

/** Ours and the peer with each number of threads, in turns. */
async function contest(type, path) {
  const sides = { ours: "llama/ours.mjs", peer: "llama/node-llama-cpp.mjs" };
  const players = [];
  for (const [side, script] of Object.entries(sides)) {
    if (only !== undefined && only !== side) continue;
    for (const threads of threadCounts) {
      say(`${type}, ${side}, ${threads} thread${threads > 1 ? "s" : ""}: `);
      const { party, loaded } = await start(script, { path, threads, backend });
      say(`${loaded.cannot ?? `loaded in ${loaded.seconds.toFixed(1)} s`}\n`);
      if (loaded.missing?.length > 0)
        say(`  ${backend} has no kernel ${loaded.missing.join(", ")}: core decomposes it.\n`);
      players.push({ side, threads, party, loaded, cannot: loaded.cannot, rates: new Map(), note: {} });
    }
  }
  const difference = differing(players);
  const jobs = [{ type: "prefill" }, ...work.positions.map((position) => ({ type: "decode", position }))];
  const labels = jobs.map(({ type: kind, position }) =>
    kind === "prefill" ? `prefill ${work.prompt}` : `decode at ${position}`,
  );
  for (let round = 0; round <= rounds; round++) {
    say(`\r${type}: round ${round} of ${rounds}`);
    for (const [index, job] of jobs.entries()) {
      for (let turn = 0; turn < players.length; turn++) {
        // Who begins changes, so that nobody always follows the same one.
        const player = players[(turn + round) % players.length];
        if (player.cannot !== undefined) continue;
        const answer = await player.party.ask({ ...job, work });
        if (answer.cannot !== undefined) player.cannot = answer.cannot;
        else if (round > 0) {
          const label = labels[index];
          player.rates.set(label, [...(player.rates.get(label) ?? []), answer.tokensPerSecond]);
          player.note = { ...player.note, rss: answer.rss ?? player.note.rss };
          if (answer.allocations !== undefined) {
            player.note.allocations = Math.max(player.note.allocations ?? 0, answer.allocations);
          }
        }
      }
    }
  }
  say("\n");
  await end();
  return labels.map((label) => {
    const [ours, peer] = ["ours", "peer"].map((side) => best(players, side, label));
    const ratio = ours?.median && peer?.median ? ours.median / peer.median : undefined;
    return { type, work: label, ours, peer, ratio, ...(difference !== undefined && { difference }) };
  });
}

/** The number of threads with the greatest median. */
function best(players, side, label) {
  const own = players.filter((player) => player.side === side);
  const tried = own.flatMap(({ threads, rates, note, loaded }) => {
    const sorted = [...(rates.get(label) ?? [])].sort((a, b) => a - b);
    if (sorted.length === 0) return [];
    const middle = sorted[sorted.length >> 1];
    const { seconds, missing } = loaded;
    return [{ threads, median: middle, min: sorted[0], max: sorted.at(-1), ...note, seconds, missing }];
  });
  if (tried.length === 0) return own.length === 0 ? undefined : { cannot: own[0].cannot };
  return tried.reduce((a, b) => (b.median > a.median ? b : a));
}

/** Both read the same model if they find the same tokens likely: how they differ, if they do. */
function differing(players) {
  const ours = players.find(({ side, cannot }) => side === "ours" && cannot === undefined)?.loaded.likely;
  const theirs = players.find(({ side, cannot }) => side === "peer" && cannot === undefined)?.loaded;
  if (ours === undefined || theirs === undefined) return undefined;
  const known = new Map(theirs.probabilities);
  // llama.cpp rounds activations to 8 bits and keeps keys and values as halfs.
  const apart = ours.filter(([id, p]) => !(Math.abs((known.get(id) ?? 0) - p) <= 0.15 * p));
  if (apart.length === 0) return undefined;
  const text = apart.map(
    ([id, p]) => `token ${id} ${p.toExponential(2)}, peer ${known.get(id)?.toExponential(2)}`,
  );
  say(`  results differ: ${text.join("; ")}\n`);
  return text.join("; ");
}

/** Where a step goes, for each number of threads. */
async function profile(type, path) {
  const rows = [];
  for (const threads of threadCounts) {
    const { party, loaded } = await start("llama/ours.mjs", { path, threads, backend, profiled: true });
    if (loaded.cannot !== undefined) throw new Error(loaded.cannot);
    for (const position of work.positions) {
      let step;
      for (let round = 0; round < 3; round++) step = await party.ask({ type: "decode", position, work });
      if (step.cannot !== undefined) throw new Error(step.cannot);
      rows.push({ type, threads, position, ...step });
      if (values.json) continue;
      console.log(
        `${type}, ${threads} thread(s), position ${position}: a step takes ${step.milliseconds.toFixed(3)} ms, ` +
          `${step.inKernels.toFixed(3)} of them in kernels, ${step.allocations} allocations`,
      );
      console.table(step.rows);
    }
    await end();
  }
  return rows;
}

function report() {
  const range = ({ median, min, max, threads }) =>
    `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)}), ${threads} thread${threads > 1 ? "s" : ""}`;
  const show = (one) =>
    one === undefined ? "" : one.cannot === undefined ? range(one) : `cannot: ${one.cannot}`;
  console.log(
    `${machine}. Shaped like ${shape.like}: ${(parametersOf(shape) / 1e6).toFixed(1)} million weights. ` +
      `Tokens per second, median of ${rounds} (least to greatest), ${work.tokens} tokens a turn; ratio is ours / llama.cpp.`,
  );
  console.table(
    results.map(({ type, work: label, ours, peer, ratio, difference }) => ({
      work: `${type}, ${label}`,
      [`ours, ${backend}`]: show(ours),
      "llama.cpp": show(peer),
      ratio: ratio === undefined ? "" : ratio.toFixed(2),
      "GB/s":
        ours?.median && label.startsWith("decode")
          ? ((ours.median * weightBytes(shape, type).read) / 1e9).toFixed(1)
          : "",
      "allocations a step": ours?.allocations ?? "",
      MB: [ours?.rss, peer?.rss].map((rss) => rss ?? "").join(" / "),
      note: [
        ours?.missing?.length > 0 ? `no ${ours.missing.join(", ")}` : "",
        difference === undefined ? "" : "results differ",
      ].join(" "),
    })),
  );
}
