//! The input's gradient as a convolution forward: of the gradients, padded, with the weights turned round. Better than adding
//! what each window gives to the image, where `conv_shift.rs` does not apply, above all for few channels.

use crate::call::Error;
use crate::conv::Sizes;
use crate::conv_direct;
use crate::memory::Scratch;
use crate::threads::Shared;
use crate::window::Window;

/// Most pixels that are computed for each one of the gradients: rows are rounded up to vectors, and padding counts.
const MOST_WASTE: usize = 2;

/// The convolution that computes the input's gradient, where it is possible and worth it.
///
/// # Safety
/// The weights are dense and have these sizes.
pub unsafe fn turned(sizes: &Sizes, weight: Shared<f32>) -> Option<Sizes> {
    let w = &sizes.window;
    let mut before = [0; 3];
    for (axis, padding) in before.iter_mut().enumerate() {
        let reach = (w.kernel[axis] - 1).checked_mul(w.dilation[axis])?;
        *padding = reach.checked_sub(w.before[axis])?;
    }
    let computed = w.input[0] * w.input[1] * w.input[2].next_multiple_of(conv_direct::LANES);
    if sizes.is_empty() || w.stride != [1; 3] || computed > MOST_WASTE * sizes.pixels {
        return None;
    }
    let turned = Sizes {
        window: Window { input: w.output, output: w.input, before, ..*w },
        batch: sizes.batch,
        groups: sizes.groups,
        ins: sizes.outs,
        outs: sizes.ins,
        plane: sizes.pixels,
        pixels: sizes.plane,
        taps: sizes.taps,
    };
    if !conv_direct::is_direct(&turned, 0) {
        return None;
    }
    // A product of padding and an infinite weight would be no number, where there is no product.
    let weights = std::slice::from_raw_parts(weight.get(), sizes.groups * sizes.outs * sizes.depth());
    weights.iter().all(|value| value.is_finite()).then_some(turned)
}

/// # Safety
/// The operands are dense and have these sizes; `turned` is what [`turned`] gave.
pub unsafe fn input_gradient(
    sizes: &Sizes,
    turned: &Sizes,
    gradient: Shared<f32>,
    weight: Shared<f32>,
    to: Shared<f32>,
    threads: usize,
) -> Result<(), Error> {
    let Sizes { groups, ins, outs, taps, .. } = *sizes;
    let copy = Scratch::new::<f32>(groups * ins * outs * taps)?;
    for group in 0..groups {
        for (channel, out) in (0..ins).flat_map(|channel| (0..outs).map(move |out| (channel, out))) {
            let from = weight.get().add(((group * outs + out) * ins + channel) * taps);
            let to = copy.data::<f32>().add(((group * ins + channel) * outs + out) * taps);
            for tap in 0..taps {
                *to.add(taps - 1 - tap) = *from.add(tap);
            }
        }
    }
    conv_direct::forward(turned, gradient, Shared::new(copy.data::<f32>()), None, to, threads)
}
