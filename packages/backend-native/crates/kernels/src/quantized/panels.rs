//! Weights laid out anew where they are: sixteen rows side by side in a panel, as products read them.
//!
//! A panel has the bytes of its sixteen rows in another order, so that it takes their place. It goes two blocks of each row
//! at a time: first the values of the one, four bytes of each row (a word) and then the next four, those of the other, and
//! then the scales of both. Bytes of Q8_0 are 128 above what they were: unsigned.

use super::{block_bytes, Way, Weight, BLOCK, SMALL};
use crate::call::{Call, Error, Kernel, CHECK_INDEX};
use crate::check::check;
use crate::dtype::DType;
use crate::memory::Block;
use crate::space::View;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a panel.
pub const WIDE: usize = 16;
/// Panels that are laid at once, at most: each has a thread.
const AT_ONCE: usize = 16;
/// What turns the words of Q8_0 into unsigned bytes, and back.
const UNSIGNED: u32 = 0x8080_8080;

/// Bytes of a panel's values of one block.
pub const fn value_bytes(nibbles: bool) -> usize {
    WIDE * (block_bytes(nibbles) - 2)
}

/// Bytes of a panel whose rows have so many blocks.
pub const fn panel_bytes(nibbles: bool, blocks: usize) -> usize {
    WIDE * block_bytes(nibbles) * blocks
}

/// Where a block's values begin in a panel, and where its scales do.
pub const fn places(nibbles: bool, blocks: usize, block: usize) -> (usize, usize) {
    let values = value_bytes(nibbles);
    let pair = panel_bytes(nibbles, block / 2 * 2);
    let together = if block / 2 * 2 + 1 < blocks { 2 } else { 1 };
    (pair + block % 2 * values, pair + together * values + block % 2 * 2 * WIDE)
}

/// Whether a weight may lie in panels: all of its products are computed with these.
pub fn can_be(columns: usize, blocks: usize) -> bool {
    columns.is_multiple_of(WIDE) && columns * blocks * BLOCK >= SMALL && Way::best().wants_panels()
}

/// A stretch of memory that has a weight in panels, or could.
#[derive(Clone, Copy)]
pub struct Panels {
    data: *mut u8,
    nibbles: bool,
    columns: usize,
    blocks: usize,
}

// SAFETY: an address and numbers; whoever goes there says why that is sound.
unsafe impl Send for Panels {}
// SAFETY: as above.
unsafe impl Sync for Panels {}

impl Panels {
    /// What a call of `quantizedMatmul` multiplies with, where that is worth laying out in panels here.
    pub fn of(kernel: Kernel, call: &Call) -> Option<Panels> {
        if kernel != Kernel::QuantizedMatmul || check(kernel, call).is_err() {
            return None;
        }
        let (format, columns, blocks) = (call.attribute(0), call.outputs[0].shape[1], call.inputs[0].shape[1] / BLOCK);
        (format < 2 && can_be(columns, blocks)).then(|| Panels::at(call.inputs[1].data, format == 1, columns, blocks))
    }

    pub fn at(data: *mut u8, nibbles: bool, columns: usize, blocks: usize) -> Panels {
        Panels { data, nibbles, columns, blocks }
    }

    /// Its memory, by address.
    pub fn range(&self) -> Range<usize> {
        let start = self.data as usize;
        start..start + panel_bytes(self.nibbles, self.blocks) * (self.columns / WIDE)
    }

    /// Whether `part` is some of these panels.
    pub fn have(&self, part: &Panels) -> bool {
        let (all, some) = (self.range(), part.range());
        self.nibbles == part.nibbles
            && self.blocks == part.blocks
            && all.start <= some.start
            && some.end <= all.end
            && (some.start - all.start).is_multiple_of(panel_bytes(self.nibbles, self.blocks))
    }

    /// Attributes for [`gather_rows`] where a call of `gather` takes whole rows from here, one for each index, as those of
    /// an embedding.
    pub fn rows_of(&self, kernel: Kernel, call: &Call) -> Option<[f64; 3]> {
        if kernel != Kernel::Gather || check(kernel, call).is_err() {
            return None;
        }
        let (source, index, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
        let (all, bytes) = (self.range(), self.blocks * block_bytes(self.nibbles));
        let before = (source.data as usize).checked_sub(all.start)?;
        let whole = source.dtype == DType::U8
            && source.rank == 2
            && source.shape[1] == bytes
            && source.contiguous
            && before.is_multiple_of(bytes)
            && before + source.size <= all.end - all.start;
        let one_for_each = call.attribute(0) == 0 && index.strides[1] == 0 && output.contiguous;
        let format = if self.nibbles { 2.0 } else { 1.0 };
        (whole && one_for_each).then(|| [0.0, format, (before / bytes) as f64])
    }
}

/// Memory for laying: that of a few panels, for all weights of an engine, which are laid one after the other. Whoever keeps
/// it can lay all that was laid with it back, whatever else has no memory then.
pub struct Room(Block);

// SAFETY: an address and a size; whoever goes there says why that is sound.
unsafe impl Sync for Room {}

impl Room {
    /// For laying a weight on many threads, or else on one.
    pub fn new(panels: &Panels) -> Result<Room, Error> {
        let bytes = panel_bytes(panels.nibbles, panels.blocks);
        Ok(Room(Block::new(AT_ONCE * bytes).or_else(|_| Block::new(bytes))?))
    }

    /// Panels of a weight that it holds, as many as are laid at once or less.
    pub fn panels(&self, panels: &Panels) -> usize {
        (self.0.bytes() / panel_bytes(panels.nibbles, panels.blocks)).min(AT_ONCE)
    }

    /// Whether no weight needs more.
    pub fn is_ample(&self, panels: &Panels) -> bool {
        self.panels(panels) == AT_ONCE
    }
}

/// Lays a weight out in panels, or as it was. Bytes change places, and none is lost.
pub struct Laying {
    panels: Panels,
    back: bool,
    threads: usize,
    room: Arc<Room>,
}

impl Laying {
    pub fn new(panels: Panels, back: bool, threads: usize, room: Arc<Room>) -> Laying {
        Laying { panels, back, threads, room }
    }

    /// All bytes of the weight.
    pub fn view(&self) -> View {
        let range = self.panels.range();
        View::dense(DType::U8, self.panels.data, &[range.end - range.start])
    }

    /// Does it.
    ///
    /// # Safety
    /// The weight lies in live memory. Nobody else uses that or the room meanwhile.
    pub unsafe fn run(&self) {
        let Panels { data, nibbles, columns, blocks } = self.panels;
        let back = self.back;
        let parts = parts_of(columns / WIDE, 1).min(self.room.panels(&self.panels));
        assert!(parts > 0, "there is no room for a panel");
        let size = panel_bytes(nibbles, blocks);
        let (data, memory) = (Shared::new(data), Shared::new(self.room.0.data()));
        parallel(self.threads, parts, (columns / WIDE * size) as f64, |part| {
            for panel in part_range(columns / WIDE, parts, part, 1) {
                // SAFETY: panels have one part, and each part has a panel's memory.
                unsafe {
                    let (at, copy) = (data.get().add(panel * size), memory.get().add(part * size));
                    std::ptr::copy_nonoverlapping(at, copy, size);
                    lay(nibbles, blocks, back, copy, at);
                }
            }
        });
    }
}

/// One panel, or its sixteen rows.
///
/// # Safety
/// Both have room for a panel, and do not overlap.
unsafe fn lay(nibbles: bool, blocks: usize, back: bool, from: *const u8, to: *mut u8) {
    let flip = if nibbles { 0 } else { UNSIGNED };
    for block in 0..blocks {
        let (values, scales) = places(nibbles, blocks, block);
        for column in 0..WIDE {
            let row = (column * blocks + block) * block_bytes(nibbles);
            let turn = |row: usize, panel: usize| if back { (panel, row) } else { (row, panel) };
            let (a, b) = turn(row, scales + column * 2);
            to.add(b).cast::<u16>().write_unaligned(from.add(a).cast::<u16>().read_unaligned());
            for word in 0..value_bytes(nibbles) / (4 * WIDE) {
                let (a, b) = turn(row + 2 + word * 4, values + (word * WIDE + column) * 4);
                let bytes = from.add(a).cast::<u32>().read_unaligned();
                to.add(b).cast::<u32>().write_unaligned(bytes ^ flip);
            }
        }
    }
}

/// A block of a weight in panels, as it is in a row.
///
/// # Safety
/// The weight lies in live memory.
pub unsafe fn block_of(weight: &Weight, column: usize, block: usize, to: &mut [u8; block_bytes(false)]) {
    let Weight { nibbles, blocks, .. } = *weight;
    let panel = weight.data.add(column / WIDE * panel_bytes(nibbles, blocks));
    let (values, scales) = places(nibbles, blocks, block);
    let column = column % WIDE;
    for (at, to) in to[..block_bytes(nibbles)].iter_mut().enumerate() {
        *to = match at.checked_sub(2) {
            None => *panel.add(scales + column * 2 + at),
            Some(at) => *panel.add(values + (at / 4 * WIDE + column) * 4 + at % 4) ^ if nibbles { 0 } else { 0x80 },
        };
    }
}

/// `gather` of rows of a weight in panels, which come out as they were. Attributes: the axis (0), 1 for Q8_0 or 2 for Q4_0,
/// and which of the weight's rows is the source's first.
///
/// # Safety
/// See [`crate::run`]; the rows lie in panels as [`Panels::rows_of`] found them, and the output overlaps no input.
pub unsafe fn gather_rows(call: &Call) -> Result<(), Error> {
    call.expect(2, 1)?;
    let (source, index, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    let (nibbles, first) = (call.attribute(1) == 2, call.attribute(2));
    let (rows, bytes) = (index.shape[0], source.shape[1]);
    let blocks = bytes / block_bytes(nibbles);
    let weight = Shared::new(source.data.wrapping_sub(first * bytes));
    let (at, to) = (Shared::new(index.data), Shared::new(output.data));
    let fault = Fault::default();
    let parts = parts_of(rows, 1 + 8192 / bytes);
    parallel(call.threads, parts, (rows * bytes) as f64, |part| {
        for row in part_range(rows, parts, part, 1) {
            // SAFETY: the views lie in live memory, rows have outputs of their own, and the row is one of the source's.
            unsafe {
                let at = *at.get().cast::<i32>().offset(row as isize * index.strides[0]);
                if at < 0 || at as usize >= source.shape[0] {
                    fault.check(CHECK_INDEX);
                    continue;
                }
                let column = first + at as usize;
                let panel = weight.get().add(column / WIDE * panel_bytes(nibbles, blocks));
                row_of(nibbles, blocks, panel, column % WIDE, to.get().add(row * bytes));
            }
        }
    });
    fault.result()
}

/// One row of a panel, as it was.
///
/// # Safety
/// There is the panel, and room for a row.
unsafe fn row_of(nibbles: bool, blocks: usize, panel: *const u8, column: usize, to: *mut u8) {
    let flip = if nibbles { 0 } else { UNSIGNED };
    for block in 0..blocks {
        let (values, scales) = places(nibbles, blocks, block);
        let to = to.add(block * block_bytes(nibbles));
        to.cast::<u16>().write_unaligned(panel.add(scales + column * 2).cast::<u16>().read_unaligned());
        for word in 0..value_bytes(nibbles) / (4 * WIDE) {
            let bytes = panel.add(values + (word * WIDE + column) * 4).cast::<u32>().read_unaligned();
            to.add(2 + word * 4).cast::<u32>().write_unaligned(bytes ^ flip);
        }
    }
}
