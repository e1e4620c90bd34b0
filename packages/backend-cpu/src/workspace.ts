/** Longest scratch array that is kept between calls, in elements (128 MiB of doubles). */
const LONGEST_KEPT = 1 << 24;

/**
 * Scratch memory by name, kept between calls so that steady work allocates nothing. Contents are unspecified; two
 * users in one call take different names.
 */
export class Workspace {
  private readonly doubles = new Map<string, Float64Array>();
  private readonly ints = new Map<string, Int32Array>();

  /** At least `length` doubles. */
  float64(name: string, length: number): Float64Array {
    const known = this.doubles.get(name);
    if (known !== undefined && known.length >= length) return known;
    const made = new Float64Array(grown(length));
    if (length <= LONGEST_KEPT) this.doubles.set(name, made);
    return made;
  }

  /** At least `length` 32-bit integers. */
  int32(name: string, length: number): Int32Array {
    const known = this.ints.get(name);
    if (known !== undefined && known.length >= length) return known;
    const made = new Int32Array(grown(length));
    if (length <= LONGEST_KEPT) this.ints.set(name, made);
    return made;
  }
}

function grown(length: number): number {
  return length <= LONGEST_KEPT ? Math.ceil(length * 1.25) : length;
}
