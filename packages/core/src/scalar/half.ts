const floatBits = new Uint32Array(1);
const float = new Float32Array(floatBits.buffer);

/** IEEE binary16 bits of a number, rounded half to even; too large becomes infinite. */
export function toHalfBits(value: number): number {
  float[0] = value;
  const bits = floatBits[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  // Subnormal: multiples of 2^-24, and float32 rounding of the scaled value is not yet the integer rounding.
  const scaled = Math.abs(float[0] as number) * 16777216;
  const whole = Math.floor(scaled);
  const rest = scaled - whole;
  return sign | (rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole);
}

/** The number that IEEE binary16 bits stand for. */
export function fromHalfBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** bfloat16 bits of a number, rounded half to even. */
export function toBfloatBits(value: number): number {
  float[0] = value;
  const bits = floatBits[0] as number;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The number that bfloat16 bits stand for. */
export function fromBfloatBits(bits: number): number {
  floatBits[0] = bits << 16;
  return float[0] as number;
}
