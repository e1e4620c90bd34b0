import type { FileCollection, RemoteFile } from "../files/collection.ts";

/** All of Shakespeare's plays that one megabyte holds, as collected for char-rnn. */
export const TINY_SHAKESPEARE: FileCollection & { readonly files: { readonly text: RemoteFile } } = {
  name: "tinyshakespeare",
  title: "tinyshakespeare",
  mirrors: ["https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"],
  files: {
    text: {
      name: "input.txt",
      bytes: 1115394,
      sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    },
  },
};

/** Large Movie Review Dataset (Maas et al. 2011), as the archive that Stanford publishes. */
export const IMDB: FileCollection & { readonly files: { readonly archive: RemoteFile } } = {
  name: "imdb",
  title: "IMDb",
  mirrors: ["https://ai.stanford.edu/~amaas/data/sentiment/"],
  files: {
    archive: {
      name: "aclImdb_v1.tar.gz",
      bytes: 84125825,
      sha256: "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    },
  },
};

/** The three files of {@link SST2}. */
export interface Sst2Files {
  readonly train: RemoteFile;
  readonly validation: RemoteFile;
  readonly test: RemoteFile;
}

/** Stanford Sentiment Treebank (Socher et al. 2013), whole sentences, two classes, with labels in all three parts. */
export const SST2: FileCollection & { readonly files: Sst2Files & Readonly<Record<string, RemoteFile>> } = {
  name: "sst2",
  title: "SST-2",
  mirrors: ["https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/master/data/SST2/"],
  files: {
    train: {
      name: "train.tsv",
      bytes: 720259,
      sha256: "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    },
    validation: {
      name: "dev.tsv",
      bytes: 92057,
      sha256: "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    },
    test: {
      name: "test.tsv",
      bytes: 188749,
      sha256: "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
    },
  },
};

/** Languages of {@link multi30kCollection}. */
export type Multi30kLanguage = "en" | "de" | "fr";

/** First part of the names of Multi30k's files. */
export const MULTI30K_PARTS = { train: "train", validation: "val", test: "test_2016_flickr" } as const;

const MULTI30K_FILES: Readonly<Record<string, readonly [bytes: number, sha256: string]>> = {
  "train.en.gz": [568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"],
  "train.de.gz": [637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"],
  "train.fr.gz": [604242, "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"],
  "val.en.gz": [21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"],
  "val.de.gz": [24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"],
  "val.fr.gz": [23001, "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"],
  "test_2016_flickr.en.gz": [21077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"],
  "test_2016_flickr.de.gz": [22890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"],
  "test_2016_flickr.fr.gz": [22310, "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90"],
};

/** Captions of photographs in several languages (Elliott et al. 2016, arXiv:1605.00459): the files of some of them. */
export function multi30kCollection(languages: readonly Multi30kLanguage[]): FileCollection {
  const names = Object.values(MULTI30K_PARTS).flatMap((part) =>
    languages.map((language) => `${part}.${language}.gz`),
  );
  return {
    name: "multi30k",
    title: "Multi30k",
    mirrors: ["https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"],
    files: Object.fromEntries(
      names.map((name) => {
        const [bytes, sha256] = MULTI30K_FILES[name] as readonly [number, string];
        return [name, { name, bytes, sha256 }];
      }),
    ),
  };
}
