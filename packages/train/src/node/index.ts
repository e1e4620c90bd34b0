/** Progress in a terminal, and logs in files. */
export { type CsvLogOptions, csvLog } from "./csv.ts";
export { lineProgress } from "./lines.ts";
export { createProgress, type ProgressOptions, progress } from "./progress.ts";
export { clock, type Progress, type ProgressState } from "./state.ts";
export type { OutputStream } from "./stream.ts";
export { EventWriter, type TensorBoardOptions, tensorBoard } from "./tensorboard.ts";
