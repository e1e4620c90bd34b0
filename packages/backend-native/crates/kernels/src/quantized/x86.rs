//! Rows of the weight with AVX2.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use super::round::{Rounded, CHUNK_BYTES};
use super::{block_bytes, Weight, BLOCK, CHUNK};
use std::arch::x86_64::*;
use std::ops::Range;

/// The scales of a chunk's eight blocks.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn scales(w: *const u8, size: usize) -> __m256 {
    let half = |i: usize| w.add(i * size).cast::<i16>().read_unaligned();
    _mm256_cvtph_ps(_mm_set_epi16(half(7), half(6), half(5), half(4), half(3), half(2), half(1), half(0)))
}

/// Where a chunk of fewer than eight blocks is copied to: what is missing are zeros.
#[inline(always)]
unsafe fn padded(w: *const u8, bytes: usize) -> [u8; CHUNK * block_bytes(false)] {
    let mut copy = [0; CHUNK * block_bytes(false)];
    std::ptr::copy_nonoverlapping(w, copy.as_mut_ptr(), bytes);
    copy
}

/// `rows` of `count` rows: one function for each count, so that sums stay in registers.
macro_rules! by_count {
    ($body:ident, $x:ident, $first:ident, $count:ident, $weight:ident, $columns:ident, $to:ident) => {
        match ($weight.nibbles, $count) {
            (false, 1) => $body::<false, 1>($x, $first, $weight, $columns, $to),
            (false, 2) => $body::<false, 2>($x, $first, $weight, $columns, $to),
            (false, 3) => $body::<false, 3>($x, $first, $weight, $columns, $to),
            (false, _) => $body::<false, 4>($x, $first, $weight, $columns, $to),
            (true, 1) => $body::<true, 1>($x, $first, $weight, $columns, $to),
            (true, 2) => $body::<true, 2>($x, $first, $weight, $columns, $to),
            (true, 3) => $body::<true, 3>($x, $first, $weight, $columns, $to),
            (true, _) => $body::<true, 4>($x, $first, $weight, $columns, $to),
        }
    };
}

/// As `plain::rows`, for at most four rows.
///
/// # Safety
/// x was rounded to words; all lie in live memory; the processor has AVX2 and F16C.
pub unsafe fn rows_avx2(x: &Rounded, first: usize, count: usize, weight: &Weight, columns: Range<usize>, to: *mut f32) {
    by_count!(avx2, x, first, count, weight, columns, to);
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_chunk<const NIBBLES: bool, const M: usize>(w: *const u8, x: [*const u8; M], sums: &mut [__m256; M]) {
    let mut factors = [[0f32; CHUNK]; M];
    let own = scales(w, block_bytes(NIBBLES));
    for m in 0..M {
        let other = _mm256_loadu_ps(x[m].add(CHUNK_BYTES - 32).cast());
        _mm256_storeu_ps(factors[m].as_mut_ptr(), _mm256_mul_ps(own, other));
    }
    for block in 0..CHUNK {
        let w = w.add(block * block_bytes(NIBBLES) + 2);
        let (a, b) = if NIBBLES {
            let bytes = _mm_loadu_si128(w.cast());
            let (low, eight) = (_mm_set1_epi8(15), _mm_set1_epi8(8));
            let high = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low);
            (_mm_sub_epi8(_mm_and_si128(bytes, low), eight), _mm_sub_epi8(high, eight))
        } else {
            (_mm_loadu_si128(w.cast()), _mm_loadu_si128(w.add(16).cast()))
        };
        let (a, b) = (_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b));
        for m in 0..M {
            let words: *const __m256i = x[m].add(block * BLOCK * 2).cast();
            let whole = _mm256_add_epi32(
                _mm256_madd_epi16(a, _mm256_loadu_si256(words)),
                _mm256_madd_epi16(b, _mm256_loadu_si256(words.add(1))),
            );
            let factor = _mm256_broadcast_ss(&factors[m][block]);
            sums[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), factor, sums[m]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<const NIBBLES: bool, const M: usize>(
    x: &Rounded,
    first: usize,
    weight: &Weight,
    columns: Range<usize>,
    to: *mut f32,
) {
    let size = block_bytes(NIBBLES);
    let (whole, rest) = (weight.blocks / CHUNK, weight.blocks % CHUNK);
    let rows: [*const u8; M] = std::array::from_fn(|m| x.row(first + m));
    for column in columns {
        let mut w = weight.row(column);
        let mut at = rows;
        let mut sums = [_mm256_setzero_ps(); M];
        for _ in 0..whole {
            avx2_chunk::<NIBBLES, M>(w, at, &mut sums);
            w = w.add(CHUNK * size);
            at = at.map(|row| row.wrapping_add(CHUNK_BYTES));
        }
        if rest > 0 {
            avx2_chunk::<NIBBLES, M>(padded(w, rest * size).as_ptr(), at, &mut sums);
        }
        for m in 0..M {
            let half = _mm_add_ps(_mm256_castps256_ps128(sums[m]), _mm256_extractf128_ps::<1>(sums[m]));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            let one = _mm_add_ss(pair, _mm_movehdup_ps(pair));
            *to.add(m * weight.columns + column) = _mm_cvtss_f32(one);
        }
    }
}
