//! Kernels along the last dimension, in f32: softmax, layer and RMS norm, cross entropy.

use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::level::multiversion;
use crate::math::{exp, log};
use crate::memory::Scratch;
use crate::space::View;
use crate::threads::{parallel, part_range, parts_of, Shared};

/// The sum of a term over a row, in sixteen doubles whatever the processor has, so that it does not show in the result.
macro_rules! sum_of {
    ($n:expr, |$i:ident| $term:expr) => {{
        let mut sums = [0f64; 16];
        let whole = $n & !15;
        let mut at = 0;
        while at < whole {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let $i = at + lane;
                *sum += ($term) as f64;
            }
            at += 16;
        }
        for $i in whole..$n {
            sums[$i - whole] += ($term) as f64;
        }
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
        }
        sums[0]
    }};
}

/// The greatest element of a row; NaN if there is one.
#[inline(always)]
unsafe fn row_max(x: *const f32, n: usize) -> f32 {
    let mut best = [f32::NEG_INFINITY; 16];
    let mut nan = [0u32; 16];
    let whole = n & !15;
    let mut at = 0;
    while at < whole {
        for lane in 0..16 {
            let value = *x.add(at + lane);
            nan[lane] |= value.is_nan() as u32;
            best[lane] = if value > best[lane] { value } else { best[lane] };
        }
        at += 16;
    }
    for i in whole..n {
        let value = *x.add(i);
        nan[0] |= value.is_nan() as u32;
        best[0] = if value > best[0] { value } else { best[0] };
    }
    if nan.contains(&1) {
        return f32::NAN;
    }
    best.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// Writes e^(x - shift) and returns the sum.
#[inline(always)]
unsafe fn row_exp<const F: bool>(x: *const f32, y: *mut f32, n: usize, shift: f32) -> f64 {
    for i in 0..n {
        *y.add(i) = exp::<F>(*x.add(i) - shift);
    }
    sum_of!(n, |i| *y.add(i))
}

#[inline(always)]
unsafe fn softmax_body<const F: bool>(x: *const f32, y: *mut f32, n: usize, logarithm: bool) {
    let shift = row_max(x, n);
    let sum = row_exp::<F>(x, y, n, shift);
    if logarithm {
        let log = log::<F>(sum as f32);
        for i in 0..n {
            *y.add(i) = (*x.add(i) - shift) - log;
        }
    } else {
        let scale = (1.0 / sum) as f32;
        for i in 0..n {
            *y.add(i) *= scale;
        }
    }
}
multiversion! {
    unsafe fn softmax_row(x: *const f32, y: *mut f32, n: usize, logarithm: bool) = softmax_body
}

/// dx = y (g - Σ g y), or g - e^y Σ g for y the logarithm.
#[inline(always)]
unsafe fn softmax_grad_body<const F: bool>(g: *const f32, y: *const f32, dx: *mut f32, n: usize, logarithm: bool) {
    if logarithm {
        let total = sum_of!(n, |i| *g.add(i)) as f32;
        for i in 0..n {
            *dx.add(i) = *g.add(i) - exp::<F>(*y.add(i)) * total;
        }
    } else {
        let dot = sum_of!(n, |i| *g.add(i) * *y.add(i)) as f32;
        for i in 0..n {
            *dx.add(i) = *y.add(i) * (*g.add(i) - dot);
        }
    }
}
multiversion! {
    unsafe fn softmax_grad_row(g: *const f32, y: *const f32, dx: *mut f32, n: usize, logarithm: bool) = softmax_grad_body
}

/// A view's rows as dense f32.
struct Rows {
    #[allow(dead_code, reason = "holds the copy, if it is one")]
    dense: Dense,
    data: Shared<f32>,
}

impl Rows {
    unsafe fn load(view: &View, threads: usize) -> Result<Rows, Error> {
        let dense = Dense::load(view, threads)?;
        let data = Shared::new(dense.data.cast());
        Ok(Rows { dense, data })
    }

    /// Where an output is computed: never over an input.
    fn target(view: &View, inputs: &[View]) -> Result<Rows, Error> {
        let dense = Dense::target(view, inputs.iter().all(|input| input.data != view.data))?;
        let data = Shared::new(dense.data.cast());
        Ok(Rows { dense, data })
    }

    unsafe fn at(&self, offset: usize) -> *mut f32 {
        self.data.get().add(offset)
    }

    unsafe fn store(self, view: &View, threads: usize) -> Result<(), Error> {
        self.dense.store(view, threads)
    }
}

fn last(view: &View) -> usize {
    view.shape[view.rank - 1]
}

/// Parts of so many rows.
fn row_parts(count: usize, width: usize) -> usize {
    parts_of(count, 1 + 4096 / width.max(1))
}

/// Attributes: whether backward, whether the logarithm.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn softmax(call: &Call) -> Result<(), Error> {
    let (backward, logarithm) = (call.attribute(0) == 1, call.attribute(1) == 1);
    call.expect(1 + backward as usize, 1)?;
    let out = &call.outputs[0];
    let n = last(out);
    let count = out.size / n;
    let first = Rows::load(&call.inputs[0], call.threads)?;
    let second = if backward { Some(Rows::load(&call.inputs[1], call.threads)?) } else { None };
    let to = Rows::target(out, call.inputs)?;
    let parts = row_parts(count, n);
    parallel(call.threads, parts, out.size as f64 * 0.8, |part| {
        for row in part_range(count, parts, part, 1) {
            // SAFETY: all are dense rows of `n`, and rows have one part.
            unsafe {
                let (x, y) = (first.at(row * n), to.at(row * n));
                match &second {
                    Some(second) => softmax_grad_row(x, second.at(row * n), y, n, logarithm),
                    None => softmax_row(x, y, n, logarithm),
                }
            }
        }
    });
    to.store(out, call.threads)?;
    Ok(())
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of the call and its numbers")]
unsafe fn loss_body<const F: bool>(
    x: *const f32,
    n: usize,
    target: i32,
    ignored: bool,
    smoothing: f64,
    scratch: *mut f32,
    loss: *mut f32,
    log_sum: *mut f32,
) {
    let shift = row_max(x, n);
    let log = log::<F>(row_exp::<F>(x, scratch, n, shift) as f32);
    *log_sum = shift + log;
    if ignored {
        *loss = 0.0;
        return;
    }
    let spread = smoothing / n as f64;
    let mut value = log as f64 - (1.0 - smoothing) * (*x.add(target as usize) as f64 - shift as f64);
    if spread != 0.0 {
        value -= spread * sum_of!(n, |i| *x.add(i) - shift);
    }
    *loss = value as f32;
}
multiversion! {
    unsafe fn loss_row(x: *const f32, n: usize, target: i32, ignored: bool, smoothing: f64, scratch: *mut f32,
        loss: *mut f32, log_sum: *mut f32) = loss_body
}

/// The sums are computed anew: a stored log-sum-exp is rounded, which matters for large logits.
#[inline(always)]
unsafe fn loss_grad_body<const F: bool>(
    x: *const f32,
    n: usize,
    target: i32,
    factor: f32,
    smoothing: f64,
    to: *mut f32,
) {
    let spread = smoothing / n as f64;
    let scale = (1.0 / row_exp::<F>(x, to, n, row_max(x, n))) as f32;
    let there = factor * (*to.add(target as usize) * scale - (spread + (1.0 - smoothing)) as f32);
    for i in 0..n {
        *to.add(i) = factor * (*to.add(i) * scale - spread as f32);
    }
    *to.add(target as usize) = there;
}
multiversion! {
    unsafe fn loss_grad_row(x: *const f32, n: usize, target: i32, factor: f32, smoothing: f64, to: *mut f32) = loss_grad_body
}

/// The loss of rows of logits against class indices, and its gradient. With smoothing s over C classes a row's loss is
/// logSumExp(x) - (1 - s) x[target] - s / C Σ x, computed relative to the greatest logit.
///
/// Attribute: whether backward; params: ignored target, smoothing.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn cross_entropy(call: &Call) -> Result<(), Error> {
    let backward = call.attribute(0) == 1;
    call.expect(2 + 2 * backward as usize, 2 - backward as usize)?;
    let [ignored, smoothing] = call.params else {
        return Err(Error::Invalid("params are the ignored target and the smoothing".into()));
    };
    let (ignored, smoothing) = (*ignored, *smoothing);
    let logits = &call.inputs[backward as usize];
    let n = last(logits);
    let count = logits.size / n;
    let x = Rows::load(logits, call.threads)?;
    let targets = Dense::load(&call.inputs[1 + backward as usize], call.threads)?;
    let target = Shared::new(targets.data.cast::<i32>());
    // A target outside is core's to refuse; here it must only do no harm.
    let valid = |row: usize| {
        // SAFETY: there is a target for each row.
        let at = unsafe { *target.get().add(row) };
        let skipped = at as f64 == ignored;
        (if (0..n as i32).contains(&at) { at } else { 0 }, skipped)
    };
    let parts = row_parts(count, n);
    let work = logits.size as f64;
    if backward {
        let gradient = Rows::load(&call.inputs[0], call.threads)?;
        let to = Rows::target(&call.outputs[0], call.inputs)?;
        parallel(call.threads, parts, work, |part| {
            for row in part_range(count, parts, part, 1) {
                let (at, skipped) = valid(row);
                // SAFETY: all are dense rows, and rows have one part.
                unsafe {
                    if skipped {
                        std::slice::from_raw_parts_mut(to.at(row * n), n).fill(0.0);
                    } else {
                        loss_grad_row(x.at(row * n), n, at, *gradient.at(row), smoothing, to.at(row * n));
                    }
                }
            }
        });
        to.store(&call.outputs[0], call.threads)?;
        return Ok(());
    }
    let loss = Rows::target(&call.outputs[0], call.inputs)?;
    let sums = Rows::target(&call.outputs[1], call.inputs)?;
    let memory = Scratch::new::<f32>(parts * n)?;
    let scratch = Shared::new(memory.data::<f32>());
    parallel(call.threads, parts, work, |part| {
        for row in part_range(count, parts, part, 1) {
            let (at, skipped) = valid(row);
            // SAFETY: as above; each part has a row of scratch memory.
            unsafe {
                let own = scratch.get().add(part * n);
                loss_row(x.at(row * n), n, at, skipped, smoothing, own, loss.at(row), sums.at(row));
            }
        }
    });
    loss.store(&call.outputs[0], call.threads)?;
    sums.store(&call.outputs[1], call.threads)?;
    Ok(())
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of the call and its numbers")]
unsafe fn norm_body<const F: bool>(
    x: *const f32,
    y: *mut f32,
    n: usize,
    weight: *const f32,
    bias: *const f32,
    inverse: *mut f32,
    mean: *mut f32,
    eps: f64,
) {
    // The mean in two floats: far from zero one would round off much of what is left. The second comes from what the
    // elements are off the first.
    let (mut high, mut low) = (0f32, 0f32);
    if !mean.is_null() {
        high = (sum_of!(n, |i| *x.add(i)) / n as f64) as f32;
        low = (sum_of!(n, |i| *x.add(i) - high) / n as f64) as f32;
        *mean = high + low;
    }
    let squares = sum_of!(n, |i| {
        let d = (*x.add(i) - high) - low;
        d * d
    });
    let spread = squares / n as f64 + eps;
    let scale = if spread == 0.0 { 0.0 } else { (1.0 / spread.sqrt()) as f32 };
    *inverse = scale;
    for i in 0..n {
        *y.add(i) = ((*x.add(i) - high) - low) * scale;
    }
    if !weight.is_null() {
        for i in 0..n {
            *y.add(i) *= *weight.add(i);
        }
    }
    if !bias.is_null() {
        for i in 0..n {
            *y.add(i) += *bias.add(i);
        }
    }
}
multiversion! {
    unsafe fn norm_row(x: *const f32, y: *mut f32, n: usize, weight: *const f32, bias: *const f32, inverse: *mut f32,
        mean: *mut f32, eps: f64) = norm_body
}

/// A row's gradient: dx = inverse (h - level - x̂ along) with x̂ = (x - mean) inverse, h = g weight, level the mean of h
/// (centered) and along the mean of h x̂. Adds to the columns' sums, where they are wanted.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of the call and its numbers")]
unsafe fn norm_grad_body<const F: bool>(
    g: *const f32,
    x: *const f32,
    dx: *mut f32,
    n: usize,
    weight: *const f32,
    inverse: f32,
    mean: *const f32,
    sums: *mut f64,
) {
    let centre = if mean.is_null() { 0.0 } else { *mean };
    let (level, along);
    if weight.is_null() {
        level = sum_of!(n, |i| *g.add(i));
        along = sum_of!(n, |i| *g.add(i) * ((*x.add(i) - centre) * inverse));
    } else {
        level = sum_of!(n, |i| *g.add(i) * *weight.add(i));
        along = sum_of!(n, |i| *g.add(i) * *weight.add(i) * ((*x.add(i) - centre) * inverse));
    }
    let level = if mean.is_null() { 0.0 } else { (level / n as f64) as f32 };
    let along = (along / n as f64) as f32;
    if weight.is_null() {
        for i in 0..n {
            let normalized = (*x.add(i) - centre) * inverse;
            *dx.add(i) = inverse * (*g.add(i) - level - normalized * along);
        }
    } else {
        for i in 0..n {
            let normalized = (*x.add(i) - centre) * inverse;
            *dx.add(i) = inverse * (*g.add(i) * *weight.add(i) - level - normalized * along);
        }
    }
    if !sums.is_null() {
        for i in 0..n {
            let normalized = (*x.add(i) - centre) * inverse;
            *sums.add(i) += (*g.add(i) * normalized) as f64;
        }
        for i in 0..n {
            *sums.add(n + i) += *g.add(i) as f64;
        }
    }
}
multiversion! {
    unsafe fn norm_grad_row(g: *const f32, x: *const f32, dx: *mut f32, n: usize, weight: *const f32, inverse: f32,
        mean: *const f32, sums: *mut f64) = norm_grad_body
}

/// Attributes: backward, centered, weight, bias; params: eps.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn norm(call: &Call) -> Result<(), Error> {
    let [backward, centered, weighted, biased] = [0, 1, 2, 3].map(|i| call.attribute(i));
    if backward == 1 {
        call.expect(3 + centered + weighted, 1 + weighted + biased)?;
        return norm_backward(call, centered == 1, weighted == 1, biased == 1);
    }
    call.expect(1 + weighted + biased, 2 + centered)?;
    let &[eps, ..] = call.params else {
        return Err(Error::Invalid("eps is missing".into()));
    };
    let threads = call.threads;
    let input = &call.inputs[0];
    let n = last(input);
    let count = input.size / n;
    let x = Rows::load(input, threads)?;
    let weight = if weighted == 1 { Some(Rows::load(&call.inputs[1], threads)?) } else { None };
    let bias = if biased == 1 { Some(Rows::load(&call.inputs[1 + weighted], threads)?) } else { None };
    let y = Rows::target(&call.outputs[0], call.inputs)?;
    let inverse = Rows::target(&call.outputs[1], call.inputs)?;
    let mean = if centered == 1 { Some(Rows::target(&call.outputs[2], call.inputs)?) } else { None };
    let parts = row_parts(count, n);
    parallel(threads, parts, input.size as f64 * 0.4, |part| {
        for row in part_range(count, parts, part, 1) {
            // SAFETY: all are dense rows, and rows have one part.
            unsafe {
                let data = |rows: &Option<Rows>, at: usize| rows.as_ref().map_or(std::ptr::null_mut(), |rows| rows.at(at));
                let (weight, bias, mean) = (data(&weight, 0), data(&bias, 0), data(&mean, row));
                norm_row(x.at(row * n), y.at(row * n), n, weight, bias, inverse.at(row), mean, eps);
            }
        }
    });
    y.store(&call.outputs[0], threads)?;
    inverse.store(&call.outputs[1], threads)?;
    if let Some(mean) = mean {
        mean.store(&call.outputs[2], threads)?;
    }
    Ok(())
}

unsafe fn norm_backward(call: &Call, centered: bool, weighted: bool, biased: bool) -> Result<(), Error> {
    let threads = call.threads;
    let input = &call.inputs[1];
    let n = last(input);
    let count = input.size / n;
    let g = Rows::load(&call.inputs[0], threads)?;
    let x = Rows::load(input, threads)?;
    let inverse = Rows::load(&call.inputs[2], threads)?;
    let mean = if centered { Some(Rows::load(&call.inputs[3], threads)?) } else { None };
    let weight = if weighted { Some(Rows::load(&call.inputs[3 + centered as usize], threads)?) } else { None };
    let dx = Rows::target(&call.outputs[0], call.inputs)?;
    let parts = row_parts(count, n);
    let wants_sums = weighted || biased;
    let memory = Scratch::new::<f64>(if wants_sums { parts * 2 * n } else { 0 })?;
    let sums = Shared::new(memory.data::<f64>());
    parallel(threads, parts, input.size as f64 * 0.8, |part| {
        // SAFETY: all are dense rows; rows, and rows of sums, have one part.
        unsafe {
            let own = if wants_sums { sums.get().add(part * 2 * n) } else { std::ptr::null_mut() };
            if wants_sums {
                std::slice::from_raw_parts_mut(own, 2 * n).fill(0.0);
            }
            let data = |rows: &Option<Rows>, at: usize| rows.as_ref().map_or(std::ptr::null_mut(), |rows| rows.at(at));
            for row in part_range(count, parts, part, 1) {
                let (weight, mean) = (data(&weight, 0), data(&mean, row));
                let at = row * n;
                norm_grad_row(g.at(at), x.at(at), dx.at(at), n, weight, *inverse.at(row), mean, own);
            }
        }
    });
    dx.store(&call.outputs[0], threads)?;
    for (wanted, output, first) in [(weighted, 1, 0), (biased, 1 + weighted as usize, n)] {
        if !wanted {
            continue;
        }
        let to = Rows::target(&call.outputs[output], call.inputs)?;
        for i in 0..n {
            *to.at(i) = (0..parts).map(|part| *sums.get().add(part * 2 * n + first + i)).sum::<f64>() as f32;
        }
        to.store(&call.outputs[output], threads)?;
    }
    Ok(())
}
