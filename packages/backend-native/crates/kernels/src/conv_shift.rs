//! The input's gradient of convolutions whose windows move by one element, as small products: for each row of taps the
//! weights, turned round, times the planes of gradients. A plane of gradients lies row after row, so that moving it down by
//! some rows is a place further on in the products' results. Those are moved along the rows in the end, tap by tap.
//!
//! No window is copied, and nothing is multiplied that a plain sum would not multiply.

use crate::call::Error;
use crate::conv::Sizes;
use crate::conv_direct::shares;
use crate::level::multiversion;
use crate::memory::Scratch;
use crate::product::Factor;
use crate::small::{multiply_small, Rows, COLUMNS};
use crate::threads::{parallel, part_range, Fault, Shared};

/// Fewest channels of gradients: products need some depth.
const FEWEST: usize = 4;
/// Bytes of results for one strip of rows, about: they stay in the nearest caches.
const NEAR: usize = 48 << 10;

/// Whether the input's gradient of a convolution can be computed here, and is worth it.
pub fn is_shifted(sizes: &Sizes) -> bool {
    let w = &sizes.window;
    let flat = w.input[0] == 1 && w.kernel[0] == 1 && w.output[0] == 1 && w.before[0] == 0;
    flat && w.stride[1] == 1
        && w.stride[2] == 1
        && sizes.taps > 1
        && sizes.pixels.is_multiple_of(COLUMNS)
        && sizes.outs >= FEWEST
        && !sizes.is_empty()
        && (w.kernel[1] - 1).saturating_mul(w.dilation[1]) <= w.output[1] + w.input[1]
}

/// Rows of gradients whose results stay near: they end where vectors do.
fn strip_rows(sizes: &Sizes, channels: usize) -> usize {
    let w = &sizes.window;
    let [height, width] = [w.output[1], w.output[2]];
    let whole = (1..=COLUMNS).find(|rows| (rows * width).is_multiple_of(COLUMNS)).unwrap_or(COLUMNS);
    let near = NEAR / (4 * channels * w.kernel[2] * width);
    let down = (w.kernel[1] - 1) * w.dilation[1];
    // As many rows as taps move them by, at least: those are added twice.
    let rows = near.saturating_sub(down).max(2 * down).max(whole);
    height.min(rows - rows % whole)
}

/// # Safety
/// The operands are dense and have these sizes; [`is_shifted`] holds.
pub unsafe fn input_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    weight: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let w = &sizes.window;
    let [_, tall, across] = w.kernel;
    let (depth, outs, width) = (sizes.depth(), sizes.outs, w.output[2]);
    let down = (tall - 1) * w.dilation[1];
    let lines = sizes.ins * across;
    // Weights by group, row of taps and output channel: those of each input channel and tap of the row side by side.
    let packed = Scratch::new::<f32>(sizes.groups * depth * outs)?;
    let mut next = packed.data::<f32>();
    for group in 0..sizes.groups {
        for ky in 0..tall {
            for out in 0..outs {
                for channel in 0..sizes.ins {
                    let from =
                        weight.get().add(((group * outs + out) * sizes.ins + channel) * sizes.taps + ky * across);
                    std::ptr::copy_nonoverlapping(from, next, across);
                    next = next.add(across);
                }
            }
        }
    }
    let packed = Shared::new(packed.data::<f32>());
    let height = w.output[1];
    let shares = shares(sizes.batch * sizes.groups, sizes.ins);
    let units = sizes.batch * sizes.groups * shares;
    let parts = units.min(64);
    let strip = strip_rows(sizes, sizes.ins.div_ceil(shares));
    let reach = (strip + down) * width;
    let fault = Fault::default();
    parallel(threads, parts, sizes.products() * 0.02, |part| {
        let sums = match Scratch::new::<f32>(lines * reach) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for unit in part_range(units, parts, part, 1) {
            let (place, share) = (unit / shares, unit % shares);
            let channels = part_range(sizes.ins, shares, share, 1);
            let (first, count) = (channels.start * across, channels.len() * across);
            // SAFETY: offsets are those of dense operands; units have planes of their own. Results of the last row of taps
            // end where `reach` does.
            unsafe {
                let sums = sums.data::<f32>();
                let image = to.get().add((place * sizes.ins + channels.start) * sizes.plane);
                std::slice::from_raw_parts_mut(image, channels.len() * sizes.plane).fill(0.0);
                for above in (0..height).step_by(strip) {
                    let rows = strip.min(height - above);
                    std::slice::from_raw_parts_mut(sums, count * reach).fill(0.0);
                    let from = (place * outs * height + above) * width;
                    let planes = Rows { data: gradient.get().add(from), row: sizes.pixels };
                    for ky in 0..tall {
                        let data = packed.get().add((place % sizes.groups * tall + ky) * outs * lines + first);
                        let factor = Factor { data, row: 1, column: lines as isize };
                        let result = Rows { data: sums.add(ky * w.dilation[1] * width), row: reach };
                        multiply_small([count, rows * width, outs], factor, planes, result, true);
                    }
                    for channel in 0..channels.len() {
                        let to = image.add(channel * sizes.plane);
                        add_moved(sizes, sums.add(channel * across * reach), reach, above, rows + down, to);
                    }
                }
            }
        }
    });
    fault.result()
}

/// Adds the sums of each tap of a row to a plane of the image, moved to where that tap lies: `rows` of them, the first one
/// that of the row `above` of gradients.
#[inline(always)]
unsafe fn moved_body<const F: bool>(
    sizes: &Sizes,
    from: *const f32,
    reach: usize,
    above: usize,
    rows: usize,
    to: *mut f32,
) {
    let w = &sizes.window;
    let before = w.before[1];
    for kx in 0..w.kernel[2] {
        let (first, end, place) = w.inside(2, kx);
        let from = from.add(kx * reach + first);
        for row in above.max(before)..(above + rows).min(before + w.input[1]) {
            let from = from.add((row - above) * w.output[2]);
            add_run(from, to.add((row - before) * w.input[2] + place), end - first);
        }
    }
}
multiversion! {
    unsafe fn add_moved(sizes: &Sizes, from: *const f32, reach: usize, above: usize, rows: usize, to: *mut f32) = moved_body
}

/// Adds a run, which is short as a rule.
#[inline(always)]
unsafe fn add_run(from: *const f32, to: *mut f32, count: usize) {
    let mut i = 0;
    macro_rules! pieces {
        ($($width:expr),*) => {$(
            while count - i >= $width {
                let more = from.add(i).cast::<[f32; $width]>().read_unaligned();
                let mut sum = to.add(i).cast::<[f32; $width]>().read_unaligned();
                for lane in 0..$width {
                    sum[lane] += more[lane];
                }
                to.add(i).cast::<[f32; $width]>().write_unaligned(sum);
                i += $width;
            }
        )*};
    }
    pieces!(8, 4, 1);
}
