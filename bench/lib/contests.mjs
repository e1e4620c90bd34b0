import { contest } from "./contest.mjs";
import { machine } from "./measure.mjs";

/** What a work at a number of threads is called. */
export const nameOf = (work, threads) => `${work.name}, ${threads} thread${threads === 1 ? "" : "s"}`;

/**
 * Ours against its peers at each work, in one table or with `json` as JSON: work, ours, peer, ratio.
 *
 * `work`: `{ kind, name, threads: numbers, peers: names, tokens?: of one run, … }`; `peers`: by name `{ command, args, cwd, version? }`, or
 * `{ cannot }` with the reason; `single`: peers that have one thread by nature; `only`: what of "work, peer" to do.
 */
export async function contests({ work: works, peers: parties, ours, rounds, only, single = [], json }) {
  const rows = [];
  for (const { threads: counts, peers, ...work } of works) {
    for (const threads of counts) {
      for (const peer of peers) {
        const name = nameOf(work, threads);
        if (!only.test(`${name}, ${peer}`) || (threads > 1 && single.includes(peer))) continue;
        const party = parties[peer];
        process.stderr.write(`${name}: ${peer} … `);
        const result = party.cannot ? party : await contest({ work, threads, ours, peer: party, rounds });
        process.stderr.write(`${result.cannot ?? result.failed ?? result.ratio.toFixed(2)}\n`);
        rows.push({ work: name, peer, version: party.version, ...result, ...rates(work, result) });
      }
    }
  }
  if (json) console.log(JSON.stringify({ machine, unit: "ms", rounds, rows }));
  else print(rows, rounds);
  if (rows.some(({ failed }) => failed !== undefined)) process.exitCode = 1;
}

/** Tokens a second, where a run is so many tokens. */
function rates({ tokens }, { ours, theirs }) {
  if (tokens === undefined || ours === undefined) return {};
  const rate = ({ median }) => Math.round((1000 * tokens) / median);
  return { tokensPerSecond: { ours: rate(ours), theirs: rate(theirs) } };
}

function print(rows, rounds) {
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const range = ({ median, min, max }) => `${digits(median)} (${digits(min)} to ${digits(max)})`;
  const show = (time) => (time === undefined ? "" : range(time));
  console.log(`${machine}. Milliseconds, median of ${rounds} (least to greatest); ratio is peer / ours.`);
  console.table(
    rows.map(({ work, ours: own, peer, version, theirs, ratio, note, cannot, failed, tokensPerSecond }) => ({
      work,
      ours: failed === undefined ? show(own) : `failed: ${failed}`,
      peer: [peer, version].filter(Boolean).join(" "),
      "peer's": cannot === undefined ? show(theirs) : `cannot: ${cannot}`,
      ratio: ratio === undefined ? "" : ratio.toFixed(2),
      ...(rows.some((row) => row.tokensPerSecond) && {
        "tokens/s": tokensPerSecond ? `${tokensPerSecond.ours}, peer ${tokensPerSecond.theirs}` : "",
      }),
      note: note ?? "",
    })),
  );
}
