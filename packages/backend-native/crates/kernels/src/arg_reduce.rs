//! argReduce: position of the greatest or least element of each group. The first wins a tie, a NaN wins over everything.

use std::slice::from_raw_parts;

use crate::call::{Call, Error};
use crate::dense::{loop_type, Dense};
use crate::dtype::Compute;
use crate::space::View;
use crate::threads::{parallel, part_range, parts_of, Shared};

fn first<T: Copy + PartialOrd>(values: &[T], least: bool) -> i32 {
    let mut best = values[0];
    let mut at = 0;
    for (i, &value) in values.iter().enumerate() {
        #[allow(clippy::eq_op, reason = "only a NaN does not equal itself")]
        if best != best {
            break;
        }
        #[allow(clippy::eq_op, reason = "only a NaN does not equal itself")]
        if (if least { value < best } else { value > best }) || value != value {
            best = value;
            at = i;
        }
    }
    at as i32
}

/// Attributes: 1 for the least, number of axes, axes.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn arg_reduce(call: &Call) -> Result<(), Error> {
    call.expect(1, 1)?;
    let (input, output) = (&call.inputs[0], &call.outputs[0]);
    let least = call.attribute(0) == 1;
    let axes = call.list(2, call.attribute(1))?;
    // Reduced axes last, so that each group is one run of numbers.
    let grouped = axes_last(input, &axes);
    let values = Dense::load(&grouped, call.threads)?;
    let target = Dense::target(output, true)?;
    let (from, to) = (Shared::new(values.data), Shared::new(target.data.cast::<i32>()));
    let groups = output.size;
    let length = input.size / groups;
    let parts = parts_of(groups, 1 + 16384 / length);
    parallel(call.threads, parts, input.size as f64, |part| {
        for group in part_range(groups, parts, part, 1) {
            macro_rules! position {
                ($T:ty) => {
                    // SAFETY: the dense values have `groups * length` elements of this type.
                    first(unsafe { from_raw_parts(from.get().cast::<$T>().add(group * length), length) }, least)
                };
            }
            let position = match loop_type(input.dtype) {
                Compute::F32 => position!(f32),
                Compute::F64 => position!(f64),
                Compute::I32 => position!(i32),
                _ => position!(u32),
            };
            // SAFETY: each group has one part.
            unsafe { *to.get().add(group) = position };
        }
    });
    target.store(output, call.threads)?;
    Ok(())
}

/// The view with some axes moved behind the others.
fn axes_last(view: &View, axes: &[usize]) -> View {
    let mut moved = *view;
    let others = (0..view.rank).filter(|axis| !axes.contains(axis));
    for (to, from) in others.chain(axes.iter().copied()).enumerate() {
        moved.shape[to] = view.shape[from];
        moved.strides[to] = view.strides[from];
    }
    moved.update();
    moved
}
