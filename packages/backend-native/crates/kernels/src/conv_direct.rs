//! Convolution without a matrix of windows: tiles of rows and channels stay in registers while all taps pass. The gradients
//! are in `conv_grad.rs`.
//!
//! For windows that move by one element along the innermost dimension. Rows are cut into vectors of eight; where they do
//! not fit, or the image is padded, the image is copied into a padded one first, so that no loop looks at an edge.

use crate::call::Error;
use crate::conv::Sizes;
use crate::level::multiversion;
use crate::math::madd;
use crate::memory::{room, Scratch};
use crate::threads::{parallel, part_range, Fault, Shared};
use crate::window::{volume, Triple, Window};

/// Elements of a row that are computed at once, whatever the processor has.
pub const LANES: usize = 8;
/// Rows of outputs that are computed at once.
const ROWS: usize = 4;
/// Channels that are computed at once.
pub const CHANNELS: usize = 4;
/// Most channels of gradients that are held at once.
pub const MOST_HELD: usize = 16;
/// Longest sums that are better made here than by a product of matrices.
const DEEPEST: usize = 256;
/// Parts that a small batch is cut into at least.
pub const PARTS: usize = 8;
pub type Lanes = [f32; LANES];

#[inline(always)]
pub unsafe fn load(from: *const f32) -> Lanes {
    from.cast::<Lanes>().read_unaligned()
}

#[inline(always)]
pub unsafe fn store(to: *mut f32, lanes: Lanes) {
    to.cast::<Lanes>().write_unaligned(lanes);
}

/// `sum + a b`, lane by lane.
#[inline(always)]
pub fn add_product<const F: bool>(sum: &mut Lanes, a: Lanes, b: Lanes) {
    for lane in 0..LANES {
        sum[lane] = madd::<F>(a[lane], b[lane], sum[lane]);
    }
}

/// All bits of the lanes before `count`.
#[inline(always)]
pub fn first_lanes(count: usize) -> [u32; LANES] {
    let mut mask = [0; LANES];
    for (lane, bits) in mask.iter_mut().enumerate() {
        *bits = if lane < count { u32::MAX } else { 0 };
    }
    mask
}

/// The lanes of a mask, zeros elsewhere: also where a number is not finite, which no product with zero would remove.
#[inline(always)]
pub fn masked(lanes: Lanes, mask: &[u32; LANES]) -> Lanes {
    let mut result = [0f32; LANES];
    for lane in 0..LANES {
        result[lane] = f32::from_bits(lanes[lane].to_bits() & mask[lane]);
    }
    result
}

/// How the planes of a convolution lie in padded copies, or in place where those are the same.
pub struct Layout {
    /// Sizes of a padded image plane, and of an output plane whose rows are whole vectors.
    pub image: Triple,
    pub pixels: Triple,
    pub copies_image: bool,
    pub copies_pixels: bool,
    /// Where the first element of the image proper lies in the padded plane.
    pub first: usize,
    /// Where each tap lies, counted from a window's first element.
    pub taps: Vec<usize>,
    /// Where each row of outputs has its first window.
    pub rows: Vec<usize>,
}

/// Whether a pass of a convolution (as in [`crate::conv::conv`]) can be done here, and is worth it.
pub fn is_direct(sizes: &Sizes, pass: usize) -> bool {
    let w = &sizes.window;
    let padded = w.output[2].next_multiple_of(LANES);
    let possible = w.stride[2] == 1 && sizes.taps > 1 && w.output[2] * 3 >= padded * 2;
    possible
        && plane_sizes(w).is_some()
        && match pass {
            0 => sizes.depth() <= DEEPEST,
            1 => sizes.outs <= MOST_HELD,
            _ => true,
        }
}

/// Most elements of padded planes for one of the image's and the output's: strides and paddings may be of any size.
const MOST_PADDED: usize = 8;

/// Sizes of an output plane whose rows are whole vectors, and of the image plane that its windows reach over; nothing where
/// a copy of that is larger than it is worth.
fn plane_sizes(w: &Window) -> Option<(Triple, Triple)> {
    let pixels = [w.output[0], w.output[1], w.output[2].checked_next_multiple_of(LANES)?];
    let mut image = [0; 3];
    for axis in 0..3 {
        let windows = (pixels[axis] - 1).checked_mul(w.stride[axis])?;
        let kernel = (w.kernel[axis] - 1).checked_mul(w.dilation[axis])?;
        let reach = windows.checked_add(kernel)?.checked_add(1)?;
        image[axis] = reach.max(w.input[axis].checked_add(w.before[axis])?);
    }
    let padded = image.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (padded <= MOST_PADDED * (volume(w.input) + volume(pixels))).then_some((pixels, image))
}

/// Channels of gradients that are held at once where there are so many.
pub fn held(outs: usize) -> usize {
    match outs {
        1 => 1,
        2..=4 => 4,
        5..=8 => 8,
        _ => MOST_HELD,
    }
}

impl Layout {
    pub fn new(sizes: &Sizes) -> Result<Layout, Error> {
        let w = &sizes.window;
        let (pixels, image) = plane_sizes(w)
            .ok_or_else(|| Error::Invalid("the windows reach too far for a direct convolution".into()))?;
        let mut taps = room(sizes.taps)?;
        for z in 0..w.kernel[0] {
            for y in 0..w.kernel[1] {
                for x in 0..w.kernel[2] {
                    let row = z * w.dilation[0] * image[1] + y * w.dilation[1];
                    taps.push(row * image[2] + x * w.dilation[2]);
                }
            }
        }
        let mut rows = room(pixels[0] * pixels[1])?;
        for z in 0..pixels[0] {
            for y in 0..pixels[1] {
                rows.push((z * w.stride[0] * image[1] + y * w.stride[1]) * image[2]);
            }
        }
        Ok(Layout {
            first: (w.before[0] * image[1] + w.before[1]) * image[2] + w.before[2],
            copies_image: image != w.input,
            copies_pixels: pixels != w.output,
            image,
            pixels,
            taps,
            rows,
        })
    }

    /// Copies planes into padded ones that hold zeros elsewhere.
    ///
    /// # Safety
    /// The planes are there, and there is room for the padded ones.
    unsafe fn pad(from: *const f32, size: Triple, to: *mut f32, padded: Triple, first: usize, planes: usize) {
        std::slice::from_raw_parts_mut(to, planes * volume(padded)).fill(0.0);
        for plane in 0..planes {
            for z in 0..size[0] {
                for y in 0..size[1] {
                    let source = from.add(((plane * size[0] + z) * size[1] + y) * size[2]);
                    let row = (z * padded[1] + y) * padded[2];
                    std::ptr::copy_nonoverlapping(source, to.add(plane * volume(padded) + first + row), size[2]);
                }
            }
        }
    }

    /// Planes of an image as they are needed: in place, or copied to `memory`.
    pub unsafe fn image(&self, sizes: &Sizes, from: *const f32, planes: usize, memory: *mut f32) -> *const f32 {
        if !self.copies_image {
            return from;
        }
        Layout::pad(from, sizes.window.input, memory, self.image, self.first, planes);
        memory
    }

    /// Planes of outputs or their gradients.
    pub unsafe fn gradient(&self, sizes: &Sizes, from: *const f32, planes: usize, memory: *mut f32) -> *const f32 {
        if !self.copies_pixels {
            return from;
        }
        Layout::pad(from, sizes.window.output, memory, self.pixels, 0, planes);
        memory
    }

    pub fn image_room(&self, planes: usize) -> usize {
        if self.copies_image {
            volume(self.image).saturating_mul(planes)
        } else {
            0
        }
    }

    pub fn gradient_room(&self, planes: usize) -> usize {
        if self.copies_pixels {
            volume(self.pixels).saturating_mul(planes)
        } else {
            0
        }
    }
}

/// One vector of each of `R` rows and `C` channels. `weight` has the channels of each tap side by side.
#[inline(always)]
unsafe fn tile<const F: bool, const C: usize, const R: usize>(
    x: *const f32,
    rows: &[usize],
    plane: usize,
    taps: &[usize],
    ins: usize,
    weight: *const f32,
    start: [f32; CHANNELS],
) -> [[Lanes; R]; C] {
    let mut sums = [[[0f32; LANES]; R]; C];
    for (sums, &start) in sums.iter_mut().zip(&start) {
        *sums = [[start; LANES]; R];
    }
    let mut weight = weight;
    for channel in 0..ins {
        let image = x.add(channel * plane);
        for &tap in taps {
            let mut values = [[0f32; LANES]; R];
            for r in 0..R {
                values[r] = load(image.add(rows[r] + tap));
            }
            for (c, sums) in sums.iter_mut().enumerate() {
                let factor = [*weight.add(c); LANES];
                for r in 0..R {
                    add_product::<F>(&mut sums[r], factor, values[r]);
                }
            }
            weight = weight.add(C);
        }
    }
    sums
}

/// What [`forward_tile`] works on: one image of one group.
struct Picture<'a> {
    x: *const f32,
    plane: usize,
    taps: &'a [usize],
    ins: usize,
    rows: &'a [usize],
    /// Elements of a row of outputs.
    width: usize,
    /// Elements of a plane of outputs.
    pixels: usize,
}

/// `C` channels of all outputs of an image.
#[inline(always)]
unsafe fn channels<const F: bool, const C: usize>(
    picture: &Picture,
    weight: *const f32,
    start: [f32; CHANNELS],
    to: *mut f32,
) {
    let &Picture { x, plane, taps, ins, rows, width, pixels } = picture;
    macro_rules! block {
        ($R:expr, $row:expr) => {{
            let mut column = 0;
            while column < width {
                let sums = tile::<F, C, $R>(x.add(column), &rows[$row..$row + $R], plane, taps, ins, weight, start);
                let count = LANES.min(width - column);
                for (c, sums) in sums.iter().enumerate() {
                    for (r, &lanes) in sums.iter().enumerate() {
                        let to = to.add(c * pixels + ($row + r) * width + column);
                        if count == LANES {
                            store(to, lanes);
                        } else {
                            for (lane, &value) in lanes[..count].iter().enumerate() {
                                *to.add(lane) = value;
                            }
                        }
                    }
                }
                column += LANES;
            }
        }};
    }
    let mut row = 0;
    while row + ROWS <= rows.len() {
        block!(ROWS, row);
        row += ROWS;
    }
    while row < rows.len() {
        block!(1, row);
        row += 1;
    }
}

#[inline(always)]
unsafe fn channels_body<const F: bool>(
    picture: &Picture,
    count: usize,
    weight: *const f32,
    start: [f32; CHANNELS],
    to: *mut f32,
) {
    match count {
        1 => channels::<F, 1>(picture, weight, start, to),
        2 => channels::<F, 2>(picture, weight, start, to),
        3 => channels::<F, 3>(picture, weight, start, to),
        _ => channels::<F, 4>(picture, weight, start, to),
    }
}
multiversion! {
    unsafe fn some_channels(picture: &Picture, count: usize, weight: *const f32, start: [f32; CHANNELS], to: *mut f32)
        = channels_body
}

/// Shares of so many channels, for batches that are too few to share out.
pub fn shares(batch: usize, tiles: usize) -> usize {
    PARTS.div_ceil(batch).min(tiles)
}

/// # Safety
/// The operands are dense and have these sizes; [`is_direct`] holds.
pub unsafe fn forward(
    sizes: &Sizes,
    x: Shared<f32>,
    weight: Shared<f32>,
    bias: Option<Shared<f32>>,
    out: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let layout = Layout::new(sizes)?;
    let (depth, outs) = (sizes.depth(), sizes.outs);
    // Weights by tile of channels, within it by tap.
    let packed = Scratch::new::<f32>(sizes.groups * outs * depth)?;
    for group in 0..sizes.groups {
        for first in (0..outs).step_by(CHANNELS) {
            let count = CHANNELS.min(outs - first);
            let from = weight.get().add((group * outs + first) * depth);
            let to = packed.data::<f32>().add((group * outs + first) * depth);
            for k in 0..depth {
                for c in 0..count {
                    *to.add(k * count + c) = *from.add(c * depth + k);
                }
            }
        }
    }
    let packed = Shared::new(packed.data::<f32>());
    let tiles = outs.div_ceil(CHANNELS);
    let shares = shares(sizes.batch * sizes.groups, tiles);
    let units = sizes.batch * sizes.groups * shares;
    let parts = units.min(64);
    let fault = Fault::default();
    parallel(threads, parts, sizes.products() * 0.025, |part| {
        let memory = match Scratch::new::<f32>(layout.image_room(sizes.ins)) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for unit in part_range(units, parts, part, 1) {
            let (place, share) = (unit / shares, unit % shares);
            let group = place % sizes.groups;
            // SAFETY: offsets are those of dense operands, padded where the layout says so; units have outputs of their own.
            unsafe {
                let image = layout.image(sizes, x.get().add(place * sizes.ins * sizes.plane), sizes.ins, memory.data());
                let picture = Picture {
                    x: image,
                    plane: volume(layout.image),
                    taps: &layout.taps,
                    ins: sizes.ins,
                    rows: &layout.rows,
                    width: sizes.window.output[2],
                    pixels: sizes.pixels,
                };
                for tile in part_range(tiles, shares, share, 1) {
                    let first = group * outs + tile * CHANNELS;
                    let count = CHANNELS.min(outs - tile * CHANNELS);
                    let mut start = [0f32; CHANNELS];
                    if let Some(bias) = bias {
                        for (c, value) in start[..count].iter_mut().enumerate() {
                            *value = *bias.get().add(first + c);
                        }
                    }
                    let to = out.get().add((place * outs + tile * CHANNELS) * sizes.pixels);
                    some_channels(&picture, count, packed.get().add(first * depth), start, to);
                }
            }
        }
    });
    fault.result()
}
