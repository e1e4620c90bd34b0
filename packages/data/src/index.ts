export { type Collated, collate } from "./collate.ts";
export {
  ArrayDataset,
  type Columns,
  concatDatasets,
  type Dataset,
  mapDataset,
  type Row,
  randomSplit,
  subset,
  tensorDataset,
} from "./dataset.ts";
export { DataError, DownloadError } from "./errors.ts";
export { type ReadIdxOptions, readIdx } from "./idx.ts";
export { FASHION_MNIST, type ImageCollection, MNIST, type RemoteFile } from "./images/collections.ts";
export {
  ImageDataset,
  type ImageDatasetInit,
  type LabelledImage,
  type Normalization,
} from "./images/dataset.ts";
export { type EmbeddedMnistOptions, embeddedMnist } from "./images/embedded.ts";
export { type ImageSplits, type ReadImagesOptions, readImages } from "./images/read.ts";
export { DataLoader, type DataLoaderOptions, type DataLoaderState } from "./loader.ts";
export { int32, NdArray, type TypedArray } from "./ndarray.ts";
export { type Tensors, toTensors } from "./tensors.ts";
