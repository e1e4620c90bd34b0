//! Operations on bits, whatever they mean, and casts.

use super::threefry::threefry_body;
use super::{mask, Step};
use crate::dtype::Compute::{Bool, F32, F64, I32, U32};
use crate::program::{op, Instruction};

/// Runs an instruction that moves, chooses, combines or converts values; whether there is one.
#[inline(always)]
pub unsafe fn bits_body(step: &Step, one: &Instruction) -> bool {
    match (one.op, one.from) {
        (op::MOVE | op::BITCAST, F64) => step.set::<f64>(one.dst).copy_from_slice(step.get(one.args[0])),
        (op::MOVE | op::BITCAST, _) => step.set::<u32>(one.dst).copy_from_slice(step.get(one.args[0])),
        (op::AND, I32 | U32 | Bool) => binary!(step, one, u32 => u32, |x, y| x & y),
        (op::OR, I32 | U32 | Bool) => binary!(step, one, u32 => u32, |x, y| x | y),
        (op::XOR, I32 | U32 | Bool) => binary!(step, one, u32 => u32, |x, y| x ^ y),
        (op::NOT, I32 | U32 | Bool) => unary!(step, one, u32 => u32, |x| !x),
        (op::EQ, I32 | U32 | Bool) => arithmetic!(step, one, u32 => u32, |x, y| mask(x == y)),
        (op::NE, I32 | U32 | Bool) => arithmetic!(step, one, u32 => u32, |x, y| mask(x != y)),
        (op::SELECT, F64) => {
            let (b, c) = (step.get::<f64>(one.args[1]), step.get::<f64>(one.args[2]));
            let chosen = step.get::<u32>(one.args[0]).iter().zip(b).zip(c);
            for (to, ((&m, &b), &c)) in step.set::<f64>(one.dst).iter_mut().zip(chosen) {
                *to = if m != 0 { b } else { c };
            }
        }
        (op::SELECT, _) => {
            let (b, c) = (step.get::<u32>(one.args[1]), step.get::<u32>(one.args[2]));
            let chosen = step.get::<u32>(one.args[0]).iter().zip(b).zip(c);
            for (to, ((&m, &b), &c)) in step.set::<u32>(one.dst).iter_mut().zip(chosen) {
                *to = (b & m) | (c & !m);
            }
        }
        (op::CAST, _) => return cast_body(step, one),
        (op::THREEFRY, _) => threefry_body(step, one),
        _ => return false,
    }
    true
}

#[inline(always)]
unsafe fn cast_body(step: &Step, one: &Instruction) -> bool {
    match (one.from, one.to) {
        (F64, F32) => unary!(step, one, f64 => f32, |x| x as f32),
        (I32, F32) => unary!(step, one, i32 => f32, |x| x as f32),
        (U32, F32) => unary!(step, one, u32 => f32, |x| x as f32),
        (Bool, F32) => unary!(step, one, u32 => f32, |x| (x & 1) as f32),
        (F32, F64) => unary!(step, one, f32 => f64, |x| x as f64),
        (I32, F64) => unary!(step, one, i32 => f64, |x| x as f64),
        (U32, F64) => unary!(step, one, u32 => f64, |x| x as f64),
        (Bool, F64) => unary!(step, one, u32 => f64, |x| (x & 1) as f64),
        // These truncate, saturate, and give 0 for NaN.
        (F32, I32) => unary!(step, one, f32 => i32, |x| x as i32),
        (F64, I32) => unary!(step, one, f64 => i32, |x| x as i32),
        (F32, U32) => unary!(step, one, f32 => u32, |x| x as u32),
        (F64, U32) => unary!(step, one, f64 => u32, |x| x as u32),
        (Bool, I32 | U32) => unary!(step, one, u32 => u32, |x| x & 1),
        (F32, Bool) => unary!(step, one, f32 => u32, |x| mask(x != 0.0)),
        (F64, Bool) => unary!(step, one, f64 => u32, |x| mask(x != 0.0)),
        (I32 | U32, Bool) => unary!(step, one, u32 => u32, |x| mask(x != 0)),
        (F64, F64) => unary!(step, one, f64 => f64, |x| x),
        _ => unary!(step, one, u32 => u32, |x| x),
    }
    true
}
