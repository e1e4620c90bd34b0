//! The weights' gradient of a depthwise convolution, where each channel has a window of its own: lanes are neighbouring
//! pixels of a row, multiplied with the image's under each tap.
//!
//! A plane is copied with its padding. Where windows move by several elements, those that one tap meets are brought
//! together, so that every load is of neighbours.

use crate::call::Error;
use crate::conv::Sizes;
use crate::conv_direct::{add_product, first_lanes, load, masked, Lanes, LANES};
use crate::level::multiversion;
use crate::memory::{room, Scratch};
use crate::threads::{parallel, part_range, Fault, Shared};

/// Parts that channels, and where they are few the batch, are cut into.
const PARTS: usize = 16;
/// Taps whose sums are in registers together, at most.
const TOGETHER: usize = 13;
/// Vectors of a strip, about: no sum of f32 becomes long.
const STRIP: usize = 64;
/// Most elements of a padded plane for one of the image's and the output's.
const MOST_PADDED: usize = 8;

/// How a plane lies in its copy: rows, each of as many phases as windows move by, of so many elements.
struct Layout {
    rows: usize,
    phases: usize,
    length: usize,
}

impl Layout {
    fn new(sizes: &Sizes) -> Option<Layout> {
        let w = &sizes.window;
        let reach = |axis: usize| -> Option<usize> {
            let windows = (w.output[axis] - 1).checked_mul(w.stride[axis])?;
            windows.checked_add((w.kernel[axis] - 1).checked_mul(w.dilation[axis])?)?.checked_add(1)
        };
        let phases = w.stride[2];
        let (rows, length) = (reach(1)?, reach(2)?.div_ceil(phases) + LANES);
        let elements = rows.checked_mul(phases)?.checked_mul(length)?;
        let most = MOST_PADDED * (sizes.plane + sizes.pixels) + (rows + 1) * phases * LANES;
        (elements <= most).then_some(Layout { rows, phases, length })
    }

    fn size(&self) -> usize {
        self.rows * self.phases * self.length
    }

    /// Copies what windows meet of an image's plane; the padding stays as it is.
    #[inline(always)]
    unsafe fn copy(&self, sizes: &Sizes, from: *const f32, to: *mut f32) {
        let w = &sizes.window;
        let width = w.input[2].min(((self.length - LANES) * self.phases).saturating_sub(w.before[2]));
        for y in 0..w.input[1].min(self.rows.saturating_sub(w.before[1])) {
            let from = from.add(y * w.input[2]);
            let to = to.add((y + w.before[1]) * self.phases * self.length);
            if self.phases == 1 {
                std::ptr::copy_nonoverlapping(from, to.add(w.before[2]), width);
                continue;
            }
            for x in 0..width {
                let place = x + w.before[2];
                *to.add(place % self.phases * self.length + place / self.phases) = *from.add(x);
            }
        }
    }
}

/// Some taps on one plane, or on a strip of its columns.
struct Taps<'a> {
    /// The copy, and from one row of windows to the next.
    x: *const f32,
    step: usize,
    /// Where each tap lies.
    places: &'a [usize],
    g: *const f32,
    height: usize,
    /// Gradients of a row that are meant, and from one row of them to the next.
    width: usize,
    across: usize,
    /// Gradients from `g` on, those of later planes too.
    left: usize,
}

#[inline(always)]
unsafe fn taps<const F: bool, const T: usize>(of: &Taps, totals: &mut [f64]) {
    let mut places = [0usize; T];
    places.copy_from_slice(of.places);
    let (whole, rest) = (of.width / LANES * LANES, of.width % LANES);
    let mask = first_lanes(rest);
    let strip = (STRIP / of.width.div_ceil(LANES)).max(1);
    let mut y = 0;
    while y < of.height {
        let end = (y + strip).min(of.height);
        let mut sums = [[0f32; LANES]; T];
        while y < end {
            let (g, x) = (of.g.add(y * of.across), of.x.add(y * of.step));
            for c in (0..whole).step_by(LANES) {
                let lanes = load(g.add(c));
                for t in 0..T {
                    add_product::<F>(&mut sums[t], lanes, load(x.add(places[t] + c)));
                }
            }
            if rest > 0 {
                let mut lanes: Lanes = [0.0; LANES];
                if y * of.across + whole + LANES <= of.left {
                    lanes = masked(load(g.add(whole)), &mask);
                } else {
                    for (lane, value) in lanes[..rest].iter_mut().enumerate() {
                        *value = *g.add(whole + lane);
                    }
                }
                for t in 0..T {
                    add_product::<F>(&mut sums[t], lanes, masked(load(x.add(places[t] + whole)), &mask));
                }
            }
            y += 1;
        }
        for (total, lanes) in totals.iter_mut().zip(&sums) {
            *total += lanes.iter().map(|&sum| sum as f64).sum::<f64>();
        }
    }
}

#[inline(always)]
unsafe fn taps_body<const F: bool>(of: &Taps, totals: &mut [f64]) {
    macro_rules! for_taps {
        ($($count:literal)*) => {
            match of.places.len() {
                $($count => taps::<F, $count>(of, totals),)*
                _ => taps::<F, TOGETHER>(of, totals),
            }
        };
    }
    for_taps!(1 2 3 4 5 6 7 8 9 10 11 12)
}
multiversion! {
    /// Adds the sums of at most [`TOGETHER`] taps to totals.
    unsafe fn add_taps(of: &Taps, totals: &mut [f64]) = taps_body
}

/// Whether the weights' gradient can be computed here, and is worth it.
pub fn is_depthwise(sizes: &Sizes) -> bool {
    let w = &sizes.window;
    let flat = w.input[0] == 1 && w.output[0] == 1 && w.kernel[0] == 1 && w.before[0] == 0;
    flat && sizes.ins == 1 && sizes.outs == 1 && !sizes.is_empty() && Layout::new(sizes).is_some()
}

/// # Safety
/// As for [`crate::conv_direct::forward`], and [`is_depthwise`] holds.
pub unsafe fn weight_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    x: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let w = &sizes.window;
    let layout = Layout::new(sizes).ok_or_else(|| Error::Invalid("a depthwise convolution was expected".into()))?;
    let row = layout.phases * layout.length;
    let mut places: Vec<usize> = room(sizes.taps)?;
    places.extend((0..sizes.taps).map(|tap| {
        let (down, along) = (tap / w.kernel[2] * w.dilation[1], tap % w.kernel[2] * w.dilation[2]);
        down * row + along % layout.phases * layout.length + along / layout.phases
    }));
    let all = sizes.batch * sizes.groups * sizes.pixels;
    // Pieces of the batch have sums of their own, which are added in order.
    let pieces = PARTS.div_ceil(sizes.groups).min(sizes.batch);
    let shares = sizes.groups.min(64);
    let weights = sizes.groups * sizes.taps;
    let partial = Scratch::new::<f64>(pieces * weights)?;
    let sums = Shared::new(partial.data::<f64>());
    let fault = Fault::default();
    parallel(threads, pieces * shares, sizes.products() * 0.1, |part| {
        let (piece, share) = (part / shares, part % shares);
        let memory = match Scratch::new::<f32>(layout.size()) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        // SAFETY: channels of a piece have one part and sums of their own; offsets are those of dense operands; what
        // windows meet lies in the copy, with a vector's room behind each row.
        unsafe {
            let copy = memory.data::<f32>();
            std::ptr::write_bytes(copy, 0, layout.size());
            for channel in part_range(sizes.groups, shares, share, 1) {
                let totals = sums.get().add(piece * weights + channel * sizes.taps);
                let totals = std::slice::from_raw_parts_mut(totals, sizes.taps);
                totals.fill(0.0);
                for image in part_range(sizes.batch, pieces, piece, 1) {
                    let plane = image * sizes.groups + channel;
                    layout.copy(sizes, x.get().add(plane * sizes.plane), copy);
                    for column in (0..w.output[2]).step_by(STRIP * LANES) {
                        for (places, totals) in places.chunks(TOGETHER).zip(totals.chunks_mut(TOGETHER)) {
                            let taps = Taps {
                                x: copy.add(column),
                                step: w.stride[1] * row,
                                places,
                                g: gradient.get().add(plane * sizes.pixels + column),
                                height: w.output[1],
                                width: (w.output[2] - column).min(STRIP * LANES),
                                across: w.output[2],
                                left: all - plane * sizes.pixels - column,
                            };
                            add_taps(&taps, totals);
                        }
                    }
                }
            }
        }
    });
    fault.result()?;
    for weight in 0..weights {
        // SAFETY: all pieces are done, and have sums of all weights.
        unsafe {
            let sum: f64 = (0..pieces).map(|piece| *sums.get().add(piece * weights + weight)).sum();
            *to.get().add(weight) = sum as f32;
        }
    }
    Ok(())
}
