export { type Collated, collate } from "./collate.ts";
export {
  type AnyDataset,
  ArrayDataset,
  type Columns,
  concatDatasets,
  type Dataset,
  type Row,
  subset,
  tensorDataset,
} from "./dataset.ts";
export { DataError, DownloadError } from "./errors.ts";
export type { FileCollection, RemoteFile } from "./files/collection.ts";
export { type CitationGraph, readCora } from "./graphs/cora.ts";
export { CORA, type PlanetoidFiles, readPlanetoid } from "./graphs/planetoid.ts";
export { type ReadIdxOptions, readIdx } from "./idx.ts";
export {
  augment,
  compose,
  type ImageTransform,
  normalize,
  type RandomCropOptions,
  type RandomFlipOptions,
  type RandomRotateOptions,
  type RandomShiftOptions,
  randomCrop,
  randomHorizontalFlip,
  randomRotate,
  randomShift,
  randomVerticalFlip,
} from "./images/augment.ts";
export { CIFAR10, CIFAR10_CLASSES, readCifar10, readCifar10Archive } from "./images/cifar10.ts";
export { FASHION_MNIST, type ImageCollection, MNIST } from "./images/collections.ts";
export {
  ImageDataset,
  type ImageDatasetInit,
  type LabelledImage,
} from "./images/dataset.ts";
export { type EmbeddedMnistOptions, embeddedMnist } from "./images/embedded.ts";
export type { Normalization } from "./images/normalization.ts";
export { type ImageSplits, type ReadImagesOptions, readImages } from "./images/read.ts";
export {
  type Items,
  type IterableDataset,
  type IterableDatasetOptions,
  iterableDataset,
} from "./iterable.ts";
export { DataLoader, type DataLoaderOptions, type DataLoaderState } from "./loader.ts";
export { int32, NdArray, type TypedArray } from "./ndarray.ts";
export { type CollatedPadded, collatePadded, type Padded, type PadOptions, padSequences } from "./pad.ts";
export {
  BatchSampler,
  type BatchSamplerOptions,
  type BatchSource,
} from "./samplers/batch.ts";
export {
  RandomSampler,
  type RandomSamplerOptions,
  type Sampler,
  SequentialSampler,
  StratifiedSampler,
  type StratifiedSamplerOptions,
} from "./samplers/sampler.ts";
export { WeightedRandomSampler, type WeightedRandomSamplerOptions } from "./samplers/weighted.ts";
export { randomSplit, type TrainTest, type TrainTestSplitOptions, trainTestSplit } from "./split.ts";
export { type Tensors, toTensors } from "./tensors.ts";
export {
  IMDB,
  type Multi30kLanguage,
  multi30kCollection,
  SST2,
  type Sst2Files,
  TINY_SHAKESPEARE,
} from "./text/collections.ts";
export {
  type LabelledText,
  ParallelDataset,
  type SentencePair,
  TextDataset,
  type TextDatasetInit,
} from "./text/dataset.ts";
export { readImdbArchive, readImdbTable, readParallel, readSst2 } from "./text/read.ts";
export {
  splitCharacters,
  splitWords,
  TextTokenizer,
  type TextTokenizerJson,
  type TextTokenizerOptions,
} from "./text/tokenizer.ts";
export {
  type UnknownPolicy,
  Vocabulary,
  type VocabularyJson,
  type VocabularyOptions,
} from "./text/vocabulary.ts";
export {
  batchDataset,
  filterDataset,
  mapDataset,
  repeatDataset,
  shuffleDataset,
  takeDataset,
  type Zipped,
  zipDatasets,
} from "./transforms.ts";
export { type DecodedDataset, type DecodeOptions, decodeInWorkers } from "./workers/decode.ts";
export { WorkerError } from "./workers/pool.ts";
