/** A value of a GGUF metadata entry with its type's number. */
export type Entry = readonly [type: number, value: unknown];

/** A tensor as the header lists it, innermost dimension first, and its bytes. */
export interface GgufTensor {
  readonly name: string;
  readonly sizes: readonly (number | bigint)[];
  readonly type: number;
  readonly bytes: Uint8Array;
  /** Replaces the right offset. */
  readonly offset?: number | bigint;
}

/** Bytes put together. */
export class Writer {
  readonly parts: number[] = [];

  u8(value: number): this {
    this.parts.push(value & 255);
    return this;
  }
  u32(value: number): this {
    for (let i = 0; i < 4; i++) this.parts.push((value >>> (8 * i)) & 255);
    return this;
  }
  u64(value: number | bigint): this {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let i = 0; i < 8; i++, rest >>= 8n) this.parts.push(Number(rest & 255n));
    return this;
  }
  f32(value: number): this {
    return this.raw(new Uint8Array(Float32Array.of(value).buffer));
  }
  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u64(bytes.length).raw(bytes);
  }
  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.parts.push(byte);
    return this;
  }
  value(type: number, value: unknown): this {
    if (type === 8) return this.string(String(value));
    if (type === 9) {
      const [of, list] = value as [number, readonly unknown[]];
      this.u32(of).u64(list.length);
      for (const one of list) this.value(of, one);
      return this;
    }
    if (type === 6) return this.f32(Number(value));
    if (type === 7 || type === 0 || type === 1) return this.u8(Number(value));
    if (type === 4 || type === 5) return this.u32(Number(value));
    return this.u64(value as number | bigint);
  }
  bytes(): Uint8Array {
    return Uint8Array.from(this.parts);
  }
}

/** A GGUF file, version 3. */
export function gguf(
  entries: readonly (readonly [string, Entry])[],
  tensors: readonly GgufTensor[] = [],
  counts: { readonly tensors?: number | bigint; readonly entries?: number | bigint } = {},
): Uint8Array {
  const writer = new Writer().u32(0x46554747).u32(3);
  writer.u64(counts.tensors ?? tensors.length).u64(counts.entries ?? entries.length);
  for (const [key, [type, value]] of entries) writer.string(key).u32(type).value(type, value);
  let offset = 0;
  for (const { name, sizes, type, bytes, offset: given } of tensors) {
    writer.string(name).u32(sizes.length);
    for (const size of sizes) writer.u64(size);
    writer.u32(type).u64(given ?? offset);
    offset += Math.ceil(bytes.length / 32) * 32;
  }
  const pad = (): void => {
    while (writer.parts.length % 32 !== 0) writer.u8(0);
  };
  if (tensors.length > 0) pad();
  for (const { bytes } of tensors) {
    writer.raw(bytes);
    pad();
  }
  return writer.bytes();
}
