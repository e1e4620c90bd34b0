//! Products whose factors are bf16 and whose sums are f32, with instructions for them (AVX-512 BF16). Factors that are f32
//! are rounded, to nearest even, while they are packed.
//!
//! Both factors are packed alike: panels of some rows of a (columns of b), in which the elements 2k and 2k + 1 along the
//! depth stand side by side, since one instruction adds both of their products. Each element of the product is summed over
//! [`DEEP`] of the depth at a time, in order, whoever computes it: bits depend on the shape alone.

#![allow(clippy::needless_range_loop, reason = "loops over constants become straight code, several lists in step")]

use crate::call::Error;
use crate::dtype::DType;
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};
use packing::pack;
use std::arch::x86_64::*;
use std::ops::Range;

#[path = "bf16_pack.rs"]
mod packing;

/// Rows of a tile: with two vectors of columns they leave room for a factor and two vectors of the other.
const ROWS: usize = 14;
/// Columns of a tile.
const COLUMNS: usize = 32;
/// Elements of the depth that are packed at a time.
const DEEP: usize = 512;
/// Columns that are packed at a time: with [`DEEP`], half of a mid-level cache.
const WIDE: usize = 512;
/// Most elements of a product, and fewest stages of its depth, that are shared out by these.
const SMALL: usize = 1 << 15;
const STAGES: usize = 4;

/// Whether the processor has the instructions.
pub fn available() -> bool {
    crate::level::level() == crate::level::Level::Avx512 && is_x86_feature_detected!("avx512bf16")
}

/// A factor, f32 or bf16: steps from row to row of a, or from column to column of b, and along the depth, in elements.
#[derive(Clone, Copy)]
pub struct Factor {
    pub data: *const u8,
    pub dtype: DType,
    pub across: isize,
    pub along: isize,
}

// SAFETY: an address and numbers; whoever goes there says why that is sound.
unsafe impl Sync for Factor {}

impl Factor {
    fn at(&self, across: usize, along: usize) -> *const u8 {
        let steps = across as isize * self.across + along as isize * self.along;
        self.data.wrapping_offset(steps * self.dtype.bytes() as isize)
    }
}

/// The product: f32, its rows dense.
#[derive(Clone, Copy)]
pub struct Product {
    pub data: *mut f32,
    pub row: isize,
}

// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    /// What begins at an element.
    fn from(&self, row: usize, column: usize) -> Product {
        let steps = row as isize * self.row + column as isize;
        Product { data: self.data.wrapping_offset(steps), row: self.row }
    }
}

/// c := a b; sizes are rows, columns and depth, none of which is 0.
///
/// # Safety
/// [`available`] holds; all lie in live memory, and c overlaps neither factor.
pub unsafe fn multiply(
    [rows, columns, depth]: [usize; 3],
    a: Factor,
    b: Factor,
    c: Product,
    threads: usize,
) -> Result<(), Error> {
    if threads > 1 && depth.div_ceil(DEEP) >= STAGES && rows * columns <= SMALL {
        return multiply_stages([rows, columns, depth], a, b, c, threads);
    }
    let panels = columns.min(WIDE).div_ceil(COLUMNS);
    let pairs = depth.min(DEEP).div_ceil(2);
    let packed = Scratch::new::<u32>(panels * COLUMNS * pairs)?;
    let shared = Shared::new(packed.data::<u32>());
    for first in (0..columns).step_by(WIDE) {
        let width = WIDE.min(columns - first);
        for start in (0..depth).step_by(DEEP) {
            let deep = start..depth.min(start + DEEP);
            let pairs = deep.len().div_ceil(2);
            let panels = width.div_ceil(COLUMNS);
            let parts = parts_of(panels, (32_768 / (pairs * COLUMNS)).max(1));
            parallel(threads, parts, (width * deep.len()) as f64 * 0.2, |part| {
                for panel in part_range(panels, parts, part, 1) {
                    let across = panel * COLUMNS..width.min((panel + 1) * COLUMNS);
                    // SAFETY: each panel has one part, and room.
                    unsafe {
                        let to = shared.get().add(panel * COLUMNS * pairs);
                        pack::<COLUMNS>(&b, first + across.start..first + across.end, &deep, to);
                    }
                }
            });
            let lines = rows.div_ceil(ROWS);
            let work = (width * deep.len()) as f64 * ROWS as f64 * 0.01;
            let parts = parts_of(lines, (20_000.0 / work).max(1.0) as usize);
            parallel(threads, parts, lines as f64 * work, |part| {
                for line in part_range(lines, parts, part, 1) {
                    let range = line * ROWS..rows.min((line + 1) * ROWS);
                    // SAFETY: each line of tiles has one part.
                    unsafe {
                        let to = c.from(range.start, first);
                        line_of_tiles(&a, range, &deep, shared.get(), width, to);
                    }
                }
            });
        }
    }
    Ok(())
}

/// As [`multiply`], for few elements of a deep sum, as gradients of weights are: too few lines to share them out. Threads take
/// stages of the depth, which are added up in the order, and so to the bits, that they have there.
///
/// # Safety
/// As for [`multiply`].
unsafe fn multiply_stages(
    [rows, columns, depth]: [usize; 3],
    a: Factor,
    b: Factor,
    c: Product,
    threads: usize,
) -> Result<(), Error> {
    let (stages, size) = (depth.div_ceil(DEEP), rows * columns);
    let memory = Scratch::new::<f32>(stages * size)?;
    let partial = Shared::new(memory.data::<f32>());
    let fault = Fault::default();
    parallel(threads, stages, (size * depth) as f64 * 0.01, |stage| {
        let start = stage * DEEP;
        let from = |factor: &Factor| Factor { data: factor.at(0, start), ..*factor };
        let sizes = [rows, columns, DEEP.min(depth - start)];
        // SAFETY: the factors have that much depth; each stage has a product of its own.
        let done = unsafe {
            let to = Product { data: partial.get().add(stage * size), row: columns as isize };
            multiply(sizes, from(&a), from(&b), to, 1)
        };
        if let Err(error) = done {
            fault.error(error);
        }
    });
    fault.result()?;
    for row in 0..rows {
        let to = std::slice::from_raw_parts_mut(c.from(row, 0).data, columns);
        for stage in 0..stages {
            let from = std::slice::from_raw_parts(partial.get().add(stage * size + row * columns), columns);
            if stage == 0 {
                to.copy_from_slice(from);
                continue;
            }
            for (sum, value) in to.iter_mut().zip(from) {
                *sum += value;
            }
        }
    }
    Ok(())
}

/// Several products, which `of` gives by their number. Those that are many are shared out whole.
///
/// # Safety
/// As for [`multiply`], for each.
pub unsafe fn multiply_all(
    sizes: [usize; 3],
    count: usize,
    of: impl Fn(usize) -> (Factor, Factor, Product) + Sync,
    threads: usize,
) -> Result<(), Error> {
    if count < 8 {
        for index in 0..count {
            let (a, b, c) = of(index);
            multiply(sizes, a, b, c, threads)?;
        }
        return Ok(());
    }
    let work = sizes.iter().map(|&size| size as f64).product::<f64>() * 0.01;
    let parts = parts_of(count, (20_000.0 / work).max(1.0) as usize);
    let fault = Fault::default();
    parallel(threads, parts, work * count as f64, |part| {
        for index in part_range(count, parts, part, 1) {
            let (a, b, c) = of(index);
            // SAFETY: each product has one part.
            if let Err(error) = unsafe { multiply(sizes, a, b, c, 1) } {
                fault.error(error);
            }
        }
    });
    fault.result()
}

/// Rows of a, packed: room for the last vector, which is longer than they are many.
#[repr(align(64))]
struct Line([std::mem::MaybeUninit<u32>; ROWS * DEEP / 2 + 16]);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2")]
unsafe fn line_of_tiles(
    a: &Factor,
    rows: Range<usize>,
    deep: &Range<usize>,
    b: *const u32,
    columns: usize,
    c: Product,
) {
    let mut line = Line([std::mem::MaybeUninit::uninit(); ROWS * DEEP / 2 + 16]);
    let count = rows.len();
    let packed = line.0.as_mut_ptr().cast::<u32>();
    pack::<ROWS>(a, rows, deep, packed);
    let (pairs, adds) = (deep.len().div_ceil(2), deep.start > 0);
    for first in (0..columns).step_by(COLUMNS) {
        let b = b.add(first * pairs);
        let width = COLUMNS.min(columns - first);
        let to = c.from(0, first);
        macro_rules! tiles {
            ($($m:literal)*) => {
                match (count.next_multiple_of(2), width > 16) {
                    $(($m, true) => tile::<$m, 2>(pairs, packed, b, to, count, width, adds),
                    ($m, false) => tile::<$m, 1>(pairs, packed, b, to, count, width, adds),)*
                    _ => unreachable!("a line has 1 to 14 rows"),
                }
            };
        }
        tiles!(2 4 6 8 10 12 14);
    }
}

/// Products of M rows with V vectors of columns, of which `rows` and `columns` are meant.
#[inline(always)]
unsafe fn tile<const M: usize, const V: usize>(
    pairs: usize,
    a: *const u32,
    b: *const u32,
    c: Product,
    rows: usize,
    columns: usize,
    adds: bool,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; M];
    for pair in 0..pairs {
        let (a, b) = (a.add(pair * ROWS), b.add(pair * COLUMNS));
        let factors: [__m512bh; V] =
            std::array::from_fn(|v| std::mem::transmute(_mm512_loadu_si512(b.add(v * 16).cast())));
        for m in 0..M {
            let factor: __m512bh = std::mem::transmute(_mm512_set1_epi32(a.add(m).read() as i32));
            for v in 0..V {
                sums[m][v] = _mm512_dpbf16_ps(sums[m][v], factor, factors[v]);
            }
        }
    }
    let masks: [__mmask16; V] = std::array::from_fn(|v| mask16(columns as isize - v as isize * 16));
    for m in 0..M {
        if m < rows {
            let to = c.data.offset(m as isize * c.row);
            for v in 0..V {
                let to = to.add(v * 16);
                let mut sum = sums[m][v];
                if adds {
                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(masks[v], to), sum);
                }
                _mm512_mask_storeu_ps(to, masks[v], sum);
            }
        }
    }
}

/// The first so many of sixteen lanes.
#[inline(always)]
fn mask16(count: isize) -> __mmask16 {
    ((1u32 << count.clamp(0, 16)) - 1) as __mmask16
}

#[cfg(test)]
#[path = "bf16_tests.rs"]
mod tests;
