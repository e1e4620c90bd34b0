//! Poolings with loops of their own against the plain definition.

use crate::{run, start_pool, Call, DType, Kernel, View};

/// Windows of two by two side by side: the first greatest element or the first NaN, and the gradient goes there.
#[test]
fn squares_have_the_first_greatest_element() {
    start_pool(2, false);
    let special = [
        f32::NAN,
        f32::NEG_INFINITY,
        -0.0,
        0.0,
        1.0,
        1.0,
        -3.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
        2.5,
    ];
    for [height, width] in [[2, 2], [7, 13], [8, 26], [5, 36]] {
        let (planes, tall, wide) = (6, height / 2, width / 2);
        let mut x: Vec<f32> = (0..planes * height * width).map(|i| special[i * i * 7 % 131 % special.len()]).collect();
        let mut g: Vec<f32> = (0..planes * tall * wide).map(|i| i as f32 - 5.5).collect();
        let (mut most, mut gradient) = (vec![5f32; g.len()], vec![5f32; x.len()]);
        let (mut wanted, mut wanted_gradient) = (Vec::new(), vec![0f32; x.len()]);
        for plane in 0..planes {
            for (row, column) in (0..tall).flat_map(|row| (0..wide).map(move |column| (row, column))) {
                let first = (plane * height + 2 * row) * width + 2 * column;
                let at = [first, first + 1, first + width, first + width + 1].into_iter().reduce(|best, next| {
                    if x[next] > x[best] || (x[next].is_nan() && !x[best].is_nan()) {
                        next
                    } else {
                        best
                    }
                });
                wanted_gradient[at.unwrap()] = g[wanted.len()];
                wanted.push(x[at.unwrap()]);
            }
        }
        let view = |data: &mut Vec<f32>, shape: [usize; 4]| View::dense(DType::F32, data.as_mut_ptr().cast(), &shape);
        let (xv, gv) = (view(&mut x, [2, 3, height, width]), view(&mut g, [2, 3, tall, wide]));
        let outputs = [view(&mut most, [2, 3, tall, wide]), view(&mut gradient, [2, 3, height, width])];
        for (pass, inputs) in [vec![xv], vec![gv, xv]].iter().enumerate() {
            let mut attributes = vec![pass as f64, 0.0, 1.0];
            attributes.extend([2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0].repeat(2));
            let outputs = &outputs[pass..pass + 1];
            let call = Call { inputs, outputs, attributes: &attributes, params: &[], program: None, threads: 2 };
            // SAFETY: the views are those vectors.
            unsafe { run(Kernel::Pooling, &call) }.unwrap();
        }
        let bits = |list: &[f32]| list.iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect::<Vec<u32>>();
        assert_eq!(bits(&most), bits(&wanted));
        assert_eq!(gradient, wanted_gradient);
    }
}
