import { loadBinding } from "../src/binding.ts";

/** Why the tests of this package cannot run here, if they cannot. Printed once. */
export const missing: string | undefined = whyMissing();

function whyMissing(): string | undefined {
  try {
    loadBinding();
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // A machine that says it has Rust must not skip silently.
    if (process.env["NF_NATIVE"] === "required") throw error;
    console.warn(`skipped: ${why}`);
    return why;
  }
}
