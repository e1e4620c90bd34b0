//! scan: running sums, products and maxima along an axis.

use crate::call::{Call, Error};
use crate::dense::{loop_type, Dense};
use crate::dtype::Compute;
use crate::threads::{parallel, part_range, parts_of, Shared};

/// Neighbouring lines that are done together.
const COLUMNS: usize = 64;

/// What one line of totals is made of.
trait Number: Copy {
    type Total: Copy + Default;
    fn widen(self) -> Self::Total;
    fn narrow(total: Self::Total) -> Self;
    fn combine(kind: usize, a: Self::Total, b: Self::Total) -> Self::Total;
}

macro_rules! float {
    ($T:ty) => {
        impl Number for $T {
            type Total = f64;
            fn widen(self) -> f64 {
                self as f64
            }
            fn narrow(total: f64) -> $T {
                total as $T
            }
            fn combine(kind: usize, a: f64, b: f64) -> f64 {
                match kind {
                    0 => a + b,
                    1 => a * b,
                    _ if a.is_nan() || a >= b => a,
                    _ => b,
                }
            }
        }
    };
}
macro_rules! integer {
    ($T:ty) => {
        impl Number for $T {
            type Total = $T;
            fn widen(self) -> $T {
                self
            }
            fn narrow(total: $T) -> $T {
                total
            }
            fn combine(kind: usize, a: $T, b: $T) -> $T {
                match kind {
                    0 => a.wrapping_add(b),
                    1 => a.wrapping_mul(b),
                    _ => a.max(b),
                }
            }
        }
    };
}
float!(f32);
float!(f64);
integer!(i32);
integer!(u32);

struct Job {
    length: usize,
    inner: usize,
    kind: usize,
    reverse: bool,
}

impl Job {
    /// One strip of neighbouring lines, step by step along the axis.
    ///
    /// # Safety
    /// The strip lies within both arrays, and nobody else writes to it.
    unsafe fn strip<T: Number>(&self, from: *const T, to: *mut T, start: usize, width: usize) {
        let mut totals = [T::Total::default(); COLUMNS];
        for k in 0..self.length {
            let at = start + if self.reverse { self.length - 1 - k } else { k } * self.inner;
            for (i, total) in totals[..width].iter_mut().enumerate() {
                let value = (*from.add(at + i)).widen();
                *total = if k == 0 { value } else { T::combine(self.kind, *total, value) };
                *to.add(at + i) = T::narrow(*total);
            }
        }
    }
}

/// Attributes: kind, axis, reverse.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn scan(call: &Call) -> Result<(), Error> {
    call.expect(1, 1)?;
    let (input, output) = (&call.inputs[0], &call.outputs[0]);
    let axis = call.attribute(1);
    let outer: usize = input.shape()[..axis].iter().product();
    let inner: usize = input.shape()[axis + 1..].iter().product();
    let job = Job { length: input.shape[axis], inner, kind: call.attribute(0), reverse: call.attribute(2) == 1 };
    let source = Dense::load(input, call.threads)?;
    let target = Dense::target(output, true)?;
    let (from, to) = (Shared::new(source.data), Shared::new(target.data));
    let strips = inner.div_ceil(COLUMNS);
    let parts = parts_of(outer * strips, 1 + 16384 / (job.length * inner.min(COLUMNS)));
    parallel(call.threads, parts, input.size as f64 * 1.5, |part| {
        for strip in part_range(outer * strips, parts, part, 1) {
            let first = strip % strips * COLUMNS;
            let width = (inner - first).min(COLUMNS);
            let start = strip / strips * job.length * inner + first;
            // SAFETY: both are dense arrays of this type, and strips have elements of their own.
            unsafe {
                match loop_type(input.dtype) {
                    Compute::F32 => job.strip::<f32>(from.get().cast(), to.get().cast(), start, width),
                    Compute::F64 => job.strip::<f64>(from.get().cast(), to.get().cast(), start, width),
                    Compute::I32 => job.strip::<i32>(from.get().cast(), to.get().cast(), start, width),
                    _ => job.strip::<u32>(from.get().cast(), to.get().cast(), start, width),
                }
            }
        }
    });
    target.store(output, call.threads)?;
    Ok(())
}
