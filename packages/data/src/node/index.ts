export { defaultCacheFolder } from "./cache.ts";
export { type DownloadOptions, type DownloadProgress, download } from "./download.ts";
export { makeFolder } from "./files.ts";
export { fashionMnist, type LoadImagesOptions, loadImages, mnist } from "./images.ts";
