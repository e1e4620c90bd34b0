//! The product in floats: for little work, for rows that are not finite, and for many rows where bytes have no products.

use super::{block_bytes, level_of, scale_of, Error, Scratch, Weight, BLOCK};
use crate::product::{Cut, Factor};
use crate::threads::{parallel, part_range, parts_of, Shared};
use std::ops::Range;

/// Some rows of x, a weight's row at a time, with sums in doubles.
///
/// # Safety
/// All lie in live memory, and `to` overlaps nothing.
pub unsafe fn rows(x: *const f32, rows: Range<usize>, weight: &Weight, to: *mut f32, threads: usize) {
    let inner = weight.blocks * BLOCK;
    let (x, to) = (Shared::new(x.cast_mut()), Shared::new(to));
    let work = inner * rows.len();
    let parts = parts_of(weight.columns, 1 + 8192 / work.max(1));
    parallel(threads, parts, (weight.columns * work) as f64, |part| {
        let mut own = [0; block_bytes(false)];
        for column in part_range(weight.columns, parts, part, 1) {
            for row in rows.clone() {
                // SAFETY: columns have one part.
                unsafe {
                    let (x, mut sum) = (x.get().add(row * inner), 0f64);
                    for block in 0..weight.blocks {
                        let w = weight.block(column, block, &mut own);
                        let scale = scale_of(w);
                        for i in 0..BLOCK {
                            let value = scale * level_of(w, weight.nibbles, i) as f32;
                            sum += *x.add(block * BLOCK + i) as f64 * value as f64;
                        }
                    }
                    *to.get().add(row * weight.columns + column) = sum as f32;
                }
            }
        }
    });
}

/// Values of the weight that are floats at one time.
const TILE: usize = 1 << 20;

/// Many rows: tiles of the weight become floats, and a product of floats does the rest.
///
/// # Safety
/// As for [`rows`].
pub unsafe fn tiles(x: *const f32, rows: usize, weight: &Weight, to: *mut f32, threads: usize) -> Result<(), Error> {
    let inner = weight.blocks * BLOCK;
    let most = (TILE / inner).max(32).min(weight.columns);
    let memory = Scratch::new::<f32>(most * inner)?;
    let tile = memory.data::<f32>();
    let shared = Shared::new(tile);
    for first in (0..weight.columns).step_by(most) {
        let count = most.min(weight.columns - first);
        let parts = parts_of(count, 1 + 16_384 / inner);
        parallel(threads, parts, (count * inner) as f64 * 0.5, |part| {
            for column in part_range(count, parts, part, 1) {
                for block in 0..weight.blocks {
                    // SAFETY: rows of the tile have one part.
                    unsafe {
                        let w = weight.row(first + column).add(block * weight.block_bytes());
                        let to = shared.get().add(column * inner + block * BLOCK);
                        let scale = scale_of(w);
                        for i in 0..BLOCK {
                            *to.add(i) = scale * level_of(w, weight.nibbles, i) as f32;
                        }
                    }
                }
            }
        });
        let cut = Cut::new([rows, count, inner]);
        let (x, to) = (Shared::new(x.cast_mut()), Shared::new(to.add(first)));
        parallel(threads, cut.pieces, (rows * count * inner) as f64 * 0.02, |piece| {
            // SAFETY: pieces of the product have one part each.
            unsafe {
                cut.multiply(
                    piece,
                    Factor { data: x.get(), row: inner as isize, column: 1 },
                    Factor { data: shared.get(), row: 1, column: inner as isize },
                    Factor { data: to.get(), row: weight.columns as isize, column: 1 },
                );
            }
        });
    }
    Ok(())
}
