//! erf and erfc of f64, by the rational approximations of core's special.ts (W. J. Cody's method), and other functions that
//! Rust's standard library has otherwise than core wants them.

/// c[0] + c[1] x + c[2] x² + …
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

type Quotient = (&'static [f64], &'static [f64]);

fn quotient(x: f64, (top, bottom): Quotient) -> f64 {
    polynomial(x, top) / polynomial(x, bottom)
}

const ZERO: Quotient = (
    &[
        1.28379167095512558561e-1,
        -3.2504210724700149937e-1,
        -2.84817495755985104766e-2,
        -5.77027029648944159157e-3,
        -2.37630166566501626084e-5,
    ],
    &[
        1.0,
        3.97917223959155352819e-1,
        6.50222499887672944485e-2,
        5.08130628187576562776e-3,
        1.32494738004321644526e-4,
        -3.9602282787753681232e-6,
    ],
);
const ONE: Quotient = (
    &[
        -2.36211856075265944077e-3,
        4.14856118683748331666e-1,
        -3.72207876035701323847e-1,
        3.18346619901161753674e-1,
        -1.10894694282396677476e-1,
        3.54783043256182359371e-2,
        -2.166375594868790843e-3,
    ],
    &[
        1.0,
        1.06420880400844228286e-1,
        5.40397917702171048937e-1,
        7.18286544141962662868e-2,
        1.26171219808761642112e-1,
        1.36370839120290507362e-2,
        1.1984499846799107417e-2,
    ],
);
const NEAR: Quotient = (
    &[
        -9.86494403484714822705e-3,
        -6.93858572707181764372e-1,
        -1.05586262253232909814e1,
        -6.23753324503260060396e1,
        -1.62396669462573470355e2,
        -1.84605092906711035994e2,
        -8.12874355063065934246e1,
        -9.81432934416914548592,
    ],
    &[
        1.0,
        1.96512716674392571292e1,
        1.376577541435190426e2,
        4.34565877475229228821e2,
        6.45387271733267880336e2,
        4.29008140027567833386e2,
        1.08635005541779435134e2,
        6.57024977031928170135,
        -6.04244152148580987438e-2,
    ],
);
const FAR: Quotient = (
    &[
        -9.86494292470009928597e-3,
        -7.99283237680523006574e-1,
        -1.77579549177547519889e1,
        -1.60636384855821916062e2,
        -6.37566443368389627722e2,
        -1.02509513161107724954e3,
        -4.83519191608651397019e2,
    ],
    &[
        1.0,
        3.03380607434824582924e1,
        3.25792512996573918826e2,
        1.53672958608443695994e3,
        3.19985821950859553908e3,
        2.55305040643316442583e3,
        4.74528541206955367215e2,
        -2.24409524465858183362e1,
    ],
);
const ERF_ONE: f64 = 8.45062911510467529297e-1;

/// erfc(x) for x in [1.25, 28).
fn tail(x: f64) -> f64 {
    let inverse = 1.0 / (x * x);
    let ratio = quotient(inverse, if x < 1.0 / 0.35 { NEAR } else { FAR });
    // exp(-x²) with x² split so that its rounding error does not reach the exponent.
    let head = f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000);
    (-head * head - 0.5625).exp() * ((head - x) * (head + x) + ratio).exp() / x
}

/// Error function.
pub fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() {
        return x;
    }
    if size < 0.84375 {
        return x + x * quotient(x * x, ZERO);
    }
    let value = if size < 1.25 {
        ERF_ONE + quotient(size - 1.0, ONE)
    } else if size < 6.0 {
        1.0 - tail(size)
    } else {
        1.0
    };
    if x < 0.0 {
        -value
    } else {
        value
    }
}

/// 1 - erf(x), without the cancellation.
pub fn erfc(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() {
        return x;
    }
    if size < 0.84375 {
        let rest = x * quotient(x * x, ZERO);
        return if x < 0.25 { 1.0 - (x + rest) } else { 0.5 - (x - 0.5 + rest) };
    }
    if size < 1.25 {
        let step = quotient(size - 1.0, ONE);
        return if x < 0.0 { 1.0 + ERF_ONE + step } else { 1.0 - ERF_ONE - step };
    }
    match (size >= 28.0, x < 0.0) {
        (true, true) => 2.0,
        (true, false) => 0.0,
        (false, true) => 2.0 - tail(size),
        (false, false) => tail(size),
    }
}

/// The remainder with the divisor's sign.
pub fn floor_mod(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

/// 1, 0 or -1, with the sign of zeros; NaN stays.
pub fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

/// The quotient rounded towards minus infinity; 0 for a division by zero, which a check reports.
#[inline(always)]
pub fn floor_div(x: i32, y: i32) -> i32 {
    if y == 0 {
        return 0;
    }
    let q = x.wrapping_div(y);
    if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) {
        q - 1
    } else {
        q
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_and_erfc_add_up_to_one() {
        for i in -300..300 {
            let x = i as f64 / 50.0;
            assert!((erf(x) + erfc(x) - 1.0).abs() < 1e-15, "{x}");
        }
        assert!((erf(0.5) - 0.5204998778130465).abs() < 1e-15);
        assert!((erfc(5.0) / 1.5374597944280349e-12 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn division_rounds_down() {
        assert_eq!((floor_div(-7, 2), floor_div(7, -2), floor_div(6, 3), floor_div(1, 0)), (-4, -4, 2, 0));
        assert_eq!(floor_div(i32::MIN, -1), i32::MIN);
        assert_eq!((floor_mod(-7.0, 2.0), floor_mod(7.0, -2.0)), (1.0, -1.0));
    }
}
