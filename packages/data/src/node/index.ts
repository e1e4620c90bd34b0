export { defaultCacheFolder } from "./cache.ts";
export type { LoadOptions } from "./collection.ts";
export { type DownloadOptions, type DownloadProgress, download } from "./download.ts";
export { makeFolder } from "./files.ts";
export { cora } from "./graphs.ts";
export { cifar10, fashionMnist, type LoadImagesOptions, loadImages, mnist } from "./images.ts";
export {
  type Corpus,
  imdb,
  type Multi30kOptions,
  multi30k,
  type ParallelSplits,
  type Sst2Splits,
  sst2,
  type TextSplits,
  tinyShakespeare,
} from "./texts.ts";
