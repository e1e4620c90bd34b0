//! Gradients of convolutions without a matrix of windows, for what `conv_direct.rs` takes.

use crate::call::Error;
use crate::conv::Sizes;
use crate::conv_direct::{
    add_product, first_lanes, held, load, masked, shares, store, Layout, CHANNELS, LANES, MOST_HELD, PARTS,
};
use crate::level::multiversion;
use crate::memory::{room, Scratch};
use crate::threads::{parallel, part_range, Fault, Shared};
use crate::window::volume;

/// Bytes of images whose weight gradient is added up tile by tile: they stay in cache.
const NEAR: usize = 32 << 10;

/// What [`spread`] works on: the gradients of one image and group, and the weights from them to one of its planes.
struct Spreading<'a> {
    g: *const f32,
    /// Elements of a plane of gradients, of a row of it, and of those the ones that are no padding.
    pixels: usize,
    width: usize,
    proper: usize,
    /// Channels; there are weights for as many as are held, zeros from there on.
    count: usize,
    rows: &'a [usize],
    /// The taps in the order in which they pass, and where each lies.
    order: &'a [u32],
    taps: &'a [usize],
    weight: *const f32,
}

/// Adds what the channels of gradients give to a plane of the image. They are held in registers while all taps pass; taps
/// of one row follow each other at a distance, since what was just stored is slow to load.
#[inline(always)]
unsafe fn spread_held<const F: bool, const H: usize>(from: &Spreading, to: *mut f32) {
    for (row, &place) in from.rows.iter().enumerate() {
        for column in (0..from.width).step_by(LANES) {
            let mask = first_lanes(from.proper - column);
            let mut held = [[0f32; LANES]; H];
            for (c, lanes) in held[..from.count].iter_mut().enumerate() {
                *lanes = load(from.g.add(c * from.pixels + row * from.width + column));
            }
            for &tap in from.order {
                let factors = from.weight.add(tap as usize * H);
                let mut sums = [[0f32; LANES]; 4];
                for c in 0..H {
                    add_product::<F>(&mut sums[c % 4], [*factors.add(c); LANES], held[c]);
                }
                let to = to.add(place + column + from.taps[tap as usize]);
                let (mut sum, mut added) = (load(to), [0f32; LANES]);
                for lane in 0..LANES {
                    added[lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
                }
                let added = masked(added, &mask);
                for lane in 0..LANES {
                    sum[lane] += added[lane];
                }
                store(to, sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn spread_body<const F: bool>(from: &Spreading, to: *mut f32) {
    match held(from.count) {
        1 => spread_held::<F, 1>(from, to),
        4 => spread_held::<F, 4>(from, to),
        8 => spread_held::<F, 8>(from, to),
        _ => spread_held::<F, MOST_HELD>(from, to),
    }
}
multiversion! {
    unsafe fn spread(from: &Spreading, to: *mut f32) = spread_body
}

/// # Safety
/// As for [`crate::conv_direct::forward`].
pub unsafe fn input_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    weight: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let layout = Layout::new(sizes)?;
    let (depth, outs, taps) = (sizes.depth(), sizes.outs, sizes.taps);
    // Weights by group, input channel and tap: the output channels side by side, then zeros.
    let held = held(outs);
    let packed = Scratch::new::<f32>(sizes.groups * depth * held)?;
    for group in 0..sizes.groups {
        for out in 0..held {
            for k in 0..depth {
                let value = if out < outs { *weight.get().add((group * outs + out) * depth + k) } else { 0.0 };
                *packed.data::<f32>().add((group * depth + k) * held + out) = value;
            }
        }
    }
    let packed = Shared::new(packed.data::<f32>());
    let across = sizes.window.kernel[2];
    let mut order: Vec<u32> = room(taps)?;
    order.extend((0..across).flat_map(|x| (x..taps).step_by(across).map(|tap| tap as u32)));
    let shares = shares(sizes.batch * sizes.groups, sizes.ins);
    let units = sizes.batch * sizes.groups * shares;
    let parts = units.min(64);
    let plane = volume(layout.image);
    let own = if layout.copies_image { plane } else { 0 };
    let fault = Fault::default();
    parallel(threads, parts, sizes.products() * 0.025, |part| {
        let memory = match Scratch::new::<f32>(layout.gradient_room(outs).saturating_add(own)) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for unit in part_range(units, parts, part, 1) {
            let (image, share) = (unit / shares, unit % shares);
            let group = image % sizes.groups;
            // SAFETY: as in `forward`.
            unsafe {
                let memory = memory.data::<f32>();
                let g = gradient.get().add(image * outs * sizes.pixels);
                let g = layout.gradient(sizes, g, outs, memory.add(own));
                let pixels = volume(layout.pixels);
                for channel in part_range(sizes.ins, shares, share, 1) {
                    let result = to.get().add((image * sizes.ins + channel) * sizes.plane);
                    let sums = if layout.copies_image { memory } else { result };
                    std::slice::from_raw_parts_mut(sums, plane).fill(0.0);
                    let from = Spreading {
                        g,
                        pixels,
                        width: layout.pixels[2],
                        proper: sizes.window.output[2],
                        count: outs,
                        rows: &layout.rows,
                        order: &order,
                        taps: &layout.taps,
                        weight: packed.get().add((group * depth + channel * taps) * held),
                    };
                    spread(&from, sums);
                    if layout.copies_image {
                        let (size, padded) = (sizes.window.input, layout.image);
                        for z in 0..size[0] {
                            for y in 0..size[1] {
                                let from = sums.add(layout.first + (z * padded[1] + y) * padded[2]);
                                std::ptr::copy_nonoverlapping(from, result.add((z * size[1] + y) * size[2]), size[2]);
                            }
                        }
                    }
                }
            }
        }
    });
    fault.result()
}

/// Images whose weight gradients are added up together.
struct Pictures<'a> {
    g: *const f32,
    x: *const f32,
    count: usize,
    /// From image to image.
    g_step: usize,
    x_step: usize,
    rows: &'a [usize],
    width: usize,
    /// Elements of a row of gradients that are no padding.
    proper: usize,
    pixels: usize,
}

/// Adds the gradients of `C` channels and `T` taps of one plane.
#[inline(always)]
unsafe fn weights<const F: bool, const C: usize, const T: usize>(
    pictures: &Pictures,
    taps: &[usize],
    to: *mut f32,
    depth: usize,
) {
    let mut sums = [[[0f32; LANES]; T]; C];
    for image in 0..pictures.count {
        let (g, x) = (pictures.g.add(image * pictures.g_step), pictures.x.add(image * pictures.x_step));
        for (row, &place) in pictures.rows.iter().enumerate() {
            for column in (0..pictures.width).step_by(LANES) {
                let mask = first_lanes(pictures.proper - column);
                let mut values = [[0f32; LANES]; C];
                for (c, values) in values.iter_mut().enumerate() {
                    *values = load(g.add(c * pictures.pixels + row * pictures.width + column));
                }
                for t in 0..T {
                    let other = masked(load(x.add(place + column + taps[t])), &mask);
                    for c in 0..C {
                        add_product::<F>(&mut sums[c][t], values[c], other);
                    }
                }
            }
        }
    }
    for (c, sums) in sums.iter().enumerate() {
        for (t, s) in sums.iter().enumerate() {
            *to.add(c * depth + t) += ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
        }
    }
}

#[inline(always)]
unsafe fn weights_body<const F: bool>(pictures: &Pictures, count: usize, taps: &[usize], to: *mut f32, depth: usize) {
    macro_rules! of {
        ($C:expr) => {{
            let mut at = 0;
            while at + 5 <= taps.len() {
                weights::<F, $C, 5>(pictures, &taps[at..at + 5], to.add(at), depth);
                at += 5;
            }
            while at + 3 <= taps.len() {
                weights::<F, $C, 3>(pictures, &taps[at..at + 3], to.add(at), depth);
                at += 3;
            }
            while at < taps.len() {
                weights::<F, $C, 1>(pictures, &taps[at..at + 1], to.add(at), depth);
                at += 1;
            }
        }};
    }
    match count {
        1 => of!(1),
        2 => of!(2),
        3 => of!(3),
        _ => of!(4),
    }
}
multiversion! {
    unsafe fn some_weights(pictures: &Pictures, count: usize, taps: &[usize], to: *mut f32, depth: usize) = weights_body
}

/// Parts of the batch add up their images each, then the parts are added in order.
///
/// # Safety
/// As for [`crate::conv_direct::forward`].
pub unsafe fn weight_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    x: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let layout = Layout::new(sizes)?;
    let (depth, outs) = (sizes.depth(), sizes.outs);
    let (channels_in, channels_out) = (sizes.groups * sizes.ins, sizes.groups * outs);
    let length = channels_out * depth;
    let pieces = sizes.batch.min(PARTS);
    let tiles = sizes.groups * outs.div_ceil(CHANNELS);
    let shares = shares(pieces, tiles);
    let (plane, pixels) = (volume(layout.image), volume(layout.pixels));
    let bytes = 4 * (channels_in * plane + channels_out * pixels);
    let together = (NEAR / bytes.max(1)).clamp(1, sizes.batch.div_ceil(pieces));
    let partial = Scratch::new::<f32>(pieces * length)?;
    let sums = Shared::new(partial.data::<f32>());
    let fault = Fault::default();
    parallel(threads, pieces * shares, sizes.products() * 0.025, |part| {
        let (piece, share) = (part / shares, part % shares);
        let images = layout.image_room(channels_in).saturating_mul(together);
        let rest = layout.gradient_room(channels_out).saturating_mul(together);
        let memory = match Scratch::new::<f32>(images.saturating_add(rest)) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        let range = part_range(sizes.batch, pieces, piece, 1);
        // SAFETY: as in `forward`; pieces have sums of their own, and shares tiles of their own.
        unsafe {
            let sums = sums.get().add(piece * length);
            for tile in part_range(tiles, shares, share, 1) {
                let (group, first) = (tile / outs.div_ceil(CHANNELS), tile % outs.div_ceil(CHANNELS) * CHANNELS);
                let count = CHANNELS.min(outs - first);
                std::slice::from_raw_parts_mut(sums.add((group * outs + first) * depth), count * depth).fill(0.0);
            }
            for image in range.clone().step_by(together) {
                let count = together.min(range.end - image);
                let memory = memory.data::<f32>();
                let x = x.get().add(image * channels_in * sizes.plane);
                let x = layout.image(sizes, x, count * channels_in, memory);
                let g = gradient.get().add(image * channels_out * sizes.pixels);
                let g = layout.gradient(sizes, g, count * channels_out, memory.add(images));
                for tile in part_range(tiles, shares, share, 1) {
                    let (group, first) = (tile / outs.div_ceil(CHANNELS), tile % outs.div_ceil(CHANNELS) * CHANNELS);
                    let out = group * outs + first;
                    for channel in 0..sizes.ins {
                        let pictures = Pictures {
                            g: g.add(out * pixels),
                            x: x.add((group * sizes.ins + channel) * plane),
                            count,
                            g_step: channels_out * pixels,
                            x_step: channels_in * plane,
                            rows: &layout.rows,
                            width: layout.pixels[2],
                            proper: sizes.window.output[2],
                            pixels,
                        };
                        let to = sums.add(out * depth + channel * sizes.taps);
                        some_weights(&pictures, CHANNELS.min(outs - first), &layout.taps, to, depth);
                    }
                }
            }
        }
    });
    fault.result()?;
    for i in 0..length {
        *to.get().add(i) = (0..pieces).map(|piece| *sums.get().add(piece * length + i) as f64).sum::<f64>() as f32;
    }
    Ok(())
}
