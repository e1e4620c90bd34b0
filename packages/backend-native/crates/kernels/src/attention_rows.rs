//! Queries of several heads that share their keys, with AVX-512: each key and value is read once for four of them, and
//! sixteen products are added up across lanes together.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use crate::attention_step::STRETCH;
use std::arch::x86_64::*;

/// Rows that meet a key while it is in registers.
const TOGETHER: usize = 4;
/// Lanes of a vector, and products that are added up together.
const LANES: usize = 16;

/// Sums of sixteen vectors, as one.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn added(v: [__m512; LANES]) -> __m512 {
    let double = |x: __m512| _mm512_castps_pd(x);
    // Of each pair, both in turns; then of each four, one after the other; what is left lies in four quarters.
    let pairs: [__m512; 8] = std::array::from_fn(|i| {
        let (a, b) = (v[2 * i], v[2 * i + 1]);
        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b))
    });
    let fours: [__m512; 4] = std::array::from_fn(|i| {
        let (a, b) = (double(pairs[2 * i]), double(pairs[2 * i + 1]));
        let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    });
    let quarters =
        |a: __m512, b: __m512| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    quarters(quarters(fours[0], fours[1]), quarters(fours[2], fours[3]))
}

/// Products of R rows with K keys, which are sixteen together: those of a row side by side.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn products<const R: usize, const K: usize>(q: [*const f32; R], k: [*const f32; K], width: usize) -> __m512 {
    let mut sums = [_mm512_setzero_ps(); LANES];
    let mut at = 0;
    while at < width {
        let mask = mask_of(width - at);
        let keys: [__m512; K] = std::array::from_fn(|j| _mm512_maskz_loadu_ps(mask, k[j].wrapping_add(at)));
        for r in 0..R {
            let x = _mm512_maskz_loadu_ps(mask, q[r].wrapping_add(at));
            for j in 0..K {
                sums[r * K + j] = _mm512_fmadd_ps(x, keys[j], sums[r * K + j]);
            }
        }
        at += LANES;
    }
    added(sums)
}

/// The first so many lanes, all where there are more.
#[inline(always)]
fn mask_of(count: usize) -> __mmask16 {
    if count >= LANES {
        u16::MAX
    } else {
        (1 << count) - 1
    }
}

/// Products of R rows with all keys, K at a time. `to` has a row of `keys` for each.
#[target_feature(enable = "avx512f")]
unsafe fn dots_of<const R: usize, const K: usize>(
    q: [*const f32; R],
    k: *const f32,
    step: isize,
    keys: usize,
    width: usize,
    to: *mut f32,
) {
    for first in (0..keys).step_by(K) {
        // Behind the last key, it again.
        let rows = std::array::from_fn(|j| k.offset((first + j).min(keys - 1) as isize * step));
        let mut all = [0f32; LANES];
        _mm512_storeu_ps(all.as_mut_ptr(), products::<R, K>(q, rows, width));
        let count = K.min(keys - first);
        for r in 0..R {
            std::ptr::copy_nonoverlapping(all.as_ptr().add(r * K), to.add(r * keys + first), count);
        }
    }
}

/// Products of rows with keys, rows of so many dense elements that lie `step` apart: for each row of `q`, `keys` of them in
/// `to`.
///
/// # Safety
/// All lie in live memory; the processor has AVX-512.
pub unsafe fn dots(q: &[*const f32], k: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) {
    let mut row = 0;
    while row + TOGETHER <= q.len() {
        let rows = std::array::from_fn(|i| q[row + i]);
        dots_of::<TOGETHER, 4>(rows, k, step, keys, width, to.add(row * keys));
        row += TOGETHER;
    }
    for (row, &q) in q.iter().enumerate().skip(row) {
        dots_of::<1, LANES>([q], k, step, keys, width, to.add(row * keys));
    }
}

/// For R rows of `p`, sums of V vectors of each value; the last has the marked lanes.
#[target_feature(enable = "avx512f")]
unsafe fn mixed<const R: usize, const V: usize>(
    p: *const f32,
    v: *const f32,
    step: isize,
    keys: usize,
    mask: __mmask16,
    to: [*mut f32; R],
) {
    let mut totals = [[_mm512_setzero_ps(); V]; R];
    for first in (0..keys).step_by(STRETCH) {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        for key in first..keys.min(first + STRETCH) {
            let row = v.offset(key as isize * step);
            let values: [__m512; V] = std::array::from_fn(|i| _mm512_maskz_loadu_ps(mask, row.wrapping_add(i * LANES)));
            for r in 0..R {
                let share = _mm512_set1_ps(*p.add(r * keys + key));
                for i in 0..V {
                    sums[r][i] = _mm512_fmadd_ps(share, values[i], sums[r][i]);
                }
            }
        }
        for r in 0..R {
            for i in 0..V {
                totals[r][i] = _mm512_add_ps(totals[r][i], sums[r][i]);
            }
        }
    }
    for r in 0..R {
        for i in 0..V {
            _mm512_mask_storeu_ps(to[r].wrapping_add(i * LANES), mask, totals[r][i]);
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn mix_of<const R: usize>(
    p: *const f32,
    v: *const f32,
    step: isize,
    keys: usize,
    width: usize,
    to: [*mut f32; R],
) {
    let mut at = 0;
    let from = |at: usize| to.map(|row| row.wrapping_add(at));
    while at + 4 * LANES <= width {
        mixed::<R, 4>(p, v.wrapping_add(at), step, keys, u16::MAX, from(at));
        at += 4 * LANES;
    }
    while at < width {
        mixed::<R, 1>(p, v.wrapping_add(at), step, keys, mask_of(width - at), from(at));
        at += LANES;
    }
}

/// For each row of `p`, `keys` shares: the sum of the values times these.
///
/// # Safety
/// All lie in live memory, rows of `to` overlap nothing; the processor has AVX-512.
pub unsafe fn mix(p: *const f32, v: *const f32, step: isize, keys: usize, width: usize, to: &[*mut f32]) {
    let mut row = 0;
    while row + TOGETHER <= to.len() {
        mix_of::<TOGETHER>(p.add(row * keys), v, step, keys, width, std::array::from_fn(|i| to[row + i]));
        row += TOGETHER;
    }
    for (row, &to) in to.iter().enumerate().skip(row) {
        mix_of::<1>(p.add(row * keys), v, step, keys, width, [to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention_step;
    use crate::level::{level, Level};

    #[test]
    fn rows_of_any_number_and_width_have_the_products_and_sums_of_single_ones() {
        if level() != Level::Avx512 {
            return;
        }
        for (count, keys, width) in [(1, 1, 1), (2, 17, 16), (4, 5, 64), (5, 3, 83), (8, 40, 128), (7, 600, 33)] {
            let step = width + 3;
            let values = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<f32>>();
            let (q, k) = (values(count * width, 0.3), values((keys - 1) * step + width, 0.7));
            let mut scores = vec![f32::NAN; count * keys];
            let mut out = vec![f32::NAN; count * width];
            let rows: Vec<*const f32> = q.chunks(width).map(<[f32]>::as_ptr).collect();
            let to: Vec<*mut f32> = out.chunks_mut(width).map(<[f32]>::as_mut_ptr).collect();
            // SAFETY: all are these vectors, of which the keys end with their last element.
            unsafe {
                dots(&rows, k.as_ptr(), step as isize, keys, width, scores.as_mut_ptr());
                mix(scores.as_ptr(), k.as_ptr(), step as isize, keys, width, &to);
            }
            for row in 0..count {
                let (mut one, mut sum) = (vec![f32::NAN; keys], vec![f32::NAN; width]);
                let shares = &scores[row * keys..(row + 1) * keys];
                // SAFETY: as above.
                unsafe {
                    attention_step::dots(rows[row], k.as_ptr(), step as isize, keys, width, one.as_mut_ptr());
                    attention_step::mix(shares.as_ptr(), k.as_ptr(), step as isize, keys, width, sum.as_mut_ptr());
                }
                let near = |a: &[f32], b: &[f32], bound: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound);
                assert!(near(shares, &one, 1e-4), "{count} {keys} {width}: {shares:?} for {one:?}");
                let bound = 1e-5 * shares.iter().map(|share| share.abs()).sum::<f32>();
                assert!(near(&out[row * width..(row + 1) * width], &sum, bound), "{count} {keys} {width}");
            }
        }
    }
}
