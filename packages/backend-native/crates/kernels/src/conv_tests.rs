//! All ways of convolving against the plain sums.

use crate::{run, start_pool, Call, DType, Kernel, View};

/// A convolution of planes, and how it is laid out.
struct Case {
    batch: usize,
    groups: usize,
    ins: usize,
    outs: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
}

fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * step + 3) % 17) as f32 - 8.0).collect()
}

/// All three passes against the plain sums; whole numbers, so that they are exact.
fn compare(case: &Case) {
    let &Case { batch, groups, ins, outs, input, kernel, stride, dilation, padding } = case;
    let output = [0, 1].map(|i| (input[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1);
    let shapes = [
        vec![batch, groups * ins, input[0], input[1]],
        vec![groups * outs, ins, kernel[0], kernel[1]],
        vec![batch, groups * outs, output[0], output[1]],
    ];
    let count = |shape: &Vec<usize>| shape.iter().product::<usize>();
    let (mut x, mut w) = (numbers(count(&shapes[0]), 5), numbers(count(&shapes[1]), 7));
    let (mut g, mut bias) = (numbers(count(&shapes[2]), 11), numbers(groups * outs, 3));
    let mut wanted = [vec![0f32; g.len()], vec![0f32; x.len()], vec![0f32; w.len()]];
    for b in 0..batch {
        for (o, &start) in bias.iter().enumerate() {
            for (oy, ox) in (0..output[0]).flat_map(|oy| (0..output[1]).map(move |ox| (oy, ox))) {
                let at = ((b * groups * outs + o) * output[0] + oy) * output[1] + ox;
                wanted[0][at] += start;
                for i in 0..ins {
                    for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                        let y = (oy * stride[0] + ky * dilation[0]).wrapping_sub(padding[0]);
                        let z = (ox * stride[1] + kx * dilation[1]).wrapping_sub(padding[1]);
                        if y >= input[0] || z >= input[1] {
                            continue;
                        }
                        let from = ((b * groups * ins + o / outs * ins + i) * input[0] + y) * input[1] + z;
                        let weight = ((o * ins + i) * kernel[0] + ky) * kernel[1] + kx;
                        wanted[0][at] += x[from] * w[weight];
                        wanted[1][from] += g[at] * w[weight];
                        wanted[2][weight] += g[at] * x[from];
                    }
                }
            }
        }
    }
    let view = |data: &mut Vec<f32>, shape: &[usize]| View::dense(DType::F32, data.as_mut_ptr().cast(), shape);
    let (xv, wv) = (view(&mut x, &shapes[0]), view(&mut w, &shapes[1]));
    let (gv, bv) = (view(&mut g, &shapes[2]), view(&mut bias, &[groups * outs]));
    for pass in 0..3 {
        let shape = [&shapes[2], &shapes[0], &shapes[1]][pass];
        let mut result = vec![f32::NAN; wanted[pass].len()];
        let to = view(&mut result, shape);
        let inputs = [vec![xv, wv, bv], vec![gv, wv], vec![gv, xv]];
        let mut attributes = vec![pass as f64, groups as f64];
        for i in [0, 1] {
            attributes.extend([stride[i], dilation[i], padding[i], padding[i]].map(|value| value as f64));
        }
        for threads in [1, 3] {
            let (inputs, outputs) = (&inputs[pass][..], &[to][..]);
            let call = Call { inputs, outputs, attributes: &attributes, params: &[], program: None, threads };
            // SAFETY: the views are those vectors.
            unsafe { run(Kernel::Conv, &call) }.unwrap();
            assert_eq!(result, wanted[pass], "pass {pass} of {shapes:?}");
        }
    }
}

#[test]
fn all_ways_give_the_plain_sums() {
    start_pool(3, false);
    let plain = Case {
        batch: 3,
        groups: 1,
        ins: 2,
        outs: 5,
        input: [12, 12],
        kernel: [5, 5],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
    };
    compare(&plain);
    compare(&Case { padding: [2, 1], ..plain });
    compare(&Case { outs: 20, ins: 3, padding: [1, 1], kernel: [3, 3], ..plain });
    compare(&Case { batch: 1, outs: 16, input: [9, 21], kernel: [3, 4], padding: [0, 3], ..plain });
    compare(&Case { batch: 9, input: [10, 23], kernel: [3, 3], stride: [2, 1], dilation: [1, 2], ..plain });
    compare(&Case { groups: 4, ins: 1, outs: 1, kernel: [3, 3], padding: [1, 1], ..plain });
    // A window for each channel: rows that end within a vector or with it, several strips, taps in two bundles, any stride.
    let depthwise = Case { groups: 5, ins: 1, outs: 1, kernel: [3, 3], padding: [1, 1], ..plain };
    compare(&Case { input: [14, 14], ..depthwise });
    compare(&Case { input: [90, 64], kernel: [5, 9], padding: [4, 2], ..depthwise });
    compare(&Case { input: [15, 23], kernel: [3, 4], stride: [2, 3], padding: [2, 5], ..depthwise });
    compare(&Case { input: [9, 1100], stride: [1, 2], dilation: [3, 2], ..depthwise });
    compare(&Case { input: [5, 3], kernel: [4, 3], padding: [9, 8], ..depthwise });
    // The batch in several pieces, in as many as it has images, and in one.
    compare(&Case { groups: 3, batch: 9, ..depthwise });
    compare(&Case { groups: 1, batch: 4, ..depthwise });
    compare(&Case { groups: 70, batch: 2, input: [6, 6], ..depthwise });
    compare(&Case { groups: 2, outs: 3, kernel: [2, 3], stride: [2, 2], padding: [1, 1], ..plain });
    compare(&Case { kernel: [1, 1], ..plain });
    // Planes of gradients that end where vectors do: input gradients as small products, in one strip or several.
    compare(&Case { padding: [2, 2], ..plain });
    compare(&Case { input: [20, 12], ins: 7, outs: 9, padding: [0, 2], ..plain });
    compare(&Case { batch: 1, ins: 40, outs: 33, input: [33, 16], kernel: [3, 3], padding: [1, 1], ..plain });
    compare(&Case { groups: 3, ins: 2, outs: 4, input: [18, 20], kernel: [3, 5], dilation: [2, 1], ..plain });
    // Taps in one bundle or several, channels in one vector or several, rows of one strip or several.
    compare(&Case { outs: 17, input: [40, 21], kernel: [7, 2], stride: [2, 3], padding: [3, 1], ..plain });
    compare(&Case { batch: 2, groups: 2, ins: 3, outs: 8, input: [9, 300], kernel: [3, 9], ..plain });
    compare(&Case { input: [6, 6], kernel: [3, 3], ..plain });
}

#[test]
fn sums_over_a_long_row_stay_exact() {
    start_pool(3, false);
    let (outs, width, taps) = (8, 70_000, 9);
    let positive = |i: usize| ((i as u32 + 1).wrapping_mul(0x9e37_79b1) >> 8) as f32 / 2f32.powi(24);
    let out = width - taps + 1;
    let mut x: Vec<f32> = (0..width).map(positive).collect();
    let mut g: Vec<f32> = (0..outs * out).map(|i| positive(i + width)).collect();
    let mut result = vec![f32::NAN; outs * taps];
    let view = |data: &mut Vec<f32>, shape: &[usize]| View::dense(DType::F32, data.as_mut_ptr().cast(), shape);
    let inputs = [view(&mut g, &[1, outs, out]), view(&mut x, &[1, 1, width])];
    let outputs = [view(&mut result, &[outs, 1, taps])];
    let attributes = [2.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    let call =
        Call { inputs: &inputs, outputs: &outputs, attributes: &attributes, params: &[], program: None, threads: 2 };
    // SAFETY: the views are those vectors.
    unsafe { run(Kernel::Conv, &call) }.unwrap();
    for (i, got) in result.iter().enumerate() {
        let g = &g[i / taps * out..][..out];
        let exact: f64 = g.iter().zip(&x[i % taps..]).map(|(g, x)| *g as f64 * *x as f64).sum();
        assert!((*got as f64 - exact).abs() <= 2e-6 * exact, "{got} for {exact}");
    }
}
