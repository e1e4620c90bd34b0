//! Loops over f32 that are worth vectors.

use crate::level::multiversion;

/// Sums of f32 add up in doubles: no error to speak of, whatever their number. Sixteen of them, whatever the processor has,
/// so that it does not show in the result.
#[inline(always)]
unsafe fn sum_body<const F: bool>(values: &[f32]) -> f64 {
    let mut sums = [0f64; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x as f64;
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += x as f64;
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}
multiversion! {
    pub unsafe fn sum_f32(values: &[f32]) -> f64 = sum_body
}

/// The maximum of the values times `sign`; NaN if there is one.
#[inline(always)]
unsafe fn extreme_body<const F: bool>(values: &[f32], sign: f32) -> f32 {
    let mut best = [f32::NEG_INFINITY; 16];
    let mut nan = [0u32; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..16 {
            let x = chunk[i] * sign;
            nan[i] |= x.is_nan() as u32;
            best[i] = if x > best[i] { x } else { best[i] };
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        nan[i] |= x.is_nan() as u32;
        best[i] = if x * sign > best[i] { x * sign } else { best[i] };
    }
    if nan.contains(&1) {
        return f32::NAN;
    }
    best.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}
multiversion! {
    pub unsafe fn extreme_f32(values: &[f32], sign: f32) -> f32 = extreme_body
}

#[inline(always)]
unsafe fn add_row_body<const F: bool>(values: &[f32], sums: &mut [f64]) {
    for (sum, &x) in sums.iter_mut().zip(values) {
        *sum += x as f64;
    }
}
multiversion! {
    /// Rows of f32 have accumulators of plain doubles, which vectorises.
    pub unsafe fn add_row_f32(values: &[f32], sums: &mut [f64]) = add_row_body
}

#[inline(always)]
unsafe fn extreme_row_body<const F: bool>(values: &[f32], best: &mut [f64], sign: f64) {
    for (best, &x) in best.iter_mut().zip(values) {
        let x = x as f64 * sign;
        // What is not below stays, and NaN is not.
        *best = if x > *best || x.is_nan() { x } else { *best };
    }
}
multiversion! {
    /// The maxima of rows of f32 times `sign`; NaN where there is one.
    pub unsafe fn extreme_row_f32(values: &[f32], best: &mut [f64], sign: f64) = extreme_row_body
}
