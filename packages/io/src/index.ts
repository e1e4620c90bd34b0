/** Weight files, tokenizers and chat templates: what lies between a model's files and its tensors. */

export {
  type BestBy,
  CheckpointFolder,
  type CheckpointFolderOptions,
  type CheckpointInfo,
} from "./checkpoint/folder.ts";
export {
  type Checkpoint,
  type CheckpointContents,
  loadCheckpoint,
  openCheckpoint,
} from "./checkpoint/load.ts";
export type { CheckpointPart, CheckpointParts, HasState, HasStateDict } from "./checkpoint/parts.ts";
export { type CheckpointFacts, encodeCheckpoint, saveCheckpoint } from "./checkpoint/save.ts";
export { CheckpointError, TokenizerError, WeightFileError } from "./errors.ts";
export type { Json, JsonObject } from "./files/json.ts";
export { readJson } from "./files/read-json.ts";
export { replaceFile } from "./files/replace.ts";
export type { BlobLike, FileInput } from "./files/source.ts";
export type { StoredValues, WritableTensors } from "./files/writable.ts";
export { openGguf } from "./gguf/gguf.ts";
export { huggingFaceLayout } from "./gguf/layout.ts";
export type { ScalarTypeName } from "./gguf/types.ts";
export { encodeGguf, type GgufEntry, type WriteGgufOptions, writeGguf } from "./gguf/write.ts";
export { openLlama2c } from "./llama2c/llama2c.ts";
export { openWeights } from "./open-weights.ts";
export { openSafetensors } from "./safetensors/safetensors.ts";
export {
  encodeSafetensors,
  type WriteSafetensorsOptions,
  writeSafetensors,
} from "./safetensors/write.ts";
export {
  type Loadable,
  type LoadIntoOptions,
  type LoadIntoReport,
  type LoadProgress,
  loadInto,
  type WeightMismatch,
  WeightsMismatchError,
} from "./tensors/load-into.ts";
export { readValues } from "./tensors/read-values.ts";
export {
  type ToQuantizedOptions,
  type ToTensorOptions,
  toQuantized,
  toTensor,
} from "./tensors/to-tensor.ts";
export type { ChatMessage, ChatOptions } from "./tokenizer/chat.ts";
export { loadTokenizer } from "./tokenizer/load.ts";
export type { DecodeStream } from "./tokenizer/stream.ts";
export {
  type DecodeOptions,
  type EncodeOptions,
  Tokenizer,
  type TokenizerParts,
} from "./tokenizer/tokenizer.ts";
export type {
  BlockDType,
  FileDType,
  MetadataValue,
  StoredSize,
  StoredTensor,
  StoredType,
  WeightFile,
  WeightFormat,
} from "./weight-file.ts";
