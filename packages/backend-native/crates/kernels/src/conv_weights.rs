//! The weights' gradient of a convolution with several output channels, which are the lanes of vectors: a pixel's gradients
//! times one element of the image for each tap. No window is copied, no lane is added across, and any stride will do.
//!
//! Gradients are turned round first, a strip of rows at a time, so that a pixel's channels lie side by side in the nearest
//! cache; a strip's sums stay in registers.

use crate::call::Error;
use crate::conv::Sizes;
use crate::level::{level, multiversion, Level};
use crate::math::madd;
use crate::memory::{room, Scratch};
use crate::threads::{parallel, part_range, Fault, Shared};
use crate::turn::turn;
use crate::window::{volume, Triple};

/// Fewest channels of a group's output: below that most lanes would be empty.
const FEWEST: usize = 3;
/// Pixels of a strip, about: their gradients stay in the nearest cache, and no sum of f32 becomes long.
const STRIP: usize = 256;
/// Parts that the batch, and where it is small the channels, are cut into.
const PARTS: usize = 8;
/// Taps whose sums are in registers together, at most: `for_taps` has loops for so many.
const MOST_TAPS: usize = 13;
/// Most elements of a padded plane for one of the image's and the output's.
const MOST_PADDED: usize = 8;

/// The plane that all windows lie in: the image itself, or one with padding.
fn padded(sizes: &Sizes) -> Option<Triple> {
    let w = &sizes.window;
    let mut size = [0; 3];
    for (axis, size) in size.iter_mut().enumerate() {
        let windows = (w.output[axis] - 1).checked_mul(w.stride[axis])?;
        let kernel = (w.kernel[axis] - 1).checked_mul(w.dilation[axis])?;
        *size = windows.checked_add(kernel)?.checked_add(1)?.max(w.input[axis].checked_add(w.before[axis])?);
    }
    let elements = size.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (elements <= MOST_PADDED * (sizes.plane + sizes.pixels)).then_some(size)
}

/// Whether the weights' gradient can be computed here, and is worth it.
pub fn is_laned(sizes: &Sizes) -> bool {
    sizes.outs >= FEWEST && sizes.taps > 1 && !sizes.is_empty() && padded(sizes).is_some()
}

/// A strip of pixels: their gradients, channels side by side, and the image's plane from the first column's windows on.
struct Strip<'a> {
    g: *const f32,
    x: *const f32,
    rows: &'a [usize],
    width: usize,
    step: usize,
}

/// Adds a strip's sums of `T` taps to totals, `L` channels each.
#[inline(always)]
unsafe fn tile<const F: bool, const L: usize, const T: usize>(strip: &Strip, taps: &[usize], to: *mut f32) {
    let mut sums = [[0f32; L]; T];
    let mut places = [0usize; T];
    places.copy_from_slice(&taps[..T]);
    let mut g = strip.g;
    for &row in strip.rows {
        let mut x = strip.x.add(row);
        for _ in 0..strip.width {
            let lanes = g.cast::<[f32; L]>().read_unaligned();
            for t in 0..T {
                let factor = *x.add(places[t]);
                for lane in 0..L {
                    sums[t][lane] = madd::<F>(factor, lanes[lane], sums[t][lane]);
                }
            }
            g = g.add(L);
            x = x.wrapping_add(strip.step);
        }
    }
    for (t, sums) in sums.iter().enumerate() {
        let to = to.add(t * L).cast::<[f32; L]>();
        let mut total = to.read_unaligned();
        for lane in 0..L {
            total[lane] += sums[lane];
        }
        to.write_unaligned(total);
    }
}

/// A loop of its own for each number of taps, which `$T` is.
macro_rules! for_taps {
    ($taps:ident, |$T:ident| $call:expr) => {
        for_taps!(@ $taps, $T, $call, 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $taps:ident, $T:ident, $call:expr, $($count:expr)*) => {
        match $taps.len() {
            $($count => {
                const $T: usize = $count;
                $call
            })*
            _ => {}
        }
    };
}

#[inline(always)]
unsafe fn sums_body<const F: bool>(strip: &Strip, wide: bool, taps: &[usize], to: *mut f32) {
    if wide {
        for_taps!(taps, |T| tile::<F, 16, T>(strip, taps, to));
    } else {
        for_taps!(taps, |T| tile::<F, 8, T>(strip, taps, to));
    }
}
multiversion! {
    unsafe fn sums_of(strip: &Strip, wide: bool, taps: &[usize], to: *mut f32) = sums_body
}

/// Sums of eight channels, whose loops compilers do not turn into vectors by themselves where taps are many.
#[cfg(target_arch = "x86_64")]
mod eight {
    use super::Strip;
    use std::arch::x86_64::*;

    macro_rules! eight {
        ($name:ident, $tile:ident, $features:literal) => {
            #[inline]
            #[target_feature(enable = $features)]
            #[allow(clippy::needless_range_loop, reason = "loops over constants become straight code")]
            unsafe fn $tile<const T: usize>(strip: &Strip, taps: &[usize], to: *mut f32) {
                let mut sums = [_mm256_setzero_ps(); T];
                let mut places = [0usize; T];
                places.copy_from_slice(&taps[..T]);
                let mut g = strip.g;
                for &row in strip.rows {
                    let mut x = strip.x.add(row);
                    for _ in 0..strip.width {
                        let lanes = _mm256_loadu_ps(g);
                        for t in 0..T {
                            sums[t] = _mm256_fmadd_ps(_mm256_set1_ps(*x.add(places[t])), lanes, sums[t]);
                        }
                        g = g.add(8);
                        x = x.wrapping_add(strip.step);
                    }
                }
                for t in 0..T {
                    let to = to.add(t * 8);
                    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), sums[t]));
                }
            }

            /// # Safety
            /// As for the plain loops, on a processor that has these instructions.
            #[target_feature(enable = $features)]
            pub unsafe fn $name(strip: &Strip, taps: &[usize], to: *mut f32) {
                for_taps!(taps, |T| $tile::<T>(strip, taps, to));
            }
        };
    }
    eight!(avx512, tile_avx512, "avx512f,avx512vl,avx2,fma");
    eight!(avx2, tile_avx2, "avx2,fma");
}

/// Adds a strip's sums of up to [`MOST_TAPS`] taps to totals, of sixteen channels each or eight.
unsafe fn add_sums(strip: &Strip, wide: bool, taps: &[usize], to: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    match level() {
        Level::Avx512 if !wide => return eight::avx512(strip, taps, to),
        Level::Avx2 if !wide => return eight::avx2(strip, taps, to),
        _ => {}
    }
    sums_of(strip, wide, taps, to)
}

/// Taps at a time: as many as registers hold. Sums do not depend on it.
fn taps_at_once(taps: usize, wide: bool) -> usize {
    let most = match level() {
        Level::Avx512 => MOST_TAPS,
        _ if wide => 5,
        _ => 11,
    };
    taps.div_ceil(taps.div_ceil(most))
}

/// Copies planes into padded ones that hold zeros elsewhere.
unsafe fn pad(sizes: &Sizes, from: *const f32, to: *mut f32, padded: Triple) {
    let w = &sizes.window;
    std::slice::from_raw_parts_mut(to, volume(padded)).fill(0.0);
    for z in 0..w.input[0] {
        for y in 0..w.input[1] {
            let row = ((z + w.before[0]) * padded[1] + y + w.before[1]) * padded[2] + w.before[2];
            let source = from.add((z * w.input[1] + y) * w.input[2]);
            std::ptr::copy_nonoverlapping(source, to.add(row), w.input[2]);
        }
    }
}

/// Parts of the batch add up their images each, then the parts are added in order.
///
/// # Safety
/// The operands are dense and have these sizes; [`is_laned`] holds.
pub unsafe fn weight_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    x: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let w = &sizes.window;
    let padded = padded(sizes).ok_or_else(|| Error::Invalid("the windows reach too far".into()))?;
    let copies = padded != w.input;
    let place = |z: usize, y: usize, x: usize| (z * padded[1] + y) * padded[2] + x;
    let mut taps = room(sizes.taps)?;
    for z in 0..w.kernel[0] {
        for y in 0..w.kernel[1] {
            taps.extend((0..w.kernel[2]).map(|x| place(z * w.dilation[0], y * w.dilation[1], x * w.dilation[2])));
        }
    }
    let mut rows = room(w.output[0] * w.output[1])?;
    for z in 0..w.output[0] {
        rows.extend((0..w.output[1]).map(|y| place(z * w.stride[0], y * w.stride[1], 0)));
    }
    let wide = sizes.outs > 8;
    let lanes = if wide { 16 } else { 8 };
    let tiles = sizes.outs.div_ceil(lanes);
    let width = w.output[2];
    // Rows that are longer than a strip are cut into several.
    let (strip_rows, strip_width) = ((STRIP / width).max(1), width.min(STRIP));
    let at_once = taps_at_once(sizes.taps, wide);
    // A piece of the batch has totals by tile of channels, input channel and tap; planes of them are shared out.
    let planes = sizes.groups * tiles * sizes.ins;
    let pieces = sizes.batch.min(PARTS);
    let shares = PARTS.div_ceil(pieces).min(planes);
    let length = planes * sizes.taps * lanes;
    let partial = Scratch::new::<f32>(pieces * length)?;
    let totals = Shared::new(partial.data::<f32>());
    let fault = Fault::default();
    parallel(threads, pieces * shares, sizes.products() * 0.015, |part| {
        let (piece, share) = (part / shares, part % shares);
        let range = part_range(planes, shares, share, 1);
        let own = if copies { range.len().min(sizes.ins).saturating_mul(volume(padded)) } else { 0 };
        let memory = match Scratch::new::<f32>(own.saturating_add(strip_rows * strip_width * lanes)) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        // SAFETY: offsets are those of dense operands; pieces and shares have totals of their own.
        unsafe {
            let totals = totals.get().add(piece * length);
            let each = sizes.taps * lanes;
            std::slice::from_raw_parts_mut(totals.add(range.start * each), range.len() * each).fill(0.0);
            let (copy, turned) = (memory.data::<f32>(), memory.data::<f32>().add(own));
            for image in part_range(sizes.batch, pieces, piece, 1) {
                let mut plane = range.start;
                while plane < range.end {
                    let tile = plane / sizes.ins;
                    let (group, first) = (tile / tiles, tile % tiles * lanes);
                    let last = range.end.min((tile + 1) * sizes.ins);
                    let outs = lanes.min(sizes.outs - first);
                    let g = gradient.get().add(((image * sizes.groups + group) * sizes.outs + first) * sizes.pixels);
                    let begin = plane;
                    let x = x.get().add((image * sizes.groups + group) * sizes.ins * sizes.plane);
                    if copies {
                        for plane in begin..last {
                            let to = copy.add((plane - begin) * volume(padded));
                            pad(sizes, x.add(plane % sizes.ins * sizes.plane), to, padded);
                        }
                    }
                    for strip in (0..rows.len()).step_by(strip_rows) {
                        let rows = &rows[strip..rows.len().min(strip + strip_rows)];
                        for column in (0..width).step_by(strip_width) {
                            let width_here = strip_width.min(width - column);
                            let from = g.add(strip * width + column);
                            turn(from, sizes.pixels, outs, rows.len() * width_here, turned, lanes);
                            for plane in begin..last {
                                let x = if copies {
                                    copy.add((plane - begin) * volume(padded))
                                } else {
                                    x.add(plane % sizes.ins * sizes.plane)
                                };
                                let (x, step) = (x.add(column * w.stride[2]), w.stride[2]);
                                let strip = Strip { g: turned, x, rows, width: width_here, step };
                                for (k, taps) in taps.chunks(at_once).enumerate() {
                                    let to = totals.add(plane * each + k * at_once * lanes);
                                    add_sums(&strip, wide, taps, to);
                                }
                            }
                        }
                    }
                    plane = last;
                }
            }
        }
    });
    fault.result()?;
    for group in 0..sizes.groups {
        for out in 0..sizes.outs {
            let tile = group * tiles + out / lanes;
            for k in 0..sizes.depth() {
                let from = totals.get().add((tile * sizes.depth() + k) * lanes + out % lanes);
                let sum: f64 = (0..pieces).map(|piece| *from.add(piece * length) as f64).sum();
                *to.get().add((group * sizes.outs + out) * sizes.depth() + k) = sum as f32;
            }
        }
    }
    Ok(())
}
