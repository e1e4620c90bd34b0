import { bucketMeans, type CurvesData, curvesSvg, escapeXml, smooth, toPng } from "@nf/train/curves";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { type Prediction, predictionsSvg } from "../src/plots/predictions.ts";

/** Opening and closing tags must match up: a parser for HTML would forgive it. */
function expectWellFormed(svg: string): void {
  const open: string[] = [];
  const tag = /<(\/?)([a-zA-Z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g;
  let end = 0;
  for (const match of svg.matchAll(tag)) {
    expect(svg.slice(end, match.index)).not.toMatch(/[<>]/);
    end = match.index + match[0].length;
    if (match[4] === "/") continue;
    if (match[1] === "/") expect(open.pop()).toBe(match[2]);
    else open.push(match[2] ?? "");
  }
  expect(open).toEqual([]);
  expect(svg.slice(end).trim()).toBe("");
}

function textsOf(svg: string): string[] {
  const { document } = parseHTML(svg);
  return [...document.querySelectorAll("text")].map((node) => node.textContent ?? "");
}

async function pngSize(svg: string, scale?: number): Promise<readonly [width: number, height: number]> {
  const png = await toPng(svg, scale);
  expect([...png.slice(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const header = new DataView(png.buffer, png.byteOffset);
  return [header.getUint32(16), header.getUint32(20)];
}

function curves(steps: number, stepsPerEpoch: number): CurvesData {
  const tested = Math.floor(steps / stepsPerEpoch);
  return {
    title: "LeNet-5 on cpu: 97.75 % <of> 2,000 & more",
    subtitle: "375 steps in 21.4 s",
    stepsPerEpoch,
    steps: Array.from({ length: steps }, (_, index) => ({
      step: index + 1,
      loss: 2.3 * Math.exp(-index / 50) + 0.05,
      accuracy: 1 - 0.9 * Math.exp(-index / 40),
    })),
    tests: Array.from({ length: tested }, (_, index) => ({
      epoch: index + 1,
      step: (index + 1) * stepsPerEpoch,
      loss: 0.2 / (index + 1),
      accuracy: 0.9 + 0.02 * (index + 1),
    })),
  };
}

describe("curves", () => {
  it("has title, axes with units, legend and the value of each test", () => {
    const svg = curvesSvg(curves(375, 125));
    expectWellFormed(svg);
    const texts = textsOf(svg).join("\n");
    for (const part of [
      "LeNet-5 on cpu: 97.75 % <of> 2,000 & more",
      "375 steps in 21.4 s",
      "Cross-entropy loss (nats, log scale)",
      "Accuracy (% of images)",
      "Epoch",
      "mean of 2 batches",
      "moving average, 13 steps",
      "test set",
      "0.100",
      "94.0 %",
    ]) {
      expect(texts).toContain(part);
    }
    // One circle a test and panel, one in the legend.
    expect(svg.match(/<circle/g)).toHaveLength(7);
  });

  it("draws every batch of a short run, and labels every tick of the loss", () => {
    const texts = textsOf(curvesSvg(curves(200, 50)));
    expect(texts).toContain("each batch");
    for (const tick of ["0.1", "0.2", "0.5", "1", "2"]) expect(texts).toContain(tick);
  });

  it("says of how many batches a point is the mean where figures were read every few steps", () => {
    const every = 10;
    const all = curves(300, 100);
    const steps = all.steps.filter(({ step }) => step % every === 0 || step === 95);
    expect(textsOf(curvesSvg({ ...all, steps })).join("\n")).toContain(
      "mean of 10 batches\nmoving average, 10 steps",
    );
  });

  it("says so where epochs are too short for the number to be exact", () => {
    const all = curves(60, 12);
    const steps = all.steps.filter(({ step }) => step % 10 === 0 || step % 12 === 0);
    expect(textsOf(curvesSvg({ ...all, steps })).join("\n")).toContain(
      "mean of ~8 batches\nmoving average, ~8 steps",
    );
  });

  it("shows a run of which there is one entry", () => {
    const all = curves(8, 8);
    const svg = curvesSvg({ ...all, steps: all.steps.slice(-1), tests: [] });
    expect(textsOf(svg)).toContain("mean of 8 batches");
    // One in each panel, one in the legend.
    expect(svg.match(/<circle/g)).toHaveLength(3);
  });

  it("draws on white", () => {
    const { document } = parseHTML(curvesSvg(curves(10, 5)));
    const ground = document.querySelector("rect");
    expect([
      ground?.getAttribute("width"),
      ground?.getAttribute("height"),
      ground?.getAttribute("fill"),
    ]).toEqual(["1120", "470", "#ffffff"]);
  });

  it("stands a run that was stopped at once, a single step, and losses of zero or infinity", () => {
    for (const steps of [0, 1, 3]) expectWellFormed(curvesSvg(curves(steps, 125)));
    const odd = curves(4, 2);
    const losses = [0, Number.POSITIVE_INFINITY, Number.NaN, 1];
    const svg = curvesSvg({
      ...odd,
      steps: odd.steps.map((step, index) => ({ ...step, loss: losses[index] ?? 0 })),
    });
    expectWellFormed(svg);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });

  it("writes no values beside the points of a long run", () => {
    expect(textsOf(curvesSvg(curves(80, 2))).filter((content) => content.endsWith(" %"))).toEqual([]);
  });

  it("writes values that would stand over each other only where there is room, the last one always", () => {
    const written = textsOf(curvesSvg(curves(120, 10))).filter((content) => content.endsWith(" %"));
    expect(written).toHaveLength(6);
    expect(written).toContain("114.0 %");
    expect(textsOf(curvesSvg(curves(50, 10))).filter((content) => content.endsWith(" %"))).toHaveLength(5);
  });

  it("leaves as much room as the values are wide", () => {
    const run = curves(80, 10);
    expect(textsOf(curvesSvg(run)).filter((content) => /^0\.\d{3,4}$/.test(content))).toHaveLength(8);
    const wide = { ...run, tests: run.tests.map((test) => ({ ...test, loss: 123_456 })) };
    expect(textsOf(curvesSvg(wide)).filter((content) => content === "1.23e+5")).toHaveLength(4);
  });

  it("becomes a PNG of twice its size", async () => {
    const svg = curvesSvg(curves(20, 10));
    expect(await pngSize(svg)).toEqual([2240, 940]);
    expect(await pngSize(svg, 1)).toEqual([1120, 470]);
  });
});

function prediction(index: number, label: number, predicted: number, confidence: number): Prediction {
  const pixels = new Float32Array(16);
  pixels[index % 16] = 1;
  return { index, pixels, label, predicted, confidence };
}

describe("sheet of predictions", () => {
  const right = prediction(0, 7, 7, 0.9987);
  const wrong = prediction(1, 5, 3, 0.6123);
  const data = {
    title: "LeNet-5 on cpu",
    subtitle: "1 of 2 is wrong",
    side: 4,
    samples: [right, wrong],
    mistakes: [wrong],
  };

  it("marks what is wrong and says what is true", () => {
    const svg = predictionsSvg(data);
    expectWellFormed(svg);
    const { document } = parseHTML(svg);
    expect([...document.querySelectorAll("g.right")]).toHaveLength(1);
    expect([...document.querySelectorAll("g.wrong")]).toHaveLength(2);
    const texts = textsOf(svg);
    for (const part of ["7 ✓", "99.9 %", "3 ✗ true 5", "61.2 %", "Mistakes, the most confident first"]) {
      expect(texts).toContain(part);
    }
    expect(svg).toContain("image 1: predicted 3, true label 5");
  });

  it("draws the digits as pixels", () => {
    const pixels = new Float32Array(16);
    pixels.set([1, 1, 0, 0.5], 4);
    const svg = predictionsSvg({ ...data, samples: [{ ...right, pixels }], mistakes: [] });
    // Row 1: two full pixels as one run, then a grey one at column 3; background is not drawn.
    expect(svg).toContain('<path fill="#111827" d="M0 1h2v1h-2z"/>');
    expect(svg.match(/<path/g)).toHaveLength(2);
    expect(svg).toContain('d="M3 1h1v1h-1z"');
  });

  it("has no part for mistakes when there are none, and grows with its rows", async () => {
    const perfect = predictionsSvg({ ...data, samples: [right], mistakes: [] });
    expect(perfect).not.toContain("Mistakes");
    const [width, height] = await pngSize(perfect, 1);
    const full = predictionsSvg({ ...data, samples: Array.from({ length: 25 }, () => right), mistakes: [] });
    const [sameWidth, tall] = await pngSize(full, 1);
    expect(sameWidth).toBe(width);
    expect(tall - height).toBe(2 * 126);
  });
});

describe("smooth", () => {
  it("leaves a constant as it is from the first value on", () => {
    for (const value of smooth([3, 3, 3, 3], 10)) expect(value).toBeCloseTo(3, 12);
  });

  it("weighs by age", () => {
    // β = 1/2: (1·½ + 0·¼) / ¾ = 2/3 after [0, 1].
    expect(smooth([0, 1], 2)).toEqual([0, 2 / 3]);
    expect(smooth([1, 5, 2], 1)).toEqual([1, 5, 2]);
  });
});

it("takes neighbours together", () => {
  expect(bucketMeans([1, 3, 5, 7, 10], 2)).toEqual([
    { last: 1, mean: 2 },
    { last: 3, mean: 6 },
    { last: 4, mean: 10 },
  ]);
  expect(bucketMeans([], 1)).toEqual([]);
});

it("escapes what XML does not allow", () => {
  expect(escapeXml(`a<b & "c">`)).toBe("a&lt;b &amp; &quot;c&quot;&gt;");
});
