//! attention: softmax(scale q kᵀ + mask) v without the whole score matrix: blocks of queries meet the keys they may see.

use crate::attention_blocks::{self, BLOCK};
use crate::attention_step;
use crate::attention_tiles::{self, is_tiled, Gradients};
use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::level::multiversion;
use crate::math::{exp, log};
use crate::memory::Scratch;
use crate::product::Factor;
use crate::space::View;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};

/// A `[batch, heads, rows, columns]` operand: as it lies where it is f32, else a dense copy.
pub struct Operand {
    #[allow(dead_code, reason = "holds the copy, if it is one")]
    dense: Option<Dense>,
    data: Shared<f32>,
    strides: [isize; 4],
}

impl Operand {
    unsafe fn load(view: &View, threads: usize) -> Result<Operand, Error> {
        let four = |strides: &[isize]| [0, 1, 2, 3].map(|axis| strides.get(axis).copied().unwrap_or(0));
        if view.dtype.is_native() {
            return Ok(Operand { dense: None, data: Shared::new(view.data.cast()), strides: four(&view.strides) });
        }
        let dense = Dense::load(view, threads)?;
        let data = Shared::new(dense.data.cast());
        Ok(Operand { dense: Some(dense), data, strides: four(&view.dense_strides()) })
    }

    /// Where an output is computed: dense, and never over an input.
    fn target(view: &View, inputs: &[View]) -> Result<Operand, Error> {
        let dense = Dense::target(view, inputs.iter().all(|input| input.data != view.data))?;
        let data = Shared::new(dense.data.cast());
        let strides = view.dense_strides();
        Ok(Operand { dense: Some(dense), data, strides: [strides[0], strides[1], strides[2], strides[3]] })
    }

    unsafe fn store(self, view: &View, threads: usize) -> Result<(), Error> {
        self.dense.map_or(Ok(()), |dense| dense.store(view, threads))
    }

    /// The rows from `row` of one head.
    pub unsafe fn rows(&self, batch: usize, head: usize, row: usize) -> Factor<f32> {
        let [b, h, r, column] = self.strides;
        let offset = batch as isize * b + head as isize * h + row as isize * r;
        Factor { data: self.data.get().offset(offset), row: r, column }
    }
}

/// Turns a row of products into scores: scaled, masked, and minus infinity from `visible` on.
#[inline(always)]
unsafe fn scores(row: *mut f32, width: usize, visible: usize, scale: f32, mask: *const f32, step: isize) {
    if mask.is_null() {
        for j in 0..visible {
            *row.add(j) *= scale;
        }
    } else {
        for j in 0..visible {
            *row.add(j) = *row.add(j) * scale + *mask.offset(j as isize * step);
        }
    }
    for j in visible..width {
        *row.add(j) = f32::NEG_INFINITY;
    }
}

/// Sixteen values as one, in pairs.
#[inline(always)]
fn halved<T: Copy>(mut values: [T; 16], join: impl Fn(T, T) -> T) -> T {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            values[i] = join(values[i], values[i + half]);
        }
    }
    values[0]
}

/// The softmax of a row in place; returns its log-sum-exp. A row with nothing to attend to becomes zeros.
#[inline(always)]
unsafe fn softmax_body<const F: bool>(
    row: *mut f32,
    width: usize,
    visible: usize,
    scale: f32,
    mask: *const f32,
    step: isize,
) -> f32 {
    scores(row, width, visible, scale, mask, step);
    let whole = width & !15;
    let mut best = [f32::NEG_INFINITY; 16];
    let mut ordinary = [u32::MAX; 16];
    let mut at = 0;
    while at < whole {
        for lane in 0..16 {
            let x = *row.add(at + lane);
            best[lane] = if x > best[lane] { x } else { best[lane] };
            ordinary[lane] &= if x.is_nan() { 0 } else { u32::MAX };
        }
        at += 16;
    }
    for j in whole..width {
        let x = *row.add(j);
        best[j - whole] = if x > best[j - whole] { x } else { best[j - whole] };
        ordinary[j - whole] &= if x.is_nan() { 0 } else { u32::MAX };
    }
    let most = halved(best, |a, b| if b > a { b } else { a });
    let most = if ordinary.contains(&0) { f32::NAN } else { most };
    if most == f32::NEG_INFINITY {
        std::slice::from_raw_parts_mut(row, width).fill(0.0);
        return most;
    }
    let mut sums = [0f64; 16];
    for j in 0..width {
        *row.add(j) = exp::<F>(*row.add(j) - most);
    }
    let mut at = 0;
    while at < whole {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += *row.add(at + lane) as f64;
        }
        at += 16;
    }
    for j in whole..width {
        sums[j - whole] += *row.add(j) as f64;
    }
    let sum = halved(sums, |a, b| a + b);
    let inverse = (1.0 / sum) as f32;
    for j in 0..width {
        *row.add(j) *= inverse;
    }
    most + log::<F>(sum as f32)
}
multiversion! {
    pub unsafe fn softmax_row(row: *mut f32, width: usize, visible: usize, scale: f32, mask: *const f32, step: isize) -> f32
        = softmax_body
}

/// The same from a known log-sum-exp.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of the call and its numbers")]
unsafe fn again_body<const F: bool>(
    row: *mut f32,
    width: usize,
    visible: usize,
    scale: f32,
    mask: *const f32,
    step: isize,
    log_sum: f32,
) {
    scores(row, width, visible, scale, mask, step);
    if log_sum == f32::NEG_INFINITY {
        std::slice::from_raw_parts_mut(row, width).fill(0.0);
        return;
    }
    for j in 0..width {
        *row.add(j) = exp::<F>(*row.add(j) - log_sum);
    }
}
multiversion! {
    pub unsafe fn again_row(row: *mut f32, width: usize, visible: usize, scale: f32, mask: *const f32, step: isize,
        log_sum: f32) = again_body
}

/// Gradients of a row of scores, before the scale: p (dp - Σ dp p), with the sum given. In place of dp.
#[inline(always)]
unsafe fn grad_body<const F: bool>(p: *const f32, dp: *mut f32, width: usize, level: f32, scale: f32) {
    for j in 0..width {
        *dp.add(j) = *p.add(j) * (*dp.add(j) - level) * scale;
    }
}
multiversion! {
    pub unsafe fn grad_row(p: *const f32, dp: *mut f32, width: usize, level: f32, scale: f32) = grad_body
}

pub struct Job {
    pub q: Operand,
    pub k: Operand,
    pub v: Operand,
    mask: Option<Operand>,
    pub batch: usize,
    pub heads: usize,
    /// Heads that share a key.
    pub shared: usize,
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    pub scale: f32,
    causal: bool,
}

impl Job {
    unsafe fn new(call: &Call, first: usize) -> Result<Job, Error> {
        let &[scale, ..] = call.params else {
            return Err(Error::Invalid("the scale is missing".into()));
        };
        let [q, k, v] = [0, 1, 2].map(|i| &call.inputs[first + i]);
        let mask =
            if call.attribute(2) == 1 { Some(Operand::load(&call.inputs[first + 3], call.threads)?) } else { None };
        Ok(Job {
            batch: q.shape[0],
            heads: q.shape[1],
            shared: q.shape[1] / k.shape[1],
            queries: q.shape[2],
            keys: k.shape[2],
            width: q.shape[3],
            scale: scale as f32,
            causal: call.attribute(1) == 1,
            q: Operand::load(q, call.threads)?,
            k: Operand::load(k, call.threads)?,
            v: Operand::load(v, call.threads)?,
            mask,
        })
    }

    /// Keys that a query sees.
    pub fn visible(&self, query: usize) -> usize {
        if self.causal {
            (query + 1 + self.keys).saturating_sub(self.queries)
        } else {
            self.keys
        }
    }

    pub unsafe fn mask_row(&self, batch: usize, head: usize, query: usize) -> (*const f32, isize) {
        match &self.mask {
            Some(mask) => {
                let row = mask.rows(batch, head, query);
                (row.data, row.column)
            }
            None => (std::ptr::null(), 0),
        }
    }

    pub fn work(&self) -> f64 {
        (self.batch * self.heads * self.queries) as f64 * self.keys as f64 * (self.width as f64 * 0.04 + 1.0)
    }
}

/// Attributes: backward, causal, mask; params: scale.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn attention(call: &Call) -> Result<(), Error> {
    let masked = call.attribute(2);
    if call.attribute(0) == 1 {
        call.expect(6 + masked, 3)?;
        return backward(call, masked);
    }
    call.expect(3 + masked, 2)?;
    let threads = call.threads;
    let job = Job::new(call, 0)?;
    let to = Operand::target(&call.outputs[0], call.inputs)?;
    let sums = Dense::target(&call.outputs[1], true)?;
    let sums_at = Shared::new(sums.data.cast::<f32>());
    if attention_step::is_step(&job, &to) {
        attention_step::forward(&job, &to, sums_at, threads)?;
        to.store(&call.outputs[0], threads)?;
        return sums.store(&call.outputs[1], threads);
    }
    // Queries of a head stay together where heads are enough: what is made of its keys serves them all.
    let tiled = is_tiled(&job);
    let together = if tiled && job.batch * job.heads >= 32 { job.queries } else { BLOCK };
    let blocks = job.queries.div_ceil(together);
    let units = job.batch * job.heads * blocks;
    let parts = parts_of(units, 1);
    let fault = Fault::default();
    parallel(threads, parts, job.work(), |part| {
        let memory = match Scratch::new::<f32>(if tiled { 0 } else { BLOCK * job.keys }) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for unit in part_range(units, parts, part, 1) {
            let (head, query) = (unit / blocks, unit % blocks * together);
            let place = [head / job.heads, head % job.heads];
            // SAFETY: offsets are those of the operands; blocks of queries have one part.
            unsafe {
                if !tiled {
                    attention_blocks::forward(&job, place, query, &to, sums_at.get(), memory.data());
                    continue;
                }
                let end = job.queries.min(query + together);
                if let Err(error) = attention_tiles::forward(&job, place, query, end, &to, sums_at.get()) {
                    return fault.error(error);
                }
            }
        }
    });
    fault.result()?;
    to.store(&call.outputs[0], threads)?;
    sums.store(&call.outputs[1], threads)?;
    Ok(())
}

unsafe fn backward(call: &Call, masked: usize) -> Result<(), Error> {
    let threads = call.threads;
    let job = Job::new(call, 1)?;
    let g = Operand::load(&call.inputs[0], threads)?;
    let out = Operand::load(&call.inputs[4 + masked], threads)?;
    let sums = Dense::load(&call.inputs[5 + masked], threads)?;
    let log_sums = Shared::new(sums.data.cast::<f32>());
    let [dq, dk, dv] = [0, 1, 2].map(|i| Operand::target(&call.outputs[i], call.inputs));
    let (dq, dk, dv) = (dq?, dk?, dv?);
    let kv_heads = job.heads / job.shared;
    let units = job.batch * kv_heads;
    let parts = parts_of(units, 1);
    let fault = Fault::default();
    let to = || Gradients { g: &g, out: &out, log_sums: log_sums.get(), dq: &dq, dk: &dk, dv: &dv };
    if is_tiled(&job) {
        parallel(threads, parts, job.work() * 2.5, |part| {
            for unit in part_range(units, parts, part, 1) {
                let heads = [unit / kv_heads, unit % kv_heads];
                // SAFETY: offsets are those of the operands; the heads that share a key have one part.
                if let Err(error) = unsafe { attention_tiles::backward(&job, heads, &to()) } {
                    return fault.error(error);
                }
            }
        });
    } else {
        parallel(threads, parts, job.work() * 2.5, |part| {
            let memory = match Scratch::new::<f32>(2 * BLOCK * job.keys) {
                Ok(memory) => memory,
                Err(error) => return fault.error(error),
            };
            for unit in part_range(units, parts, part, 1) {
                // SAFETY: as above; there are two blocks of scratch memory.
                unsafe { attention_blocks::backward(&job, [unit / kv_heads, unit % kv_heads], &to(), memory.data()) };
            }
        });
    }
    fault.result()?;
    dq.store(&call.outputs[0], threads)?;
    dk.store(&call.outputs[1], threads)?;
    dv.store(&call.outputs[2], threads)?;
    Ok(())
}
