//! The block interpreter: each instruction of a program runs over a block of points before the next one does.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::dtype::Compute::{Bool, F32, F64, I32, U32};
use crate::level::multiversion;
use crate::math::*;
use crate::program::{op, Instruction, Program};
use crate::special;
use crate::threads::Fault;

const fn key(operation: u16, dtype: crate::dtype::Compute) -> u32 {
    operation as u32 * 8 + dtype as u32
}

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

/// Operations of f32, which decide how fast a model is.
#[inline(always)]
unsafe fn float_body<const F: bool>(step: &Step, one: &Instruction) -> bool {
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

/// Operations of integers, bools and f64 that are worth vectors.
#[inline(always)]
unsafe fn other_body<const F: bool>(step: &Step, one: &Instruction) -> bool {
    const ADD_I: u32 = key(op::ADD, I32);
    const ADD_U: u32 = key(op::ADD, U32);
    const SUB_I: u32 = key(op::SUB, I32);
    const SUB_U: u32 = key(op::SUB, U32);
    const MUL_I: u32 = key(op::MUL, I32);
    const MUL_U: u32 = key(op::MUL, U32);
    const MAX_I: u32 = key(op::MAX, I32);
    const MAX_U: u32 = key(op::MAX, U32);
    const MIN_I: u32 = key(op::MIN, I32);
    const MIN_U: u32 = key(op::MIN, U32);
    const SHR_I: u32 = key(op::SHR, I32);
    const SHR_U: u32 = key(op::SHR, U32);
    const SHL_I: u32 = key(op::SHL, I32);
    const SHL_U: u32 = key(op::SHL, U32);
    const NEG_I: u32 = key(op::NEG, I32);
    const NEG_U: u32 = key(op::NEG, U32);
    const ABS_I: u32 = key(op::ABS, I32);
    const ABS_U: u32 = key(op::ABS, U32);
    const SIGN_I: u32 = key(op::SIGN, I32);
    const SIGN_U: u32 = key(op::SIGN, U32);
    const LT_I: u32 = key(op::LT, I32);
    const LT_U: u32 = key(op::LT, U32);
    const LT_B: u32 = key(op::LT, Bool);
    const LE_I: u32 = key(op::LE, I32);
    const LE_U: u32 = key(op::LE, U32);
    const LE_B: u32 = key(op::LE, Bool);
    const ADD_D: u32 = key(op::ADD, F64);
    const SUB_D: u32 = key(op::SUB, F64);
    const MUL_D: u32 = key(op::MUL, F64);
    const DIV_D: u32 = key(op::DIV, F64);
    const MAX_D: u32 = key(op::MAX, F64);
    const MIN_D: u32 = key(op::MIN, F64);
    const EQ_D: u32 = key(op::EQ, F64);
    const NE_D: u32 = key(op::NE, F64);
    const LT_D: u32 = key(op::LT, F64);
    const LE_D: u32 = key(op::LE, F64);
    const NEG_D: u32 = key(op::NEG, F64);
    const ABS_D: u32 = key(op::ABS, F64);
    const SQRT_D: u32 = key(op::SQRT, F64);
    const FLOOR_D: u32 = key(op::FLOOR, F64);
    const CEIL_D: u32 = key(op::CEIL, F64);
    const ROUND_D: u32 = key(op::ROUND, F64);
    const TRUNC_D: u32 = key(op::TRUNC, F64);
    const IS_NAN_D: u32 = key(op::IS_NAN, F64);
    const IS_INF_D: u32 = key(op::IS_INF, F64);
    match key(one.op, one.from) {
        ADD_I | ADD_U => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_add(y)),
        SUB_I | SUB_U => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_sub(y)),
        MUL_I | MUL_U => arithmetic!(step, one, u32 => u32, |x, y| x.wrapping_mul(y)),
        MAX_I => binary!(step, one, i32 => i32, |x, y| if x > y { x } else { y }),
        MAX_U => binary!(step, one, u32 => u32, |x, y| if x > y { x } else { y }),
        MIN_I => binary!(step, one, i32 => i32, |x, y| if x < y { x } else { y }),
        MIN_U => binary!(step, one, u32 => u32, |x, y| if x < y { x } else { y }),
        SHL_I | SHL_U => binary!(step, one, u32 => u32, |x, y| x << (y & 31)),
        SHR_I => binary!(step, one, i32 => i32, |x, y| x >> (y & 31)),
        SHR_U => binary!(step, one, u32 => u32, |x, y| x >> (y & 31)),
        NEG_I | NEG_U => unary!(step, one, u32 => u32, |x| x.wrapping_neg()),
        ABS_I => unary!(step, one, i32 => i32, |x| x.wrapping_abs()),
        ABS_U => unary!(step, one, u32 => u32, |x| x),
        SIGN_I => unary!(step, one, i32 => i32, |x| (x > 0) as i32 - (x < 0) as i32),
        SIGN_U => unary!(step, one, u32 => u32, |x| (x > 0) as u32),
        LT_I => arithmetic!(step, one, i32 => u32, |x, y| mask(x < y)),
        LT_U => binary!(step, one, u32 => u32, |x, y| mask(x < y)),
        LT_B => binary!(step, one, u32 => u32, |x, y| !x & y),
        LE_I => arithmetic!(step, one, i32 => u32, |x, y| mask(x <= y)),
        LE_U => binary!(step, one, u32 => u32, |x, y| mask(x <= y)),
        LE_B => binary!(step, one, u32 => u32, |x, y| !x | y),
        ADD_D => binary!(step, one, f64 => f64, |x, y| x + y),
        SUB_D => binary!(step, one, f64 => f64, |x, y| x - y),
        MUL_D => binary!(step, one, f64 => f64, |x, y| x * y),
        DIV_D => binary!(step, one, f64 => f64, |x, y| x / y),
        MAX_D => binary!(step, one, f64 => f64, |x, y| maximum64(x, y)),
        MIN_D => binary!(step, one, f64 => f64, |x, y| minimum64(x, y)),
        EQ_D => binary!(step, one, f64 => u32, |x, y| mask(x == y)),
        NE_D => binary!(step, one, f64 => u32, |x, y| mask(x != y)),
        LT_D => binary!(step, one, f64 => u32, |x, y| mask(x < y)),
        LE_D => binary!(step, one, f64 => u32, |x, y| mask(x <= y)),
        NEG_D => unary!(step, one, f64 => f64, |x| -x),
        ABS_D => unary!(step, one, f64 => f64, |x| x.abs()),
        SQRT_D => unary!(step, one, f64 => f64, |x| x.sqrt()),
        FLOOR_D => unary!(step, one, f64 => f64, |x| x.floor()),
        CEIL_D => unary!(step, one, f64 => f64, |x| x.ceil()),
        ROUND_D => unary!(step, one, f64 => f64, |x| x.round_ties_even()),
        TRUNC_D => unary!(step, one, f64 => f64, |x| x.trunc()),
        IS_NAN_D => unary!(step, one, f64 => u32, |x| mask(x.is_nan())),
        IS_INF_D => unary!(step, one, f64 => u32, |x| mask(x.abs() == f64::INFINITY)),
        _ => return bits_body(step, one),
    }
    true
}

/// Operations on bits, whatever they mean.
#[inline(always)]
unsafe fn bits_body(step: &Step, one: &Instruction) -> bool {
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

/// Threefry2x32 with 20 rounds. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#[inline(always)]
fn threefry(k0: u32, k1: u32, c0: u32, c1: u32) -> (u32, u32) {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let keys = [k0, k1, 0x1bd1_1bda ^ k0 ^ k1];
    let mut x = c0.wrapping_add(keys[0]);
    let mut y = c1.wrapping_add(keys[1]);
    macro_rules! four {
        ($n:expr) => {
            four!(@ $n, 0);
            four!(@ $n, 1);
            four!(@ $n, 2);
            four!(@ $n, 3);
            x = x.wrapping_add(keys[$n % 3]);
            y = y.wrapping_add(keys[($n + 1) % 3]).wrapping_add($n as u32);
        };
        (@ $n:expr, $i:expr) => {
            x = x.wrapping_add(y);
            y = y.rotate_left(ROTATIONS[($n as usize - 1) % 2 * 4 + $i]) ^ x;
        };
    }
    four!(1);
    four!(2);
    four!(3);
    four!(4);
    four!(5);
    (x, y)
}

#[inline(always)]
unsafe fn threefry_body(step: &Step, one: &Instruction) {
    let [k0, k1, c0, c1] = one.args.map(|slot| step.get::<u32>(slot));
    let first = step.set::<u32>(one.dst);
    match one.extra {
        0 => {
            for i in 0..step.count {
                first[i] = threefry(k0[i], k1[i], c0[i], c1[i]).0;
            }
        }
        1 => {
            for i in 0..step.count {
                first[i] = threefry(k0[i], k1[i], c0[i], c1[i]).1;
            }
        }
        _ => {
            let second = step.set::<u32>(one.second);
            for i in 0..step.count {
                (first[i], second[i]) = threefry(k0[i], k1[i], c0[i], c1[i]);
            }
        }
    }
}

/// Operations that no processor has as a vector.
unsafe fn rest(step: &Step, one: &Instruction, fault: &Fault) {
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
    let value = if size > 1e8 { size.ln() + std::f64::consts::LN_2 } else { (size + size * size / (1.0 + size.hypot(1.0))).ln_1p() };
    value.copysign(x)
}

/// Rust's own loses digits near -1.
fn atanh(x: f64) -> f64 {
    let size = x.abs();
    (0.5 * (2.0 * size / (1.0 - size)).ln_1p()).copysign(x)
}

#[inline(always)]
unsafe fn interpret_body<const F: bool>(program: &Program, slot: &[*mut u8], count: usize, fault: &Fault) {
    let step = Step { slot, first_scalar: program.first_scalar, count };
    for one in &program.instructions {
        let done = if one.from == F32 && !matches!(one.op, op::MOVE | op::SELECT | op::CAST | op::BITCAST) {
            float_body::<F>(&step, one)
        } else {
            other_body::<F>(&step, one)
        };
        if !done {
            rest(&step, one, fault);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_has_the_published_vectors() {
        assert_eq!(threefry(0, 0, 0, 0), (0x6b200159, 0x99ba4efe));
        assert_eq!(threefry(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3), (0xc4923a9c, 0x483df7a0));
    }

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
