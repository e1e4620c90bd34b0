import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const WARM_MS = 2000;
const TURN_MS = 250;
const PAUSE_MS = 60;
const PATIENCE_MS = 120_000;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A process that takes part. It is asked by lines of JSON, and answers by lines that begin with "@". */
export class Party {
  constructor(command, args, cwd) {
    this.process = spawn(command, args, { cwd, stdio: ["pipe", "pipe", "pipe"] });
    this.last = "";
    this.process.stderr.on("data", (text) => {
      this.last = `${this.last}${text}`.slice(-2000);
    });
    this.ended = new Promise((resolve) => {
      this.process.on("error", (error) => resolve(error.message));
      this.process.on("close", (code, signal) => resolve(`ended with ${code ?? signal}`));
    });
    // What cannot be written any more is reported by `ended`.
    this.process.stdin.on("error", () => {});
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      if (line.startsWith("@")) this.answer?.(JSON.parse(line.slice(1)));
    });
  }

  /** An answer; `{ cannot }` where the process ends or says nothing. */
  async ask(request) {
    const answer = new Promise((resolve) => {
      this.answer = resolve;
    });
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    const ended = this.ended.then((how) => ({ cannot: `${how}: ${lastLine(this.last)}` }));
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(() => resolve({ cannot: `no answer in ${PATIENCE_MS / 1000} s` }), PATIENCE_MS);
    });
    const result = await Promise.race([answer, ended, late]);
    clearTimeout(timer);
    return result;
  }

  async end() {
    this.process.kill();
    await this.ended;
  }
}

const lastLine = (text) => text.trim().split("\n").at(-1) ?? "";

/**
 * Ours against one peer at one work: each in a process of its own, warm, taking turns of equal length until each has
 * had `rounds` of them. Milliseconds of one run: median, least, greatest; or, with the reason, `cannot` where the peer
 * does not do the work, `failed` where ours does not, or not to the same result.
 */
export async function contest({ work, threads, ours, peer, rounds }) {
  const parties = [];
  try {
    const repeats = [];
    let ready;
    const checks = [];
    for (const { command, args, cwd } of [ours, peer]) {
      const party = new Party(command, args, cwd);
      parties.push(party);
      ready = await party.ask({ type: "prepare", work, threads });
      const warm =
        ready.cannot === undefined ? await party.ask({ type: "warm", milliseconds: WARM_MS }) : ready;
      if (warm.cannot !== undefined) {
        return party === parties[0] ? { failed: warm.cannot } : { cannot: warm.cannot };
      }
      checks.push(ready.check);
      repeats.push(Math.max(1, Math.round(TURN_MS / warm.milliseconds)));
    }
    const difference = differing(...checks, work.tolerance);
    if (difference !== undefined) return { failed: `results differ: ${difference}` };
    const times = [[], []];
    for (let round = 0; round < rounds; round++) {
      // Who begins changes, so that neither always follows the other.
      for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
        await pause(PAUSE_MS);
        const { milliseconds, cannot } = await parties[index].ask({ type: "time", repeats: repeats[index] });
        if (cannot !== undefined) return index === 0 ? { failed: cannot } : { cannot };
        times[index].push(milliseconds);
      }
    }
    const [own, other] = times.map(summary);
    const { note, version } = ready;
    return { ours: own, theirs: other, ratio: other.median / own.median, note, ...(version && { version }) };
  } finally {
    await Promise.all(parties.map((party) => party.end()));
  }
}

/** The same work has the same results, up to a tolerance: how these differ, if they do. */
function differing(ours, peer, tolerance = 0.02) {
  const apart = ours.some((value, i) => {
    const other = peer[i];
    return !(Math.abs(value - other) <= tolerance * Math.abs(other) + 2e-5);
  });
  return apart ? `ours ${ours.join(", ")}, peer ${peer.join(", ")}` : undefined;
}

function summary(samples) {
  const times = [...samples].sort((a, b) => a - b);
  return { median: times[times.length >> 1], min: times[0], max: times.at(-1), samples: times.length };
}
