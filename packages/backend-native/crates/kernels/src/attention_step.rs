//! Attention of few queries, as a language model's step has: packing keys for a product costs more than the product.

use crate::attention::{softmax_row, Job, Operand};
#[cfg(target_arch = "x86_64")]
use crate::attention_rows;
use crate::call::Error;
use crate::level::multiversion;
#[cfg(target_arch = "x86_64")]
use crate::level::{level, Level};
use crate::math::madd;
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};

/// Most queries of a head that are done one by one.
const FEW: usize = 4;
const LANES: usize = 16;
/// Keys whose sum begins anew, so that no sum of f32 becomes long.
pub const STRETCH: usize = 512;
/// Most rows of scores that are made together.
const ROWS: usize = 8;
type Lanes = [f32; LANES];

/// Whether queries are few, and what they meet lies densely.
pub fn is_step(job: &Job, to: &Operand) -> bool {
    // SAFETY: only strides are looked at.
    let dense = unsafe { [job.q.rows(0, 0, 0), job.k.rows(0, 0, 0), job.v.rows(0, 0, 0), to.rows(0, 0, 0)] };
    job.shared > 0 && job.queries <= FEW && dense.iter().all(|rows| rows.column == 1)
}

/// Attention of few queries: heads that share keys meet them together.
///
/// # Safety
/// The operands are those of the job, and nobody else writes the outputs.
pub unsafe fn forward(job: &Job, to: &Operand, sums: Shared<f32>, threads: usize) -> Result<(), Error> {
    let units_of = |many: usize| job.batch * job.heads / job.shared * job.shared.div_ceil(many) * job.queries;
    // No row depends on those beside it, so that how many are together may follow the threads.
    let many = if together() { [ROWS, 4].into_iter().find(|&many| units_of(many) >= threads).unwrap_or(1) } else { 1 };
    let (groups, units) = (job.shared.div_ceil(many), units_of(many));
    let parts = parts_of(units, 1);
    let fault = Fault::default();
    parallel(threads, parts, job.work(), |part| {
        let scores = match Scratch::new::<f32>(many * job.keys) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for unit in part_range(units, parts, part, 1) {
            let (query, group) = (unit % job.queries, unit / job.queries);
            // SAFETY: each query of each head has one unit; there is room for the scores of all rows.
            unsafe { rows(job, group / groups, [group % groups * many, many], query, to, sums.get(), scores.data()) };
        }
    });
    fault.result()
}

/// Whether a key is read once for several rows: else nothing is gained by doing them together.
#[cfg(target_arch = "x86_64")]
fn together() -> bool {
    level() == Level::Avx512
}
#[cfg(not(target_arch = "x86_64"))]
fn together() -> bool {
    false
}

/// One query of the heads from the `skip`th on, `many` at most, that share the keys of a head.
unsafe fn rows(
    job: &Job,
    place: usize,
    [skip, many]: [usize; 2],
    query: usize,
    to: &Operand,
    sums: *mut f32,
    p: *mut f32,
) {
    let kv_heads = job.heads / job.shared;
    let (batch, kv) = (place / kv_heads, place % kv_heads);
    let first = kv * job.shared + skip;
    let count = many.min(job.shared - skip);
    let (keys, width) = (job.visible(query), job.width);
    let sums = |head: usize| sums.add((batch * job.heads + head) * job.queries + query);
    let mut q = [std::ptr::null(); ROWS];
    let mut out = [std::ptr::null_mut(); ROWS];
    for i in 0..count {
        q[i] = job.q.rows(batch, first + i, query).data.cast_const();
        out[i] = to.rows(batch, first + i, query).data;
    }
    if keys == 0 {
        for (i, &row) in out[..count].iter().enumerate() {
            std::slice::from_raw_parts_mut(row, width).fill(0.0);
            *sums(first + i) = f32::NEG_INFINITY;
        }
        return;
    }
    let (k, v) = (job.k.rows(batch, kv, 0), job.v.rows(batch, kv, 0));
    dots_of_rows(&q[..count], k.data, k.row, keys, width, p);
    for i in 0..count {
        let (mask, step) = job.mask_row(batch, first + i, query);
        *sums(first + i) = softmax_row(p.add(i * keys), keys, keys, job.scale, mask, step);
    }
    mix_of_rows(p, v.data, v.row, keys, width, &out[..count]);
}

unsafe fn dots_of_rows(q: &[*const f32], k: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    if together() {
        return attention_rows::dots(q, k, step, keys, width, to);
    }
    for (row, &q) in q.iter().enumerate() {
        dots(q, k, step, keys, width, to.add(row * keys));
    }
}

unsafe fn mix_of_rows(p: *const f32, v: *const f32, step: isize, keys: usize, width: usize, to: &[*mut f32]) {
    #[cfg(target_arch = "x86_64")]
    if together() {
        return attention_rows::mix(p, v, step, keys, width, to);
    }
    for (row, &to) in to.iter().enumerate() {
        mix(p.add(row * keys), v, step, keys, width, to);
    }
}

#[inline(always)]
unsafe fn load(at: *const f32) -> Lanes {
    at.cast::<Lanes>().read_unaligned()
}

#[inline(always)]
unsafe fn dots_body<const F: bool>(q: *const f32, k: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) {
    for key in 0..keys {
        let row = k.offset(key as isize * step);
        let mut lanes = [0f32; LANES];
        let mut at = 0;
        while at + LANES <= width {
            let (a, b) = (load(q.add(at)), load(row.add(at)));
            for i in 0..LANES {
                lanes[i] = madd::<F>(a[i], b[i], lanes[i]);
            }
            at += LANES;
        }
        for (i, lane) in lanes.iter_mut().enumerate().take(width - at) {
            *lane = madd::<F>(*q.add(at + i), *row.add(at + i), *lane);
        }
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        *to.add(key) = lanes[0];
    }
}
multiversion! {
    /// Products of a query with keys, rows of so many dense elements that lie `step` apart.
    ///
    /// # Safety
    /// All lie in live memory.
    pub unsafe fn dots(q: *const f32, k: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) = dots_body
}

/// Sums of `V` vectors of each row, from one column on.
#[inline(always)]
unsafe fn columns<const F: bool, const V: usize>(p: *const f32, v: *const f32, step: isize, keys: usize, to: *mut f32) {
    let mut totals = [[0f32; LANES]; V];
    for first in (0..keys).step_by(STRETCH) {
        let mut sums = [[0f32; LANES]; V];
        for key in first..keys.min(first + STRETCH) {
            let (share, row) = (*p.add(key), v.offset(key as isize * step));
            for (part, sum) in sums.iter_mut().enumerate() {
                let values = load(row.add(part * LANES));
                for i in 0..LANES {
                    sum[i] = madd::<F>(share, values[i], sum[i]);
                }
            }
        }
        for (total, sum) in totals.iter_mut().zip(&sums) {
            for i in 0..LANES {
                total[i] += sum[i];
            }
        }
    }
    for (part, total) in totals.iter().enumerate() {
        to.add(part * LANES).cast::<Lanes>().write_unaligned(*total);
    }
}

#[inline(always)]
unsafe fn mix_body<const F: bool>(p: *const f32, v: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) {
    let mut at = 0;
    while at + 4 * LANES <= width {
        columns::<F, 4>(p, v.add(at), step, keys, to.add(at));
        at += 4 * LANES;
    }
    while at + LANES <= width {
        columns::<F, 1>(p, v.add(at), step, keys, to.add(at));
        at += LANES;
    }
    for column in at..width {
        let mut total = 0f32;
        for first in (0..keys).step_by(STRETCH) {
            let mut sum = 0f32;
            for key in first..keys.min(first + STRETCH) {
                sum = madd::<F>(*p.add(key), *v.offset(key as isize * step).add(column), sum);
            }
            total += sum;
        }
        *to.add(column) = total;
    }
}
multiversion! {
    /// The sum of values, rows of so many dense elements that lie `step` apart, times what `p` has for each.
    ///
    /// # Safety
    /// All lie in live memory, and `to` overlaps nothing.
    pub unsafe fn mix(p: *const f32, v: *const f32, step: isize, keys: usize, width: usize, to: *mut f32) = mix_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run, start_pool, Call, DType, Kernel, View};

    #[test]
    fn products_and_sums_of_any_width_and_step() {
        for (keys, width, step) in [(1, 1, 1), (3, 16, 20), (7, 64, 64), (5, 83, 90), (40, 128, 130)] {
            let rows: Vec<f32> = (0..keys * step).map(|i| (i as f32 * 0.7).sin()).collect();
            let q: Vec<f32> = (0..width).map(|i| (i as f32 * 0.3).cos()).collect();
            let (mut scores, mut out) = (vec![f32::NAN; keys], vec![f32::NAN; width]);
            // SAFETY: all are these vectors.
            unsafe {
                dots(q.as_ptr(), rows.as_ptr(), step as isize, keys, width, scores.as_mut_ptr());
                mix(scores.as_ptr(), rows.as_ptr(), step as isize, keys, width, out.as_mut_ptr());
            }
            for (key, score) in scores.iter().enumerate() {
                let exact: f64 = (0..width).map(|i| q[i] as f64 * rows[key * step + i] as f64).sum();
                assert!((*score as f64 - exact).abs() < 1e-5, "{keys} {width} {step}: {score} for {exact}");
            }
            for (column, value) in out.iter().enumerate() {
                let exact: f64 = (0..keys).map(|key| scores[key] as f64 * rows[key * step + column] as f64).sum();
                assert!((*value as f64 - exact).abs() < 1e-4, "{keys} {width} {step}: {value} for {exact}");
            }
        }
    }

    #[test]
    fn sums_over_many_keys_stay_exact() {
        let (keys, width) = (16_384, 83);
        let positive = |i: usize| ((i as u32 + 1).wrapping_mul(0x9e37_79b1) >> 8) as f32 / 2f32.powi(24);
        let rows: Vec<f32> = (0..keys * width).map(positive).collect();
        let shares: Vec<f32> = (0..keys).map(|key| (1.0 + positive(key + 7)) / keys as f32).collect();
        let mut out = vec![f32::NAN; width];
        // SAFETY: all are these vectors.
        unsafe { mix(shares.as_ptr(), rows.as_ptr(), width as isize, keys, width, out.as_mut_ptr()) };
        for (column, value) in out.iter().enumerate() {
            let exact: f64 = (0..keys).map(|key| shares[key] as f64 * rows[key * width + column] as f64).sum();
            assert!((*value as f64 - exact).abs() <= 1e-6 * exact, "{column}: {value} for {exact}");
        }
    }
    /// Batch, heads, heads of keys, queries, keys, width, whether causal, and whether masked.
    type Case = (usize, usize, usize, usize, usize, usize, bool, bool);

    #[test]
    fn steps_give_the_plain_sums_and_the_same_bits_for_any_number_of_threads() {
        start_pool(3, false);
        let cases: [Case; 9] = [
            (1, 1, 1, 1, 1, 1, false, false),
            (2, 5, 1, 1, 40, 16, false, false),
            (1, 8, 1, 2, 33, 64, true, false),
            (1, 9, 1, 3, 70, 83, true, true),
            (2, 17, 1, 4, 20, 33, false, true),
            (1, 34, 2, 1, 600, 64, true, true),
            (1, 32, 4, 1, 700, 128, false, false),
            (2, 6, 6, 2, 50, 20, true, true),
            // More queries than keys: the first see nothing.
            (1, 9, 1, 4, 2, 17, true, false),
        ];
        for case in cases {
            compare(case);
        }
    }

    fn compare(case: Case) {
        let (batch, heads, kv_heads, queries, keys, width, causal, masked) = case;
        let numbers = |count: usize, f: f32| (0..count).map(|i| (i as f32 * f).sin()).collect::<Vec<f32>>();
        let mut q = numbers(batch * heads * queries * width, 0.31);
        let mut k = numbers(batch * kv_heads * keys * width, 0.73);
        let mut v = numbers(batch * kv_heads * keys * width, 0.47);
        // One for all heads and queries of a batch.
        let mut mask = numbers(batch * keys, 1.7);
        let scale = 0.3f64;
        let view = |data: &mut Vec<f32>, shape: &[usize]| View::dense(DType::F32, data.as_mut_ptr().cast(), shape);
        let mut inputs = vec![
            view(&mut q, &[batch, heads, queries, width]),
            view(&mut k, &[batch, kv_heads, keys, width]),
            view(&mut v, &[batch, kv_heads, keys, width]),
        ];
        if masked {
            let mut spread = view(&mut mask, &[batch, heads, queries, keys]);
            spread.strides[..4].copy_from_slice(&[keys as isize, 0, 0, 1]);
            inputs.push(spread);
        }
        let mut found: Vec<[Vec<u32>; 2]> = vec![];
        for threads in [1, 3, 5, 64] {
            let (mut out, mut sums) = (vec![f32::NAN; q.len()], vec![f32::NAN; batch * heads * queries]);
            let outputs = [view(&mut out, &[batch, heads, queries, width]), view(&mut sums, &[batch, heads, queries])];
            let attributes = [0.0, causal as usize as f64, masked as usize as f64];
            let call = Call {
                inputs: &inputs,
                outputs: &outputs,
                attributes: &attributes,
                params: &[scale],
                program: None,
                threads,
            };
            // SAFETY: the views are those vectors; the mask's repeats.
            unsafe { run(Kernel::Attention, &call) }.unwrap();
            for row in 0..batch * heads * queries {
                let (b, head, query) = (row / queries / heads, row / queries % heads, row % queries);
                let kv = b * kv_heads + head / (heads / kv_heads);
                let seen = if causal { (query + 1 + keys).saturating_sub(queries) } else { keys };
                let dot = |key: usize| -> f64 {
                    let at = (kv * keys + key) * width;
                    (0..width).map(|i| q[row * width + i] as f64 * k[at + i] as f64).sum()
                };
                let extra = |key: usize| {
                    if masked {
                        mask[b * keys + key] as f64
                    } else {
                        0.0
                    }
                };
                let shares: Vec<f64> = (0..seen).map(|key| (dot(key) * scale + extra(key)).exp()).collect();
                let sum: f64 = shares.iter().sum();
                let near = |value: f32, exact: f64| (value as f64 - exact).abs() < 1e-4 || value as f64 == exact;
                assert!(near(sums[row], sum.ln()), "{case:?} {row}: {} for {}", sums[row], sum.ln());
                for column in 0..width {
                    let total: f64 =
                        (0..seen).map(|key| shares[key] * v[(kv * keys + key) * width + column] as f64).sum();
                    let exact = if seen == 0 { 0.0 } else { total / sum };
                    let value = out[row * width + column];
                    assert!(near(value, exact), "{case:?} {row} {column}: {value} for {exact}");
                }
            }
            found.push([&out, &sums].map(|list| list.iter().map(|value| value.to_bits()).collect()));
        }
        assert!(found.iter().all(|one| *one == found[0]), "{case:?}: bits follow the threads");
    }
}
