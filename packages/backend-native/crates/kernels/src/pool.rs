//! pool: maxima and means over windows, forward and backward.

use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::level::multiversion;
use crate::memory::room;
use crate::threads::{parallel, part_range, parts_of, Shared};
use crate::window::{volume, Window, SPATIAL};

/// The part of each window that lies inside the input: by dimension and output position, its first element, how many.
struct Spans([Vec<(usize, usize)>; SPATIAL]);

impl Spans {
    /// Clips windows to an input that reaches from `-before` to `size + after`, counted from the padded input's first
    /// element; `shift` is how far the input proper lies behind that.
    fn new(window: &Window) -> Result<Spans, Error> {
        let mut spans = [room(window.output[0])?, room(window.output[1])?, room(window.output[2])?];
        for (axis, list) in spans.iter_mut().enumerate() {
            let (step, before) = (window.dilation[axis], window.before[axis]);
            list.extend((0..window.output[axis]).map(|position| {
                let first = position * window.stride[axis];
                // Taps that lie before the input, and those up to its end.
                let skipped = before.saturating_sub(first).div_ceil(step);
                let reach = (window.input[axis] + before).saturating_sub(first).div_ceil(step);
                let count = reach.min(window.kernel[axis]).saturating_sub(skipped);
                ((first + skipped * step).saturating_sub(before), count)
            }));
        }
        Ok(Spans(spans))
    }

    /// Calls `visit(pixel, elements…)` for each window.
    #[inline(always)]
    fn each(&self, window: &Window, mut visit: impl FnMut(usize, [(usize, usize); SPATIAL])) {
        let mut pixel = 0;
        for &z in &self.0[0] {
            for &y in &self.0[1] {
                for &x in &self.0[2] {
                    visit(pixel, [z, y, x]);
                    pixel += 1;
                }
            }
        }
        debug_assert_eq!(pixel, volume(window.output));
    }
}

/// Elements of a window in row-major order.
#[inline(always)]
fn elements(window: &Window, [z, y, x]: [(usize, usize); SPATIAL], mut visit: impl FnMut(usize)) {
    for kz in 0..z.1 {
        let slice = (z.0 + kz * window.dilation[0]) * window.input[1];
        for ky in 0..y.1 {
            let row = (slice + y.0 + ky * window.dilation[1]) * window.input[2] + x.0;
            for kx in 0..x.1 {
                visit(row + kx * window.dilation[2]);
            }
        }
    }
}

/// The first greatest element of a window, or the first NaN; none where all of it lies in the padding.
#[inline(always)]
unsafe fn greatest(window: &Window, spans: [(usize, usize); SPATIAL], plane: *const f32) -> Option<usize> {
    let mut best = f32::NEG_INFINITY;
    let mut at = None;
    elements(window, spans, |element| {
        // SAFETY: spans are clipped to the plane.
        let value = unsafe { *plane.add(element) };
        if at.is_none() || value > best || (value.is_nan() && !best.is_nan()) {
            best = value;
            at = Some(element);
        }
    });
    at
}

/// A row of windows that lie inside of the input altogether: several windows at once, the best element of each and the
/// number of its tap. `places` says where each tap lies.
#[inline(always)]
unsafe fn greatest_row_body<const F: bool>(
    places: &[usize],
    step: usize,
    first: *const f32,
    count: usize,
    best: *mut f32,
    taps: *mut u32,
) {
    macro_rules! windows {
        ($width:expr, $step:expr, $at:expr) => {{
            let mut most = [f32::NEG_INFINITY; $width];
            let mut number = [0u32; $width];
            for (tap, &place) in places.iter().enumerate() {
                let from = first.add(place + $at * $step);
                for i in 0..$width {
                    let (value, old) = (*from.add(i * $step), most[i]);
                    let better = (value > old) | (value.is_nan() & !old.is_nan());
                    most[i] = if better { value } else { old };
                    number[i] = if better { tap as u32 } else { number[i] };
                }
            }
            best.add($at).cast::<[f32; $width]>().write_unaligned(most);
            taps.add($at).cast::<[u32; $width]>().write_unaligned(number);
        }};
    }
    macro_rules! row {
        ($step:expr) => {{
            let mut at = 0;
            while at + 8 <= count {
                windows!(8, $step, at);
                at += 8;
            }
            if at + 4 <= count {
                windows!(4, $step, at);
                at += 4;
            }
            while at < count {
                windows!(1, $step, at);
                at += 1;
            }
        }};
    }
    match step {
        1 => row!(1),
        2 => row!(2),
        _ => row!(step),
    }
}
multiversion! {
    unsafe fn greatest_row(places: &[usize], step: usize, first: *const f32, count: usize, best: *mut f32, taps: *mut u32)
        = greatest_row_body
}

/// Whether `y` comes before `x` as the greatest: it is greater, or the first NaN.
#[inline(always)]
fn beats(y: f32, x: f32) -> bool {
    (y > x) | (y.is_nan() & !x.is_nan())
}

/// Maxima of a row of windows of two by two that share no element, `below` elements from one row to the next. With
/// gradients `g` (null without) these go to where the maxima lie, and zeros to the other places of the windows.
#[inline(always)]
unsafe fn squares_row(x: *const f32, below: usize, count: usize, g: *const f32, to: *mut f32) {
    macro_rules! windows {
        ($width:expr, $at:expr) => {{
            let from = x.add(2 * $at);
            let upper = from.cast::<[f32; 2 * $width]>().read_unaligned();
            let lower = from.add(below).cast::<[f32; 2 * $width]>().read_unaligned();
            let mut most = [0f32; $width];
            let mut right = [[false; $width]; 2];
            let mut down = [false; $width];
            for i in 0..$width {
                right[0][i] = beats(upper[2 * i + 1], upper[2 * i]);
                right[1][i] = beats(lower[2 * i + 1], lower[2 * i]);
                let high = if right[0][i] { upper[2 * i + 1] } else { upper[2 * i] };
                let low = if right[1][i] { lower[2 * i + 1] } else { lower[2 * i] };
                down[i] = beats(low, high);
                most[i] = if down[i] { low } else { high };
            }
            if g.is_null() {
                to.add($at).cast::<[f32; $width]>().write_unaligned(most);
            } else {
                let g = g.add($at).cast::<[f32; $width]>().read_unaligned();
                let mut rows = [[0f32; 2 * $width]; 2];
                for i in 0..$width {
                    let parts = [if down[i] { 0.0 } else { g[i] }, if down[i] { g[i] } else { 0.0 }];
                    for row in 0..2 {
                        rows[row][2 * i] = if right[row][i] { 0.0 } else { parts[row] };
                        rows[row][2 * i + 1] = if right[row][i] { parts[row] } else { 0.0 };
                    }
                }
                to.add(2 * $at).cast::<[f32; 2 * $width]>().write_unaligned(rows[0]);
                to.add(2 * $at + below).cast::<[f32; 2 * $width]>().write_unaligned(rows[1]);
            }
        }};
    }
    let mut at = 0;
    while at + 8 <= count {
        windows!(8, at);
        at += 8;
    }
    if at + 4 <= count {
        windows!(4, at);
        at += 4;
    }
    while at < count {
        windows!(1, at);
        at += 1;
    }
}

/// All rows of one plane, for windows of [`are_squares`].
#[inline(always)]
unsafe fn squares_body<const F: bool>(window: &Window, x: *const f32, g: *const f32, to: *mut f32) {
    let ([slices, height, width], [_, tall, across]) = (window.output, window.input);
    for slice in 0..slices {
        for line in 0..height {
            let (row, place) = ((slice * height + line) * width, (slice * tall + 2 * line) * across);
            if g.is_null() {
                squares_row(x.add(place), across, width, g, to.add(row));
            } else {
                squares_row(x.add(place), across, width, g.add(row), to.add(place));
            }
        }
    }
}
multiversion! {
    unsafe fn squares_plane(window: &Window, x: *const f32, g: *const f32, to: *mut f32) = squares_body
}

/// Whether windows are two by two and lie side by side.
fn are_squares(window: &Window) -> bool {
    window.kernel == [1, 2, 2] && window.stride == [1, 2, 2] && window.dilation == [1, 1, 1]
}

/// Longest row of outputs that [`greatest_row`] is used for.
const LONGEST: usize = 512;

/// Whether no window reaches into padding.
fn is_inside(window: &Window) -> bool {
    (0..SPATIAL).all(|axis| {
        let reach = (window.output[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis];
        window.before[axis] == 0 && reach < window.input[axis]
    }) && window.output[2] <= LONGEST
}

/// One plane of maxima, or of their gradients, where [`is_inside`].
///
/// # Safety
/// `x` has the input's plane; `to` room for the output's, or with a gradient `g` for the input's. `places` says where each
/// tap lies.
unsafe fn greatest_plane(window: &Window, places: &[usize], x: *const f32, g: Option<*const f32>, to: *mut f32) {
    let mut best = [0f32; LONGEST];
    let mut taps = [0u32; LONGEST];
    let step = window.stride[2];
    let count = window.output[2];
    for oz in 0..window.output[0] {
        for oy in 0..window.output[1] {
            let row = oz * window.stride[0] * window.input[1] + oy * window.stride[1];
            let first = row * window.input[2];
            let out = (oz * window.output[1] + oy) * count;
            match g {
                None => greatest_row(places, step, x.add(first), count, to.add(out), taps.as_mut_ptr()),
                Some(g) => {
                    greatest_row(places, step, x.add(first), count, best.as_mut_ptr(), taps.as_mut_ptr());
                    for (i, &tap) in taps[..count].iter().enumerate() {
                        *to.add(first + i * step + places[tap as usize]) += *g.add(out + i);
                    }
                }
            }
        }
    }
}

/// Attributes: whether backward, whether the mean, whether padding counts; then for each spatial dimension the window's
/// size, stride, dilation, padding before and after, counted padding before and after.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn pooling(call: &Call) -> Result<(), Error> {
    const FIRST: usize = 3;
    const WORDS: usize = 7;
    let [backward, mean, counts_padding] = [0, 1, 2].map(|i| call.attribute(i) == 1);
    if call.inputs.is_empty() || call.outputs.len() != 1 || (backward && !mean && call.inputs.len() < 2) {
        return Err(Error::Invalid("pooling has other operands".into()));
    }
    let result = &call.outputs[0];
    let (x, out) = if backward { (result, &call.inputs[0]) } else { (&call.inputs[0], result) };
    let rank = x.rank - 2;
    let kernel: Vec<usize> = (0..rank).map(|axis| call.attribute(FIRST + axis * WORDS)).collect();
    let window = Window::new(call, FIRST + 1, WORDS, x, out, &kernel)?;
    let spans = Spans::new(&window)?;
    let divisors = if mean { divisors(call, &window, &spans, counts_padding, rank)? } else { Vec::new() };
    let threads = call.threads;
    let first = Dense::load(&call.inputs[0], threads)?;
    let source = if backward && !mean { Some(Dense::load(&call.inputs[1], threads)?) } else { None };
    let to = Dense::target(result, call.inputs.iter().all(|input| input.data != result.data))?;
    let [from, target] = [&first, &to].map(|dense| Shared::new(dense.data.cast::<f32>()));
    let source = source.as_ref().map(|dense| Shared::new(dense.data.cast::<f32>()));
    let planes = x.shape[0] * x.shape[1];
    let (size, pixels) = (volume(window.input), volume(window.output));
    let taps = volume(window.kernel);
    let fast = !mean && is_inside(&window);
    let squares = fast && are_squares(&window);
    let mut places = room(if fast { taps } else { 0 })?;
    if fast {
        elements(&window, window.kernel.map(|size| (0, size)), |element| places.push(element));
    }
    let parts = parts_of(planes, 1 + 4096 / pixels.saturating_mul(taps).max(1));
    parallel(threads, parts, (planes * pixels * (taps + 3)) as f64 * 0.5, |part| {
        for plane in part_range(planes, parts, part, 1) {
            // SAFETY: planes are dense, spans are clipped to them, and planes of the result have one part.
            unsafe {
                if !backward && squares {
                    let to = target.get().add(plane * pixels);
                    squares_plane(&window, from.get().add(plane * size), std::ptr::null(), to);
                    continue;
                }
                if !backward && fast {
                    greatest_plane(
                        &window,
                        &places,
                        from.get().add(plane * size),
                        None,
                        target.get().add(plane * pixels),
                    );
                    continue;
                }
                if !backward {
                    let (x, y) = (from.get().add(plane * size), target.get().add(plane * pixels));
                    spans.each(&window, |pixel, span| {
                        *y.add(pixel) = if mean {
                            let mut sum = 0f64;
                            elements(&window, span, |element| sum += *x.add(element) as f64);
                            (sum / divisors[pixel]) as f32
                        } else {
                            greatest(&window, span, x).map_or(f32::NEG_INFINITY, |at| *x.add(at))
                        };
                    });
                    continue;
                }
                let (g, dx) = (from.get().add(plane * pixels), target.get().add(plane * size));
                // Windows side by side leave out the last row or column at most.
                if !squares || size > 4 * pixels {
                    std::slice::from_raw_parts_mut(dx, size).fill(0.0);
                }
                match &source {
                    None => spans.each(&window, |pixel, span| {
                        let share = (*g.add(pixel) as f64 / divisors[pixel]) as f32;
                        elements(&window, span, |element| *dx.add(element) += share);
                    }),
                    Some(x) if squares => squares_plane(&window, x.get().add(plane * size), g, dx),
                    Some(x) if fast => greatest_plane(&window, &places, x.get().add(plane * size), Some(g), dx),
                    Some(x) => {
                        let x = x.get().add(plane * size);
                        spans.each(&window, |pixel, span| {
                            if let Some(at) = greatest(&window, span, x) {
                                *dx.add(at) += *g.add(pixel);
                            }
                        });
                    }
                }
            }
        }
    });
    to.store(result, threads)?;
    Ok(())
}

/// What each window's sum is divided by: its elements inside the input, or inside the counted padding too.
fn divisors(call: &Call, window: &Window, spans: &Spans, counts_padding: bool, rank: usize) -> Result<Vec<f64>, Error> {
    let windows = volume(window.output);
    let mut result = room(windows)?;
    result.resize(windows, 0.0);
    let mut wide = *window;
    if counts_padding {
        // The counted padding taken as part of the input: elements of a window inside it are counted by clipping.
        for axis in 0..rank {
            let [before, after] = [5, 6].map(|word| call.attribute(3 + axis * 7 + word));
            let to = axis + SPATIAL - rank;
            wide.before[to] -= before.min(wide.before[to]);
            wide.input[to] += before + after;
        }
    }
    let wide = if counts_padding { Some(Spans::new(&wide)?) } else { None };
    let counted = wide.as_ref().unwrap_or(spans);
    counted.each(window, |pixel, [z, y, x]| result[pixel] = (z.1 * y.1 * x.1) as f64);
    Ok(result)
}
