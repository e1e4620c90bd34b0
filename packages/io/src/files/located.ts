import {
  type MetadataValue,
  type StoredTensor,
  storedTensor,
  type WeightFile,
  type WeightFormat,
} from "../weight-file.ts";
import type { ByteSource } from "./source.ts";

/** A tensor and where in the file its bytes begin. */
export interface Located extends StoredTensor {
  readonly offset: number;
}

/** One file whose header says where the bytes of each tensor lie. */
export class LocatedFile implements WeightFile {
  readonly format: WeightFormat;
  readonly name: string;
  readonly tensors: ReadonlyMap<string, Located>;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly config = undefined;
  readonly #source: ByteSource;

  constructor(
    format: WeightFormat,
    source: ByteSource,
    tensors: ReadonlyMap<string, Located>,
    metadata: ReadonlyMap<string, MetadataValue>,
  ) {
    this.format = format;
    this.name = source.name;
    this.tensors = tensors;
    this.metadata = metadata;
    this.#source = source;
  }

  async read(name: string): Promise<Uint8Array> {
    const { offset, bytes } = storedTensor(this, name);
    return this.#source.read(offset, bytes);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
