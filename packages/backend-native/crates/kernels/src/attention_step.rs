//! Attention of single queries, as a language model's step has: packing keys for a product would cost more than the product.

use crate::level::multiversion;
use crate::math::madd;

/// Most queries of a head that are done one by one.
pub const FEW: usize = 4;
const LANES: usize = 16;
/// Keys whose sum begins anew, so that no sum of f32 becomes long.
const STRETCH: usize = 512;
type Lanes = [f32; LANES];

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
}
