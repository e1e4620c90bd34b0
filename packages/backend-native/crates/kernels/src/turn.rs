//! Turning matrices of f32 round.

use crate::level::{level, Level};

/// Side of the squares that are turned in registers.
const SIDE: usize = 8;

/// Rows become columns: `to[j * lanes + i] = from[i * step + j]`, with zeros for rows from `rows` up to `lanes`, a multiple
/// of eight.
///
/// # Safety
/// `from` has `rows` rows of `columns` elements, `step` apart; `to` has room for `columns` rows of `lanes`.
pub unsafe fn turn(from: *const f32, step: usize, rows: usize, columns: usize, to: *mut f32, lanes: usize) {
    debug_assert!(lanes.is_multiple_of(SIDE) && rows <= lanes);
    for first in (0..lanes).step_by(SIDE) {
        let count = SIDE.min(rows.saturating_sub(first));
        // Where there are no rows any more, the address may lie outside; nothing is read there.
        let (from, to) = (from.wrapping_add(first * step), to.add(first));
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if level() >= Level::Avx2 {
            done = columns - columns % SIDE;
            squares(from, step, count, done, to, lanes);
        }
        for j in done..columns {
            for i in 0..SIDE {
                *to.add(j * lanes + i) = if i < count { *from.add(i * step + j) } else { 0.0 };
            }
        }
    }
}

/// Eight rows, or `count` and zeros; columns are a multiple of eight.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn squares(from: *const f32, step: usize, count: usize, columns: usize, to: *mut f32, lanes: usize) {
    use std::arch::x86_64::*;
    for j in (0..columns).step_by(SIDE) {
        let mut rows = [_mm256_setzero_ps(); SIDE];
        for (i, row) in rows[..count].iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * step + j));
        }
        let mut pairs = rows;
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut fours = pairs;
        for i in [0, 4] {
            fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
            fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
            fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
            fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
        }
        for i in 0..4 {
            let low = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
            let high = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
            _mm256_storeu_ps(to.add((j + i) * lanes), low);
            _mm256_storeu_ps(to.add((j + i + 4) * lanes), high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        for (rows, columns, lanes) in [(8, 8, 8), (6, 24, 8), (16, 19, 16), (9, 40, 16), (3, 5, 8)] {
            let step = columns + 3;
            let from: Vec<f32> = (0..rows * step).map(|i| i as f32 + 1.0).collect();
            let mut to = vec![f32::NAN; columns * lanes];
            // SAFETY: the matrices are these vectors.
            unsafe { turn(from.as_ptr(), step, rows, columns, to.as_mut_ptr(), lanes) };
            for (place, &value) in to.iter().enumerate() {
                let (j, i) = (place / lanes, place % lanes);
                assert_eq!(value, if i < rows { from[i * step + j] } else { 0.0 });
            }
        }
    }
}
