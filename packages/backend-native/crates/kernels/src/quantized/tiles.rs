//! Rows of x with VNNI. Sixteen columns of the weight lie side by side in a panel (`panels.rs`), so that a register holds
//! four values of each, and four values of a row of x are multiplied with all of them at once.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use super::panels::{panel_bytes, places, value_bytes, WIDE};
use super::round::{factors, tile_block, Rounded, MOST, TILE_ROWS};
use super::{block_bytes, Error, Scratch, Weight, BLOCK};
use crate::threads::{parallel, Fault, Shared};
use std::arch::x86_64::*;

/// Bytes of panels that are used together: they stay in the second cache.
const PANELS_BYTES: usize = 384 << 10;
/// Bytes of panels that are worth a part of their own.
const PART_BYTES: usize = 32 << 10;

/// `tile` of some rows: one function for each number, so that sums stay in registers.
macro_rules! by_rows {
    ($words:literal, $nibbles:literal, $rows:ident, $($arg:ident),*) => {
        match $rows.len() {
            1 => tile::<1, $words, $nibbles>($rows, $($arg),*),
            2 => tile::<2, $words, $nibbles>($rows, $($arg),*),
            3 => tile::<3, $words, $nibbles>($rows, $($arg),*),
            4 => tile::<4, $words, $nibbles>($rows, $($arg),*),
            5 => tile::<5, $words, $nibbles>($rows, $($arg),*),
            6 => tile::<6, $words, $nibbles>($rows, $($arg),*),
            7 => tile::<7, $words, $nibbles>($rows, $($arg),*),
            _ => tile::<8, $words, $nibbles>($rows, $($arg),*),
        }
    };
}

/// x times the weight's transpose.
///
/// # Safety
/// x was rounded to tiles; all lie in live memory; `to` overlaps nothing; the processor has VNNI.
pub unsafe fn multiply(x: &Rounded, weight: &Weight, to: *mut f32, threads: usize) -> Result<(), Error> {
    let panels = weight.columns.div_ceil(WIDE);
    let bytes = panel_bytes(weight.nibbles, weight.blocks);
    let together = if weight.panels && x.rows <= TILE_ROWS {
        // Each is read once, in order.
        panels.div_ceil(64).max(PART_BYTES.div_ceil(bytes))
    } else {
        // Few panels a part where there are few altogether.
        (PANELS_BYTES / bytes).clamp(1, 4).min(panels.div_ceil(8))
    };
    let parts = panels.div_ceil(together);
    let work = (x.rows * weight.columns * weight.blocks) as f64;
    let (shared, fault) = (Shared::new(to), Fault::default());
    parallel(threads, parts, work, |part| {
        let range = part * together..panels.min((part + 1) * together);
        let memory = match Scratch::new::<u64>(if weight.panels { 0 } else { range.len() * bytes / 8 }) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        let mut packed = memory.data::<u8>().cast_const();
        if weight.panels {
            packed = weight.data.wrapping_add(range.start * bytes);
        } else {
            for (i, panel) in range.clone().enumerate() {
                // SAFETY: the memory has room for all panels.
                unsafe {
                    let to = memory.data::<u8>().add(i * bytes);
                    if weight.nibbles {
                        pack::<true>(weight, panel * WIDE, to);
                    } else {
                        pack::<false>(weight, panel * WIDE, to);
                    }
                }
            }
        }
        for rounded in x.tiles() {
            for (i, panel) in range.clone().enumerate() {
                let count = WIDE.min(weight.columns - panel * WIDE);
                // SAFETY: each column has one part.
                unsafe {
                    let to = shared.get().add(panel * WIDE);
                    let (a, b) = (rounded.data, packed.add(i * bytes));
                    let mask = (u32::MAX >> (32 - count)) as u16;
                    let (rows, blocks, width) = (rounded.rows, weight.blocks, weight.columns);
                    match (rounded.words, weight.nibbles) {
                        (true, true) => by_rows!(true, true, rows, a, b, blocks, to, width, mask),
                        (true, false) => by_rows!(true, false, rows, a, b, blocks, to, width, mask),
                        (false, true) => by_rows!(false, true, rows, a, b, blocks, to, width, mask),
                        (false, false) => by_rows!(false, false, rows, a, b, blocks, to, width, mask),
                    }
                }
            }
        }
    });
    fault.result()
}

/// As `round::tile_row` for numbers of two bytes, with the same results.
///
/// # Safety
/// A row of so many blocks lies at `x`, and `to` has room for its numbers; the processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn round_words(x: *const f32, blocks: usize, to: *mut u8, step: usize, offset: i32) -> bool {
    let mut all_finite = true;
    for block in 0..blocks {
        let x = x.add(block * BLOCK);
        let (a, b) = (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16)));
        let size = |x| _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fff_ffff));
        let greatest = f32::from_bits(_mm512_reduce_max_epu32(_mm512_max_epu32(size(a), size(b))));
        let (inverse, scale, finite) = factors(greatest, MOST);
        all_finite &= finite;
        // What is not finite must not meet the factor 0.
        let used = if inverse == 0.0 { 0 } else { u16::MAX };
        let level = |x| _mm512_cvtps_epi32(_mm512_maskz_mul_ps(used, x, _mm512_set1_ps(inverse)));
        let (a, b) = (level(a), level(b));
        let to = to.add(block * step);
        let store = |at: usize, levels: __m512i| {
            let high = _mm512_srai_epi32::<8>(_mm512_add_epi32(levels, _mm512_set1_epi32(128)));
            _mm_storeu_si128(to.add(at).cast(), _mm512_cvtepi32_epi8(high));
            // The low byte of what is left is that of all.
            _mm_storeu_si128(to.add(BLOCK + at).cast(), _mm512_cvtepi32_epi8(levels));
        };
        store(0, a);
        store(16, b);
        let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
        to.add(2 * BLOCK).cast::<i32>().write_unaligned(-offset * sum);
        to.add(2 * BLOCK + 4).cast::<f32>().write_unaligned(scale);
    }
    all_finite
}

/// Words of 32 bits of four registers, transposed within each 128-bit lane.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transposed(r: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[0], r[1]));
    let (c, d) = (_mm512_unpacklo_epi32(r[2], r[3]), _mm512_unpackhi_epi32(r[2], r[3]));
    [_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)]
}

/// Brings sixteen columns into a panel. Those that the weight has not are copies of its last.
///
/// # Safety
/// The weight lies in live memory in rows, and `to` has room for a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
unsafe fn pack<const NIBBLES: bool>(weight: &Weight, first: usize, to: *mut u8) {
    let columns: [*const u8; WIDE] = std::array::from_fn(|i| weight.row((first + i).min(weight.columns - 1)));
    for block in 0..weight.blocks {
        let at = block * block_bytes(NIBBLES);
        let (values, scales) = places(NIBBLES, weight.blocks, block);
        let half = |i: usize| columns[i].add(at).cast::<i16>().read_unaligned();
        let halves = _mm256_setr_epi16(
            half(0),
            half(1),
            half(2),
            half(3),
            half(4),
            half(5),
            half(6),
            half(7),
            half(8),
            half(9),
            half(10),
            half(11),
            half(12),
            half(13),
            half(14),
            half(15),
        );
        _mm256_storeu_si256(to.add(scales).cast(), halves);
        // Lane l of register i: sixteen bytes of column 4 l + i.
        let load = |i: usize, skip: usize| {
            let part = |lane: usize| _mm_loadu_si128(columns[lane * 4 + i].add(at + 2 + skip).cast());
            let bytes = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(part(0)), part(1));
            _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(bytes, part(2)), part(3))
        };
        let flip = _mm512_set1_epi8(if NIBBLES { 0 } else { -128 });
        for skip in (0..if NIBBLES { 16 } else { 32 }).step_by(16) {
            let words = transposed([load(0, skip), load(1, skip), load(2, skip), load(3, skip)]);
            for (i, &word) in words.iter().enumerate() {
                let to = to.add(values + (skip / 4 + i) * 4 * WIDE);
                _mm512_storeu_si512(to.cast(), _mm512_xor_si512(word, flip));
            }
        }
    }
}

/// Products of R rows, whose numbers have one byte or two, with a panel; `to` is where the panel's columns begin in row 0.
///
/// # Safety
/// A tile of these R rows lies at `x`, a panel at `w`; the marked columns of these rows of `to` are this call's.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn tile<const R: usize, const WORDS: bool, const NIBBLES: bool>(
    rows: &[usize],
    mut x: *const u8,
    mut w: *const u8,
    blocks: usize,
    to: *mut f32,
    columns: usize,
    mask: __mmask16,
) {
    let mut sums = [_mm512_setzero_ps(); R];
    let word = |at: *const u8| _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
    let (step, values) = (tile_block(WORDS), value_bytes(NIBBLES));
    // What is to be added, and the scale, lie behind the low bytes.
    let end = step - 8;
    let low = end - BLOCK;
    // Adds products with the numbers' bytes that lie `$skip` behind the beginning of their row.
    macro_rules! products {
        ($from:ident, $($to:ident, $skip:expr);+) => {
            for k in 0..values / (4 * WIDE) {
                let bytes = _mm512_loadu_si512($from.add(k * 4 * WIDE).cast());
                let nibble = _mm512_set1_epi8(15);
                let first = if NIBBLES { _mm512_and_si512(bytes, nibble) } else { bytes };
                for r in 0..R {
                    $($to[r] = _mm512_dpbusd_epi32($to[r], first, word(x.add(r * step + $skip + k * 4)));)+
                }
                if NIBBLES {
                    let second = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble);
                    for r in 0..R {
                        $($to[r] = _mm512_dpbusd_epi32($to[r], second, word(x.add(r * step + $skip + BLOCK / 2 + k * 4)));)+
                    }
                }
            }
        };
    }
    for block in 0..blocks {
        let odd = block % 2;
        let together = if block + 1 - odd < blocks { 2 } else { 1 };
        let (from, scales) = (w.add(odd * values), w.add(together * values + odd * 2 * WIDE));
        let mut whole: [__m512i; R] = std::array::from_fn(|r| word(x.add(r * step + end)));
        if WORDS {
            // 256 times what high bytes give, and what low ones do.
            let mut tops = [_mm512_setzero_si512(); R];
            if R > 4 {
                // Registers for both at once are too few.
                products!(from, tops, 0);
                products!(from, whole, low);
            } else {
                products!(from, tops, 0; whole, low);
            }
            for r in 0..R {
                whole[r] = _mm512_add_epi32(_mm512_slli_epi32::<8>(tops[r]), whole[r]);
            }
        } else {
            products!(from, whole, low);
        }
        let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
        for r in 0..R {
            let scale = _mm512_set1_ps(x.add(r * step + end + 4).cast::<f32>().read_unaligned());
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[r]), _mm512_mul_ps(scales, scale), sums[r]);
        }
        x = x.add(R * step);
        w = w.add(odd * panel_bytes(NIBBLES, 2));
    }
    for (&row, &sum) in rows.iter().zip(&sums) {
        _mm512_mask_storeu_ps(to.add(row * columns), mask, sum);
    }
}
