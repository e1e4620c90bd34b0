//! conv: cross-correlation by copying windows into a matrix, an image at a time so that it stays in cache, and multiplying;
//! or directly, where that is faster (`conv_direct.rs`, and for gradients `conv_weights.rs`, `conv_shift.rs`, `conv_turn.rs`,
//! `conv_grad.rs`).

use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::memory::Scratch;
use crate::product::{multiply, Factor};
use crate::space::View;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};
use crate::window::{volume, Window};
use crate::{conv_depth, conv_direct, conv_grad, conv_shift, conv_turn, conv_weights};

/// Sizes of one convolution.
pub struct Sizes {
    pub window: Window,
    pub batch: usize,
    pub groups: usize,
    /// Channels of a group.
    pub ins: usize,
    pub outs: usize,
    /// Elements of an image plane, of an output plane, of a window.
    pub plane: usize,
    pub pixels: usize,
    pub taps: usize,
}

impl Sizes {
    fn new(call: &Call, x: &View, weight: &View, out: &View) -> Result<Sizes, Error> {
        let window = Window::new(call, 2, 4, x, out, &weight.shape()[2..])?;
        let groups = call.attribute(1);
        Ok(Sizes {
            batch: x.shape[0],
            groups,
            ins: weight.shape[1],
            outs: weight.shape[0] / groups,
            plane: volume(window.input),
            pixels: volume(window.output),
            taps: volume(window.kernel),
            window,
        })
    }

    /// Rows of the matrix of windows.
    pub fn depth(&self) -> usize {
        self.ins * self.taps
    }

    /// Multiplications of one pass.
    pub fn products(&self) -> f64 {
        self.batch as f64 * (self.groups * self.outs * self.depth() * self.pixels) as f64
    }

    fn work(&self) -> f64 {
        self.products() * 0.03 + (self.batch * self.groups * self.depth() * self.pixels) as f64 * 0.2
    }

    /// Whether there is nothing to compute with.
    pub fn is_empty(&self) -> bool {
        self.batch * self.ins * self.plane * self.pixels == 0
    }

    /// Whether a window is one element, and the matrix of windows therefore the image itself.
    fn is_pointwise(&self) -> bool {
        self.taps == 1 && self.plane == self.pixels && self.window.stride == [1; 3] && self.window.before == [0; 3]
    }

    /// Visits all runs of pixels that lie side by side: `visit(row of the matrix, first pixel, first element of the image
    /// plane, count)`, and tells with `gap(row, first pixel, count)` which pixels lie in the padding.
    #[inline(always)]
    fn runs(&self, mut visit: impl FnMut(usize, usize, usize, usize), mut gap: impl FnMut(usize, usize, usize)) {
        let w = &self.window;
        let [_, height, width] = w.output;
        let mut tap = 0;
        for kz in 0..w.kernel[0] {
            let (z0, z1, inz) = w.inside(0, kz);
            for ky in 0..w.kernel[1] {
                let (y0, y1, iny) = w.inside(1, ky);
                for kx in 0..w.kernel[2] {
                    let (x0, x1, inx) = w.inside(2, kx);
                    gap(tap, 0, z0 * height * width);
                    for z in z0..z1 {
                        let base = z * height * width;
                        gap(tap, base, y0 * width);
                        let slice = (inz + (z - z0) * w.stride[0]) * w.input[1];
                        for y in y0..y1 {
                            let row = base + y * width;
                            gap(tap, row, x0);
                            let line = (slice + iny + (y - y0) * w.stride[1]) * w.input[2];
                            if x1 > x0 {
                                visit(tap, row + x0, line + inx, x1 - x0);
                            }
                            gap(tap, row + x1, width - x1);
                        }
                        gap(tap, base + y1 * width, (height - y1) * width);
                    }
                    gap(tap, z1 * height * width, (w.output[0] - z1) * height * width);
                    tap += 1;
                }
            }
        }
    }

    /// Copies the windows of one group of an image into a matrix of `depth` rows.
    ///
    /// # Safety
    /// `image` has the group's planes, `matrix` room for the rows.
    unsafe fn unfold(&self, image: *const f32, matrix: *mut f32) {
        let step = self.window.stride[2];
        for channel in 0..self.ins {
            let from = image.add(channel * self.plane);
            let rows = matrix.add(channel * self.taps * self.pixels);
            self.runs(
                |tap, pixel, element, count| {
                    // SAFETY: runs lie within the plane and the row.
                    unsafe {
                        let to = rows.add(tap * self.pixels + pixel);
                        let from = from.add(element);
                        if step == 1 {
                            copy(from, to, count);
                        } else {
                            for i in 0..count {
                                *to.add(i) = *from.add(i * step);
                            }
                        }
                    }
                },
                // SAFETY: as above.
                |tap, pixel, count| unsafe {
                    for i in 0..count {
                        *rows.add(tap * self.pixels + pixel + i) = 0.0;
                    }
                },
            );
        }
    }

    /// Adds the rows of a matrix to the windows that they were copied from.
    ///
    /// # Safety
    /// As for [`Sizes::unfold`].
    unsafe fn fold(&self, matrix: *const f32, image: *mut f32) {
        let step = self.window.stride[2];
        for channel in 0..self.ins {
            let to = image.add(channel * self.plane);
            let rows = matrix.add(channel * self.taps * self.pixels);
            self.runs(
                |tap, pixel, element, count| {
                    // SAFETY: runs lie within the plane and the row.
                    unsafe {
                        let from = rows.add(tap * self.pixels + pixel);
                        let to = to.add(element);
                        if step == 1 {
                            for i in 0..count {
                                *to.add(i) += *from.add(i);
                            }
                        } else {
                            for i in 0..count {
                                *to.add(i * step) += *from.add(i);
                            }
                        }
                    }
                },
                |_, _, _| {},
            );
        }
    }
}

/// Copies a run, which is short as a rule: a call of the library costs more than it saves.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, count: usize) {
    let mut i = 0;
    while i + 8 <= count {
        to.add(i).cast::<[f32; 8]>().write_unaligned(from.add(i).cast::<[f32; 8]>().read_unaligned());
        i += 8;
    }
    if i + 4 <= count {
        to.add(i).cast::<[f32; 4]>().write_unaligned(from.add(i).cast::<[f32; 4]>().read_unaligned());
        i += 4;
    }
    while i < count {
        *to.add(i) = *from.add(i);
        i += 1;
    }
}

fn matrix(data: *mut f32, row: usize, column: usize) -> Factor<f32> {
    Factor { data, row: row as isize, column: column as isize }
}

/// Attributes: pass (forward, input gradient, weight gradient), groups, then stride, dilation, padding before and after of
/// each spatial dimension.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn conv(call: &Call) -> Result<(), Error> {
    let pass = call.attribute(0);
    if call.inputs.len() < 2 || call.inputs.len() > 3 || call.outputs.len() != 1 {
        return Err(Error::Invalid("a convolution has two operands".into()));
    }
    let (first, second, result) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    let sizes = match pass {
        0 => Sizes::new(call, first, second, result)?,
        1 => Sizes::new(call, result, second, first)?,
        2 => Sizes::new(call, second, result, first)?,
        _ => return Err(Error::Invalid(format!("pass {pass} does not exist"))),
    };
    let threads = call.threads;
    let a = Dense::load(first, threads)?;
    let b = Dense::load(second, threads)?;
    let to = Dense::target(result, call.inputs.iter().all(|input| input.data != result.data))?;
    let [a_data, b_data, c_data] = [&a, &b, &to].map(|dense| Shared::new(dense.data.cast::<f32>()));
    let direct = conv_direct::is_direct(&sizes, pass);
    let shifted = pass == 1 && conv_shift::is_shifted(&sizes);
    let turned = if pass == 1 && !shifted { conv_turn::turned(&sizes, b_data) } else { None };
    match pass {
        0 => {
            let bias = call.inputs.get(2).map(|view| Dense::load(view, threads)).transpose()?;
            let bias = bias.as_ref().map(|dense| Shared::new(dense.data.cast::<f32>()));
            if direct {
                conv_direct::forward(&sizes, a_data, b_data, bias, c_data, threads)?;
            } else {
                forward(&sizes, a_data, b_data, bias, c_data, threads)?;
            }
        }
        1 => match turned {
            Some(turned) => conv_turn::input_gradient(&sizes, &turned, a_data, b_data, c_data, threads)?,
            None if shifted => conv_shift::input_gradient(&sizes, a_data, b_data, c_data, threads)?,
            None if direct => conv_grad::input_gradient(&sizes, a_data, b_data, c_data, threads)?,
            None => input_gradient(&sizes, a_data, b_data, c_data, threads)?,
        },
        _ if conv_weights::is_laned(&sizes) => conv_weights::weight_gradient(&sizes, a_data, b_data, c_data, threads)?,
        _ if conv_depth::is_depthwise(&sizes) => conv_depth::weight_gradient(&sizes, a_data, b_data, c_data, threads)?,
        _ if direct => conv_grad::weight_gradient(&sizes, a_data, b_data, c_data, threads)?,
        _ => weight_gradient(&sizes, a_data, b_data, c_data, threads)?,
    }
    to.store(result, threads)?;
    Ok(())
}

unsafe fn forward(
    sizes: &Sizes,
    x: Shared<f32>,
    weight: Shared<f32>,
    bias: Option<Shared<f32>>,
    out: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let fault = Fault::default();
    let (depth, pixels) = (sizes.depth(), sizes.pixels);
    let parts = parts_of(sizes.batch, 1);
    parallel(threads, parts, sizes.work(), |part| {
        let memory = match Scratch::new::<f32>(if sizes.is_pointwise() { 0 } else { depth.saturating_mul(pixels) }) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for image in part_range(sizes.batch, parts, part, 1) {
            for group in 0..sizes.groups {
                // SAFETY: offsets are those of dense operands; images have one part.
                unsafe {
                    let channels = (image * sizes.groups + group) * sizes.ins;
                    let from = x.get().add(channels * sizes.plane);
                    let windows = if sizes.is_pointwise() {
                        from
                    } else {
                        sizes.unfold(from, memory.data());
                        memory.data()
                    };
                    let to = out.get().add((image * sizes.groups + group) * sizes.outs * pixels);
                    if let Some(bias) = bias {
                        for channel in 0..sizes.outs {
                            let value = *bias.get().add(group * sizes.outs + channel);
                            std::slice::from_raw_parts_mut(to.add(channel * pixels), pixels).fill(value);
                        }
                    }
                    multiply(
                        [sizes.outs, pixels, depth],
                        matrix(weight.get().add(group * sizes.outs * depth), depth, 1),
                        matrix(windows, pixels, 1),
                        matrix(to, pixels, 1),
                        bias.is_some(),
                    );
                }
            }
        }
    });
    fault.result()
}

unsafe fn input_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    weight: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let fault = Fault::default();
    let (depth, pixels) = (sizes.depth(), sizes.pixels);
    let parts = parts_of(sizes.batch, 1);
    parallel(threads, parts, sizes.work(), |part| {
        let memory = match Scratch::new::<f32>(depth.saturating_mul(pixels)) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for image in part_range(sizes.batch, parts, part, 1) {
            for group in 0..sizes.groups {
                // SAFETY: as in `forward`.
                unsafe {
                    let channels = (image * sizes.groups + group) * sizes.ins;
                    let to = to.get().add(channels * sizes.plane);
                    let from = gradient.get().add((image * sizes.groups + group) * sizes.outs * pixels);
                    let windows = if sizes.is_pointwise() { to } else { memory.data() };
                    multiply(
                        [depth, pixels, sizes.outs],
                        matrix(weight.get().add(group * sizes.outs * depth), 1, depth),
                        matrix(from, pixels, 1),
                        matrix(windows, pixels, 1),
                        false,
                    );
                    if !sizes.is_pointwise() {
                        std::slice::from_raw_parts_mut(to, sizes.ins * sizes.plane).fill(0.0);
                        sizes.fold(windows, to);
                    }
                }
            }
        }
    });
    fault.result()
}

/// Parts of the batch add up their images each, then the parts are added in order.
unsafe fn weight_gradient(
    sizes: &Sizes,
    gradient: Shared<f32>,
    x: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let fault = Fault::default();
    let (depth, pixels) = (sizes.depth(), sizes.pixels);
    let length = sizes.groups * sizes.outs * depth;
    let parts = sizes.batch.min(8);
    let partial = Scratch::new::<f32>(parts * length)?;
    let sums = Shared::new(partial.data::<f32>());
    parallel(threads, parts, sizes.work(), |part| {
        let memory = match Scratch::new::<f32>(if sizes.is_pointwise() { 0 } else { depth.saturating_mul(pixels) }) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for (step, image) in part_range(sizes.batch, parts, part, 1).enumerate() {
            for group in 0..sizes.groups {
                // SAFETY: as in `forward`; parts have sums of their own.
                unsafe {
                    let channels = (image * sizes.groups + group) * sizes.ins;
                    let image_data = x.get().add(channels * sizes.plane);
                    let windows = if sizes.is_pointwise() {
                        image_data
                    } else {
                        sizes.unfold(image_data, memory.data());
                        memory.data()
                    };
                    let from = gradient.get().add((image * sizes.groups + group) * sizes.outs * pixels);
                    multiply(
                        [sizes.outs, depth, pixels],
                        matrix(from, pixels, 1),
                        matrix(windows, 1, pixels),
                        matrix(sums.get().add(part * length + group * sizes.outs * depth), depth, 1),
                        step > 0,
                    );
                }
            }
        }
    });
    fault.result()?;
    for i in 0..length {
        *to.get().add(i) = (0..parts).map(|part| *sums.get().add(part * length + i) as f64).sum::<f64>() as f32;
    }
    Ok(())
}
