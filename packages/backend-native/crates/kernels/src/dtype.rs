//! Element types, and the conversions of 16-bit floats.

/// Element types, numbered like `DTYPE_NAMES` of core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I32,
    U32,
    U8,
    I8,
    Bool,
}

/// Types that programs compute in. A bool is a mask of 32 bits, all ones or all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compute {
    F32,
    F64,
    I32,
    U32,
    Bool,
}

impl DType {
    /// The type with a number, if there is one.
    pub fn from_code(code: usize) -> Option<DType> {
        use DType::*;
        [F32, F64, F16, BF16, I32, U32, U8, I8, Bool].get(code).copied()
    }

    /// Bytes of one element in a buffer.
    pub fn bytes(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 | DType::I8 | DType::Bool => 1,
        }
    }

    /// What it is computed in.
    pub fn compute(self) -> Compute {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => Compute::F32,
            DType::F64 => Compute::F64,
            DType::I32 | DType::I8 => Compute::I32,
            DType::U32 | DType::U8 => Compute::U32,
            DType::Bool => Compute::Bool,
        }
    }

    /// Whether elements lie in memory as they are computed.
    pub fn is_native(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::I32 | DType::U32)
    }
}

impl Compute {
    /// The type with a number, if there is one.
    pub fn from_code(code: usize) -> Option<Compute> {
        use Compute::*;
        [F32, F64, I32, U32, Bool].get(code).copied()
    }

    /// Bytes of one value in a register.
    pub fn bytes(self) -> usize {
        if self == Compute::F64 {
            8
        } else {
            4
        }
    }
}

/// The number that IEEE binary16 bits stand for. Without branches, for loops that compilers turn into vectors.
#[inline(always)]
pub fn half_to_f32(bits: u16) -> f32 {
    let size = (bits & 0x7fff) as u32;
    let sign = ((bits & 0x8000) as u32) << 16;
    let normal = (size << 13) + (112 << 23);
    let special = (size << 13) + (224 << 23);
    let small = (size as f32 * f32::from_bits(0x3380_0000)).to_bits();
    let value = if size < 0x400 { small } else { normal };
    let value = if size >= 0x7c00 { special } else { value };
    f32::from_bits(value | sign)
}

/// IEEE binary16 bits, rounded half to even; too large becomes infinite.
#[inline(always)]
pub fn f32_to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let size = bits & 0x7fff_ffff;
    let rebased = size.wrapping_sub(0x3800_0000);
    let normal = rebased.wrapping_add(0xfff).wrapping_add((rebased >> 13) & 1) >> 13;
    // Subnormal: adding 0.5 leaves multiples of 2^-24 in the low bits, rounded half to even.
    let small = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let result = if size >= 0x3880_0000 { normal } else { small };
    let result = if size >= 0x477f_f000 { 0x7c00 } else { result };
    let result = if size > 0x7f80_0000 { 0x7e00 } else { result };
    (sign | result) as u16
}

/// The number that bfloat16 bits stand for.
#[inline(always)]
pub fn bfloat_to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// bfloat16 bits, rounded half to even.
#[inline(always)]
pub fn f32_to_bfloat(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let result = if bits & 0x7fff_ffff > 0x7f80_0000 { (bits >> 16) | 0x40 } else { rounded };
    result as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_come_back() {
        for bits in 0..=u16::MAX {
            let value = half_to_f32(bits);
            if value.is_nan() {
                assert!(half_to_f32(f32_to_half(value)).is_nan());
            } else {
                assert_eq!(f32_to_half(value), bits, "{value}");
            }
            let wide = bfloat_to_f32(bits);
            if !wide.is_nan() {
                assert_eq!(f32_to_bfloat(wide), bits);
            }
        }
    }

    #[test]
    fn halves_round_to_even_and_overflow() {
        assert_eq!(f32_to_half(2049.0), f32_to_half(2048.0));
        assert_eq!(f32_to_half(2051.0), f32_to_half(2052.0));
        assert_eq!(f32_to_half(65519.0), 0x7bff);
        assert_eq!(f32_to_half(65520.0), 0x7c00);
        assert_eq!(f32_to_half(2f32.powi(-25)), 0);
        assert_eq!(f32_to_half(-(2f32.powi(-24))), 0x8001);
        assert_eq!(f32_to_bfloat(1.0 + 2f32.powi(-8)), 0x3f80);
        assert_eq!(f32_to_bfloat(f32::MAX), 0x7f80);
    }
}
