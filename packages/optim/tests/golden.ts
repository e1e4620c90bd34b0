import { readFileSync } from "node:fs";

/** A file of `goldens/optim`. JSON has no NaN and no infinity: they are strings there. */
export function golden<T>(file: string): T {
  const text = readFileSync(new URL(`../../../goldens/optim/${file}`, import.meta.url), "utf8");
  return JSON.parse(text, (_key, value: unknown) =>
    value === "NaN" || value === "Infinity" || value === "-Infinity" ? Number(value) : value,
  ) as T;
}
