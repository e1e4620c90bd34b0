import type { FileCollection, RemoteFile } from "../files/collection.ts";

/** Images published as four IDX files. */
export interface ImageCollection extends FileCollection {
  readonly classes: readonly string[];
  readonly files: {
    readonly [name: string]: RemoteFile;
    readonly trainImages: RemoteFile;
    readonly trainLabels: RemoteFile;
    readonly testImages: RemoteFile;
    readonly testLabels: RemoteFile;
  };
}

const DIGITS = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/** The 70,000 handwritten digits of LeCun, Cortes and Burges: 60,000 to train, 10,000 to test, 28 by 28 pixels. */
export const MNIST: ImageCollection = {
  name: "mnist",
  title: "MNIST",
  classes: DIGITS,
  mirrors: [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
  ],
  files: {
    trainImages: {
      name: "train-images-idx3-ubyte.gz",
      bytes: 9912422,
      sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    },
    trainLabels: {
      name: "train-labels-idx1-ubyte.gz",
      bytes: 28881,
      sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    },
    testImages: {
      name: "t10k-images-idx3-ubyte.gz",
      bytes: 1648877,
      sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    },
    testLabels: {
      name: "t10k-labels-idx1-ubyte.gz",
      bytes: 4542,
      sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
  },
};

/** Zalando's 70,000 pictures of clothes, in MNIST's format and sizes. */
export const FASHION_MNIST: ImageCollection = {
  name: "fashion-mnist",
  title: "Fashion-MNIST",
  classes: [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
  ],
  mirrors: [
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  ],
  files: {
    trainImages: {
      name: "train-images-idx3-ubyte.gz",
      bytes: 26421880,
      sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    },
    trainLabels: {
      name: "train-labels-idx1-ubyte.gz",
      bytes: 29515,
      sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    },
    testImages: {
      name: "t10k-images-idx3-ubyte.gz",
      bytes: 4422102,
      sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    },
    testLabels: {
      name: "t10k-labels-idx1-ubyte.gz",
      bytes: 5148,
      sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
  },
};
