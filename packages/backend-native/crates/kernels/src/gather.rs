//! gather and scatter. Both walk the index's shape; the fixed view is the one that is addressed through the index: along
//! the axis it moves by the index instead of by the position.

use std::ops::Range;

use crate::call::{Call, Error, CHECK_INDEX};
use crate::dtype::{bfloat_to_f32, f32_to_bfloat, f32_to_half, half_to_f32, DType};
use crate::memory::Scratch;
use crate::quantized::gather_rows;
use crate::space::{Space, View, MAX_RANK};
use crate::threads::{parallel, part_range, parts_of, Fault};

const ADD: usize = 0;
const SET: usize = 1;

struct Job {
    /// Views: index, moving, fixed.
    space: Space,
    /// Elements that move at once where the index stands still and both others are gapless, or 1.
    row: usize,
    rows: usize,
    dtype: DType,
    /// Of the fixed view along the axis.
    step: isize,
    size: usize,
    scatters: bool,
    mode: usize,
}

impl Job {
    fn new(index: &View, moving: &View, fixed: &View, axis: usize, scatters: bool, mode: usize) -> Result<Job, Error> {
        let mut still = *fixed;
        still.strides[axis] = 0;
        // Not contiguous, whatever it was: its shape is the index's here.
        still.contiguous = false;
        let space = Space::new(index.shape(), &[*index, *moving, still], &[], &[], None)?;
        let last = space.rank - 1;
        let strides = [0, 1, 2].map(|view: usize| space.views[view].strides[last]);
        let row = if strides == [0, 1, 1] { space.shape[last] } else { 1 };
        let rows = space.size / row;
        let (step, size) = (fixed.strides[axis], fixed.shape[axis]);
        Ok(Job { space, row, rows, dtype: moving.dtype, step, size, scatters, mode })
    }

    /// # Safety
    /// As for [`crate::run`]; where it scatters, each place of the output belongs to one range of columns.
    unsafe fn walk(&self, rows: Range<usize>, columns: Range<usize>, fault: &Fault) {
        let space = &self.space;
        let rank = space.rank - (self.row > 1) as usize;
        let bytes = self.dtype.bytes() as isize;
        let views = [&space.views[0], &space.views[1], &space.views[2]];
        let mut index = [0usize; MAX_RANK];
        let mut offset = [0isize; 3];
        let mut rest = rows.start;
        for axis in (0..rank).rev() {
            index[axis] = rest % space.shape[axis];
            rest /= space.shape[axis];
            for v in 0..3 {
                offset[v] += index[axis] as isize * views[v].strides[axis];
            }
        }
        let first = columns.start as isize;
        for _ in rows {
            let at = *views[0].data.cast::<i32>().offset(offset[0]);
            if at < 0 || at as usize >= self.size {
                fault.check(CHECK_INDEX);
            } else {
                let moving = views[1].data.offset((offset[1] + first) * bytes);
                let fixed = views[2].data.offset((offset[2] + at as isize * self.step + first) * bytes);
                if !self.scatters {
                    copy(moving, fixed, columns.len() * bytes as usize);
                } else if self.mode == SET {
                    copy(fixed, moving, columns.len() * bytes as usize);
                } else {
                    combine(self.mode, self.dtype, fixed, moving, columns.len());
                }
            }
            for axis in (0..rank).rev() {
                for v in 0..3 {
                    offset[v] += views[v].strides[axis];
                }
                index[axis] += 1;
                if index[axis] < space.shape[axis] {
                    break;
                }
                index[axis] = 0;
                for v in 0..3 {
                    offset[v] -= views[v].strides[axis] * space.shape[axis] as isize;
                }
            }
        }
    }
}

#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, bytes: usize) {
    match bytes {
        1 => *to = *from,
        2 => *to.cast::<u16>() = *from.cast(),
        4 => *to.cast::<u32>() = *from.cast(),
        8 => *to.cast::<u64>() = *from.cast(),
        // A gather may read and write the same elements.
        _ => std::ptr::copy(from, to, bytes),
    }
}

/// Puts a run of updates onto a run of the output.
unsafe fn combine(mode: usize, dtype: DType, to: *mut u8, from: *const u8, count: usize) {
    macro_rules! each {
        ($T:ty, |$x:ident, $y:ident| $add:expr, $max:expr) => {{
            let to = std::slice::from_raw_parts_mut(to.cast::<$T>(), count);
            let from = std::slice::from_raw_parts(from.cast::<$T>(), count);
            if mode == ADD {
                for (to, &$y) in to.iter_mut().zip(from) {
                    let $x = *to;
                    *to = $add;
                }
            } else {
                for (to, &$y) in to.iter_mut().zip(from) {
                    let $x = *to;
                    *to = $max;
                }
            }
        }};
    }
    macro_rules! halves {
        ($decode:ident, $encode:ident) => {
            each!(
                u16,
                |x, y| $encode($decode(x) + $decode(y)),
                $encode(greater($decode(x) as f64, $decode(y) as f64) as f32)
            )
        };
    }
    match dtype {
        DType::F32 => each!(f32, |x, y| x + y, greater(x as f64, y as f64) as f32),
        DType::F64 => each!(f64, |x, y| x + y, greater(x, y)),
        DType::F16 => halves!(half_to_f32, f32_to_half),
        DType::BF16 => halves!(bfloat_to_f32, f32_to_bfloat),
        DType::I32 => each!(i32, |x, y| x.wrapping_add(y), x.max(y)),
        DType::U32 => each!(u32, |x, y| x.wrapping_add(y), x.max(y)),
        DType::I8 => each!(i8, |x, y| x.wrapping_add(y), x.max(y)),
        DType::U8 => each!(u8, |x, y| x.wrapping_add(y), x.max(y)),
        // Adding is "or" for bool.
        DType::Bool => each!(u8, |x, y| ((x | y) != 0) as u8, ((x | y) != 0) as u8),
    }
}

fn greater(x: f64, y: f64) -> f64 {
    if x.is_nan() {
        x
    } else if y.is_nan() || y > x {
        y
    } else {
        x
    }
}

/// Attribute: axis. Behind it those of [`gather_rows`], where the source lies in panels.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn gather(call: &Call) -> Result<(), Error> {
    if call.attributes.len() > 1 {
        return gather_rows(call);
    }
    call.expect(2, 1)?;
    let (source, index, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    // The output may be the source or the index: then it is gathered aside, and copied.
    let aside = output.data == source.data || output.data == index.data;
    let bytes = output.dtype.bytes();
    let scratch = if aside { Some(Scratch::new::<u64>((output.size * bytes).div_ceil(8))?) } else { None };
    let target = match &scratch {
        Some(scratch) => View::dense(output.dtype, scratch.data(), output.shape()),
        None => *output,
    };
    let job = Job::new(index, &target, source, call.attribute(0), false, SET)?;
    let fault = Fault::default();
    let parts = parts_of(job.rows, 1 + 8192 / job.row);
    let work = job.rows as f64 * (4.0 + 0.2 * job.row as f64);
    parallel(call.threads, parts, work, |part| {
        // SAFETY: rows have outputs of their own.
        unsafe { job.walk(part_range(job.rows, parts, part, 1), 0..job.row, &fault) }
    });
    fault.result()?;
    if scratch.is_some() {
        let space = Space::new(output.shape(), &[target, *output], &[], &[], None)?;
        let inner = space.inner();
        let (from, to) = (&space.views[0], &space.views[1]);
        for row in 0..space.size / inner {
            let a = crate::space::Row::find(&space, &from.strides, row).offset;
            let b = crate::space::Row::find(&space, &to.strides, row).offset;
            for i in 0..inner as isize {
                let a = from.data.offset((a + i * from.strides[space.rank - 1]) * bytes as isize);
                copy(to.data.offset((b + i * to.strides[space.rank - 1]) * bytes as isize), a, bytes);
            }
        }
    }
    Ok(())
}

/// Attributes: axis, mode.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn scatter(call: &Call) -> Result<(), Error> {
    call.expect(2, 1)?;
    let (updates, index, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    let job = Job::new(index, updates, output, call.attribute(0), true, call.attribute(1))?;
    let fault = Fault::default();
    // Scattered rows may meet in one place: parts share columns, so that each place has one writer and one order.
    let parts = parts_of(job.row, 64);
    let work = job.rows as f64 * (4.0 + 0.4 * job.row as f64);
    parallel(call.threads, parts, work, |part| {
        // SAFETY: parts have columns of their own.
        unsafe { job.walk(0..job.rows, part_range(job.row, parts, part, 16), &fault) }
    });
    fault.result()
}
