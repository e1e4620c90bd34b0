//! Many rows of x with VNNI: sixteen columns of the weight lie side by side in a panel, so that a register holds four
//! values of each, and four values of a row of x are multiplied with all of them at once.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use super::round::{tile_block, Rounded};
use super::{block_bytes, Error, Scratch, Weight, BLOCK};
use crate::threads::{parallel, Fault, Shared};
use std::arch::x86_64::*;

/// Columns of a panel.
const WIDE: usize = 16;
/// Bytes of a block of a panel: the values of sixteen columns, and their scales.
const PANEL_BLOCK: usize = WIDE * BLOCK + WIDE * 4;
/// Bytes of panels that are used together: they stay in the second cache.
const PANELS_BYTES: usize = 384 << 10;

/// `tile` of some rows: one function for each number, so that sums stay in registers.
macro_rules! by_rows {
    ($words:literal, $rows:ident, $($arg:ident),*) => {
        match $rows.len() {
            1 => tile::<1, $words>($rows, $($arg),*),
            2 => tile::<2, $words>($rows, $($arg),*),
            3 => tile::<3, $words>($rows, $($arg),*),
            4 => tile::<4, $words>($rows, $($arg),*),
            5 => tile::<5, $words>($rows, $($arg),*),
            6 => tile::<6, $words>($rows, $($arg),*),
            7 => tile::<7, $words>($rows, $($arg),*),
            _ => tile::<8, $words>($rows, $($arg),*),
        }
    };
}

/// x times the weight's transpose.
///
/// # Safety
/// x was rounded to tiles; all lie in live memory; `to` overlaps nothing; the processor has VNNI.
pub unsafe fn multiply(x: &Rounded, weight: &Weight, to: *mut f32, threads: usize) -> Result<(), Error> {
    let panels = weight.columns.div_ceil(WIDE);
    let bytes = weight.blocks * PANEL_BLOCK;
    // Few panels a part where there are few altogether.
    let together = (PANELS_BYTES / bytes).clamp(1, 4).min(panels.div_ceil(8));
    let parts = panels.div_ceil(together);
    let work = (x.rows * weight.columns * weight.blocks) as f64;
    let (shared, fault) = (Shared::new(to), Fault::default());
    parallel(threads, parts, work, |part| {
        let range = part * together..panels.min((part + 1) * together);
        let memory = match Scratch::new::<u64>(range.len() * bytes / 8) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        let packed = memory.data::<u8>();
        for (i, panel) in range.clone().enumerate() {
            // SAFETY: the memory has room for all panels; each column has one part.
            unsafe {
                if weight.nibbles {
                    pack::<true>(weight, panel * WIDE, packed.add(i * bytes));
                } else {
                    pack::<false>(weight, panel * WIDE, packed.add(i * bytes));
                }
            }
        }
        for rounded in x.tiles() {
            for (i, panel) in range.clone().enumerate() {
                let count = WIDE.min(weight.columns - panel * WIDE);
                // SAFETY: as above.
                unsafe {
                    let to = shared.get().add(panel * WIDE);
                    let (a, b) = (rounded.data, packed.add(i * bytes).cast_const());
                    let mask = (u32::MAX >> (32 - count)) as u16;
                    let (rows, blocks, width) = (rounded.rows, weight.blocks, weight.columns);
                    if rounded.words {
                        by_rows!(true, rows, a, b, blocks, to, width, mask);
                    } else {
                        by_rows!(false, rows, a, b, blocks, to, width, mask);
                    }
                }
            }
        }
    });
    fault.result()
}

/// Words of 32 bits of four registers, transposed within each 128-bit lane.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transposed(r: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_unpacklo_epi32(r[0], r[1]), _mm512_unpackhi_epi32(r[0], r[1]));
    let (c, d) = (_mm512_unpacklo_epi32(r[2], r[3]), _mm512_unpackhi_epi32(r[2], r[3]));
    [
        _mm512_unpacklo_epi64(a, c),
        _mm512_unpackhi_epi64(a, c),
        _mm512_unpacklo_epi64(b, d),
        _mm512_unpackhi_epi64(b, d),
    ]
}

/// Brings sixteen columns into a panel. Those that the weight has not are copies of its last.
///
/// # Safety
/// The weight lies in live memory, and `to` has room for a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
unsafe fn pack<const NIBBLES: bool>(weight: &Weight, first: usize, to: *mut u8) {
    let columns: [*const u8; WIDE] = std::array::from_fn(|i| weight.row((first + i).min(weight.columns - 1)));
    for block in 0..weight.blocks {
        let at = block * block_bytes(NIBBLES);
        let to = to.add(block * PANEL_BLOCK);
        let half = |i: usize| columns[i].add(at).cast::<i16>().read_unaligned();
        let scales = _mm512_cvtph_ps(_mm256_setr_epi16(
            half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7),
            half(8), half(9), half(10), half(11), half(12), half(13), half(14), half(15),
        ));
        _mm512_storeu_ps(to.add(WIDE * BLOCK).cast(), scales);
        let store = |word: usize, bytes: __m512i| _mm512_storeu_si512(to.add(word * 64).cast(), bytes);
        // Lane l of register i: sixteen bytes of column 4 l + i.
        let load = |i: usize, skip: usize| {
            let part = |lane: usize| _mm_loadu_si128(columns[lane * 4 + i].add(at + 2 + skip).cast());
            let bytes = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(part(0)), part(1));
            _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(bytes, part(2)), part(3))
        };
        for skip in [0, 16] {
            let words = transposed([load(0, skip), load(1, skip), load(2, skip), load(3, skip)]);
            if NIBBLES {
                let mask = _mm512_set1_epi8(15);
                for (i, &word) in words.iter().enumerate() {
                    store(i, _mm512_and_si512(word, mask));
                    store(4 + i, _mm512_and_si512(_mm512_srli_epi16::<4>(word), mask));
                }
                break;
            }
            for (i, &word) in words.iter().enumerate() {
                // 128 above the values: unsigned.
                store(skip / 4 + i, _mm512_xor_si512(word, _mm512_set1_epi8(-128)));
            }
        }
    }
}

/// Products of R rows, whose numbers have one byte or two, with a panel; `to` is where the panel's columns begin in row 0.
///
/// # Safety
/// A tile of these R rows lies at `x`, a panel at `w`; the marked columns of these rows of `to` are this call's.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn tile<const R: usize, const WORDS: bool>(
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
    let step = tile_block(WORDS);
    // What is to be added, and the scale.
    let end = step - 8;
    for _ in 0..blocks {
        let mut whole: [__m512i; R] = if WORDS {
            // High bytes, then 256 times their products and low bytes.
            let mut tops = [_mm512_setzero_si512(); R];
            for k in 0..8 {
                let bytes = _mm512_loadu_si512(w.add(k * 64).cast());
                for r in 0..R {
                    tops[r] = _mm512_dpbusd_epi32(tops[r], bytes, word(x.add(r * step + k * 4)));
                }
            }
            std::array::from_fn(|r| _mm512_add_epi32(_mm512_slli_epi32::<8>(tops[r]), word(x.add(r * step + end))))
        } else {
            std::array::from_fn(|r| word(x.add(r * step + end)))
        };
        let low = end - BLOCK;
        for k in 0..8 {
            let bytes = _mm512_loadu_si512(w.add(k * 64).cast());
            for r in 0..R {
                whole[r] = _mm512_dpbusd_epi32(whole[r], bytes, word(x.add(r * step + low + k * 4)));
            }
        }
        let scales = _mm512_loadu_ps(w.add(WIDE * BLOCK).cast());
        for r in 0..R {
            let scale = _mm512_set1_ps(x.add(r * step + end + 4).cast::<f32>().read_unaligned());
            sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[r]), _mm512_mul_ps(scales, scale), sums[r]);
        }
        x = x.add(R * step);
        w = w.add(PANEL_BLOCK);
    }
    for (&row, &sum) in rows.iter().zip(&sums) {
        _mm512_mask_storeu_ps(to.add(row * columns), mask, sum);
    }
}
