//! Rows of the weight on any processor.

use super::round::{Rounded, CHUNK_BYTES};
use super::{level_of, scale_of, Weight, BLOCK, CHUNK};
use std::ops::Range;

/// Products of `count` rows of x from `first` on with a range of columns; `to` is where the first row's products begin.
///
/// # Safety
/// x was rounded to words; all lie in live memory.
pub unsafe fn rows(x: &Rounded, first: usize, count: usize, weight: &Weight, columns: Range<usize>, to: *mut f32) {
    for column in columns {
        for row in 0..count {
            let (from, mut sum) = (x.row(first + row), 0f32);
            for block in 0..weight.blocks {
                let w = weight.row(column).add(block * weight.block_bytes());
                let chunk = from.add(block / CHUNK * CHUNK_BYTES);
                let words = chunk.cast::<i16>().add(block % CHUNK * BLOCK);
                let scale = *chunk.add(CHUNK_BYTES - 32).cast::<f32>().add(block % CHUNK);
                let mut whole = 0;
                for i in 0..BLOCK {
                    whole += level_of(w, weight.nibbles, i) * *words.add(i) as i32;
                }
                sum += whole as f32 * (scale * scale_of(w));
            }
            *to.add(row * weight.columns + column) = sum;
        }
    }
}
