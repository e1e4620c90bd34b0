//! Operations of f32, which decide how fast a model is.

use super::{mask, Step};
use crate::math::*;
use crate::program::{op, Instruction};

/// Runs an instruction on f32; whether there is one.
#[inline(always)]
pub unsafe fn float_body<const F: bool>(step: &Step, one: &Instruction) -> bool {
    match one.op {
        op::ADD => arithmetic!(step, one, f32 => f32, |x, y| x + y),
        op::SUB => arithmetic!(step, one, f32 => f32, |x, y| x - y),
        op::MUL => arithmetic!(step, one, f32 => f32, |x, y| x * y),
        op::DIV => arithmetic!(step, one, f32 => f32, |x, y| x / y),
        op::MAX => arithmetic!(step, one, f32 => f32, |x, y| maximum(x, y)),
        op::MIN => arithmetic!(step, one, f32 => f32, |x, y| minimum(x, y)),
        op::EQ => arithmetic!(step, one, f32 => u32, |x, y| mask(x == y)),
        op::NE => arithmetic!(step, one, f32 => u32, |x, y| mask(x != y)),
        op::LT => arithmetic!(step, one, f32 => u32, |x, y| mask(x < y)),
        op::LE => arithmetic!(step, one, f32 => u32, |x, y| mask(x <= y)),
        op::NEG => unary!(step, one, f32 => f32, |x| -x),
        op::ABS => unary!(step, one, f32 => f32, |x| x.abs()),
        op::SQRT => unary!(step, one, f32 => f32, |x| x.sqrt()),
        op::FLOOR => unary!(step, one, f32 => f32, |x| x.floor()),
        op::CEIL => unary!(step, one, f32 => f32, |x| x.ceil()),
        op::ROUND => unary!(step, one, f32 => f32, |x| x.round_ties_even()),
        op::TRUNC => unary!(step, one, f32 => f32, |x| x.trunc()),
        op::SIGN => unary!(step, one, f32 => f32, |x| {
            let below = if x < 0.0 { -1.0 } else { x };
            if x > 0.0 { 1.0 } else { below }
        }),
        op::EXP => unary!(step, one, f32 => f32, |x| exp::<F>(x)),
        op::EXPM1 => unary!(step, one, f32 => f32, |x| expm1::<F>(x)),
        op::LOG => unary!(step, one, f32 => f32, |x| log::<F>(x)),
        op::LOG1P => unary!(step, one, f32 => f32, |x| log1p::<F>(x)),
        op::TANH => unary!(step, one, f32 => f32, |x| tanh::<F>(x)),
        op::ERF => unary!(step, one, f32 => f32, |x| erf::<F>(x)),
        op::ERFC if one.extra == 2 => {
            let a = step.get::<f32>(one.args[0]);
            let (tails, bells) = (step.set::<f32>(one.dst), step.set::<f32>(one.second));
            for ((tail, bell), &x) in tails.iter_mut().zip(bells).zip(a) {
                (*tail, *bell) = erfc_and_bell::<F>(x);
            }
        }
        op::ERFC => unary!(step, one, f32 => f32, |x| erfc::<F>(x)),
        op::SIN | op::COS => {
            let a = step.get::<f32>(one.args[0]);
            let far = a.iter().fold(false, |far, x| far | x.is_nan() | (x.abs() >= LARGEST_ANGLE));
            match (far, one.op) {
                (false, op::SIN) => unary!(step, one, f32 => f32, |x| circle::<F>(x, 0)),
                (false, _) => unary!(step, one, f32 => f32, |x| circle::<F>(x, 1)),
                (true, op::SIN) => slow!(step, one, f32, |x| x.sin()),
                (true, _) => slow!(step, one, f32, |x| x.cos()),
            }
        }
        op::IS_NAN => unary!(step, one, f32 => u32, |x| mask(x.is_nan())),
        op::IS_INF => unary!(step, one, f32 => u32, |x| mask(x.abs() == f32::INFINITY)),
        _ => return false,
    }
    true
}
