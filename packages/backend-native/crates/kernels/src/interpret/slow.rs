//! Operations that no processor has as a vector, one point after the other.

use super::Step;
use crate::dtype::Compute::{F64, I32, U32};
use crate::program::{op, Instruction};
use crate::special;
use crate::threads::Fault;

/// Runs an instruction that no other file has.
pub unsafe fn slow(step: &Step, one: &Instruction, fault: &Fault) {
    macro_rules! both {
        (|$x:ident| $value:expr) => {
            if one.from == F64 {
                slow!(step, one, f64, |$x| $value)
            } else {
                slow!(step, one, f32, |$x| $value)
            }
        };
        (|$x:ident, $y:ident| $value:expr) => {
            if one.from == F64 {
                slow!(step, one, f64, |$x, $y| $value)
            } else {
                slow!(step, one, f32, |$x, $y| $value)
            }
        };
    }
    match (one.op, one.from) {
        (op::CHECK, _) => {
            if step.get::<u32>(one.args[0]).contains(&0) {
                fault.check(one.extra as u32);
            }
        }
        (op::FLOOR_DIV, I32) => binary!(step, one, i32 => i32, |x, y| special::floor_div(x, y)),
        (op::FLOOR_DIV, _) => binary!(step, one, u32 => u32, |x, y| x.checked_div(y).unwrap_or(0)),
        (op::MOD, I32) => binary!(step, one, i32 => i32, |x, y| {
            if y == 0 { 0 } else { x.wrapping_sub(special::floor_div(x, y).wrapping_mul(y)) }
        }),
        (op::MOD, U32) => binary!(step, one, u32 => u32, |x, y| x.checked_rem(y).unwrap_or(0)),
        (op::MOD, _) => both!(|x, y| special::floor_mod(x, y)),
        (op::POW, _) => both!(|x, y| x.powf(y)),
        (op::ATAN2, _) => both!(|x, y| x.atan2(y)),
        (op::SIGN, _) => both!(|x| special::sign(x)),
        (op::EXP, _) => both!(|x| x.exp()),
        (op::EXPM1, _) => both!(|x| x.exp_m1()),
        (op::LOG, _) => both!(|x| x.ln()),
        (op::LOG1P, _) => both!(|x| x.ln_1p()),
        (op::LOG2, _) => both!(|x| x.log2()),
        (op::SIN, _) => both!(|x| x.sin()),
        (op::COS, _) => both!(|x| x.cos()),
        (op::TAN, _) => both!(|x| x.tan()),
        (op::ASIN, _) => both!(|x| x.asin()),
        (op::ACOS, _) => both!(|x| x.acos()),
        (op::ATAN, _) => both!(|x| x.atan()),
        (op::SINH, _) => both!(|x| x.sinh()),
        (op::COSH, _) => both!(|x| x.cosh()),
        (op::TANH, _) => both!(|x| x.tanh()),
        (op::ASINH, _) => both!(|x| asinh(x)),
        (op::ACOSH, _) => both!(|x| x.acosh()),
        (op::ATANH, _) => both!(|x| atanh(x)),
        (op::ERF, _) => both!(|x| special::erf(x)),
        (op::ERFC, _) => both!(|x| special::erfc(x)),
        _ => panic!("no operation {} on {:?}", one.op, one.from),
    }
}

/// Rust's own loses its sign at -0 and overflows for large numbers.
fn asinh(x: f64) -> f64 {
    let size = x.abs();
    let value = if size > 1e8 {
        size.ln() + std::f64::consts::LN_2
    } else {
        (size + size * size / (1.0 + size.hypot(1.0))).ln_1p()
    };
    value.copysign(x)
}

/// Rust's own loses digits near -1.
fn atanh(x: f64) -> f64 {
    let size = x.abs();
    (0.5 * (2.0 * size / (1.0 - size)).ln_1p()).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asinh_and_atanh_are_odd_and_wide() {
        assert_eq!(atanh(-0.999999), -atanh(0.999999));
        assert!((atanh(-0.999999) + 7.254328619247669).abs() < 1e-10 && atanh(1.0) == f64::INFINITY);
        assert!(asinh(-0.0).is_sign_negative());
        assert!((asinh(1e200) - 461.2103).abs() < 1e-3);
        assert!((asinh(-2.0) + 1.4436354751788103).abs() < 1e-15);
        assert!((asinh(1e-9) / 1e-9 - 1.0).abs() < 1e-15);
        assert_eq!(asinh(f64::INFINITY), f64::INFINITY);
    }
}
