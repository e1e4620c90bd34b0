//! One product of two matrices of floats, through the crates of `gemm`.

use gemm_common::Parallelism;

use crate::threads::part_range;

/// A matrix: where element (0, 0) lies, and the steps from row to row and from column to column, in elements.
#[derive(Clone, Copy)]
pub struct Factor<T> {
    pub data: *mut T,
    pub row: isize,
    pub column: isize,
}

impl<T> Factor<T> {
    fn transposed(self) -> Factor<T> {
        Factor { data: self.data, row: self.column, column: self.row }
    }

    /// The matrix with its rows in the opposite order.
    fn rows_flipped(self, rows: usize) -> Factor<T> {
        let data = self.data.wrapping_offset((rows as isize - 1) * self.row);
        Factor { data, row: -self.row, column: self.column }
    }

    fn columns_flipped(self, columns: usize) -> Factor<T> {
        self.transposed().rows_flipped(columns).transposed()
    }
}

/// Floats that `gemm` multiplies.
pub trait Float: Copy + Send + Sync {
    /// c := a b, or c + a b with `adds`.
    ///
    /// # Safety
    /// The matrices lie in live memory, and c overlaps neither factor.
    unsafe fn gemm(sizes: [usize; 3], a: Factor<Self>, b: Factor<Self>, c: Factor<Self>, adds: bool);
}

macro_rules! float {
    ($T:ident, $crate_name:ident) => {
        impl Float for $T {
            unsafe fn gemm(
                [rows, columns, depth]: [usize; 3],
                a: Factor<$T>,
                b: Factor<$T>,
                c: Factor<$T>,
                adds: bool,
            ) {
                $crate_name::gemm::$T::get_gemm_fn()(
                    rows,
                    columns,
                    depth,
                    c.data,
                    c.column,
                    c.row,
                    adds,
                    a.data,
                    a.column,
                    a.row,
                    b.data,
                    b.column,
                    b.row,
                    if adds { 1.0 } else { 0.0 },
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
    };
}
float!(f32, gemm_f32);
float!(f64, gemm_f64);

/// c := a b, or c + a b with `adds`; sizes are rows, columns and depth.
///
/// # Safety
/// As for [`Float::gemm`].
pub unsafe fn multiply<T: Float>(
    [mut rows, mut columns, depth]: [usize; 3],
    mut a: Factor<T>,
    mut b: Factor<T>,
    mut c: Factor<T>,
    adds: bool,
) {
    // The kernels want a product that is stored column by column, and steps that are not negative.
    if c.column.abs() < c.row.abs() {
        (a, b, c) = (b.transposed(), a.transposed(), c.transposed());
        (rows, columns) = (columns, rows);
    }
    if c.row < 0 {
        c = c.rows_flipped(rows);
        a = a.rows_flipped(rows);
    }
    if c.column < 0 {
        c = c.columns_flipped(columns);
        b = b.columns_flipped(columns);
    }
    if a.column < 0 {
        a = a.columns_flipped(depth);
        b = b.rows_flipped(depth);
    }
    T::gemm([rows, columns, depth], a, b, c, adds);
}

/// Products of a piece of a matrix, at least.
const PIECE: f64 = 250_000.0;
/// Rows, or columns, of a piece where there are many: each piece packs the whole other factor.
const LONG: usize = 1024;

/// How one product is cut along its longer side, by its shape alone.
pub struct Cut {
    sizes: [usize; 3],
    by_rows: bool,
    pub pieces: usize,
}

impl Cut {
    /// Of rows, columns and depth.
    pub fn new(sizes: [usize; 3]) -> Cut {
        let [rows, columns, depth] = sizes;
        let by_rows = rows >= columns;
        let (side, most) = if by_rows { (rows, rows.div_ceil(32)) } else { (columns, columns.div_ceil(48)) };
        let worth = (rows as f64 * columns as f64 * depth as f64 / PIECE) as usize;
        let pieces = side.div_ceil(LONG).max(4).min(worth).min(most).clamp(1, 32);
        Cut { sizes, by_rows, pieces }
    }

    /// One piece of c := a b, whose matrices are given whole.
    ///
    /// # Safety
    /// As for [`Float::gemm`]; no two threads compute the same piece.
    pub unsafe fn multiply<T: Float>(&self, piece: usize, mut a: Factor<T>, mut b: Factor<T>, mut c: Factor<T>) {
        let [mut rows, mut columns, depth] = self.sizes;
        if self.by_rows {
            let range = part_range(rows, self.pieces, piece, 8);
            a.data = a.data.wrapping_offset(range.start as isize * a.row);
            c.data = c.data.wrapping_offset(range.start as isize * c.row);
            rows = range.len();
        } else {
            let range = part_range(columns, self.pieces, piece, 48);
            b.data = b.data.wrapping_offset(range.start as isize * b.column);
            c.data = c.data.wrapping_offset(range.start as isize * c.column);
            columns = range.len();
        }
        if rows > 0 && columns > 0 {
            multiply([rows, columns, depth], a, b, c, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layouts_multiply_alike() {
        let (m, n, k) = (5, 7, 3);
        let a: Vec<f32> = (0..m * k).map(|i| i as f32 - 4.0).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i * i % 11) as f32).collect();
        let exact = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f32>();
        for layout in 0..4 {
            let mut c = vec![1f32; m * n];
            let (row, column, first) = match layout {
                0 => (n as isize, 1, 0),
                1 => (1, m as isize, 0),
                2 => (-(n as isize), 1, (m - 1) * n),
                _ => (n as isize, -1, n - 1),
            };
            let place = |i: usize, j: usize| (first as isize + i as isize * row + j as isize * column) as usize;
            // SAFETY: the matrices are these vectors.
            unsafe {
                multiply(
                    [m, n, k],
                    Factor { data: a.as_ptr().cast_mut(), row: k as isize, column: 1 },
                    Factor { data: b.as_ptr().cast_mut(), row: n as isize, column: 1 },
                    Factor { data: c.as_mut_ptr().add(first), row, column },
                    layout == 1,
                );
            }
            for i in 0..m {
                for j in 0..n {
                    assert_eq!(c[place(i, j)], exact(i, j) + (layout == 1) as u8 as f32, "{layout} {i} {j}");
                }
            }
        }
    }
}
