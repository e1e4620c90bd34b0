//! Layer norm and RMS norm.

use super::{last, row_parts, Rows};
use crate::call::{Call, Error};
use crate::level::multiversion;
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, Shared};

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
                let data =
                    |rows: &Option<Rows>, at: usize| rows.as_ref().map_or(std::ptr::null_mut(), |rows| rows.at(at));
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
