//! Rows of x as whole numbers of 16 bits, as each way wants them.

use super::{float, Error, Scratch, Way, Weight, BLOCK, CHUNK};
use crate::level::multiversion;
use crate::threads::{parallel, part_range, parts_of, Shared};
use std::sync::atomic::{AtomicBool, Ordering};

/// The greatest whole number that is 256 high + low with both in a signed byte.
const MOST: f32 = 32_639.0;
/// A block whose greatest value is smaller counts as zeros: its inverse would be infinite.
const TINY: f32 = 1e-33;

/// Where the numbers of a chunk (8 blocks), or of a block in a tile, lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Numbers of 16 bits as they come, then 8 scales.
    Words,
    /// Two blocks at a time, for each high bytes and low ones; what is to be added for each four of them; 8 scales.
    Pairs,
    /// Four blocks at a time: high bytes of the first halves of all, of the second halves, then low bytes; the rest as above.
    Quads,
    /// Eight rows at a time: a block's high bytes, low bytes, what is to be added, scale.
    Tiles,
}

/// Bytes of a block of a row in a tile.
pub const TILE_BLOCK: usize = 72;
/// Rows of a tile.
pub const TILE_ROWS: usize = 8;
/// Bytes before what is to be added in a chunk.
pub const CHUNK_BYTES: usize = 512;

impl Layout {
    pub fn of(way: Way, nibbles: bool) -> Layout {
        #[cfg(target_arch = "x86_64")]
        if way == Way::Vnni {
            return if nibbles { Layout::Quads } else { Layout::Pairs };
        }
        let _ = (way, nibbles);
        Layout::Words
    }

    /// Bytes of a chunk, of which the last 32 are its scales.
    pub const fn chunk(self) -> usize {
        match self {
            Layout::Words => CHUNK_BYTES + 32,
            Layout::Pairs => CHUNK_BYTES + 256 + 32,
            Layout::Quads => CHUNK_BYTES + 128 + 32,
            Layout::Tiles => 0,
        }
    }
}

/// Rounded rows.
pub struct Rounded {
    pub rows: usize,
    pub blocks: usize,
    pub layout: Layout,
    memory: Scratch,
    x: *const f32,
    /// Whether some row has values that are not finite.
    wild: bool,
}

// SAFETY: parts only read what was rounded before.
unsafe impl Sync for Rounded {}

impl Rounded {
    /// Rounds dense rows for a weight. Rows that are not finite become zeros, see [`Rounded::finish`].
    ///
    /// # Safety
    /// The rows lie in memory that outlives the result.
    pub unsafe fn new(
        x: *const f32,
        rows: usize,
        weight: &Weight,
        layout: Layout,
        threads: usize,
    ) -> Result<Rounded, Error> {
        let blocks = weight.blocks;
        let bytes = match layout {
            Layout::Tiles => rows * blocks * TILE_BLOCK,
            _ => rows * blocks.div_ceil(CHUNK) * layout.chunk(),
        };
        let memory = Scratch::new::<u64>(bytes.div_ceil(8))?;
        let (to, from) = (Shared::new(memory.data::<u8>()), Shared::new(x.cast_mut()));
        let wild = AtomicBool::new(false);
        let offset = if weight.nibbles { 8 } else { 128 };
        let parts = parts_of(rows, 1 + 256 / blocks);
        parallel(threads, parts, (rows * blocks) as f64 * 20.0, |part| {
            for row in part_range(rows, parts, part, 1) {
                // SAFETY: rows have one part, and places of their own.
                unsafe {
                    let x = from.get().add(row * blocks * BLOCK);
                    if layout == Layout::Tiles {
                        let tile = row / TILE_ROWS * TILE_ROWS;
                        let height = TILE_ROWS.min(rows - tile);
                        let to = to.get().add((tile * blocks + row % TILE_ROWS) * TILE_BLOCK);
                        if !tile_row(x, blocks, to, height * TILE_BLOCK, offset) {
                            wild.store(true, Ordering::Relaxed);
                        }
                    } else {
                        let to = to.get().add(row * blocks.div_ceil(CHUNK) * layout.chunk());
                        if !chunk_row(x, blocks, to, layout, offset) {
                            wild.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Ok(Rounded { rows, blocks, layout, memory, x, wild: wild.into_inner() })
    }

    /// The chunks of a row.
    pub fn row(&self, row: usize) -> *const u8 {
        let size = self.blocks.div_ceil(CHUNK) * self.layout.chunk();
        self.memory.data::<u8>().cast_const().wrapping_add(row * size)
    }

    /// The tile that begins with a row.
    pub fn tile(&self, row: usize) -> *const u8 {
        self.memory.data::<u8>().cast_const().wrapping_add(row * self.blocks * TILE_BLOCK)
    }

    /// Computes rows that are not finite anew, in floats.
    ///
    /// # Safety
    /// As for the product.
    pub unsafe fn finish(&self, weight: &Weight, to: *mut f32, threads: usize) {
        if !self.wild {
            return;
        }
        let inner = self.blocks * BLOCK;
        for row in 0..self.rows {
            let x = std::slice::from_raw_parts(self.x.add(row * inner), inner);
            if x.iter().any(|value| !value.is_finite()) {
                float::rows(self.x, row..row + 1, weight, to, threads);
            }
        }
    }
}

/// The whole numbers of a block, and their scale; whether the block is finite.
#[inline(always)]
unsafe fn levels(x: *const f32, to: &mut [i32; BLOCK]) -> (f32, bool) {
    let mut most = [0u32; 16];
    for half in 0..2 {
        for (lane, most) in most.iter_mut().enumerate() {
            // Sizes compare as their bits do, infinities and NaN above all others.
            *most = (*most).max((*x.add(half * 16 + lane)).to_bits() & 0x7fff_ffff);
        }
    }
    let greatest = f32::from_bits(most.iter().copied().fold(0, u32::max));
    let finite = greatest < f32::INFINITY;
    let used = finite && greatest >= TINY;
    let inverse = if used { MOST / greatest } else { 0.0 };
    for (i, to) in to.iter_mut().enumerate() {
        let value = if used { *x.add(i) * inverse } else { 0.0 };
        // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits.
        *to = (value + 12_582_912.0).to_bits() as i32 - 0x4b40_0000;
    }
    (if used { greatest / MOST } else { 0.0 }, finite)
}

#[inline(always)]
fn halves(level: i32) -> (i8, i8) {
    let high = (level + 128) >> 8;
    (high as i8, (level - (high << 8)) as i8)
}

#[inline(always)]
unsafe fn tile_row_body<const F: bool>(
    x: *const f32,
    blocks: usize,
    to: *mut u8,
    step: usize,
    offset: i32,
) -> bool {
    let mut all_finite = true;
    let mut whole = [0; BLOCK];
    for block in 0..blocks {
        let (scale, finite) = levels(x.add(block * BLOCK), &mut whole);
        all_finite &= finite;
        let to = to.add(block * step);
        for (i, &level) in whole.iter().enumerate() {
            let (high, low) = halves(level);
            *to.add(i) = high as u8;
            *to.add(BLOCK + i) = low as u8;
        }
        let sum: i32 = whole.iter().sum();
        to.add(2 * BLOCK).cast::<i32>().write_unaligned(-offset * sum);
        to.add(2 * BLOCK + 4).cast::<f32>().write_unaligned(scale);
    }
    all_finite
}
multiversion! {
    unsafe fn tile_row(x: *const f32, blocks: usize, to: *mut u8, step: usize, offset: i32) -> bool = tile_row_body
}

#[inline(always)]
unsafe fn chunk_row_body<const F: bool>(
    x: *const f32,
    blocks: usize,
    to: *mut u8,
    layout: Layout,
    offset: i32,
) -> bool {
    let mut all_finite = true;
    let mut whole = [0; BLOCK];
    let size = layout.chunk();
    for block in 0..blocks.next_multiple_of(CHUNK) {
        let (scale, finite) = if block < blocks {
            levels(x.add(block * BLOCK), &mut whole)
        } else {
            whole = [0; BLOCK];
            (0.0, true)
        };
        all_finite &= finite;
        let (chunk, at) = (to.add(block / CHUNK * size), block % CHUNK);
        chunk.add(size - 32).cast::<f32>().add(at).write_unaligned(scale);
        let sums = chunk.add(CHUNK_BYTES).cast::<i32>();
        match layout {
            Layout::Pairs => {
                let bytes = chunk.add(at / 2 * 128 + at % 2 * BLOCK);
                for (i, &level) in whole.iter().enumerate() {
                    let (high, low) = halves(level);
                    *bytes.add(i) = high as u8;
                    *bytes.add(64 + i) = low as u8;
                }
                for lane in 0..8 {
                    let sum: i32 = whole[lane * 4..lane * 4 + 4].iter().sum();
                    sums.add(at * 8 + lane).write_unaligned(-offset * sum);
                }
            }
            Layout::Quads => {
                let bytes = chunk.add(at / 4 * 256 + at % 4 * 16);
                for (i, &level) in whole.iter().enumerate() {
                    let (high, low) = halves(level);
                    *bytes.add(i / 16 * 64 + i % 16) = high as u8;
                    *bytes.add(128 + i / 16 * 64 + i % 16) = low as u8;
                }
                for lane in 0..4 {
                    let sum = |from: usize| whole[from..from + 4].iter().sum::<i32>();
                    sums.add(at * 4 + lane).write_unaligned(-offset * (sum(lane * 4) + sum(16 + lane * 4)));
                }
            }
            _ => {
                let words = chunk.cast::<i16>().add(at * BLOCK);
                for (i, &level) in whole.iter().enumerate() {
                    words.add(i).write_unaligned(level as i16);
                }
            }
        }
    }
    all_finite
}
multiversion! {
    unsafe fn chunk_row(x: *const f32, blocks: usize, to: *mut u8, layout: Layout, offset: i32) -> bool = chunk_row_body
}
