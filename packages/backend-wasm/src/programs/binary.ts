/** Bytes of a WebAssembly module, appended piece by piece. */
export class ByteWriter {
  private readonly bytes: number[] = [];

  /** Appends bytes as they are. */
  raw(...bytes: readonly number[]): this {
    this.bytes.push(...bytes);
    return this;
  }

  /** Appends an unsigned number in LEB128. */
  unsigned(value: number): this {
    let rest = value >>> 0;
    do {
      const low = rest & 0x7f;
      rest >>>= 7;
      this.bytes.push(rest === 0 ? low : low | 0x80);
    } while (rest !== 0);
    return this;
  }

  /** Appends a signed 32-bit number in LEB128. */
  signed(value: number): this {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      const ends = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
      this.bytes.push(ends ? low : low | 0x80);
      if (ends) return this;
    }
  }

  /** Appends a length and a text of ASCII letters. */
  name(text: string): this {
    this.unsigned(text.length);
    for (let i = 0; i < text.length; i++) this.bytes.push(text.charCodeAt(i));
    return this;
  }

  /** Appends a length and another writer's bytes. */
  sized(inner: ByteWriter): this {
    this.unsigned(inner.bytes.length);
    for (const byte of inner.bytes) this.bytes.push(byte);
    return this;
  }

  /** Appends a section of a module. */
  section(id: number, content: ByteWriter): this {
    return this.raw(id).sized(content);
  }

  /** All bytes so far. */
  finish(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}
