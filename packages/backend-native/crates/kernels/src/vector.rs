//! One row times a matrix whose columns lie densely, as a layer's weights do: bound by memory, so weights of 16 bits are
//! widened as they are read.

use crate::dtype::{bfloat_to_f32, half_to_f32, DType};
use crate::level::multiversion;
use crate::math::madd;
use crate::threads::{parallel, part_range, parts_of, Shared};

/// Sums that go on side by side, whatever the processor has, so that it does not show in the result.
const LANES: usize = 64;

macro_rules! dot {
    ($x:expr, $w:expr, $n:expr, $T:ty, |$value:ident| $widened:expr) => {{
        let w = $w as *const $T;
        let mut sums = [0f32; LANES];
        let whole = $n - $n % LANES;
        let mut at = 0;
        while at < whole {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let $value = *w.add(at + lane);
                *sum = madd::<F>(*$x.add(at + lane), $widened, *sum);
            }
            at += LANES;
        }
        for i in whole..$n {
            let $value = *w.add(i);
            sums[i - whole] = madd::<F>(*$x.add(i), $widened, sums[i - whole]);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
            width /= 2;
        }
        sums[0]
    }};
}

#[inline(always)]
unsafe fn dot_body<const F: bool>(x: *const f32, w: *const u8, dtype: DType, n: usize) -> f32 {
    match dtype {
        DType::F16 => dot!(x, w, n, u16, |value| half_to_f32(value)),
        DType::BF16 => dot!(x, w, n, u16, |value| bfloat_to_f32(value)),
        _ => dot!(x, w, n, f32, |value| value),
    }
}
multiversion! {
    /// The product of a row and a column of a float type that f32 holds.
    unsafe fn dot(x: *const f32, w: *const u8, dtype: DType, n: usize) -> f32 = dot_body
}

/// A matrix of such columns.
pub struct Columns {
    pub data: *mut u8,
    pub dtype: DType,
    /// From column to column, in elements.
    pub step: isize,
    pub count: usize,
    pub depth: usize,
}

/// Writes the products of a dense row with each column, `step` elements apart.
///
/// # Safety
/// All lie in live memory, and `to` overlaps neither operand.
pub unsafe fn row_times_columns(x: *const f32, columns: &Columns, to: *mut f32, step: isize, threads: usize) {
    let bytes = columns.dtype.bytes() as isize;
    let (x, w, to) = (Shared::new(x.cast_mut()), Shared::new(columns.data), Shared::new(to));
    let parts = parts_of(columns.count, 1 + 16_384 / columns.depth);
    let work = columns.count as f64 * columns.depth as f64 * 0.1;
    let (dtype, count, depth, apart) = (columns.dtype, columns.count, columns.depth, columns.step);
    parallel(threads, parts, work, |part| {
        for column in part_range(count, parts, part, 16) {
            // SAFETY: columns lie in the matrix, and each has one part.
            unsafe {
                let w = w.get().offset(column as isize * apart * bytes);
                *to.get().offset(column as isize * step) = dot(x.get(), w, dtype, depth);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{f32_to_bfloat, f32_to_half};

    #[test]
    fn rows_meet_columns_of_all_float_types() {
        for depth in [1, 63, 64, 200] {
            let x: Vec<f32> = (0..depth).map(|i| (i % 7) as f32 - 3.0).collect();
            let w: Vec<f32> = (0..depth * 3).map(|i| (i % 5) as f32 - 2.0).collect();
            let halves: Vec<u16> = w.iter().map(|&value| f32_to_half(value)).collect();
            let bfloats: Vec<u16> = w.iter().map(|&value| f32_to_bfloat(value)).collect();
            let exact = |j: usize| (0..depth).map(|i| x[i] * w[j * depth + i]).sum::<f32>();
            let stored: [(DType, *const u8); 3] = [
                (DType::F32, w.as_ptr().cast()),
                (DType::F16, halves.as_ptr().cast()),
                (DType::BF16, bfloats.as_ptr().cast()),
            ];
            for (dtype, data) in stored {
                let columns = Columns { data: data.cast_mut(), dtype, step: depth as isize, count: 3, depth };
                let mut to = [9f32; 6];
                // SAFETY: all are these vectors.
                unsafe { row_times_columns(x.as_ptr(), &columns, to.as_mut_ptr(), 2, 1) };
                assert_eq!(to, [exact(0), 9.0, exact(1), 9.0, exact(2), 9.0], "{dtype:?} {depth}");
            }
        }
    }
}
