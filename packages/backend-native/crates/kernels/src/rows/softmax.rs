//! Softmax, its logarithm, and the loss of classes.

use super::{last, row_parts, Rows};
use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::level::multiversion;
use crate::math::{exp, log};
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, Shared};

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
