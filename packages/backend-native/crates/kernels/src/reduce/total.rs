//! How values become a group's total.

use std::slice::from_raw_parts;

use super::loops::{add_row_f32, extreme_f32, extreme_row_f32, sum_f32};
use crate::call::Error;
use crate::dtype::Compute::{self, Bool, F32, F64, I32};
use crate::transfer::is_float;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Sum,
    Prod,
    Max,
    Min,
    Any,
    All,
}

/// One group's value so far. f64 sums carry their rounding error along (Neumaier 1974).
#[derive(Clone, Copy)]
pub struct Total {
    pub value: f64,
    pub error: f64,
    pub whole: u32,
}

/// How one output is combined.
#[derive(Clone, Copy)]
pub struct How {
    pub kind: Kind,
    pub dtype: Compute,
}

impl How {
    pub fn new(code: usize, dtype: Compute) -> Result<How, Error> {
        use Kind::*;
        let kind = [Sum, Prod, Max, Min, Any, All].get(code);
        let kind = *kind.ok_or_else(|| Error::Invalid(format!("kind {code} does not exist")))?;
        // For bool, adding and the maximum are "any", multiplying and the minimum "all".
        let kind = match (dtype, kind) {
            (Bool, Sum | Max | Any) => Any,
            (Bool, _) => All,
            _ => kind,
        };
        Ok(How { kind, dtype })
    }

    pub fn start(self) -> Total {
        let mut total = Total { value: 0.0, error: 0.0, whole: 0 };
        match self.kind {
            Kind::Prod => (total.value, total.whole) = (1.0, 1),
            Kind::Max => {
                total.value = f64::NEG_INFINITY;
                total.whole = if self.dtype == I32 { i32::MIN as u32 } else { 0 };
            }
            Kind::Min => {
                total.value = f64::INFINITY;
                total.whole = if self.dtype == I32 { i32::MAX as u32 } else { u32::MAX };
            }
            Kind::All => total.whole = 1,
            Kind::Sum | Kind::Any => {}
        }
        total
    }

    /// Takes one group's total into another.
    pub fn merge(self, total: &mut Total, more: &Total) {
        let floats = is_float(self.dtype);
        match self.kind {
            Kind::Sum if floats => {
                add(total, more.value);
                total.error += more.error;
            }
            Kind::Sum => total.whole = total.whole.wrapping_add(more.whole),
            Kind::Prod if floats => total.value *= more.value,
            Kind::Prod => total.whole = total.whole.wrapping_mul(more.whole),
            Kind::Max if floats => total.value = greater(total.value, more.value),
            Kind::Min if floats => total.value = -greater(-total.value, -more.value),
            Kind::Max if self.dtype == I32 => total.whole = (total.whole as i32).max(more.whole as i32) as u32,
            Kind::Max => total.whole = total.whole.max(more.whole),
            Kind::Min if self.dtype == I32 => total.whole = (total.whole as i32).min(more.whole as i32) as u32,
            Kind::Min => total.whole = total.whole.min(more.whole),
            Kind::Any => total.whole |= more.whole,
            Kind::All => total.whole &= more.whole,
        }
    }

    /// Takes a run of values into a total.
    ///
    /// # Safety
    /// There are `count` values of this type.
    pub unsafe fn take_run(self, values: *const u8, count: usize, total: &mut Total) {
        match (self.kind, self.dtype) {
            (Kind::Sum, F32) => total.value += sum_f32(from_raw_parts(values.cast(), count)),
            (Kind::Sum, F64) => {
                for &x in from_raw_parts(values.cast::<f64>(), count) {
                    add(total, x);
                }
            }
            (Kind::Sum, _) => {
                let sum = from_raw_parts(values.cast::<u32>(), count).iter().fold(0u32, |a, &b| a.wrapping_add(b));
                total.whole = total.whole.wrapping_add(sum);
            }
            (Kind::Prod, F32) => {
                for &x in from_raw_parts(values.cast::<f32>(), count) {
                    total.value *= x as f64;
                }
            }
            (Kind::Prod, F64) => {
                for &x in from_raw_parts(values.cast::<f64>(), count) {
                    total.value *= x;
                }
            }
            (Kind::Prod, _) => {
                for &x in from_raw_parts(values.cast::<u32>(), count) {
                    total.whole = total.whole.wrapping_mul(x);
                }
            }
            (Kind::Max, F32) => {
                let most = extreme_f32(from_raw_parts(values.cast(), count), 1.0);
                total.value = greater(total.value, most as f64);
            }
            (Kind::Min, F32) => {
                let most = extreme_f32(from_raw_parts(values.cast(), count), -1.0);
                total.value = -greater(-total.value, most as f64);
            }
            (Kind::Max, F64) => {
                for &x in from_raw_parts(values.cast::<f64>(), count) {
                    total.value = greater(total.value, x);
                }
            }
            (Kind::Min, F64) => {
                for &x in from_raw_parts(values.cast::<f64>(), count) {
                    total.value = -greater(-total.value, -x);
                }
            }
            (Kind::Max, I32) => {
                let values = from_raw_parts(values.cast::<i32>(), count);
                total.whole = values.iter().fold(total.whole as i32, |a, &b| a.max(b)) as u32;
            }
            (Kind::Max, _) => {
                let values = from_raw_parts(values.cast::<u32>(), count);
                total.whole = values.iter().fold(total.whole, |a, &b| a.max(b));
            }
            (Kind::Min, I32) => {
                let values = from_raw_parts(values.cast::<i32>(), count);
                total.whole = values.iter().fold(total.whole as i32, |a, &b| a.min(b)) as u32;
            }
            (Kind::Min, _) => {
                let values = from_raw_parts(values.cast::<u32>(), count);
                total.whole = values.iter().fold(total.whole, |a, &b| a.min(b));
            }
            (Kind::Any | Kind::All, dtype) => {
                // -0 counts as zero, NaN does not.
                let truth = |i: usize| match dtype {
                    F32 => *values.cast::<f32>().add(i) != 0.0,
                    F64 => *values.cast::<f64>().add(i) != 0.0,
                    _ => *values.cast::<u32>().add(i) != 0,
                };
                let decisive = self.kind == Kind::Any;
                if (0..count).any(|i| truth(i) == decisive) {
                    total.whole = decisive as u32;
                }
            }
        }
    }

    /// Takes a row of values into a row of totals.
    ///
    /// # Safety
    /// There is a value of this type for each total.
    pub unsafe fn take_row(self, values: *const u8, totals: &mut [Total]) {
        match (self.kind, self.dtype) {
            (Kind::Sum, F32) => {
                let values = from_raw_parts(values.cast::<f32>(), totals.len());
                for (total, &x) in totals.iter_mut().zip(values) {
                    total.value += x as f64;
                }
            }
            _ => {
                for (i, total) in totals.iter_mut().enumerate() {
                    self.take_run(values.add(i * self.dtype.bytes()), 1, total);
                }
            }
        }
    }

    /// What a row of plain doubles starts with, where [`How::take_plain`] can be used.
    pub fn plain_start(self) -> Option<f64> {
        match (self.kind, self.dtype) {
            (Kind::Sum, F32) => Some(0.0),
            (Kind::Max | Kind::Min, F32) => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// Takes a row of f32 into a row of plain doubles; those of minima are turned round.
    ///
    /// # Safety
    /// There is a value for each double.
    pub unsafe fn take_plain(self, values: *const u8, to: &mut [f64]) {
        let values = from_raw_parts(values.cast::<f32>(), to.len());
        match self.kind {
            Kind::Max => extreme_row_f32(values, to, 1.0),
            Kind::Min => extreme_row_f32(values, to, -1.0),
            _ => add_row_f32(values, to),
        }
    }

    /// The total that a plain double stands for.
    pub fn plain_total(self, value: f64) -> Total {
        Total { value: if self.kind == Kind::Min { -value } else { value }, error: 0.0, whole: 0 }
    }
}

fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        a
    } else if b.is_nan() || b > a {
        b
    } else {
        a
    }
}

fn add(total: &mut Total, value: f64) {
    let a = total.value;
    let sum = a + value;
    total.error += if a.abs() >= value.abs() { a - sum + value } else { value - sum + a };
    total.value = sum;
}
