use super::*;
use crate::dtype::{bfloat_to_f32, f32_to_bfloat};

/// A matrix of so many lines across and along, with steps of its own, as bytes, and its rounded values.
fn matrix(across: usize, along: usize, layout: usize, dtype: DType, seed: f32) -> (Vec<u8>, Vec<f32>, isize, isize) {
    let (step, deep) = match layout {
        0 => (along + 3, 1),
        1 => (1, across + 5),
        _ => (2, 2 * across + 1),
    };
    let mut bytes = vec![0xff; ((across - 1) * step + (along - 1) * deep + 1) * dtype.bytes()];
    let mut values = vec![0f32; across * along];
    for i in 0..across {
        for k in 0..along {
            let value = ((i * along + k) as f32 * 0.37 + seed).sin();
            let short = f32_to_bfloat(value);
            values[i * along + k] = bfloat_to_f32(short);
            let place = (i * step + k * deep) * dtype.bytes();
            match dtype {
                DType::BF16 => bytes[place..place + 2].copy_from_slice(&short.to_le_bytes()),
                _ => bytes[place..place + 4].copy_from_slice(&value.to_le_bytes()),
            }
        }
    }
    (bytes, values, step as isize, deep as isize)
}

#[test]
fn products_are_those_of_rounded_factors_in_any_layout() {
    crate::start_pool(4, false);
    if !available() {
        return;
    }
    for [m, n, k] in [
        [1, 1, 1],
        [14, 32, 64],
        [15, 33, 65],
        [3, 70, 7],
        [29, 17, 513],
        [40, 530, 20],
        [9, 40, 1100],
        [100, 96, 300],
        [20, 50, 2100],
    ] {
        for (a_layout, b_layout) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)] {
            for (a_type, b_type) in [(DType::F32, DType::F32), (DType::BF16, DType::BF16), (DType::F32, DType::BF16)] {
                let (a_bytes, a, across, along) = matrix(m, k, a_layout, a_type, 0.3);
                let a_factor = Factor { data: a_bytes.as_ptr(), dtype: a_type, across, along };
                let (b_bytes, b, across, along) = matrix(n, k, b_layout, b_type, 1.9);
                let b_factor = Factor { data: b_bytes.as_ptr(), dtype: b_type, across, along };
                let mut results = Vec::new();
                for threads in [1, 4] {
                    let mut c = vec![f32::NAN; m * (n + 1)];
                    let product = Product { data: c.as_mut_ptr(), row: n as isize + 1 };
                    // SAFETY: the matrices are these vectors.
                    unsafe { multiply([m, n, k], a_factor, b_factor, product, threads).unwrap() };
                    for i in 0..m {
                        for j in 0..n {
                            let terms = (0..k).map(|p| a[i * k + p] as f64 * b[j * k + p] as f64);
                            let (sum, size) = terms.fold((0.0, 0.0), |(s, t), term| (s + term, t + term.abs()));
                            let got = c[i * (n + 1) + j] as f64;
                            assert!((got - sum).abs() <= 2e-6 * size, "{m} {n} {k} {a_layout}: {got} for {sum}");
                        }
                        assert!(c[i * (n + 1) + n].is_nan());
                    }
                    results.push(c.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
                }
                assert_eq!(results[0], results[1]);
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_and_stays_in_its_row() {
    if !available() {
        return;
    }
    let (m, n, k) = (16, 33, 5);
    let mut a = vec![1f32; m * k];
    (a[k], a[2 * k], a[3 * k]) = (f32::NAN, f32::INFINITY, f32::MAX);
    let b = vec![1f32; k * n];
    let mut c = vec![0f32; m * n];
    let factor = |data: &[f32], across, along| Factor { data: data.as_ptr().cast(), dtype: DType::F32, across, along };
    let product = Product { data: c.as_mut_ptr(), row: n as isize };
    // SAFETY: the matrices are these vectors.
    unsafe { multiply([m, n, k], factor(&a, k as isize, 1), factor(&b, 1, n as isize), product, 1).unwrap() };
    for j in 0..n {
        assert!(c[j] == 5.0 && c[n + j].is_nan() && c[2 * n + j] == f32::INFINITY);
        assert!(c[3 * n + j] == f32::INFINITY && c[4 * n + j] == 5.0);
    }
}
