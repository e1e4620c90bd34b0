import { OptionError } from "@nf/core";
import { show } from "../check.ts";

/** Refuses a name that a state dict could not tell apart from a path, or from another child. */
export function checkName(container: string, name: unknown, taken: readonly string[] = []): void {
  if (typeof name !== "string" || name === "" || name.includes("."))
    throw new OptionError(
      `${container}: a name must be a text without dots that is not empty, got ${show(name)}.`,
    );
  if (taken.includes(name)) throw new OptionError(`${container}: the name "${name}" comes twice.`);
}
