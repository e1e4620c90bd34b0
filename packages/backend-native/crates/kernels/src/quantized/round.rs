//! Rows of x as whole numbers of 16 bits, or of 8 where they stand it, as each way wants them.

use super::{float, Error, Scratch, Weight, BLOCK, CHUNK};
use crate::level::multiversion;
#[cfg(target_arch = "x86_64")]
use crate::level::{level, Level};
use crate::memory::room;
use crate::threads::{parallel, part_range, parts_of, Shared};
use std::sync::atomic::{AtomicBool, Ordering};

/// The greatest whole number that is 256 high + low with both in a signed byte.
pub const MOST: f32 = 32_639.0;
/// The same for numbers of 8 bits.
const MOST_OF_BYTES: f32 = 127.0;
/// A block whose greatest value is smaller counts as zeros: its inverse would be infinite.
const TINY: f32 = 1e-33;

/// How often the square of a block's greatest value may have its variance for 8 bits.
const MOST_OVER_SPREAD: f32 = 16.0;
/// Values below this part of the greatest keep two bits of eight, or fewer.
const SMALL_PART: f32 = 1.0 / 32.0;
/// How many of these a block may have for 8 bits; zeros lose nothing.
const MOST_SMALL: u32 = 8;

/// Where the numbers of a chunk (8 blocks), or of a block in a tile, lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Numbers of 16 bits as they come, then 8 scales.
    Words,
    /// Eight rows at a time: a block's high bytes, low bytes, what is to be added, scale.
    Tiles,
    /// First tiles of the rows that stand 8 bits: a block's bytes, what is to be added, scale; then tiles of the others.
    Mixed,
}

/// Bytes of a block of a row in a tile, whose numbers have one byte or two.
pub const fn tile_block(words: bool) -> usize {
    if words {
        2 * BLOCK + 8
    } else {
        BLOCK + 8
    }
}

/// Rows of a tile.
pub const TILE_ROWS: usize = 8;
/// Bytes of a chunk, of which the last 32 are its scales.
pub const CHUNK_BYTES: usize = 2 * BLOCK * CHUNK + 32;

impl Layout {
    const fn has_tiles(self) -> bool {
        matches!(self, Layout::Tiles | Layout::Mixed)
    }
}

/// Up to eight rows whose numbers have one byte or two.
pub struct Tile<'a> {
    pub words: bool,
    /// Where they lie: of each block one row after the other.
    pub data: *const u8,
    /// Which rows these are.
    pub rows: &'a [usize],
}

/// Rounded rows.
pub struct Rounded {
    pub rows: usize,
    pub blocks: usize,
    /// Rows as they lie in tiles: first those of 8 bits.
    order: Vec<usize>,
    /// How many have 8 bits.
    bytes: usize,
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
        let from = Shared::new(x.cast_mut());
        let (order, bytes) = match layout {
            Layout::Mixed => ordered(from, rows, blocks, threads)?,
            Layout::Tiles => {
                let mut order = room(rows)?;
                order.extend(0..rows);
                (order, 0)
            }
            _ => (Vec::new(), 0),
        };
        let size = if layout.has_tiles() {
            (bytes * tile_block(false) + (rows - bytes) * tile_block(true)) * blocks
        } else {
            rows * blocks.div_ceil(CHUNK) * CHUNK_BYTES
        };
        let memory = Scratch::new::<u64>(size.div_ceil(8))?;
        let to = Shared::new(memory.data::<u8>());
        let wild = AtomicBool::new(false);
        let offset = if weight.nibbles { 8 } else { 128 };
        let parts = parts_of(rows, 1 + 256 / blocks);
        parallel(threads, parts, (rows * blocks) as f64 * 20.0, |part| {
            for place in part_range(rows, parts, part, 1) {
                let row = order.get(place).copied().unwrap_or(place);
                // SAFETY: rows have one part, and places of their own.
                unsafe {
                    let x = from.get().add(row * blocks * BLOCK);
                    if layout.has_tiles() {
                        let words = place >= bytes;
                        let size = tile_block(words);
                        // The first place of these, and behind their last.
                        let (begin, end) = if words { (bytes, rows) } else { (0, bytes) };
                        let tile = begin + (place - begin) / TILE_ROWS * TILE_ROWS;
                        let height = TILE_ROWS.min(end - tile);
                        let to = to.get().add(tile_offset(tile, bytes, blocks) + (place - tile) * size);
                        let finite = if words {
                            words_of(x, blocks, to, height * size, offset)
                        } else {
                            tile_row(x, blocks, to, height * size, offset, false)
                        };
                        if !finite {
                            wild.store(true, Ordering::Relaxed);
                        }
                    } else {
                        let to = to.get().add(row * blocks.div_ceil(CHUNK) * CHUNK_BYTES);
                        if !chunk_row(x, blocks, to) {
                            wild.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Ok(Rounded { rows, blocks, order, bytes, memory, x, wild: wild.into_inner() })
    }

    /// The chunks of a row.
    pub fn row(&self, row: usize) -> *const u8 {
        let size = self.blocks.div_ceil(CHUNK) * CHUNK_BYTES;
        self.memory.data::<u8>().cast_const().wrapping_add(row * size)
    }

    /// All tiles.
    pub fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        let (bytes, words) = self.order.split_at(self.bytes);
        let firsts = (0..self.bytes).step_by(TILE_ROWS).chain((self.bytes..self.rows).step_by(TILE_ROWS));
        firsts.zip(bytes.chunks(TILE_ROWS).chain(words.chunks(TILE_ROWS))).map(|(first, rows)| Tile {
            words: first >= self.bytes,
            data: self.memory.data::<u8>().cast_const().wrapping_add(tile_offset(first, self.bytes, self.blocks)),
            rows,
        })
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

/// Where the tile begins whose first row has a place, of which the first `bytes` have numbers of 8 bits.
const fn tile_offset(place: usize, bytes: usize, blocks: usize) -> usize {
    let words = place.saturating_sub(bytes);
    ((place - words) * tile_block(false) + words * tile_block(true)) * blocks
}

/// Rows that stand 8 bits, then the others; and how many stand them. What a row gets depends on nothing but its own values.
unsafe fn ordered(x: Shared<f32>, rows: usize, blocks: usize, threads: usize) -> Result<(Vec<usize>, usize), Error> {
    let memory = Scratch::new::<u8>(rows)?;
    let stand = Shared::new(memory.data::<u8>());
    let parts = parts_of(rows, 1 + 256 / blocks);
    parallel(threads, parts, (rows * blocks) as f64 * 10.0, |part| {
        for row in part_range(rows, parts, part, 1) {
            // SAFETY: rows have one part.
            unsafe { *stand.get().add(row) = stands_bytes(x.get().add(row * blocks * BLOCK), blocks) as u8 };
        }
    });
    let stand = std::slice::from_raw_parts(memory.data::<u8>().cast_const(), rows);
    let mut order = room(rows)?;
    order.extend((0..rows).filter(|&row| stand[row] == 1));
    let bytes = order.len();
    order.extend((0..rows).filter(|&row| stand[row] == 0));
    Ok((order, bytes))
}

#[inline(always)]
unsafe fn stands_bytes_body<const F: bool>(x: *const f32, blocks: usize) -> bool {
    for block in 0..blocks {
        let values = x.add(block * BLOCK).cast::<[f32; BLOCK]>().read_unaligned();
        let mut most = [0u32; 16];
        for half in values.chunks_exact(16) {
            for (most, value) in most.iter_mut().zip(half) {
                *most = (*most).max(value.to_bits() & 0x7fff_ffff);
            }
        }
        let greatest = f32::from_bits(most.iter().copied().fold(0, u32::max));
        if greatest < TINY {
            continue;
        }
        let inverse = 1.0 / greatest;
        let (mut sums, mut squares, mut small) = ([0f32; 16], [0f32; 16], [0u32; 16]);
        for half in values.chunks_exact(16) {
            for (lane, value) in half.iter().enumerate() {
                let part = value * inverse;
                sums[lane] += part;
                squares[lane] += part * part;
                small[lane] += (part != 0.0 && part.abs() < SMALL_PART) as u32;
            }
        }
        let (sum, squares): (f32, f32) = (sums.iter().sum(), squares.iter().sum());
        let spread = squares - sum * sum / BLOCK as f32;
        // What is not finite has no spread that is large enough.
        let stands = spread >= BLOCK as f32 / MOST_OVER_SPREAD && small.iter().sum::<u32>() <= MOST_SMALL;
        if !stands {
            return false;
        }
    }
    true
}
multiversion! {
    /// Whether 8 bits are enough for a row: in each block the spread is large beside the greatest value, so that neither a
    /// few great values nor a mean that the weights cancel hides the rest, and few values are lost beside it. Then rounding
    /// costs a normalised square error of 16 / (12 * 127²) = 8e-5 at most, for weights that are not aligned with x.
    unsafe fn stands_bytes(x: *const f32, blocks: usize) -> bool = stands_bytes_body
}

/// The whole numbers of a block, of which the greatest is `range`, and their scale; whether the block is finite.
#[inline(always)]
unsafe fn levels(x: *const f32, to: &mut [i32; BLOCK], range: f32) -> (f32, bool) {
    let mut most = [0u32; 16];
    for half in 0..2 {
        for (lane, most) in most.iter_mut().enumerate() {
            // Sizes compare as their bits do, infinities and NaN above all others.
            *most = (*most).max((*x.add(half * 16 + lane)).to_bits() & 0x7fff_ffff);
        }
    }
    let greatest = f32::from_bits(most.iter().copied().fold(0, u32::max));
    let (inverse, scale, finite) = factors(greatest, range);
    for (i, to) in to.iter_mut().enumerate() {
        let value = if inverse != 0.0 { *x.add(i) * inverse } else { 0.0 };
        // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits.
        *to = (value + 12_582_912.0).to_bits() as i32 - 0x4b40_0000;
    }
    (scale, finite)
}

/// What the values of a block with a greatest one are multiplied with, 0 where they count as zeros; the scale; and whether
/// all are finite.
#[inline(always)]
pub fn factors(greatest: f32, range: f32) -> (f32, f32, bool) {
    let finite = greatest < f32::INFINITY;
    if finite && greatest >= TINY {
        (range / greatest, greatest / range, true)
    } else {
        (0.0, 0.0, finite)
    }
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
    words: bool,
) -> bool {
    let mut all_finite = true;
    let mut whole = [0; BLOCK];
    for block in 0..blocks {
        let range = if words { MOST } else { MOST_OF_BYTES };
        let (scale, finite) = levels(x.add(block * BLOCK), &mut whole, range);
        all_finite &= finite;
        let to = to.add(block * step);
        if words {
            for (i, &level) in whole.iter().enumerate() {
                let (high, low) = halves(level);
                *to.add(i) = high as u8;
                *to.add(BLOCK + i) = low as u8;
            }
        } else {
            for (i, &level) in whole.iter().enumerate() {
                *to.add(i) = level as i8 as u8;
            }
        }
        let end = to.add(if words { 2 * BLOCK } else { BLOCK });
        let sum: i32 = whole.iter().sum();
        end.cast::<i32>().write_unaligned(-offset * sum);
        end.add(4).cast::<f32>().write_unaligned(scale);
    }
    all_finite
}
multiversion! {
    unsafe fn tile_row(x: *const f32, blocks: usize, to: *mut u8, step: usize, offset: i32, words: bool) -> bool = tile_row_body
}

/// # Safety
/// As for `tile_row`.
unsafe fn words_of(x: *const f32, blocks: usize, to: *mut u8, step: usize, offset: i32) -> bool {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        return super::tiles::round_words(x, blocks, to, step, offset);
    }
    tile_row(x, blocks, to, step, offset, true)
}

#[inline(always)]
unsafe fn chunk_row_body<const F: bool>(x: *const f32, blocks: usize, to: *mut u8) -> bool {
    let mut all_finite = true;
    let mut whole = [0; BLOCK];
    for block in 0..blocks.next_multiple_of(CHUNK) {
        let (scale, finite) = if block < blocks {
            levels(x.add(block * BLOCK), &mut whole, MOST)
        } else {
            whole = [0; BLOCK];
            (0.0, true)
        };
        all_finite &= finite;
        let (chunk, at) = (to.add(block / CHUNK * CHUNK_BYTES), block % CHUNK);
        chunk.add(CHUNK_BYTES - 32).cast::<f32>().add(at).write_unaligned(scale);
        let words = chunk.cast::<i16>().add(at * BLOCK);
        for (i, &level) in whole.iter().enumerate() {
            words.add(i).write_unaligned(level as i16);
        }
    }
    all_finite
}
multiversion! {
    unsafe fn chunk_row(x: *const f32, blocks: usize, to: *mut u8) -> bool = chunk_row_body
}
