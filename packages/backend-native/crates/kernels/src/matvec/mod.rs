//! A few rows times a matrix, as a language model's layers in a step: bound by memory, so that each element of the matrix is
//! read once, in order, and those of 16 bits are widened on the way.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

mod lanes;

use crate::call::Error;
use crate::dtype::DType;
use crate::level::{level, Level};
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Shared};
use lanes::{Bfloat, Element, Half, Lanes, Plain};
use std::ops::Range;

/// Most rows that are few.
pub const FEW_ROWS: usize = 8;
/// Floats of a vector.
const WIDE: usize = 16;

/// The rows: f32, each dense.
#[derive(Clone, Copy)]
pub struct Rows {
    pub data: *const f32,
    pub count: usize,
    /// From row to row, in elements.
    pub step: isize,
}

/// The matrix [depth, columns] of a float type that f32 holds.
#[derive(Clone, Copy)]
pub struct Matrix {
    pub data: *const u8,
    pub dtype: DType,
    pub depth: usize,
    pub columns: usize,
    /// Whether columns are dense, as in the transposed view of a layer's weights; else rows are.
    pub by_columns: bool,
    /// From one dense column, or row, to the next, in elements.
    pub step: isize,
}

/// Where the product goes, in elements.
#[derive(Clone, Copy)]
pub struct Target {
    pub data: *mut f32,
    pub row: isize,
    pub column: isize,
}

// SAFETY: addresses and numbers; whoever goes there says why that is sound.
unsafe impl Sync for Rows {}
// SAFETY: as above.
unsafe impl Sync for Matrix {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// rows times matrix.
///
/// # Safety
/// All lie in live memory, the target overlaps neither operand, and there are at most [`FEW_ROWS`] rows.
pub unsafe fn few_rows(x: &Rows, w: &Matrix, to: &Target, threads: usize) -> Result<(), Error> {
    few_rows_at(level(), x, w, to, threads)
}

unsafe fn few_rows_at(level: Level, x: &Rows, w: &Matrix, to: &Target, threads: usize) -> Result<(), Error> {
    // What one thread reads in a nanosecond, and what it computes.
    let work = (w.columns * w.depth) as f64 * (w.dtype.bytes() as f64 * 0.04).max(x.count as f64 * 0.02);
    if w.by_columns {
        let packed = Packed::new(x, w.depth)?;
        let parts = parts_of(w.columns, 1 + 16_384 / w.depth);
        parallel(threads, parts, work, |part| {
            let range = part_range(w.columns, parts, part, 4);
            // SAFETY: each column has one part; the level is the processor's.
            unsafe { columns_at(level, &packed, w, to, range) }
        });
        return Ok(());
    }
    // Rows are added up. Where they are long, parts have columns of their own; else rows, and sums that are added in order.
    let wide = w.columns >= 4096;
    let parts = if wide {
        parts_of(w.columns, (32_768 / w.depth).max(1024))
    } else {
        parts_of(w.depth, 64 + 32_768 / w.columns).min(16)
    };
    let size = x.count * w.columns;
    let sums = Scratch::new::<f32>(size * if wide { 1 } else { parts })?;
    let shared = Shared::new(sums.data::<f32>());
    parallel(threads, parts, work, |part| {
        let (depth, columns) = if wide {
            (0..w.depth, part_range(w.columns, parts, part, WIDE))
        } else {
            (part_range(w.depth, parts, part, 1), 0..w.columns)
        };
        // SAFETY: each part has sums of its own; the level is the processor's.
        unsafe {
            let sums = shared.get().add(if wide { 0 } else { part * size });
            for row in 0..x.count {
                std::ptr::write_bytes(sums.add(row * w.columns + columns.start), 0, columns.len());
            }
            rows_at(level, x, w, sums, depth, columns);
        }
    });
    let all = shared.get().cast_const();
    for row in 0..x.count {
        for column in 0..w.columns {
            let mut sum = *all.add(row * w.columns + column);
            if !wide {
                for part in 1..parts {
                    sum += *all.add(part * size + row * w.columns + column);
                }
            }
            *to.data.offset(row as isize * to.row + column as isize * to.column) = sum;
        }
    }
    Ok(())
}

/// A function for each kind of processor that runs `body::<Lanes, …>` for an element type and a number of rows.
macro_rules! by_level {
    ($name:ident, $body:ident of $w:ident, ($($arg:ident: $ty:ty),*)) => {
        unsafe fn $name(level: Level, $($arg: $ty),*) {
            #[inline(always)]
            unsafe fn typed<L: Lanes>($($arg: $ty),*) {
                match $w.dtype {
                    DType::F16 => $body::<L, Half>($($arg),*),
                    DType::BF16 => $body::<L, Bfloat>($($arg),*),
                    _ => $body::<L, f32>($($arg),*),
                }
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                unsafe fn avx512($($arg: $ty),*) { typed::<lanes::Avx512>($($arg),*) }
                #[target_feature(enable = "avx2,fma,f16c")]
                unsafe fn avx2($($arg: $ty),*) { typed::<lanes::Avx2>($($arg),*) }
                match level {
                    Level::Avx512 => return avx512($($arg),*),
                    Level::Avx2 => return avx2($($arg),*),
                    Level::Portable => {}
                }
            }
            let _ = level;
            typed::<Plain>($($arg),*)
        }
    };
}

by_level!(columns_at, columns of w, (x: &Packed, w: &Matrix, to: &Target, range: Range<usize>));
by_level!(rows_at, add_rows of w, (x: &Rows, w: &Matrix, sums: *mut f32, depth: Range<usize>, columns: Range<usize>));

/// Rows brought together: sixteen elements of each, then the next sixteen, with zeros behind their end. Rows that lie far
/// apart would fight for the same places of the cache. Their number is 1, 2, 4 or 8; what is missing are zeros.
struct Packed {
    memory: Scratch,
    rows: usize,
    /// Of these, how many are meant.
    count: usize,
}

// SAFETY: parts only read it.
unsafe impl Sync for Packed {}

impl Packed {
    unsafe fn new(x: &Rows, depth: usize) -> Result<Packed, Error> {
        let rows = x.count.next_power_of_two();
        let steps = depth.div_ceil(WIDE);
        let memory = Scratch::new::<f32>(steps * WIDE * rows)?;
        let to = memory.data::<f32>();
        for step in 0..steps {
            let width = WIDE.min(depth - step * WIDE);
            for row in 0..rows {
                let to = to.add((step * rows + row) * WIDE);
                let used = if row < x.count { width } else { 0 };
                if used > 0 {
                    let from = x.data.offset(row as isize * x.step).add(step * WIDE);
                    std::ptr::copy_nonoverlapping(from, to, used);
                }
                std::ptr::write_bytes(to.add(used), 0, WIDE - used);
            }
        }
        Ok(Packed { memory, rows, count: x.count })
    }
}

/// Products of all rows with a range of dense columns: as many columns at a time as sums fit into the registers.
#[inline(always)]
unsafe fn columns<L: Lanes, T: Element>(x: &Packed, w: &Matrix, to: &Target, range: Range<usize>) {
    let mut first = range.start;
    while first < range.end {
        macro_rules! dots {
            ($m:literal, $c:literal, $u:literal) => {{
                dots::<L, T, $m, $c, $u>(x, w, first, to);
                $c
            }};
        }
        let many = range.end - first > 3 && L::REGISTERS > 16;
        let pair = range.end - first > 1;
        first += match (x.rows, many, pair) {
            // Many sums where registers are many: more of the column is under way at a time.
            (1, ..) if L::REGISTERS > 16 && size_of::<T>() < 4 => dots!(1, 1, 16),
            (1, ..) if L::REGISTERS > 16 => dots!(1, 1, 8),
            (1, ..) => dots!(1, 1, 4),
            (2, true, _) => dots!(2, 4, 2),
            (2, _, true) => dots!(2, 2, 1),
            (2, ..) => dots!(2, 1, 2),
            (4, true, _) => dots!(4, 4, 1),
            (4, ..) => dots!(4, 1, 1),
            (_, true, _) => dots!(8, 2, 1),
            _ => dots!(8, 1, 1),
        };
    }
}

/// Products of M rows with C columns, in U sums each.
#[inline(always)]
unsafe fn dots<L: Lanes, T: Element, const M: usize, const C: usize, const U: usize>(
    x: &Packed,
    w: &Matrix,
    first: usize,
    to: &Target,
) {
    let mut sums = [[[L::zero(); U]; C]; M];
    let x_data = x.memory.data::<f32>().cast_const();
    let columns: [*const T; C] = std::array::from_fn(|c| w.data.cast::<T>().offset((first + c) as isize * w.step));
    let mut at = 0;
    while at + WIDE * U <= w.depth {
        for u in 0..U {
            let values: [L; C] = std::array::from_fn(|c| T::load(columns[c].add(at + u * WIDE)));
            for m in 0..M {
                let x = L::load(x_data.add((at + u * WIDE) * M + m * WIDE));
                for c in 0..C {
                    sums[m][c][u] = x.madd(values[c], sums[m][c][u]);
                }
            }
        }
        at += WIDE * U;
    }
    for u in 0..U {
        if at + WIDE > w.depth {
            break;
        }
        for c in 0..C {
            let value: L = T::load(columns[c].add(at));
            for m in 0..M {
                sums[m][c][u] = L::load(x_data.add(at * M + m * WIDE)).madd(value, sums[m][c][u]);
            }
        }
        at += WIDE;
    }
    for m in 0..M.min(x.count) {
        for c in 0..C {
            let mut sum = sums[m][c][0];
            for u in 1..U {
                sum = sum.add(sums[m][c][u]);
            }
            let mut sum = sum.sum();
            for i in at..w.depth {
                let x = *x_data.add(i / WIDE * WIDE * M + m * WIDE + i % WIDE);
                sum += x * columns[c].add(i).read().widen();
            }
            *to.data.offset(m as isize * to.row + (first + c) as isize * to.column) = sum;
        }
    }
}

/// Rows of the matrix that are added up at a time.
const TOGETHER: usize = 8;

/// Adds a range of the matrix's dense rows, times what x has for them, to sums [rows, columns].
#[inline(always)]
unsafe fn add_rows<L: Lanes, T: Element>(
    x: &Rows,
    w: &Matrix,
    sums: *mut f32,
    depth: Range<usize>,
    columns: Range<usize>,
) {
    let mut k = depth.start;
    while k + TOGETHER <= depth.end {
        let row = w.data.cast::<T>().offset(k as isize * w.step);
        let mut j = columns.start;
        while j + WIDE <= columns.end {
            let values: [L; TOGETHER] = std::array::from_fn(|i| T::load(row.offset(i as isize * w.step).add(j)));
            for m in 0..x.count {
                let to = sums.add(m * w.columns + j);
                let x = x.data.offset(m as isize * x.step).add(k);
                let mut sum = L::load(to);
                for (i, &value) in values.iter().enumerate() {
                    sum = L::splat(*x.add(i)).madd(value, sum);
                }
                sum.store(to);
            }
            j += WIDE;
        }
        add_rest::<T>(x, w, sums, k..k + TOGETHER, j..columns.end);
        k += TOGETHER;
    }
    add_rest::<T>(x, w, sums, k..depth.end, columns);
}

/// The same, element by element.
#[inline(always)]
unsafe fn add_rest<T: Element>(x: &Rows, w: &Matrix, sums: *mut f32, depth: Range<usize>, columns: Range<usize>) {
    for k in depth {
        let row = w.data.cast::<T>().offset(k as isize * w.step);
        for m in 0..x.count {
            let factor = *x.data.offset(m as isize * x.step).add(k);
            for j in columns.clone() {
                *sums.add(m * w.columns + j) += factor * row.add(j).read().widen();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{bfloat_to_f32, f32_to_bfloat, f32_to_half, half_to_f32};

    fn levels() -> Vec<Level> {
        [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&one| one <= level()).collect()
    }

    #[test]
    fn few_rows_meet_matrices_of_all_float_types_and_layouts() {
        crate::start_pool(4, false);
        for (count, depth, columns) in [
            (1, 1, 1),
            (1, 200, 3),
            (1, 64, 70),
            (1, 790, 9),
            (2, 33, 35),
            (3, 100, 5),
            (4, 17, 18),
            (7, 129, 65),
            (8, 80, 4100),
            (5, 3000, 19),
        ] {
            let x: Vec<f32> = (0..count * (depth + 3)).map(|i| (i as f32 * 0.7).sin()).collect();
            let values: Vec<f32> = (0..depth * columns).map(|i| (i as f32 * 0.3).cos() + 0.1).collect();
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                for by_columns in [false, true] {
                    let (outer, inner) = if by_columns { (columns, depth) } else { (depth, columns) };
                    // A gap behind each dense line, and a spare element behind all.
                    let at = |k: usize, j: usize| if by_columns { j * (inner + 2) + k } else { k * (inner + 2) + j };
                    let mut stored = vec![0u8; outer * (inner + 2) * dtype.bytes()];
                    let mut rounded = vec![0f32; depth * columns];
                    for k in 0..depth {
                        for j in 0..columns {
                            let (value, place) = (values[k * columns + j], at(k, j) * dtype.bytes());
                            let (bytes, back) = match dtype {
                                DType::F16 => {
                                    (f32_to_half(value).to_le_bytes().to_vec(), half_to_f32(f32_to_half(value)))
                                }
                                DType::BF16 => {
                                    (f32_to_bfloat(value).to_le_bytes().to_vec(), bfloat_to_f32(f32_to_bfloat(value)))
                                }
                                _ => (value.to_le_bytes().to_vec(), value),
                            };
                            stored[place..place + bytes.len()].copy_from_slice(&bytes);
                            rounded[k * columns + j] = back;
                        }
                    }
                    let rows = Rows { data: x.as_ptr(), count, step: depth as isize + 3 };
                    let step = inner as isize + 2;
                    let w = Matrix { data: stored.as_ptr(), dtype, depth, columns, by_columns, step };
                    for level in levels() {
                        let mut results = Vec::new();
                        for threads in [1, 4] {
                            let mut to = vec![f32::NAN; count * columns * 2];
                            let target = Target { data: to.as_mut_ptr(), row: columns as isize * 2, column: 2 };
                            // SAFETY: all are these vectors.
                            unsafe { few_rows_at(level, &rows, &w, &target, threads).unwrap() };
                            for m in 0..count {
                                for j in 0..columns {
                                    let (mut sum, mut size) = (0f64, 0f64);
                                    for k in 0..depth {
                                        let term = x[m * (depth + 3) + k] as f64 * rounded[k * columns + j] as f64;
                                        sum += term;
                                        size += term.abs();
                                    }
                                    let got = to[(m * columns + j) * 2] as f64;
                                    let place = format!("{level:?} {dtype:?} {by_columns} {count} {depth} {columns}");
                                    assert!((got - sum).abs() <= 1e-6 * size, "{place}: {got} for {sum}");
                                }
                            }
                            assert!(to.iter().skip(1).step_by(2).all(|value| value.is_nan()));
                            results.push(to.iter().step_by(2).map(|value| value.to_bits()).collect::<Vec<_>>());
                        }
                        assert_eq!(results[0], results[1]);
                    }
                }
            }
        }
    }
}
