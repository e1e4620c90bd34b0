//! Functions of f32 without branches, which compilers turn into vectors: within 1.3e-6 of the true value, relative. NaN goes
//! through all of them, infinities and signed zeros come out as they should.
//!
//! `F` says whether multiply-add is one instruction; without it each product is rounded.

/// `a * b + c`. Never in strict programs.
#[inline(always)]
pub fn madd<const F: bool>(a: f32, b: f32, c: f32) -> f32 {
    if F {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

// Of two operands the first stays where they do not compare: a NaN does.
#[inline(always)]
pub fn at_least(x: f32, low: f32) -> f32 {
    if x < low {
        low
    } else {
        x
    }
}
#[inline(always)]
pub fn at_most(x: f32, high: f32) -> f32 {
    if x > high {
        high
    } else {
        x
    }
}

/// The greater, as core wants it: NaN wins, and 0 is greater than -0.
#[inline(always)]
pub fn maximum(x: f32, y: f32) -> f32 {
    let equal = f32::from_bits(x.to_bits() & y.to_bits());
    let result = if x > y { x } else { equal };
    let result = if x < y { y } else { result };
    if x.is_nan() | y.is_nan() {
        f32::NAN
    } else {
        result
    }
}
/// The lesser, likewise.
#[inline(always)]
pub fn minimum(x: f32, y: f32) -> f32 {
    let equal = f32::from_bits(x.to_bits() | y.to_bits());
    let result = if x < y { x } else { equal };
    let result = if x > y { y } else { result };
    if x.is_nan() | y.is_nan() {
        f32::NAN
    } else {
        result
    }
}
/// [`maximum`] of f64.
#[inline(always)]
pub fn maximum64(x: f64, y: f64) -> f64 {
    let equal = f64::from_bits(x.to_bits() & y.to_bits());
    let result = if x > y { x } else { equal };
    let result = if x < y { y } else { result };
    if x.is_nan() | y.is_nan() {
        f64::NAN
    } else {
        result
    }
}
/// [`minimum`] of f64.
#[inline(always)]
pub fn minimum64(x: f64, y: f64) -> f64 {
    let equal = f64::from_bits(x.to_bits() | y.to_bits());
    let result = if x < y { x } else { equal };
    let result = if x > y { y } else { result };
    if x.is_nan() | y.is_nan() {
        f64::NAN
    } else {
        result
    }
}

/// 2^n for n in [-126, 127].
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// The nearest whole number as float and as integer, for |x| < 2^22: beyond 1.5 * 2^23 floats are whole numbers apart, so
/// that adding it rounds. Anything for NaN.
#[inline(always)]
fn nearest(x: f32) -> (f32, i32) {
    let shifted = x + 12582912.0;
    (shifted - 12582912.0, (shifted.to_bits() as i32).wrapping_sub(0x4b40_0000))
}

/// e^r - 1 for |r| below 0.42.
#[inline(always)]
fn exp_series<const F: bool>(r: f32) -> f32 {
    let p = 1.392_620_3e-3;
    let p = madd::<F>(p, r, 8.363_195e-3);
    let p = madd::<F>(p, r, 4.166_655_4e-2);
    let p = madd::<F>(p, r, 1.666_657_7e-1);
    let p = madd::<F>(p, r, 0.5);
    madd::<F>(p, r * r, r)
}

/// x less n times the logarithm of 2.
#[inline(always)]
fn exp_rest(x: f32, n: f32) -> f32 {
    (x - n * 0.693_359_4) + n * 2.121_944_4e-4
}

/// e^x. The exponent is applied in two steps, so that results up to the greatest float and down to subnormals are right.
#[inline(always)]
pub fn exp<const F: bool>(x: f32) -> f32 {
    let x = at_most(at_least(x, -105.0), 89.5);
    let (n, whole) = nearest(x * std::f32::consts::LOG2_E);
    let p = exp_series::<F>(exp_rest(x, n)) + 1.0;
    let half = whole >> 1;
    p * power_of_two(half) * power_of_two(whole.wrapping_sub(half))
}

/// e^x - 1, exact near 0.
#[inline(always)]
pub fn expm1<const F: bool>(x: f32) -> f32 {
    let clamped = at_most(at_least(x, -30.0), 89.5);
    let (n, whole) = nearest(clamped * std::f32::consts::LOG2_E);
    let p = exp_series::<F>(exp_rest(clamped, n));
    // 2^n (1 + p) - 1 = 2^n p + (2^n - 1), where the bracket is exact for the n that matter.
    let half = whole >> 1;
    let (a, b) = (power_of_two(half), power_of_two(whole.wrapping_sub(half)));
    let result = p * a * b + (a * b - 1.0);
    // At 2^128 the bracket overflows although the whole may not: e^x is near enough there.
    let result = if clamped > 88.0 { (p + 1.0) * a * b } else { result };
    if x == 0.0 {
        x
    } else {
        result
    }
}

/// Natural logarithm. Minus infinity at 0, NaN below.
#[inline(always)]
pub fn log<const F: bool>(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8388608.0 } else { x };
    let bits = scaled.to_bits() as i32;
    // The exponent that leaves a mantissa in [0.7, 1.4].
    let e = bits.wrapping_sub(0x3f33_0000) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    let exponent = e as f32 - if tiny { 23.0 } else { 0.0 };
    let f = m - 1.0;
    let s = f / (f + 2.0);
    let z = s * s;
    let p = 2.0 / 11.0;
    let p = madd::<F>(p, z, 2.0 / 9.0);
    let p = madd::<F>(p, z, 2.0 / 7.0);
    let p = madd::<F>(p, z, 2.0 / 5.0);
    let p = madd::<F>(p, z, 2.0 / 3.0);
    // log(1 + f) = f - s (f - z p), which keeps f's exactness near 1.
    let tail = exponent * -2.121_944_4e-4 - s * (f - z * p);
    let result = exponent * 0.693_359_4 + (f + tail);
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    if x >= 0.0 {
        result
    } else {
        f32::NAN
    }
}

/// log(1 + x), exact near 0: the rounding error of 1 + x is put back.
#[inline(always)]
pub fn log1p<const F: bool>(x: f32) -> f32 {
    let u = x + 1.0;
    let error = if x.abs() < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
    let correction = if (u > 0.0) & (u < 3.0e38) { error / u } else { 0.0 };
    let result = log::<F>(u) + correction;
    if x == 0.0 {
        x
    } else {
        result
    }
}

// tanh and erf are odd rational functions, which pass 1 shortly before they are cut off; backend-wasm fits them
// (scripts/fit.py there).
#[inline(always)]
pub fn tanh<const F: bool>(x: f32) -> f32 {
    let x = at_most(at_least(x, -9.6), 9.6);
    let z = x * x;
    let (p, q) = (-8.370_693e-8, 7.762_094_5e-7);
    let (p, q) = (madd::<F>(p, z, -2.045_521_6e-5), madd::<F>(q, z, 3.283_106_8e-4));
    let (p, q) = (madd::<F>(p, z, 2.601_549_2e-4), madd::<F>(q, z, 2.587_110_7e-2));
    let (p, q) = (madd::<F>(p, z, 7.540_595_5e-2), madd::<F>(q, z, 4.671_304e-1));
    let (p, q) = (madd::<F>(p, z, 0.875), madd::<F>(q, z, 1.0));
    at_most(at_least(x * (p / q + 0.125), -1.0), 1.0)
}

#[inline(always)]
pub fn erf<const F: bool>(x: f32) -> f32 {
    let x = at_most(at_least(x, -4.1), 4.1);
    let z = x * x;
    let (p, q) = (-9.834_312_5e-6, 3.800_412e-5);
    let (p, q) = (madd::<F>(p, z, -7.931_997e-5), madd::<F>(q, z, 1.165_211_7e-3));
    let (p, q) = (madd::<F>(p, z, -9.070_92e-4), madd::<F>(q, z, 1.499_742_5e-2));
    let (p, q) = (madd::<F>(p, z, 1.708_481_3e-2), madd::<F>(q, z, 1.142_574_5e-1));
    let (p, q) = (madd::<F>(p, z, 3.378_043_3e-2), madd::<F>(q, z, 5.024_103_5e-1));
    let (p, q) = (madd::<F>(p, z, 8.158_791_7e-1), madd::<F>(q, z, 1.0));
    at_most(at_least(x * (p / q + 0.3125), -1.0), 1.0)
}

/// 1 - erf(x), as exact in the tail: e^-x² times a rational function. The square is taken apart, or its rounding would show
/// in the power: (h - x)(h + x) is what that of x's upper half h lacks.
#[inline(always)]
pub fn erfc<const F: bool>(x: f32) -> f32 {
    erfc_and_bell::<F>(x).0
}

/// [`erfc`] and the e^-x² that it is made of.
#[inline(always)]
pub fn erfc_and_bell<const F: bool>(x: f32) -> (f32, f32) {
    let a = at_most(x.abs(), 10.3);
    let (p, q) = (3.288_496_3e-2, 5.828_639_5e-2);
    let q = madd::<F>(q, a, 4.070_518_6e-1);
    let (p, q) = (madd::<F>(p, a, 2.296_397_5e-1), madd::<F>(q, a, 1.327_016_4));
    let (p, q) = (madd::<F>(p, a, 7.324_868e-1), madd::<F>(q, a, 2.404_064_2));
    let (p, q) = (madd::<F>(p, a, 1.239_252_6), madd::<F>(q, a, 2.367_632_4));
    let (p, q) = (madd::<F>(p, a, 1.0), madd::<F>(q, a, 1.0));
    let h = f32::from_bits(a.to_bits() & 0xffff_f000);
    let power = h * -h;
    let (n, whole) = nearest(power * std::f32::consts::LOG2_E);
    let e = exp_series::<F>(exp_rest(power, n) + (h - a) * (h + a)) + 1.0;
    let half = whole >> 1;
    let bell = e * power_of_two(half) * power_of_two(whole.wrapping_sub(half));
    let y = p / q * bell;
    (if x < 0.0 { 2.0 - y } else { y }, bell)
}

/// Angles up to this are reduced in single precision.
pub const LARGEST_ANGLE: f32 = 30000.0;

/// sin (`shift` 0) or cos (`shift` 1) of an angle below [`LARGEST_ANGLE`].
#[inline(always)]
pub fn circle<const F: bool>(x: f32, shift: i32) -> f32 {
    let (n, quadrant) = nearest(x * std::f32::consts::FRAC_2_PI);
    // The argument less a multiple of π/2; the first steps have few bits, so that n times them is exact.
    let r = x - n * 1.5703125;
    let r = r - n * f32::from_bits(0x39fd_8000);
    let r = (r - n * f32::from_bits(0x34a8_8000)) - n * f32::from_bits(0x2e85_a308);
    let quadrant = quadrant.wrapping_add(shift);
    let z = r * r;
    let s = 1.0 / 362880.0;
    let s = madd::<F>(s, z, -1.0 / 5040.0);
    let s = madd::<F>(s, z, 1.0 / 120.0);
    let s = madd::<F>(s, z, -1.0 / 6.0);
    let s = madd::<F>(s * z, r, r);
    let c = -1.0 / 3628800.0;
    let c = madd::<F>(c, z, 1.0 / 40320.0);
    let c = madd::<F>(c, z, -1.0 / 720.0);
    let c = madd::<F>(c, z, 1.0 / 24.0);
    let c = madd::<F>(c, z, -0.5);
    let c = madd::<F>(c, z, 1.0);
    let value = if quadrant & 1 != 0 { c } else { s };
    let value = f32::from_bits(value.to_bits() ^ ((quadrant & 2) as u32) << 30);
    // Adding up loses the sign of -0.
    if shift == 0 && x == 0.0 {
        x
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special;

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) -> f64 {
        let steps = 200_000;
        (0..=steps)
            .map(|i| {
                let x = from + (to - from) * (i as f32 / steps as f32);
                let wanted = exact(x as f64);
                (f(x) as f64 - wanted).abs() / wanted.abs().max(1e-38)
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_as_exact_as_promised() {
        const MOST: f64 = 1.3e-6;
        assert!(worst(exp::<true>, f64::exp, -80.0, 88.0) < MOST);
        assert!(worst(exp::<false>, f64::exp, -80.0, 88.0) < MOST);
        assert!(worst(expm1::<false>, f64::exp_m1, -20.0, 88.0) < MOST);
        assert!(worst(expm1::<false>, f64::exp_m1, -0.01, 0.01) < MOST);
        assert!(worst(log::<false>, f64::ln, 1e-3, 4.0) < MOST);
        assert!(worst(log::<true>, f64::ln, 4.0, 1e30) < MOST);
        assert!(worst(log1p::<false>, f64::ln_1p, -0.99, 3.0) < MOST);
        assert!(worst(tanh::<false>, f64::tanh, -11.0, 11.0) < MOST);
        assert!(worst(tanh::<true>, f64::tanh, -11.0, 11.0) < MOST);
        assert!(worst(erf::<false>, special::erf, -5.0, 5.0) < MOST);
        assert!(worst(erfc::<false>, special::erfc, -5.0, 9.0) < MOST);
        let far = |f: fn(f32, i32) -> f32, shift: i32, exact: fn(f64) -> f64| {
            (0..100_000)
                .map(|i| {
                    let x = i as f32 * 0.29 - 14500.0;
                    (f(x, shift) as f64 - exact(x as f64)).abs()
                })
                .fold(0.0, f64::max)
        };
        assert!(far(circle::<false>, 0, f64::sin) < 1e-6);
        assert!(far(circle::<false>, 1, f64::cos) < 1e-6);
    }

    #[test]
    fn edges_are_kept() {
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<false>(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp::<false>(0.0), 1.0);
        assert_eq!(log::<false>(0.0), f32::NEG_INFINITY);
        assert!(log::<false>(-1.0).is_nan());
        assert_eq!(log::<false>(1.0), 0.0);
        assert!(expm1::<false>(-0.0).is_sign_negative());
        assert_eq!(tanh::<false>(40.0), 1.0);
        for f in
            [exp::<false>, expm1::<false>, log::<false>, log1p::<false>, tanh::<false>, erf::<false>, erfc::<false>]
        {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(maximum(f32::NAN, 1.0).is_nan() && minimum(1.0, f32::NAN).is_nan());
        assert!(maximum(-0.0, 0.0).is_sign_positive() && minimum(0.0, -0.0).is_sign_negative());
        assert_eq!(maximum64(f64::NEG_INFINITY, 3.0), 3.0);
    }
}
