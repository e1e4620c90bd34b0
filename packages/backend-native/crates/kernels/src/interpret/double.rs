//! Operations of f64 that are worth vectors.

use super::{mask, Step};
use crate::math::*;
use crate::program::{op, Instruction};

/// Runs an instruction on f64; whether there is one.
#[inline(always)]
pub unsafe fn double_body(step: &Step, one: &Instruction) -> bool {
    match one.op {
        op::ADD => binary!(step, one, f64 => f64, |x, y| x + y),
        op::SUB => binary!(step, one, f64 => f64, |x, y| x - y),
        op::MUL => binary!(step, one, f64 => f64, |x, y| x * y),
        op::DIV => binary!(step, one, f64 => f64, |x, y| x / y),
        op::MAX => binary!(step, one, f64 => f64, |x, y| maximum64(x, y)),
        op::MIN => binary!(step, one, f64 => f64, |x, y| minimum64(x, y)),
        op::EQ => binary!(step, one, f64 => u32, |x, y| mask(x == y)),
        op::NE => binary!(step, one, f64 => u32, |x, y| mask(x != y)),
        op::LT => binary!(step, one, f64 => u32, |x, y| mask(x < y)),
        op::LE => binary!(step, one, f64 => u32, |x, y| mask(x <= y)),
        op::NEG => unary!(step, one, f64 => f64, |x| -x),
        op::ABS => unary!(step, one, f64 => f64, |x| x.abs()),
        op::SQRT => unary!(step, one, f64 => f64, |x| x.sqrt()),
        op::FLOOR => unary!(step, one, f64 => f64, |x| x.floor()),
        op::CEIL => unary!(step, one, f64 => f64, |x| x.ceil()),
        op::ROUND => unary!(step, one, f64 => f64, |x| x.round_ties_even()),
        op::TRUNC => unary!(step, one, f64 => f64, |x| x.trunc()),
        op::IS_NAN => unary!(step, one, f64 => u32, |x| mask(x.is_nan())),
        op::IS_INF => unary!(step, one, f64 => u32, |x| mask(x.abs() == f64::INFINITY)),
        _ => return false,
    }
    true
}
