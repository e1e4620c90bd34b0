import { cpus, totalmem } from "node:os";

/** Milliseconds of one run: median, least and greatest of `samples`, after `warmUp` runs that do not count. */
export async function measure(body, { warmUp = 2, samples = 7 } = {}) {
  for (let i = 0; i < warmUp; i++) await body();
  const times = [];
  for (let i = 0; i < samples; i++) {
    const start = performance.now();
    await body();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1], min: times[0], max: times.at(-1) };
}

/** The machine in words. */
export const machine = `${cpus()[0]?.model?.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform}, Node ${process.version}`;

/** Prints rows of { work, ours, peer, unit } as a table, or as JSON. Greater is better. */
export function report(rows, json) {
  const withRatio = rows.map((row) => ({ ...row, ratio: row.ours.median / row.peer.median }));
  if (json) {
    console.log(JSON.stringify({ machine, rows: withRatio }));
    return;
  }
  const show = ({ median, min, max }) => `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`;
  console.log(machine);
  console.table(
    withRatio.map(({ work, unit, ours, peer, peerName, ratio }) => ({
      work: `${work}, ${unit}`,
      ours: show(ours),
      [peerName]: show(peer),
      ratio: ratio.toFixed(2),
    })),
  );
}
