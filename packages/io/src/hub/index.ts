/** Models from the Hugging Face hub, into a folder. Node only. */

export {
  type DownloadFunction,
  type DownloadModelOptions,
  downloadModel,
  type HubProgress,
} from "./download-model.ts";
export { HubError } from "./errors.ts";
