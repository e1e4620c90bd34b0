/** Where results may be further off than the suite's tolerances, by operation: how many times, and why. */
export const WIDENED: readonly { readonly name: string; readonly factor: number; readonly reason: string }[] =
  [
    ...["sum", "mean"].map((name) => ({
      name,
      factor: 4,
      reason:
        "Terms add up in f32, in runs of 8, 64 and 2,048; where large ones cancel, their roundings show. WGSL has no f64 to keep sums in, and a compiler may take compensated sums apart.",
    })),
    {
      name: "cumsum",
      factor: 4,
      reason:
        "Running sums are kept in f32, in runs of 64; where a sum happens to be small, the roundings of those before it show. WGSL has no f64 to keep them in.",
    },
  ];

/** The same for the suite's option `widen`. */
export const WIDEN: Readonly<Record<string, number>> = Object.fromEntries(
  WIDENED.map(({ name, factor }) => [name, factor]),
);

/** The same as the README shows it. */
export function widenTable(): string {
  const rows = WIDENED.map(({ name, factor, reason }) => `| \`${name}\` | ${factor} | ${reason} |`);
  return ["| operation | times as wide | why |", "| --- | --- | --- |", ...rows].join("\n");
}
