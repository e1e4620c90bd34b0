//! Operations of integers and bools that are worth vectors.

use super::{mask, Step};
use crate::dtype::Compute::{Bool, I32, U32};
use crate::program::{op, Instruction};

/// Runs an instruction on integers or bools; whether there is one.
#[inline(always)]
pub unsafe fn whole_body(step: &Step, one: &Instruction) -> bool {
    match (one.op, one.from) {
        (op::ADD, I32 | U32) => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_add(y)),
        (op::SUB, I32 | U32) => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_sub(y)),
        (op::MUL, I32 | U32) => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_mul(y)),
        (op::MAX, I32) => binary!(step, one, i32 => i32, |x, y| if x > y { x } else { y }),
        (op::MAX, U32) => binary!(step, one, u32 => u32, |x, y| if x > y { x } else { y }),
        (op::MIN, I32) => binary!(step, one, i32 => i32, |x, y| if x < y { x } else { y }),
        (op::MIN, U32) => binary!(step, one, u32 => u32, |x, y| if x < y { x } else { y }),
        (op::SHL, I32 | U32) => binary!(step, one, u32 => u32, |x, y| x << (y & 31)),
        (op::SHR, I32) => binary!(step, one, i32 => i32, |x, y| x >> (y & 31)),
        (op::SHR, U32) => binary!(step, one, u32 => u32, |x, y| x >> (y & 31)),
        (op::NEG, I32 | U32) => unary!(step, one, u32 => u32, |x| x.wrapping_neg()),
        (op::ABS, I32) => unary!(step, one, i32 => i32, |x| x.wrapping_abs()),
        (op::ABS, U32) => unary!(step, one, u32 => u32, |x| x),
        (op::SIGN, I32) => unary!(step, one, i32 => i32, |x| (x > 0) as i32 - (x < 0) as i32),
        (op::SIGN, U32) => unary!(step, one, u32 => u32, |x| (x > 0) as u32),
        (op::LT, I32) => arithmetic!(step, one, i32 => u32, |x, y| mask(x < y)),
        (op::LT, U32) => binary!(step, one, u32 => u32, |x, y| mask(x < y)),
        (op::LT, Bool) => binary!(step, one, u32 => u32, |x, y| !x & y),
        (op::LE, I32) => arithmetic!(step, one, i32 => u32, |x, y| mask(x <= y)),
        (op::LE, U32) => binary!(step, one, u32 => u32, |x, y| mask(x <= y)),
        (op::LE, Bool) => binary!(step, one, u32 => u32, |x, y| !x | y),
        _ => return false,
    }
    true
}
