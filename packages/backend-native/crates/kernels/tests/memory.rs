//! The unsafe parts on memory of exactly the size that views need, odd sizes among them: a step too far is found by the
//! sanitizer of the nightly run, and wrong numbers by any.

use std::sync::atomic::{AtomicUsize, Ordering};

use nanoflux_kernels::{parallel, run, start_pool, Block, Call, DType, Error, Kernel, Pool, Refusal, View, MAX_RANK};

/// Numbers without a pattern, between -1 and 1.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729 + 13) as f32 * 0.618).sin()).collect()
}

/// A tensor whose memory ends with its last element.
struct Exact<T> {
    values: Box<[T]>,
    shape: Vec<usize>,
    dtype: DType,
}

impl<T: Clone> Exact<T> {
    fn new(dtype: DType, shape: &[usize], values: Vec<T>) -> Exact<T> {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        Exact { values: values.into_boxed_slice(), shape: shape.to_vec(), dtype }
    }

    fn view(&mut self) -> View {
        View::dense(self.dtype, self.values.as_mut_ptr().cast(), &self.shape)
    }
}

fn floats(shape: &[usize], seed: usize) -> Exact<f32> {
    Exact::new(DType::F32, shape, numbers(shape.iter().product(), seed))
}

fn call(kernel: Kernel, inputs: &[View], outputs: &[View], attributes: &[usize], params: &[f64]) -> Result<(), Error> {
    start_pool(4, false);
    let attributes: Vec<f64> = attributes.iter().map(|&value| value as f64).collect();
    let call = Call { inputs, outputs, attributes: &attributes, params, program: None, threads: 4 };
    // SAFETY: the tests' tensors outlive the call, and none of them is an input and an output at once.
    unsafe { run(kernel, &call) }
}

fn close(a: f32, b: f64, what: &str) {
    assert!((a as f64 - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}: {a} instead of {b}");
}

const WIDTHS: [usize; 12] = [1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 65, 257];

#[test]
fn rows_stay_in_their_memory() {
    for width in WIDTHS {
        for rows in [1, 3] {
            let mut x = floats(&[rows, width], width);
            let mut y = floats(&[rows, width], 0);
            call(Kernel::Softmax, &[x.view()], &[y.view()], &[0, 0], &[]).unwrap();
            let sum: f64 = y.values.iter().map(|&value| value as f64).sum();
            close(sum as f32, rows as f64, "softmax");
            let [mut mean, mut deviation] = [1, 2].map(|seed| floats(&[rows, 1], seed));
            let outputs = [y.view(), mean.view(), deviation.view()];
            call(Kernel::Norm, &[x.view()], &outputs, &[0, 1, 0, 0], &[1e-5]).unwrap();
            close(y.values.iter().sum(), 0.0, "norm");
            call(Kernel::Scan, &[x.view()], &[y.view()], &[0, 1, 0], &[]).unwrap();
            let total: f64 = x.values[..width].iter().map(|&value| value as f64).sum();
            close(y.values[width - 1], total, "scan");
            let mut places = Exact::new(DType::I32, &[rows, width], vec![0i32; rows * width]);
            call(Kernel::Sort, &[x.view()], &[y.view(), places.view()], &[1, 0], &[]).unwrap();
            assert!(y.values[..width].windows(2).all(|pair| pair[0] <= pair[1]));
            let first = places.values[0] as usize;
            assert_eq!(x.values[first], y.values[0]);
        }
    }
}

#[test]
fn products_stay_in_their_memory() {
    for (m, k, n) in [(1, 1, 1), (3, 5, 7), (1, 17, 33), (17, 1, 5), (33, 65, 1), (64, 63, 31), (2, 300, 129)] {
        let (mut a, mut b, mut c) = (floats(&[m, k], 1), floats(&[k, n], 2), floats(&[m, n], 3));
        call(Kernel::Matmul, &[a.view(), b.view()], &[c.view()], &[0], &[]).unwrap();
        for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
            let wanted: f64 = (0..k).map(|l| a.values[i * k + l] as f64 * b.values[l * n + j] as f64).sum();
            close(c.values[i * n + j], wanted, "matmul");
        }
        // The same product from views that walk their memory the other way.
        let (mut at, mut bt) = (floats(&[k, m], 0), floats(&[n, k], 0));
        for l in 0..k {
            (0..m).for_each(|i| at.values[l * m + i] = a.values[i * k + l]);
            (0..n).for_each(|j| bt.values[j * k + l] = b.values[l * n + j]);
        }
        let mut d = floats(&[m, n], 4);
        let [left, right] = [(at.view(), m, k), (bt.view(), k, n)].map(|(mut view, rows, columns)| {
            (view.shape[0], view.shape[1]) = (rows, columns);
            (view.strides[0], view.strides[1]) = (1, rows as isize);
            view.update();
            view
        });
        call(Kernel::Matmul, &[left, right], &[d.view()], &[0], &[]).unwrap();
        c.values.iter().zip(&d.values).for_each(|(&c, &d)| close(d, c as f64, "transposed matmul"));
    }
}

#[test]
fn windows_stay_in_their_memory() {
    for (channels, size, filters, kernel, padding) in
        [(1, 5, 1, 5, 0), (3, 7, 2, 3, 1), (2, 9, 5, 2, 0), (5, 4, 3, 1, 0), (4, 17, 17, 3, 2)]
    {
        let out = size + 2 * padding - kernel + 1;
        let (mut x, mut w) = (floats(&[2, channels, size, size], 1), floats(&[filters, channels, kernel, kernel], 2));
        let mut y = floats(&[2, filters, out, out], 3);
        let axis = [1, 1, padding, padding];
        let attributes = |pass| [&[pass, 1][..], &axis, &axis].concat();
        call(Kernel::Conv, &[x.view(), w.view()], &[y.view()], &attributes(0), &[]).unwrap();
        let at = |c: usize, row: usize, column: usize| {
            let inside = |p: usize| p.checked_sub(padding).filter(|&p| p < size);
            let place = inside(row).zip(inside(column));
            place.map_or(0.0, |(row, column)| x.values[(c * size + row) * size + column] as f64)
        };
        let wanted: f64 = (0..channels * kernel * kernel)
            .map(|i| (i / (kernel * kernel), i / kernel % kernel, i % kernel))
            .map(|(c, row, column)| at(c, row, column) * w.values[(c * kernel + row) * kernel + column] as f64)
            .sum();
        close(y.values[0], wanted, "conv");
        // Gradients: of what went in and of the weight, and the same sum from either side.
        let (mut dx, mut dw) = (floats(&x.shape, 4), floats(&w.shape, 5));
        call(Kernel::Conv, &[y.view(), w.view()], &[dx.view()], &attributes(1), &[]).unwrap();
        call(Kernel::Conv, &[y.view(), x.view()], &[dw.view()], &attributes(2), &[]).unwrap();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
        let square = dot(&y.values, &y.values);
        close(dot(&dx.values, &x.values) as f32, square, "gradient of the image");
        close(dot(&dw.values, &w.values) as f32, square, "gradient of the weight");
    }
}

#[test]
fn attention_and_positions_stay_in_their_memory() {
    for (heads, shared, queries, keys, width) in
        [(1, 1, 1, 1, 2), (4, 2, 3, 5, 6), (2, 1, 17, 33, 18), (3, 3, 7, 7, 34), (2, 1, 19, 33, 16), (1, 1, 40, 35, 48)]
    {
        let mut q = floats(&[2, heads, queries, width], 1);
        let (mut k, mut v) = (floats(&[2, shared, keys, width], 2), floats(&[2, shared, keys, width], 3));
        let (mut out, mut sums) = (floats(&[2, heads, queries, width], 0), floats(&[2, heads, queries], 0));
        v.values.fill(0.5);
        for causal in [0, 1] {
            let inputs = [q.view(), k.view(), v.view()];
            call(Kernel::Attention, &inputs, &[out.view(), sums.view()], &[0, causal, 0], &[0.3]).unwrap();
            // A mean of equal values, or of none where there are more queries than keys.
            assert!(out.values.iter().all(|&value| value.abs() < 1e-6 || (value - 0.5).abs() < 1e-6));
        }
        let (mut cos, mut sin) = (floats(&[queries, width / 2], 0), floats(&[queries, width / 2], 0));
        cos.values.fill(0.6);
        sin.values.fill(0.8);
        for pairs in [0, 1] {
            let [mut there, mut back] = [0, 0].map(|seed| floats(&q.shape, seed));
            let turn = |from: View, to: View, inverse: usize, cos: View, sin: View| {
                call(Kernel::Rope, &[from, cos, sin], &[to], &[pairs, inverse], &[]).unwrap();
            };
            turn(q.view(), there.view(), 0, cos.view(), sin.view());
            turn(there.view(), back.view(), 1, cos.view(), sin.view());
            q.values.iter().zip(&back.values).for_each(|(&q, &back)| close(back, q as f64, "rope"));
        }
    }
}

#[test]
fn attention_of_many_queries_has_the_gradients_of_the_formula() {
    for (heads, shared, queries, keys, width) in [(1, 1, 16, 16, 16), (4, 2, 33, 40, 48), (1, 1, 150, 131, 32)] {
        for (causal, masked) in [(0, 0), (1, 0), (1, 1)] {
            let [q, g] = [1, 2].map(|seed| floats(&[1, heads, queries, width], seed));
            let [k, v] = [3, 4].map(|seed| floats(&[1, shared, keys, width], seed));
            let mut mask = floats(&[1, heads, queries, keys], 5);
            let (mut out, mut sums) = (floats(&[1, heads, queries, width], 0), floats(&[1, heads, queries], 0));
            let mut dq = floats(&[1, heads, queries, width], 0);
            let [mut dk, mut dv] = [0, 0].map(|seed| floats(&[1, shared, keys, width], seed));
            let (mut q, mut k, mut v, mut g) = (q, k, v, g);
            let scale = 0.3;
            let mut inputs = vec![q.view(), k.view(), v.view()];
            if masked == 1 {
                inputs.push(mask.view());
            }
            let forward = [out.view(), sums.view()];
            call(Kernel::Attention, &inputs, &forward, &[0, causal, masked], &[scale]).unwrap();
            inputs.insert(0, g.view());
            inputs.extend(forward);
            let outputs = [dq.view(), dk.view(), dv.view()];
            call(Kernel::Attention, &inputs, &outputs, &[1, causal, masked], &[scale]).unwrap();
            // The formula, in doubles.
            let [mut wanted_out, mut wanted_dq] = [0, 1].map(|_| vec![0f64; heads * queries * width]);
            let [mut wanted_dk, mut wanted_dv] = [0, 1].map(|_| vec![0f64; shared * keys * width]);
            for head in 0..heads {
                let kv = head / (heads / shared);
                for i in 0..queries {
                    let row = (head * queries + i) * width;
                    let visible = if causal == 1 { (i + 1 + keys).saturating_sub(queries) } else { keys };
                    let places: Vec<usize> = (0..visible).map(|j| (kv * keys + j) * width).collect();
                    let dot = |a: &[f32], at: usize, b: &[f32], from: usize| -> f64 {
                        (0..width).map(|d| a[at + d] as f64 * b[from + d] as f64).sum()
                    };
                    let added =
                        |j: usize| if masked == 1 { mask.values[(head * queries + i) * keys + j] as f64 } else { 0.0 };
                    let weights: Vec<f64> = (0..visible)
                        .map(|j| (dot(&q.values, row, &k.values, places[j]) * scale + added(j)).exp())
                        .collect();
                    let total: f64 = weights.iter().sum();
                    let slopes: Vec<f64> = places.iter().map(|&at| dot(&g.values, row, &v.values, at)).collect();
                    let level: f64 = weights.iter().zip(&slopes).map(|(w, s)| w / total * s).sum();
                    for (j, &at) in places.iter().enumerate() {
                        let p = weights[j] / total;
                        let ds = p * (slopes[j] - level) * scale;
                        for d in 0..width {
                            wanted_out[row + d] += p * v.values[at + d] as f64;
                            wanted_dv[at + d] += p * g.values[row + d] as f64;
                            wanted_dq[row + d] += ds * k.values[at + d] as f64;
                            wanted_dk[at + d] += ds * q.values[row + d] as f64;
                        }
                    }
                }
            }
            let pairs = [(&out, wanted_out), (&dq, wanted_dq), (&dk, wanted_dk), (&dv, wanted_dv)];
            for (name, (values, wanted)) in ["out", "dq", "dk", "dv"].iter().zip(pairs) {
                for (&value, wanted) in values.values.iter().zip(wanted) {
                    assert!(
                        (value as f64 - wanted).abs() < 1e-4 * (1.0 + wanted.abs()),
                        "{name}: {value}, not {wanted}"
                    );
                }
            }
        }
    }
}

#[test]
fn picking_and_putting_back_stay_in_their_memory() {
    for width in WIDTHS {
        let mut x = floats(&[width], 1);
        let mut index = Exact::new(DType::I32, &[width], (0..width as i32).rev().collect());
        let (mut y, mut z) = (floats(&[width], 2), floats(&[width], 3));
        call(Kernel::Gather, &[x.view(), index.view()], &[y.view()], &[0], &[]).unwrap();
        assert!(y.values.iter().eq(x.values.iter().rev()));
        z.values.fill(0.0);
        call(Kernel::Scatter, &[y.view(), index.view()], &[z.view()], &[0, 0], &[]).unwrap();
        assert_eq!(z.values, x.values);
        for wrong in [-1, width as i32, i32::MAX, i32::MIN] {
            index.values[width / 2] = wrong;
            let failed = call(Kernel::Gather, &[x.view(), index.view()], &[y.view()], &[0], &[]);
            assert!(matches!(failed, Err(Error::Check(_))), "{wrong} of {width}");
        }
    }
}

/// Whether every position lies in the buffer, one by one.
fn walks_within(view: &View, offset: isize, elements: isize) -> bool {
    (0..view.size).all(|index| {
        let mut rest = index;
        let mut at = offset;
        for axis in (0..view.rank).rev() {
            at += (rest % view.shape[axis]) as isize * view.strides[axis];
            rest /= view.shape[axis];
        }
        (0..elements).contains(&at)
    })
}

#[test]
fn bounds_of_views_are_those_of_their_positions() {
    let mut seed = 12345u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let mut inside = 0;
    for _ in 0..20_000 {
        let rank = random(4) as usize;
        let shape: Vec<usize> = (0..rank).map(|_| 1 + random(4) as usize).collect();
        let mut view = View::dense(DType::F32, std::ptr::null_mut(), &shape);
        for axis in 0..rank {
            view.strides[axis] = random(11) as isize - 5;
        }
        view.update();
        let (offset, elements) = (random(30) as usize, 1 + random(30) as usize);
        let wanted = walks_within(&view, offset as isize, elements as isize);
        assert_eq!(view.within(offset, 4 * elements + random(4) as usize), wanted);
        inside += wanted as u32;
    }
    assert!((2_000..18_000).contains(&inside));
    assert!(!View::dense(DType::F64, std::ptr::null_mut(), &[1; MAX_RANK]).within(usize::MAX, 8));
}

#[test]
fn blocks_are_whole_and_apart() {
    let mut pool = Pool::new(1 << 20);
    let handles: Vec<u32> = (0..200).map(|i| pool.allocate(i * 3).unwrap()).collect();
    for (i, &handle) in handles.iter().enumerate() {
        let block = pool.block(handle as usize).unwrap();
        // SAFETY: the block holds as many bytes as it says.
        unsafe { block.data().write_bytes(i as u8, block.bytes()) };
    }
    for (i, &handle) in handles.iter().enumerate() {
        let block = pool.block(handle as usize).unwrap();
        assert!(block.bytes() >= (i * 3).max(1));
        // SAFETY: as above, and all of it was written.
        let bytes = unsafe { std::slice::from_raw_parts(block.data(), block.bytes()) };
        assert!(bytes.iter().all(|&byte| byte == i as u8));
    }
    let taken = pool.take(handles[7]).unwrap();
    assert!(pool.take(handles[7]).is_none() && pool.block(handles[7] as usize).is_none());
    let again = pool.allocate(taken.bytes()).unwrap();
    assert_eq!(again, handles[7]);
    // Memory that was taken out is its holder's, whoever has the number.
    assert_ne!(pool.block(again as usize).unwrap().data(), taken.data());
    assert_eq!(pool.allocate(1 << 20), Err(Refusal::Limit));
    assert!(matches!(Block::new(usize::MAX), Err(Error::OutOfMemory(_))));
}

#[test]
fn threads_share_work_from_anywhere_and_outlive_panics() {
    start_pool(4, false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for round in 0..200 {
                    let mut parts = vec![0usize; 1 + round % 64];
                    let cells: Vec<AtomicUsize> = parts.iter().map(|_| AtomicUsize::new(0)).collect();
                    parallel(4, cells.len(), 1e6, |part| {
                        cells[part].fetch_add(part + 1, Ordering::Relaxed);
                    });
                    parts.iter_mut().zip(&cells).for_each(|(to, cell)| *to = cell.load(Ordering::Relaxed));
                    assert!(parts.iter().enumerate().all(|(part, &sum)| sum == part + 1));
                }
            });
        }
    });
    for _ in 0..20 {
        let failed = std::panic::catch_unwind(|| parallel(4, 16, 1e9, |part| assert_ne!(part, 7, "planted")));
        assert!(failed.is_err());
        let done = AtomicUsize::new(0);
        parallel(4, 16, 1e9, |_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 16);
    }
}
