//! quantizedMatmul: x [rows, inner] times the transpose of a weight [columns, inner] in blocks of GGUF: 32 values each, a
//! 16-bit scale, then a signed byte a value (Q8_0) or two values a byte, 8 above themselves (Q4_0: low nibbles first).
//!
//! x becomes whole numbers of 16 bits with a scale for each block, so that blocks are multiplied in integers; that rounding
//! costs about 1e-5 of Σ |x w|, far less than the weight's own. Where the processor multiplies bytes (VNNI), each of these
//! numbers is two: 256 high + low. All ways of computing a block's product of such numbers give the same integer. There rows
//! of many, as a prompt has, are rounded to 8 bits, at half the products, where none of their blocks has values that get
//! lost beside its greatest ([`round::stands_bytes`]): a normalised square error below 1e-4. All other rows keep 16 bits.
//!
//! With VNNI sixteen columns of the weight are multiplied at a time, in panels (`panels.rs`). Whoever keeps a weight may lay
//! it out so ([`Laying`]); one that lies as in a file is brought there piece by piece, with the same bits as a result.
//!
//! Small products and rows of x that are not finite are computed in floats.

mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod plain;
mod round;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::dtype::half_to_f32;
#[cfg(target_arch = "x86_64")]
use crate::level::{level, vnni, Level};
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Shared};
pub use panels::{can_be as can_be_panels, gather_rows, Laying, Panels, Room};
use round::{Layout, Rounded};

/// Values of a block.
pub const BLOCK: usize = 32;
/// Blocks of a row that are computed together.
const CHUNK: usize = 8;
/// Rows of x that a weight's row is multiplied with while it is in registers.
const TOGETHER: usize = 4;
/// Products that are worth rounding x for.
const SMALL: usize = 16_384;
/// Rows from which on those of x that stand it are rounded to 8 bits, where bytes are multiplied: a prompt, no step.
#[cfg(target_arch = "x86_64")]
const MANY_ROWS: usize = 16;
/// The same where tiles are floats.
const FLOAT_ROWS: usize = 13;

/// How blocks are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Way {
    /// The best way this processor has.
    pub fn best() -> Way {
        *Way::all().last().unwrap_or(&Way::Plain)
    }

    /// All ways this processor has, the best one last.
    pub fn all() -> &'static [Way] {
        #[cfg(target_arch = "x86_64")]
        return match level() {
            Level::Portable => &[Way::Plain],
            _ if vnni() => &[Way::Plain, Way::Avx2, Way::Vnni],
            _ => &[Way::Plain, Way::Avx2],
        };
        #[cfg(target_arch = "aarch64")]
        return &[Way::Plain, Way::Neon];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        &[Way::Plain]
    }

    /// Whether weights that lie in panels are read faster, and can be read at all.
    pub fn wants_panels(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Way::Vnni;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }
}

/// A weight in blocks.
#[derive(Clone, Copy)]
pub struct Weight {
    pub data: *const u8,
    /// Q4_0 instead of Q8_0.
    pub nibbles: bool,
    /// Whether it lies in panels, not in rows.
    pub panels: bool,
    pub columns: usize,
    /// Blocks of a row.
    pub blocks: usize,
}

// SAFETY: an address and numbers; whoever reads there says why that is sound.
unsafe impl Sync for Weight {}

impl Weight {
    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        block_bytes(self.nibbles)
    }

    /// The blocks of a row, where it lies in rows.
    pub fn row(&self, column: usize) -> *const u8 {
        self.data.wrapping_add(column * self.blocks * self.block_bytes())
    }

    /// A block, where it is or copied.
    ///
    /// # Safety
    /// The weight lies in live memory.
    unsafe fn block(&self, column: usize, block: usize, copy: &mut [u8; block_bytes(false)]) -> *const u8 {
        if !self.panels {
            return self.row(column).add(block * self.block_bytes());
        }
        panels::block_of(self, column, block, copy);
        copy.as_ptr()
    }
}

/// Bytes of a block: the scale and 32 values.
pub const fn block_bytes(nibbles: bool) -> usize {
    if nibbles {
        18
    } else {
        34
    }
}

/// The scale of a block.
///
/// # Safety
/// A block lies there.
#[inline(always)]
unsafe fn scale_of(block: *const u8) -> f32 {
    half_to_f32(u16::from_le_bytes([*block, *block.add(1)]))
}

/// Level `i` of a block.
///
/// # Safety
/// A block lies there.
#[inline(always)]
unsafe fn level_of(block: *const u8, nibbles: bool, i: usize) -> i32 {
    if !nibbles {
        return *block.add(2 + i) as i8 as i32;
    }
    let byte = *block.add(2 + i % 16) as i32;
    (if i < 16 { byte & 15 } else { byte >> 4 }) - 8
}

/// x [rows, inner] times the weight's transpose, into dense `to` [rows, columns].
///
/// # Safety
/// All lie in live memory, `to` overlaps nothing, and the processor has the way.
unsafe fn multiply(
    way: Way,
    x: *const f32,
    rows: usize,
    weight: &Weight,
    to: *mut f32,
    threads: usize,
) -> Result<(), Error> {
    if rows * weight.columns * weight.blocks * BLOCK < SMALL {
        float::rows(x, 0..rows, weight, to, threads);
        return Ok(());
    }
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vnni {
        let layout = if rows >= MANY_ROWS { Layout::Mixed } else { Layout::Tiles };
        let x = Rounded::new(x, rows, weight, layout, threads)?;
        tiles::multiply(&x, weight, to, threads)?;
        x.finish(weight, to, threads);
        return Ok(());
    }
    if rows >= FLOAT_ROWS {
        return float::tiles(x, rows, weight, to, threads);
    }
    let x = Rounded::new(x, rows, weight, Layout::Words, threads)?;
    let parts = parts_of(weight.columns, 1 + 32_768 / (weight.blocks * weight.block_bytes()));
    let work = (weight.columns * weight.blocks * rows) as f64 * 2.0;
    let shared = Shared::new(to);
    parallel(threads, parts, work, |part| {
        let range = part_range(weight.columns, parts, part, 1);
        for first in (0..rows).step_by(TOGETHER) {
            let count = TOGETHER.min(rows - first);
            // SAFETY: columns have one part; rows of x were rounded for this way.
            unsafe {
                let to = shared.get().add(first * weight.columns);
                match way {
                    Way::Plain => plain::rows(&x, first, count, weight, range.clone(), to),
                    #[cfg(target_arch = "aarch64")]
                    Way::Neon => neon::rows(&x, first, count, weight, range.clone(), to),
                    #[cfg(target_arch = "x86_64")]
                    Way::Avx2 | Way::Vnni => x86::rows_avx2(&x, first, count, weight, range.clone(), to),
                }
            }
        }
    });
    x.finish(weight, to, threads);
    Ok(())
}

/// Attributes: 0 for Q8_0, 1 for Q4_0, and 2 more where the weight lies in panels.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn quantized_matmul(call: &Call) -> Result<(), Error> {
    call.expect(2, 1)?;
    let (input, blocks, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    let threads = call.threads;
    let x = Dense::load(input, threads)?;
    let weight = Weight {
        data: blocks.data,
        nibbles: call.attribute(0) % 2 == 1,
        panels: call.attribute(0) >= 2,
        columns: output.shape[1],
        blocks: input.shape[1] / BLOCK,
    };
    let to = Dense::target(output, call.inputs.iter().all(|view| view.data != output.data))?;
    multiply(Way::best(), x.data.cast(), output.shape[0], &weight, to.data.cast(), threads)?;
    to.store(output, threads)
}

#[cfg(test)]
mod tests;
