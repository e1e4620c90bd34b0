// A picture of what a contest came to: `node wasm.mjs --json > wasm.json && node chart.mjs wasm.json "WASM" > wasm.svg`
import { readFileSync } from "node:fs";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

const HELP = `node chart.mjs FILE TITLE

Draws how many times as fast ours is as each peer, as SVG on standard output.

FILE    what wasm.mjs, native.mjs or webgpu.mjs printed with --json
TITLE   what stands above it
`;

const INK = "#1f2328";
/** Longer bars end here; the number beside them tells. */
const LONGEST = 16;
const COLOURS = ["#4269d0", "#efb118", "#3ca951", "#ff725c", "#9498a0", "#a463f2"];

const shown = (ratio) => Math.min(LONGEST, ratio);

/** An SVG of ratios by work: a bar for each peer on a logarithmic axis, from 1 outwards. */
export function chart({ machine, rounds, rows }, title) {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const bars = rows
    .filter(({ ratio }) => ratio !== undefined)
    .map(({ work, peer, version, ratio }) => ({
      key: `${work}, ${peer}`,
      work,
      peer: [peer, version].filter(Boolean).join(" "),
      ratio,
    }));
  // Bars of one work stand together, its name beside the first of them.
  const names = new Map();
  for (const { work, key } of bars) if (![...names.values()].includes(work)) names.set(key, work);
  const ratios = bars.map(({ ratio }) => ratio);
  const [least, most] = [Math.min(0.5, ...ratios) / 1.1, Math.max(4, ...ratios.map(shown)) * 2.6];
  const drawn = Plot.plot({
    document,
    width: 960,
    height: 100 + bars.length * 20,
    marginLeft: 350,
    marginRight: 20,
    marginTop: 56,
    marginBottom: 44,
    style: { fontFamily: "sans-serif", fontSize: "12px", color: INK, background: "white" },
    x: {
      type: "log",
      domain: [least, most],
      label: "times as fast as the peer",
      tickFormat: "~g",
      grid: true,
    },
    y: {
      label: null,
      domain: bars.map(({ key }) => key),
      padding: 0.25,
      tickSize: 0,
      tickFormat: (key) => names.get(key) ?? "",
    },
    color: { domain: [...new Set(bars.map(({ peer }) => peer))], range: COLOURS },
    marks: [
      Plot.barX(bars, { x1: 1, x2: ({ ratio }) => shown(ratio), y: "key", fill: "peer", fillOpacity: 0.75 }),
      Plot.ruleX([1], { stroke: INK }),
      Plot.text(bars, {
        x: ({ ratio }) => Math.max(1, shown(ratio)),
        y: "key",
        text: ({ peer, ratio }) => `${ratio.toFixed(2)}  ${peer}`,
        textAnchor: "start",
        dx: 6,
        fill: INK,
        stroke: "white",
        strokeWidth: 4,
      }),
      Plot.text([`${title}: ${machine}. Each pair in one run, medians of ${rounds} turns.`], {
        frameAnchor: "top-left",
        dx: -340,
        dy: -34,
        fontSize: 13,
        fontWeight: "bold",
      }),
    ],
  });
  // Plot's own style sheet is for pages.
  drawn.querySelector("style")?.remove();
  const name = document.createElementNS("http://www.w3.org/2000/svg", "title");
  name.textContent = `${title}: how many times as fast as each peer`;
  drawn.prepend(name);
  drawn.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return drawn.outerHTML;
}

if (process.argv[1] === import.meta.filename) {
  const [file, title] = process.argv.slice(2);
  if (file === "--help") process.stdout.write(HELP);
  else if (title === undefined) {
    process.stderr.write(`Expected a file and a title.\n\n${HELP}`);
    process.exitCode = 2;
  } else process.stdout.write(`${chart(JSON.parse(readFileSync(file, "utf8")), title)}\n`);
}
