//! `cargo bench -p nanoflux-kernels [-- pattern]`: the main kernels through the calls that the backend makes.
//!
//! Matrix-vector products say bytes of the matrix a second, all else elements (multiplications and additions) a second.

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use nanoflux_kernels::{run, start_pool, Block, Call, DType, Kernel, View};
use std::time::Duration;

/// A dense tensor with values that no kernel finds special.
struct Tensor {
    #[allow(dead_code, reason = "holds the memory")]
    block: Block,
    view: View,
}

fn tensor(dtype: DType, shape: &[usize]) -> Tensor {
    let view = View::dense(dtype, std::ptr::null_mut(), shape);
    let block = Block::new(view.size * dtype.bytes()).expect("memory");
    for i in 0..view.size {
        let value = ((i * 2_654_435_761) >> 8) as u32 % 1000;
        let float = value as f32 / 500.0 - 1.0;
        // SAFETY: the block holds as many elements.
        unsafe {
            match dtype {
                DType::F32 => *block.data().cast::<f32>().add(i) = float,
                DType::BF16 => *block.data().cast::<u16>().add(i) = (float.to_bits() >> 16) as u16,
                DType::F16 => *block.data().cast::<u16>().add(i) = 0x3000 + (value & 0x83ff) as u16,
                // Blocks of either format have scales of about 0.1 then.
                _ => *block.data().add(i) = 0x2e,
            }
        }
    }
    Tensor { view: View { data: block.data(), ..view }, block }
}

fn transposed(mut view: View) -> View {
    view.shape.swap(0, 1);
    view.strides.swap(0, 1);
    view.update();
    view
}

/// Times one call on one thread and on two.
fn time(
    c: &mut Criterion,
    name: &str,
    unit: Throughput,
    kernel: Kernel,
    inputs: &[View],
    output: View,
    attributes: &[f64],
) {
    time_all(c, name, unit, kernel, inputs, &[output], (attributes, &[]));
}

/// Attributes and params of a call.
type Numbers<'a> = (&'a [f64], &'a [f64]);

/// The same of a kernel that has several outputs, or params.
fn time_all(
    c: &mut Criterion,
    name: &str,
    unit: Throughput,
    kernel: Kernel,
    inputs: &[View],
    outputs: &[View],
    (attributes, params): Numbers,
) {
    start_pool(2, true);
    let mut group = c.benchmark_group(name);
    group
        .throughput(unit)
        .sample_size(15)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    for threads in [1, 2] {
        let call = Call { inputs, outputs, attributes, params, program: None, threads };
        group.bench_function(format!("{threads} threads"), |bencher| {
            // SAFETY: the views lie in blocks that live on, and the output overlaps no input.
            bencher.iter(|| unsafe { run(kernel, &call) }.expect("the call is one that the kernel takes"));
        });
    }
    group.finish();
}

const DEPTH: usize = 2048;
const COLUMNS: usize = 5632;

fn matvec(c: &mut Criterion) {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for rows in [1, 2, 4, 8] {
            let x = tensor(DType::F32, &[rows, DEPTH]);
            let to = tensor(DType::F32, &[rows, COLUMNS]);
            let bytes = Throughput::Bytes((DEPTH * COLUMNS * dtype.bytes()) as u64);
            for by_columns in [true, false] {
                let w = tensor(dtype, if by_columns { &[COLUMNS, DEPTH] } else { &[DEPTH, COLUMNS] });
                let view = if by_columns { transposed(w.view) } else { w.view };
                let name =
                    format!("matvec {dtype:?} {rows} rows {}", if by_columns { "[out, in]" } else { "[in, out]" });
                time(c, &name, bytes.clone(), Kernel::Matmul, &[x.view, view], to.view, &[0.0]);
            }
        }
    }
}

fn quantized(c: &mut Criterion) {
    for (format, block) in [("Q8_0", 34), ("Q4_0", 18)] {
        for rows in [1, 2, 4, 5, 8, 16, 64, 512] {
            let x = tensor(DType::F32, &[rows, DEPTH]);
            let w = tensor(DType::U8, &[COLUMNS, DEPTH / 32 * block]);
            let to = tensor(DType::F32, &[rows, COLUMNS]);
            let unit = if rows <= 8 {
                Throughput::Bytes(w.view.size as u64)
            } else {
                Throughput::Elements((2 * rows * DEPTH * COLUMNS) as u64)
            };
            let attributes = [(block == 18) as u8 as f64];
            let name = format!("quantized {format} {rows} rows");
            time(c, &name, unit, Kernel::QuantizedMatmul, &[x.view, w.view], to.view, &attributes);
        }
    }
}

fn gemm(c: &mut Criterion) {
    for [m, k, n] in [[64, 256, 120], [512, 512, 512], [1024, 1024, 1024]] {
        let (a, b, to) = (tensor(DType::F32, &[m, k]), tensor(DType::F32, &[k, n]), tensor(DType::F32, &[m, n]));
        let unit = Throughput::Elements((2 * m * k * n) as u64);
        time(c, &format!("gemm f32 {m}x{k}x{n}"), unit, Kernel::Matmul, &[a.view, b.view], to.view, &[0.0]);
    }
}

/// A causal head of 128 queries, as a small language model trains them, laid out as its projections leave them.
fn attention(c: &mut Criterion) {
    let (batch, heads, rows, width) = (32, 4, 128, 32);
    let of = |tensor: &Tensor| {
        let mut view = tensor.view;
        view.shape.swap(1, 2);
        view.strides.swap(1, 2);
        view.update();
        view
    };
    let make = || tensor(DType::F32, &[batch, rows, heads, width]);
    let (q, k, v, g) = (make(), make(), make(), make());
    let (to, sums) = (tensor(DType::F32, &[batch, heads, rows, width]), tensor(DType::F32, &[batch, heads, rows]));
    let gradients: Vec<Tensor> = (0..3).map(|_| tensor(DType::F32, &[batch, heads, rows, width])).collect();
    let [q, k, v, g] = [of(&q), of(&k), of(&v), of(&g)];
    let unit = |products: usize| Throughput::Elements((products * 2 * batch * heads * rows * rows / 2 * width) as u64);
    let numbers: Numbers = (&[0.0, 1.0, 0.0], &[0.18]);
    time_all(c, "attention forward", unit(2), Kernel::Attention, &[q, k, v], &[to.view, sums.view], numbers);
    let inputs = [g, q, k, v, to.view, sums.view];
    let outputs: Vec<View> = gradients.iter().map(|tensor| tensor.view).collect();
    let numbers: Numbers = (&[1.0, 1.0, 0.0], &[0.18]);
    time_all(c, "attention backward", unit(5), Kernel::Attention, &inputs, &outputs, numbers);
}

/// Batch, groups, channels in and out of a group, side of the image, of the window, padding.
const CONVOLUTIONS: [[usize; 7]; 6] = [
    [64, 1, 1, 6, 28, 5, 0],
    [64, 1, 6, 16, 12, 5, 0],
    [8, 1, 16, 32, 32, 3, 1],
    [8, 1, 8, 8, 56, 3, 1],
    [8, 32, 1, 1, 56, 3, 1],
    [1, 1, 64, 64, 56, 3, 1],
];

fn convolution(c: &mut Criterion) {
    for [batch, groups, ins, outs, side, window, padding] in CONVOLUTIONS {
        let size = side + 2 * padding - window + 1;
        let x = tensor(DType::F32, &[batch, groups * ins, side, side]);
        let w = tensor(DType::F32, &[groups * outs, ins, window, window]);
        let y = tensor(DType::F32, &[batch, groups * outs, size, size]);
        let to = [&y, &x, &w].map(|like| tensor(DType::F32, like.view.shape()));
        let inputs = [[x.view, w.view], [y.view, w.view], [y.view, x.view]];
        let unit = Throughput::Elements((2 * y.view.size * ins * window * window) as u64);
        for (pass, name) in ["forward", "input gradient", "weight gradient"].iter().enumerate() {
            let mut numbers = vec![pass as f64, groups as f64];
            numbers.extend([1.0, 1.0, padding as f64, padding as f64].repeat(2));
            let name = format!("conv {batch}x{groups}x{ins}x{side}x{side} to {outs}, {window}x{window}, {name}");
            time(c, &name, unit.clone(), Kernel::Conv, &inputs[pass], to[pass].view, &numbers);
        }
    }
}

/// Greatest elements of windows of two by two, and their gradients.
fn pooling(c: &mut Criterion) {
    for [channels, side] in [[6, 24], [16, 8]] {
        let x = tensor(DType::F32, &[64, channels, side, side]);
        let y = tensor(DType::F32, &[64, channels, side / 2, side / 2]);
        let to = [&y, &x].map(|like| tensor(DType::F32, like.view.shape()));
        let unit = Throughput::Elements(x.view.size as u64);
        for backward in [0, 1] {
            let mut numbers = vec![backward as f64, 0.0, 1.0];
            numbers.extend([2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0].repeat(2));
            let inputs = if backward == 1 { vec![y.view, x.view] } else { vec![x.view] };
            let name = format!("pool 64x{channels}x{side}x{side} {}", ["forward", "backward"][backward]);
            time(c, &name, unit.clone(), Kernel::Pooling, &inputs, to[backward].view, &numbers);
        }
    }
}

criterion_group!(all, matvec, quantized, gemm, attention, convolution, pooling);
criterion_main!(all);
