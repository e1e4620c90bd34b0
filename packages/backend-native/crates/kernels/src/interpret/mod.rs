//! The block interpreter: each instruction of a program runs over a block of points before the next one does.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::dtype::Compute::{F32, F64};
use crate::level::multiversion;
use crate::program::Program;
use crate::threads::Fault;
use bits::bits_body;
use double::double_body;
use float::float_body;
use slow::slow;
use whole::whole_body;

// Loops as macros, not as functions that take closures: whatever is not inlined would be compiled without the vector
// instructions of its caller.
macro_rules! unary {
    ($step:expr, $in:expr, $From:ty => $To:ty, |$x:ident| $value:expr) => {{
        let a = $step.get::<$From>($in.args[0]);
        for (to, &$x) in $step.set::<$To>($in.dst).iter_mut().zip(a) {
            *to = $value;
        }
    }};
}
macro_rules! binary {
    ($step:expr, $in:expr, $From:ty => $To:ty, |$x:ident, $y:ident| $value:expr) => {{
        let (a, b) = ($step.get::<$From>($in.args[0]), $step.get::<$From>($in.args[1]));
        for ((to, &$x), &$y) in $step.set::<$To>($in.dst).iter_mut().zip(a).zip(b) {
            *to = $value;
        }
    }};
}
/// The same with loops of their own where an operand is the same for all points.
macro_rules! arithmetic {
    ($step:expr, $in:expr, $From:ty => $To:ty, |$x:ident, $y:ident| $value:expr) => {{
        if $step.is_scalar($in.args[1]) {
            let $y = $step.get::<$From>($in.args[1])[0];
            unary!($step, $in, $From => $To, |$x| $value)
        } else if $step.is_scalar($in.args[0]) {
            let $x = $step.get::<$From>($in.args[0])[0];
            let b = $step.get::<$From>($in.args[1]);
            for (to, &$y) in $step.set::<$To>($in.dst).iter_mut().zip(b) {
                *to = $value;
            }
        } else {
            binary!($step, $in, $From => $To, |$x, $y| $value)
        }
    }};
}
/// A function that is computed in f64, one point after the other.
macro_rules! slow {
    ($step:expr, $in:expr, $T:ty, |$x:ident| $value:expr) => {{
        let a = $step.get::<$T>($in.args[0]);
        for (to, &x) in $step.set::<$T>($in.dst).iter_mut().zip(a) {
            let $x = x as f64;
            *to = ($value) as $T;
        }
    }};
    ($step:expr, $in:expr, $T:ty, |$x:ident, $y:ident| $value:expr) => {{
        let (a, b) = ($step.get::<$T>($in.args[0]), $step.get::<$T>($in.args[1]));
        for ((to, &x), &y) in $step.set::<$T>($in.dst).iter_mut().zip(a).zip(b) {
            let ($x, $y) = (x as f64, y as f64);
            *to = ($value) as $T;
        }
    }};
}

mod bits;
mod double;
mod float;
mod slow;
mod threefry;
mod whole;

const fn mask(truth: bool) -> u32 {
    if truth {
        u32::MAX
    } else {
        0
    }
}

/// What the loops of one instruction need.
struct Step<'a> {
    slot: &'a [*mut u8],
    first_scalar: usize,
    count: usize,
}

impl Step<'_> {
    #[inline(always)]
    unsafe fn get<T>(&self, slot: u16) -> &[T] {
        from_raw_parts(*self.slot.get_unchecked(slot as usize) as *const T, self.count)
    }

    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "registers do not overlap, as Program::check makes sure")]
    unsafe fn set<T>(&self, slot: u16) -> &mut [T] {
        from_raw_parts_mut(*self.slot.get_unchecked(slot as usize) as *mut T, self.count)
    }

    #[inline(always)]
    fn is_scalar(&self, slot: u16) -> bool {
        slot as usize >= self.first_scalar
    }
}

#[inline(always)]
unsafe fn interpret_body<const F: bool>(program: &Program, slot: &[*mut u8], count: usize, fault: &Fault) {
    let step = Step { slot, first_scalar: program.first_scalar, count };
    for one in &program.instructions {
        let done = match one.from {
            F32 => float_body::<F>(&step, one),
            F64 => double_body(&step, one),
            _ => whole_body(&step, one),
        };
        if !done && !bits_body(&step, one) {
            slow(&step, one, fault);
        }
    }
}

multiversion! {
    /// Computes the first `count` points of a program.
    ///
    /// # Safety
    /// `slot` has all of the program's registers, each with room for `count` values; those of inputs, coordinates and
    /// scalars hold them; and no temporary overlaps another register.
    pub unsafe fn interpret(program: &Program, slot: &[*mut u8], count: usize, fault: &Fault) = interpret_body
}
