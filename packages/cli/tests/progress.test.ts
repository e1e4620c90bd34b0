import { clock, createProgress, lineProgress, type ProgressState } from "@nf/train/node";
import { describe, expect, it } from "vitest";
import { count, duration, lossText, orList, percent, table } from "../src/format.ts";
import { capture } from "./io.ts";

function at(step: number, steps = 100): ProgressState {
  return {
    place: "epoch 1/3",
    step,
    steps,
    figures: ["loss 0.123", "accuracy 96.3 %", "4,210 images/s", "1:12 left"],
  };
}

describe("progress as lines", () => {
  it("says where it is, how well and how long still", () => {
    const { stream, text } = capture();
    const progress = createProgress(stream);
    progress.update(at(42));
    progress.stop();
    expect(text()).toBe("epoch 1/3   42 %  loss 0.123  accuracy 96.3 %  4,210 images/s  1:12 left\n");
  });

  it("comes about every tenth of the run when that is fast", () => {
    const { stream, text } = capture();
    const progress = lineProgress(stream, () => 0);
    for (let step = 1; step <= 1000; step++) progress.update(at(step, 1000));
    const shares = text()
      .trimEnd()
      .split("\n")
      .map((line) => Number(/(\d+) %/.exec(line)?.[1]));
    expect(shares).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  });

  it("comes every ten seconds when the run is slow", () => {
    let milliseconds = 0;
    const { stream, text } = capture();
    const progress = lineProgress(stream, () => milliseconds);
    for (let step = 1; step <= 60; step++) {
      milliseconds += 1000;
      progress.update(at(step, 10_000));
    }
    expect(text().trimEnd().split("\n")).toHaveLength(6);
  });
});

describe("progress on a terminal", () => {
  it("is one bar with notes above it, and leaves the terminal as it was", () => {
    const { stream, text } = capture({ columns: 120 });
    const progress = createProgress(stream);
    progress.update(at(25));
    progress.note("epoch 1/3 done");
    progress.update(at(50));
    progress.stop();
    const written = text();
    expect(written).toContain("epoch 1/3 ██████████░░░░░░░░░░");
    expect(written).toContain("25 %  loss 0.123  accuracy 96.3 %  4,210 images/s  1:12 left");
    expect(written).toContain("50 %");
    expect(written).toContain("epoch 1/3 done\n");
    expect(written).toContain("\x1b[?25l");
    expect(written.lastIndexOf("\x1b[?25h")).toBeGreaterThan(written.lastIndexOf("\x1b[?25l"));
    // A bar goes back to where it began: nothing may scroll between saving and restoring the place.
    const bars = written.split("\x1b7").slice(1);
    expect(bars).toHaveLength(2);
    for (const bar of bars) expect(bar.slice(0, bar.indexOf("\x1b8"))).not.toContain("\n");
    // The bar itself never scrolls: the note's is the only new line.
    expect(written.match(/\n/g)).toHaveLength(1);
  });

  it("fits a narrow terminal", () => {
    const { stream, text } = capture({ columns: 80 });
    const progress = createProgress(stream);
    progress.update(at(50));
    progress.stop();
    expect(text()).toContain("████░░░░ 50 %");
  });
});

describe("numbers for people", () => {
  it("writes counts, shares and losses", () => {
    expect(count(44426)).toBe("44,426");
    expect(percent(0.9775)).toBe("97.75 %");
    expect(lossText(0.08512)).toBe("0.0851");
    expect(lossText(Math.LN10)).toBe("2.30");
    expect(lossText(123456)).toBe("1.23e+5");
  });

  it("writes times", () => {
    expect([4.21, 59.96, 65, 3599.7, 7380].map(duration)).toEqual([
      "4.2 s",
      "1 min 00 s",
      "1 min 05 s",
      "1 h 00 min",
      "2 h 03 min",
    ]);
    expect([0, 6.2, 750, 3723, -1].map(clock)).toEqual(["0:00", "0:07", "12:30", "1:02:03", "0:00"]);
  });

  it("writes lists and tables", () => {
    expect([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(orList)).toEqual(["", "a", "a or b", "a, b or c"]);
    expect(
      table([
        ["a", "bcd"],
        ["ef", "g"],
      ]),
    ).toBe("a   bcd\nef  g");
  });
});
