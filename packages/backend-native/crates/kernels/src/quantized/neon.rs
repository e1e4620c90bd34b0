//! Rows of the weight with NEON: bytes are widened and multiplied with numbers of 16 bits.

use super::round::{Rounded, CHUNK_BYTES};
use super::{scale_of, Weight, BLOCK, CHUNK};
use std::arch::aarch64::*;
use std::ops::Range;

#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot16(sum: int32x4_t, w: int8x16_t, x: *const i16) -> int32x4_t {
    let (low, high) = (vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w));
    let (a, b) = (vld1q_s16(x), vld1q_s16(x.add(8)));
    let sum = vmlal_s16(sum, vget_low_s16(low), vget_low_s16(a));
    let sum = vmlal_high_s16(sum, low, a);
    let sum = vmlal_s16(sum, vget_low_s16(high), vget_low_s16(b));
    vmlal_high_s16(sum, high, b)
}

/// As `plain::rows`.
///
/// # Safety
/// x was rounded to words; all lie in live memory.
#[target_feature(enable = "neon")]
pub unsafe fn rows(x: &Rounded, first: usize, count: usize, weight: &Weight, columns: Range<usize>, to: *mut f32) {
    for column in columns {
        for row in 0..count {
            let (from, mut sum) = (x.row(first + row), vdupq_n_f32(0.0));
            for block in 0..weight.blocks {
                let w = weight.row(column).add(block * weight.block_bytes());
                let chunk = from.add(block / CHUNK * CHUNK_BYTES);
                let words = chunk.cast::<i16>().add(block % CHUNK * BLOCK);
                let scale = *chunk.add(CHUNK_BYTES - 32).cast::<f32>().add(block % CHUNK);
                let (a, b) = if weight.nibbles {
                    let bytes = vld1q_u8(w.add(2));
                    let level = |nibble| vsubq_s8(vreinterpretq_s8_u8(nibble), vdupq_n_s8(8));
                    (level(vandq_u8(bytes, vdupq_n_u8(15))), level(vshrq_n_u8::<4>(bytes)))
                } else {
                    (vld1q_s8(w.add(2).cast()), vld1q_s8(w.add(18).cast()))
                };
                let whole = dot16(dot16(vdupq_n_s32(0), a, words), b, words.add(16));
                sum = vfmaq_n_f32(sum, vcvtq_f32_s32(whole), scale * scale_of(w));
            }
            *to.add(row * weight.columns + column) = vaddvq_f32(sum);
        }
    }
}
