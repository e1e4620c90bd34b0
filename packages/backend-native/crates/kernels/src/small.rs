//! Products of small matrices that lie in the nearest caches: nothing is packed, tiles of the result stay in registers.

use crate::level::{level, multiversion, Level};
use crate::math::madd;
use crate::product::Factor;

/// Columns come in multiples of this.
pub const COLUMNS: usize = 16;
const LANES: usize = 8;
type Lanes = [f32; LANES];

/// A matrix whose rows are dense: where it lies, and the step from row to row.
#[derive(Clone, Copy)]
pub struct Rows {
    pub data: *mut f32,
    pub row: usize,
}

impl Rows {
    /// The same matrix from a row on.
    pub fn from(self, row: usize) -> Rows {
        Rows { data: self.data.wrapping_add(row * self.row), row: self.row }
    }
}

/// `R` rows of `V` vectors each, in registers while `depth` products pass.
#[inline(always)]
unsafe fn tile<const F: bool, const R: usize, const V: usize>(
    depth: usize,
    a: Factor<f32>,
    b: Rows,
    c: Rows,
    adds: bool,
) {
    let mut sums = [[[0f32; LANES]; V]; R];
    for p in 0..depth {
        let mut row = [[0f32; LANES]; V];
        for (v, lanes) in row.iter_mut().enumerate() {
            *lanes = b.data.add(p * b.row + v * LANES).cast::<Lanes>().read_unaligned();
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = *a.data.offset(r as isize * a.row + p as isize * a.column);
            for (sum, lanes) in sums.iter_mut().zip(&row) {
                for i in 0..LANES {
                    sum[i] = madd::<F>(x, lanes[i], sum[i]);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let to = c.data.add(r * c.row + v * LANES).cast::<Lanes>();
            let mut sum = *sum;
            if adds {
                let old = to.read_unaligned();
                for i in 0..LANES {
                    sum[i] += old[i];
                }
            }
            to.write_unaligned(sum);
        }
    }
}

/// The same in vectors of sixteen.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
#[allow(clippy::needless_range_loop, reason = "loops over constants become straight code")]
unsafe fn wide_tile<const F: bool, const R: usize, const V: usize>(
    depth: usize,
    a: Factor<f32>,
    b: Rows,
    c: Rows,
    adds: bool,
) {
    use std::arch::x86_64::*;
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    for p in 0..depth {
        let mut row = [_mm512_setzero_ps(); V];
        for v in 0..V {
            row[v] = _mm512_loadu_ps(b.data.add(p * b.row + v * 16));
        }
        let from = a.data.offset(p as isize * a.column);
        for r in 0..R {
            let x = _mm512_set1_ps(*from.offset(r as isize * a.row));
            for v in 0..V {
                sums[r][v] = _mm512_fmadd_ps(x, row[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        for v in 0..V {
            let to = c.data.add(r * c.row + v * 16);
            let sum = if adds { _mm512_add_ps(sums[r][v], _mm512_loadu_ps(to)) } else { sums[r][v] };
            _mm512_storeu_ps(to, sum);
        }
    }
}

/// Walks over all tiles: `$wide` rows at a time, then single ones; `$columns` at a time, then 16.
macro_rules! tiles {
    ($sizes:ident, $a:ident, $b:ident, $c:ident, $columns:expr, [$($rows:expr),*], $tile:ident, $most:expr, $least:expr) => {{
        let [rows, columns, depth] = $sizes;
        let mut column = 0;
        while column < columns {
            let broad = column + $columns <= columns;
            let b = Rows { data: $b.data.add(column), row: $b.row };
            let mut row = 0;
            $(
                while rows - row >= $rows {
                    let a = Factor { data: $a.data.offset(row as isize * $a.row), ..$a };
                    let c = Rows { data: $c.data.add(row * $c.row + column), row: $c.row };
                    if broad {
                        $tile::<F, $rows, $most>(depth, a, b, c, ADDS);
                    } else {
                        $tile::<F, $rows, $least>(depth, a, b, c, ADDS);
                    }
                    row += $rows;
                }
            )*
            column += if broad { $columns } else { COLUMNS };
        }
    }};
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide<const ADDS: bool>(sizes: [usize; 3], a: Factor<f32>, b: Rows, c: Rows) {
    const F: bool = true;
    tiles!(sizes, a, b, c, 32, [8, 4, 1], wide_tile, 2, 1);
}

#[inline(always)]
unsafe fn narrow_body<const F: bool>(sizes: [usize; 3], a: Factor<f32>, b: Rows, c: Rows, adds: bool) {
    #[inline(always)]
    unsafe fn all<const F: bool, const ADDS: bool>(sizes: [usize; 3], a: Factor<f32>, b: Rows, c: Rows) {
        tiles!(sizes, a, b, c, 16, [4, 1], tile, 2, 2);
    }
    if adds {
        all::<F, true>(sizes, a, b, c);
    } else {
        all::<F, false>(sizes, a, b, c);
    }
}
multiversion! {
    unsafe fn narrow(sizes: [usize; 3], a: Factor<f32>, b: Rows, c: Rows, adds: bool) = narrow_body
}

/// c := a b, or c + a b with `adds`; sizes are rows, columns (a multiple of [`COLUMNS`]) and depth. Each sum is made in
/// order, whatever the processor has.
///
/// # Safety
/// The matrices lie in live memory, and c overlaps neither factor.
pub unsafe fn multiply_small(sizes: [usize; 3], a: Factor<f32>, b: Rows, c: Rows, adds: bool) {
    debug_assert!(sizes[1].is_multiple_of(COLUMNS));
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        return if adds { wide::<true>(sizes, a, b, c) } else { wide::<false>(sizes, a, b, c) };
    }
    narrow(sizes, a, b, c, adds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_has_the_sums_of_the_plain_loop() {
        for [m, n, k] in [[1, 16, 3], [13, 48, 7], [8, 32, 33], [5, 80, 1]] {
            for adds in [false, true] {
                for by_columns in [false, true] {
                    let a: Vec<f32> = (0..m * k).map(|i| (i * 7 % 23) as f32 - 11.0).collect();
                    let b: Vec<f32> = (0..k * (n + 3)).map(|i| (i * i % 11) as f32 - 4.0).collect();
                    let mut wide = vec![1f32; m * n];
                    let mut narrow_sums = wide.clone();
                    let (row, column) = if by_columns { (1, m as isize) } else { (k as isize, 1) };
                    // SAFETY: the matrices are these vectors.
                    unsafe {
                        let factor = Factor { data: a.as_ptr().cast_mut(), row, column };
                        let rows = Rows { data: b.as_ptr().cast_mut(), row: n + 3 };
                        multiply_small([m, n, k], factor, rows, Rows { data: wide.as_mut_ptr(), row: n }, adds);
                        narrow([m, n, k], factor, rows, Rows { data: narrow_sums.as_mut_ptr(), row: n }, adds);
                    }
                    assert_eq!(wide, narrow_sums);
                    for i in 0..m {
                        for j in 0..n {
                            let at = |p: usize| a[(i as isize * row + p as isize * column) as usize];
                            let sum: f32 = (0..k).map(|p| at(p) * b[p * (n + 3) + j]).sum();
                            assert_eq!(wide[i * n + j], sum + adds as u8 as f32, "{m} {n} {k} at {i} {j}");
                        }
                    }
                }
            }
        }
    }
}
