//! sort: stable in both directions, NaN last in both. Elements become integers of the same order.

use crate::call::{Call, Error};
use crate::dense::{loop_type, Dense};
use crate::dtype::Compute;
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};

#[derive(Clone, Copy)]
struct Item {
    key: u64,
    index: u32,
}

/// A number's place in the order of all, NaN last.
fn float_key(x: f64, descending: bool) -> u64 {
    if x.is_nan() {
        return u64::MAX;
    }
    // Zeros are equal.
    let bits = if x == 0.0 { 0 } else { x.to_bits() };
    let key = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    if descending {
        !key - 1
    } else {
        key
    }
}

fn whole_key(x: i64, descending: bool) -> u64 {
    let key = (x + (1 << 32)) as u64;
    if descending {
        !key
    } else {
        key
    }
}

/// Attributes: axis, descending.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn sort(call: &Call) -> Result<(), Error> {
    call.expect(1, 2)?;
    let (input, values, positions) = (&call.inputs[0], &call.outputs[0], &call.outputs[1]);
    let axis = call.attribute(0);
    let descending = call.attribute(1) == 1;
    let inner: usize = input.shape()[axis + 1..].iter().product();
    let length = input.shape[axis];
    let lines = input.size / length;
    let source = Dense::load(input, call.threads)?;
    // Lines are written while they are read: never over the input itself.
    let target = Dense::target(values, input.data != values.data)?;
    let places = Dense::target(positions, true)?;
    let (from, to, at) = (Shared::new(source.data), Shared::new(target.data), Shared::new(places.data.cast::<i32>()));
    let fault = Fault::default();
    let parts = parts_of(lines, 1 + 2048 / length);
    parallel(call.threads, parts, input.size as f64 * 50.0, |part| {
        let range = part_range(lines, parts, part, 1);
        if range.is_empty() {
            return;
        }
        let memory = match Scratch::new::<Item>(length) {
            Ok(memory) => memory,
            Err(error) => return fault.error(error),
        };
        for line in range {
            let start = line / inner * length * inner + line % inner;
            macro_rules! sort_line {
                ($T:ty, |$x:ident| $key:expr) => {{
                    // SAFETY: the scratch has room for `length` items, all of which are written before one is read; the
                    // arrays are dense and of this type, and lines have elements of their own.
                    unsafe {
                        let (from, to) = (from.get().cast::<$T>(), to.get().cast::<$T>());
                        for k in 0..length {
                            let $x = *from.add(start + k * inner);
                            *memory.data::<Item>().add(k) = Item { key: $key, index: k as u32 };
                        }
                        let items = std::slice::from_raw_parts_mut(memory.data::<Item>(), length);
                        // Equal keys keep their order by their positions.
                        items.sort_unstable_by_key(|item| (item.key, item.index));
                        for (k, item) in items.iter().enumerate() {
                            let place = start + k * inner;
                            *at.get().add(place) = item.index as i32;
                            *to.add(place) = *from.add(start + item.index as usize * inner);
                        }
                    }
                }};
            }
            match loop_type(input.dtype) {
                Compute::F32 => sort_line!(f32, |x| float_key(x as f64, descending)),
                Compute::F64 => sort_line!(f64, |x| float_key(x, descending)),
                Compute::I32 => sort_line!(i32, |x| whole_key(x as i64, descending)),
                _ => sort_line!(u32, |x| whole_key(x as i64, descending)),
            }
        }
    });
    fault.result()?;
    target.store(values, call.threads)?;
    places.store(positions, call.threads)?;
    Ok(())
}
