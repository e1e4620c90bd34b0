/* What is used of Node, typed as narrowly as it is used: its declarations are not visible here, since the code runs in browsers too. */

/** Files of the system. */
export interface Files {
  list(folder: string): readonly string[];
  read(path: string): string;
}

interface NodeFs {
  readdirSync(folder: string): string[];
  readFileSync(path: string, encoding: "utf8"): string;
}

interface NodeProcess {
  readonly getBuiltinModule?: (name: "node:fs") => NodeFs | undefined;
}

/** Node's files; undefined where there is no Node. */
export function nodeFiles(): Files | undefined {
  const process = Reflect.get(globalThis, "process") as NodeProcess | undefined;
  const fs = process?.getBuiltinModule?.("node:fs");
  if (fs === undefined) return undefined;
  return { list: (folder) => fs.readdirSync(folder), read: (path) => fs.readFileSync(path, "utf8") };
}

/** The code of a system error, or its message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
