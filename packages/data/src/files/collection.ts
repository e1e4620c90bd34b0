/** A published file and what proves that it is whole. */
export interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 of the file as published (compressed), in hexadecimal. */
  readonly sha256: string;
}

/** Files that are published together. */
export interface FileCollection {
  /** Short name, also that of the folder that holds the files. */
  readonly name: string;
  readonly title: string;
  /** Addresses that the names of files are appended to, in order of preference; none if nobody publishes them. */
  readonly mirrors: readonly string[];
  readonly files: Readonly<Record<string, RemoteFile>>;
}
