//! Moving elements between memory and registers, where 16-bit floats are f32, integers have 32 bits and a bool is a mask.

use crate::dtype::{bfloat_to_f32, f32_to_bfloat, f32_to_half, half_to_f32, Compute, DType};
use crate::level::multiversion;
use crate::space::{Row, Space};

macro_rules! load {
    ($from:expr, $step:expr, $to:expr, $count:expr, $From:ty, $To:ty, |$x:ident| $value:expr) => {{
        let from = $from as *const $From;
        let to = std::slice::from_raw_parts_mut($to as *mut $To, $count);
        if $step == 1 {
            let from = std::slice::from_raw_parts(from, $count);
            for (to, &$x) in to.iter_mut().zip(from) {
                *to = $value;
            }
        } else if $step == 0 {
            let $x = *from;
            to.fill($value);
        } else {
            for (i, to) in to.iter_mut().enumerate() {
                let $x = *from.offset(i as isize * $step);
                *to = $value;
            }
        }
    }};
}

#[inline(always)]
unsafe fn load_body<const F: bool>(dtype: DType, from: *const u8, step: isize, to: *mut u8, count: usize) {
    match dtype {
        DType::F32 | DType::I32 | DType::U32 => load!(from, step, to, count, u32, u32, |x| x),
        DType::F64 => load!(from, step, to, count, f64, f64, |x| x),
        DType::F16 => load!(from, step, to, count, u16, f32, |x| half_to_f32(x)),
        DType::BF16 => load!(from, step, to, count, u16, f32, |x| bfloat_to_f32(x)),
        DType::U8 => load!(from, step, to, count, u8, u32, |x| x as u32),
        DType::I8 => load!(from, step, to, count, i8, i32, |x| x as i32),
        DType::Bool => load!(from, step, to, count, u8, u32, |x| if x != 0 { u32::MAX } else { 0 }),
    }
}

multiversion! {
    /// Loads a run of elements, `step` elements apart, into a register.
    ///
    /// # Safety
    /// `from` has these elements, `to` has room for as many values, and the two do not overlap.
    pub unsafe fn load_run(dtype: DType, from: *const u8, step: isize, to: *mut u8, count: usize) = load_body
}

macro_rules! store {
    ($from:expr, $step:expr, $to:expr, $count:expr, $From:ty, $To:ty, |$x:ident| $value:expr) => {{
        let from = std::slice::from_raw_parts($from as *const $From, $count);
        let to = $to as *mut $To;
        if $step == 1 {
            let to = std::slice::from_raw_parts_mut(to, $count);
            for (to, &$x) in to.iter_mut().zip(from) {
                *to = $value;
            }
        } else {
            for (i, &$x) in from.iter().enumerate() {
                *to.offset(i as isize * $step) = $value;
            }
        }
    }};
}

#[inline(always)]
unsafe fn store_body<const F: bool>(dtype: DType, to: *mut u8, step: isize, from: *const u8, count: usize) {
    match dtype {
        DType::F32 | DType::I32 | DType::U32 => store!(from, step, to, count, u32, u32, |x| x),
        DType::F64 => store!(from, step, to, count, f64, f64, |x| x),
        DType::F16 => store!(from, step, to, count, f32, u16, |x| f32_to_half(x)),
        DType::BF16 => store!(from, step, to, count, f32, u16, |x| f32_to_bfloat(x)),
        DType::U8 | DType::I8 => store!(from, step, to, count, u32, u8, |x| x as u8),
        DType::Bool => store!(from, step, to, count, u32, u8, |x| (x != 0) as u8),
    }
}

multiversion! {
    /// Stores a run of values from a register as elements, `step` elements apart.
    ///
    /// # Safety
    /// As for [`load_run`], the other way round.
    pub unsafe fn store_run(dtype: DType, to: *mut u8, step: isize, from: *const u8, count: usize) = store_body
}

/// Values of one compute type as another, within a register's width: only numbers that stay what they are.
pub fn register_bytes(dtype: DType) -> usize {
    dtype.compute().bytes()
}

impl Space {
    /// The element at `start`, if the points from there follow one another in memory as they are computed.
    #[inline]
    fn in_place(&self, view: usize, start: usize, count: usize) -> Option<*mut u8> {
        let view = &self.views[view];
        if !view.dtype.is_native() {
            return None;
        }
        let bytes = view.dtype.bytes() as isize;
        if view.linear {
            return Some(view.data.wrapping_offset(start as isize * bytes));
        }
        let inner = self.inner();
        let position = start % inner;
        if view.strides[self.rank - 1] != 1 || position + count > inner {
            return None;
        }
        let row = Row::find(self, &view.strides, start / inner);
        Some(view.data.wrapping_offset((row.offset + position as isize) * bytes))
    }

    /// Where a view's values lie for the points from `start`: in place, or loaded into `slot`.
    ///
    /// # Safety
    /// The points lie in the space, and `slot` has room for `count` values and overlaps no view.
    pub unsafe fn fetch(&self, index: usize, start: usize, count: usize, slot: *mut u8) -> *mut u8 {
        if let Some(direct) = self.in_place(index, start, count) {
            return direct;
        }
        let view = &self.views[index];
        let (dtype, bytes) = (view.dtype, view.dtype.bytes() as isize);
        if view.linear {
            load_run(dtype, view.data.offset(start as isize * bytes), 1, slot, count);
            return slot;
        }
        let width = register_bytes(dtype);
        self.rows(&view.strides, start, count, |offset, step, done, run| {
            // SAFETY: the points of this run are points of the space.
            unsafe { load_run(dtype, view.data.offset(offset * bytes), step, slot.add(done * width), run) }
        });
        slot
    }

    /// Where to compute a view's values for these points: in place, or nowhere, so that they must go through a register
    /// and [`Space::put`].
    pub fn place(&self, index: usize, start: usize, count: usize) -> Option<*mut u8> {
        self.in_place(index, start, count)
    }

    /// Stores values of a register to the points from `start`.
    ///
    /// # Safety
    /// The points lie in the space, nobody else writes there, and `slot` holds `count` values and overlaps no view.
    pub unsafe fn put(&self, index: usize, start: usize, count: usize, slot: *const u8) {
        let view = &self.views[index];
        let (dtype, bytes) = (view.dtype, view.dtype.bytes() as isize);
        if view.linear {
            store_run(dtype, view.data.offset(start as isize * bytes), 1, slot, count);
            return;
        }
        let width = register_bytes(dtype);
        self.rows(&view.strides, start, count, |offset, step, done, run| {
            // SAFETY: the points of this run are points of the space.
            unsafe { store_run(dtype, view.data.offset(offset * bytes), step, slot.add(done * width), run) }
        });
    }

    /// Calls `visit(offset, step, done, run)` for each piece of a row among the points.
    fn rows(
        &self,
        strides: &[isize; crate::space::MAX_RANK],
        start: usize,
        mut count: usize,
        mut visit: impl FnMut(isize, isize, usize, usize),
    ) {
        let inner = self.inner();
        let step = strides[self.rank - 1];
        let mut position = start % inner;
        let mut row = Row::find(self, strides, start / inner);
        let mut done = 0;
        while count > 0 {
            let run = (inner - position).min(count);
            visit(row.offset + position as isize * step, step, done, run);
            done += run;
            count -= run;
            position = 0;
            row.next(self, strides);
        }
    }

    /// Fills a register with the coordinates along a dimension.
    pub fn fetch_coordinate(&self, dimension: Option<usize>, start: usize, slot: &mut [i32]) {
        let Some(dimension) = dimension else {
            slot.fill(0);
            return;
        };
        let size = self.shape[dimension];
        let inside: usize = self.shape[dimension + 1..self.rank].iter().product();
        let mut value = start / inside % size;
        let mut left = inside - start % inside;
        let mut at = 0;
        while at < slot.len() {
            if inside == 1 {
                let run = (size - value).min(slot.len() - at);
                for (k, to) in slot[at..at + run].iter_mut().enumerate() {
                    *to = (value + k) as i32;
                }
                value += run;
                at += run;
            } else {
                let run = left.min(slot.len() - at);
                slot[at..at + run].fill(value as i32);
                value += 1;
                at += run;
                left = inside;
            }
            if value >= size {
                value = 0;
            }
        }
    }
}

/// Whether a type is computed as a float.
pub fn is_float(compute: Compute) -> bool {
    matches!(compute, Compute::F32 | Compute::F64)
}
