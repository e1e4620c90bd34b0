//! Rows of the weight with AVX2, and with AVX-512 where it multiplies bytes (VNNI).

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use super::round::{Layout, Rounded, CHUNK_BYTES};
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

/// The same for blocks of nibbles: four scales lie within one register's reach.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,f16c")]
unsafe fn nibble_scales(w: *const u8) -> __m256 {
    let load = |at: usize| _mm512_loadu_si512(w.add(at).cast());
    let index = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 32, 41, 50, 59));
    let halves = _mm512_permutex2var_epi16(load(0), index, load(72));
    _mm256_cvtph_ps(_mm512_castsi512_si128(halves))
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
pub unsafe fn rows_avx2(
    x: &Rounded,
    first: usize,
    count: usize,
    weight: &Weight,
    columns: Range<usize>,
    to: *mut f32,
) {
    by_count!(avx2, x, first, count, weight, columns, to);
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2_chunk<const NIBBLES: bool, const M: usize>(
    w: *const u8,
    x: [*const u8; M],
    sums: &mut [__m256; M],
) {
    let mut factors = [[0f32; CHUNK]; M];
    let own = scales(w, block_bytes(NIBBLES));
    for m in 0..M {
        let other = _mm256_loadu_ps(x[m].add(Layout::Words.chunk() - 32).cast());
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
            at = at.map(|row| row.wrapping_add(Layout::Words.chunk()));
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

/// As `plain::rows`, for at most four rows.
///
/// # Safety
/// x was rounded to pairs (bytes) or quads (nibbles); all lie in live memory; the processor has VNNI.
pub unsafe fn rows_vnni(
    x: &Rounded,
    first: usize,
    count: usize,
    weight: &Weight,
    columns: Range<usize>,
    to: *mut f32,
) {
    by_count!(vnni, x, first, count, weight, columns, to);
}

/// Which scales a register of sums is multiplied with: each of two blocks has eight lanes, or each of four has four.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn lanes(first: i32, each: i32) -> __m512i {
    let lane = |i: i32| first + i / each;
    _mm512_setr_epi32(
        lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7),
        lane(8), lane(9), lane(10), lane(11), lane(12), lane(13), lane(14), lane(15),
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn vnni_chunk<const NIBBLES: bool, const M: usize>(
    w: *const u8,
    x: [*const u8; M],
    sums: &mut [[__m512; 2]; M],
) {
    let layout = if NIBBLES { Layout::Quads } else { Layout::Pairs };
    let size = block_bytes(NIBBLES);
    let own = if NIBBLES { nibble_scales(w) } else { scales(w, size) };
    let factors: [__m512; M] = std::array::from_fn(|m| {
        let other = _mm256_loadu_ps(x[m].add(layout.chunk() - 32).cast());
        _mm512_castps256_ps512(_mm256_mul_ps(own, other))
    });
    let zero = _mm512_setzero_si512();
    let load = |at: *const u8| _mm512_loadu_si512(at.cast());
    if NIBBLES {
        for quad in 0..2 {
            let block = |i: usize| _mm_loadu_si128(w.add((quad * 4 + i) * 18 + 2).cast());
            let bytes = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(block(0)), block(1));
            let bytes = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(bytes, block(2)), block(3));
            let mask = _mm512_set1_epi8(15);
            let low = _mm512_and_si512(bytes, mask);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
            let index = lanes(quad as i32 * 4, 4);
            for m in 0..M {
                let at = x[m].add(quad * 256);
                let tops = _mm512_dpbusd_epi32(zero, low, load(at));
                let tops = _mm512_dpbusd_epi32(tops, high, load(at.add(64)));
                let ends = _mm512_dpbusd_epi32(load(x[m].add(CHUNK_BYTES + quad * 64)), low, load(at.add(128)));
                let ends = _mm512_dpbusd_epi32(ends, high, load(at.add(192)));
                let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(tops), ends));
                let factor = _mm512_permutexvar_ps(index, factors[m]);
                sums[m][quad] = _mm512_fmadd_ps(whole, factor, sums[m][quad]);
            }
        }
        return;
    }
    for pair in 0..4 {
        let block = |i: usize| _mm256_loadu_si256(w.add((pair * 2 + i) * 34 + 2).cast());
        let bytes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(block(0)), block(1));
        // 128 above the values: unsigned.
        let bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
        let index = lanes(pair as i32 * 2, 8);
        for m in 0..M {
            let at = x[m].add(pair * 128);
            let tops = _mm512_dpbusd_epi32(zero, bytes, load(at));
            let ends = _mm512_dpbusd_epi32(load(x[m].add(CHUNK_BYTES + pair * 64)), bytes, load(at.add(64)));
            let whole = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(tops), ends));
            let factor = _mm512_permutexvar_ps(index, factors[m]);
            sums[m][pair % 2] = _mm512_fmadd_ps(whole, factor, sums[m][pair % 2]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn vnni<const NIBBLES: bool, const M: usize>(
    x: &Rounded,
    first: usize,
    weight: &Weight,
    columns: Range<usize>,
    to: *mut f32,
) {
    let size = block_bytes(NIBBLES);
    let chunk = if NIBBLES { Layout::Quads } else { Layout::Pairs }.chunk();
    let (whole, rest) = (weight.blocks / CHUNK, weight.blocks % CHUNK);
    let rows: [*const u8; M] = std::array::from_fn(|m| x.row(first + m));
    for column in columns {
        let mut w = weight.row(column);
        let mut at = rows;
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        for _ in 0..whole {
            vnni_chunk::<NIBBLES, M>(w, at, &mut sums);
            w = w.add(CHUNK * size);
            at = at.map(|row| row.wrapping_add(chunk));
        }
        if rest > 0 {
            vnni_chunk::<NIBBLES, M>(padded(w, rest * size).as_ptr(), at, &mut sums);
        }
        for m in 0..M {
            let sum = _mm512_reduce_add_ps(_mm512_add_ps(sums[m][0], sums[m][1]));
            *to.add(m * weight.columns + column) = sum;
        }
    }
}
