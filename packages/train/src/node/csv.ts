import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { checkChoice, checkOptions, OptionError } from "@nf/core";
import { replaceFile } from "@nf/io";
import type { Callback } from "../events.ts";
import { checkPath } from "../misuse.ts";

/** Options of {@link csvLog}. */
export interface CsvLogOptions {
  /** What a row is: an evaluation (default), or a read of the figures, every `logEvery` steps. */
  readonly rows?: "evaluations" | "logs";
}

/** Columns that a figure cannot be called like. */
const COLUMNS = ["epoch", "step", "learningRate", "seconds"];

const quoted = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * Writes figures into a CSV file (RFC 4180, with a header), row by row as they come. A training that goes on from a
 * checkpoint adds to the file; rows of steps after the checkpoint are removed first. Otherwise it begins anew.
 *
 * @throws OptionError for no path, an unknown option or kind of rows; when the training begins, for a metric with the name of
 * another column; and what reading and writing the file throws
 */
export function csvLog(path: string, options: CsvLogOptions = {}): Callback {
  checkPath("csvLog", "file", path);
  checkOptions("csvLog", options, ["rows"]);
  const rows = checkChoice("csvLog", "rows", options.rows ?? "evaluations", ["evaluations", "logs"]);
  let header: string | undefined;
  const add = async (fields: Readonly<Record<string, number>>): Promise<void> => {
    const names = Object.keys(fields).map(quoted).join(",");
    const line = Object.values(fields).join(",");
    const text = header === undefined ? `${names}\r\n${line}\r\n` : `${line}\r\n`;
    header ??= names;
    await appendFile(path, text, { flush: true });
  };
  return {
    async onTrainBegin({ resumed, step, names }) {
      const taken = names.filter((name) => COLUMNS.includes(name) || name.startsWith("validation "));
      if (taken.length > 0)
        throw new OptionError(
          `csvLog: a metric is called ${taken.join(", ")}, which is the name of another column. Give it another name.`,
        );
      await mkdir(dirname(path), { recursive: true });
      const before = resumed ? await textOf(path) : "";
      const [first = "", ...lines] = before.split("\r\n");
      const at = first.split(",").indexOf("step");
      // Half a line that a killed run left behind has no end.
      const kept = lines.slice(0, -1).filter((line) => Number(line.split(",")[at]) <= step);
      header = at < 0 ? undefined : first;
      const text = at < 0 ? "" : [first, ...kept, ""].join("\r\n");
      await replaceFile(path, (part) => writeFile(part, text, { flush: true }));
    },
    async onEvaluation({ row: { epoch, step, learningRate, seconds, train, validation = {} } }) {
      if (rows !== "evaluations") return;
      const checked = Object.entries(validation).map(([name, value]) => [`validation ${name}`, value]);
      await add({ epoch, step, learningRate, seconds, ...train, ...Object.fromEntries(checked) });
    },
    async onLog({ epoch, step, learningRate, seconds, figures }) {
      if (rows === "logs") await add({ epoch, step, learningRate, seconds, ...figures });
    },
  };
}

/** What a log holds; nothing where there is none. A log that cannot be read is not one that is empty. */
async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}
