import type { OutputStream } from "../io.ts";
import { barProgress } from "./bar.ts";
import { lineProgress } from "./lines.ts";
import type { Progress } from "./state.ts";

/** A bar where a person watches, lines where a file or another program does. */
export function createProgress(stream: OutputStream): Progress {
  return stream.isTTY === true ? barProgress(stream) : lineProgress(stream);
}
