//! reduce: a program at every point, its results combined over some axes.
//!
//! Two ways through the space. "Runs": kept dimensions outside, reduced ones inside, each group one run of points. "Side by
//! side": where the innermost dimension is kept, a block of it accumulates in parallel, so that memory is read in order.
//! A space with few groups is cut along the reduced dimensions too; partial results are combined in order at the end.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::call::{Call, Error};
use crate::dtype::Compute::{self, Bool, F32, F64, I32, U32};
use crate::level::multiversion;
use crate::memory::{room, Scratch};
use crate::program::Program;
use crate::registers::Registers;
use crate::space::{Space, MAX_RANK};
use crate::threads::{parallel, part_range, parts_of, Fault, Shared};
use crate::transfer::{is_float, store_run};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Sum,
    Prod,
    Max,
    Min,
    Any,
    All,
}

/// Longest row of accumulators that stay side by side.
const SIDE: usize = 512;
/// Reduced points that a part which is cut along the reduced dimensions has at least.
const CHUNK: usize = 16384;
/// Groups that a part stores at least.
const FINISH: usize = 2048;

/// One group's value so far. f64 sums carry their rounding error along (Neumaier 1974).
#[derive(Clone, Copy)]
struct Total {
    value: f64,
    error: f64,
    whole: u32,
}

/// How one output is combined.
#[derive(Clone, Copy)]
struct How {
    kind: Kind,
    dtype: Compute,
}

impl How {
    fn new(code: usize, dtype: Compute) -> Result<How, Error> {
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

    fn start(self) -> Total {
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
    fn merge(self, total: &mut Total, more: &Total) {
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
    unsafe fn take_run(self, values: *const u8, count: usize, total: &mut Total) {
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
    unsafe fn take_row(self, values: *const u8, totals: &mut [Total]) {
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

/// Sums of f32 add up in doubles: no error to speak of, whatever their number. Sixteen of them, whatever the processor has,
/// so that it does not show in the result.
#[inline(always)]
unsafe fn sum_body<const F: bool>(values: &[f32]) -> f64 {
    let mut sums = [0f64; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x as f64;
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += x as f64;
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0]
}
multiversion! {
    unsafe fn sum_f32(values: &[f32]) -> f64 = sum_body
}

/// The maximum of the values times `sign`; NaN if there is one.
#[inline(always)]
unsafe fn extreme_body<const F: bool>(values: &[f32], sign: f32) -> f32 {
    let mut best = [f32::NEG_INFINITY; 16];
    let mut nan = [0u32; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..16 {
            let x = chunk[i] * sign;
            nan[i] |= x.is_nan() as u32;
            best[i] = if x > best[i] { x } else { best[i] };
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        nan[i] |= x.is_nan() as u32;
        best[i] = if x * sign > best[i] { x * sign } else { best[i] };
    }
    if nan.contains(&1) {
        return f32::NAN;
    }
    best.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}
multiversion! {
    unsafe fn extreme_f32(values: &[f32], sign: f32) -> f32 = extreme_body
}

#[inline(always)]
unsafe fn add_row_body<const F: bool>(values: &[f32], sums: &mut [f64]) {
    for (sum, &x) in sums.iter_mut().zip(values) {
        *sum += x as f64;
    }
}
multiversion! {
    /// Rows of f32 sums have an accumulator of plain doubles, which vectorises.
    unsafe fn add_row_f32(values: &[f32], sums: &mut [f64]) = add_row_body
}

struct Job<'a> {
    program: &'a Program,
    params: &'a [f64],
    space: Space,
    inputs: usize,
    side_by_side: bool,
    /// Points of the kept and of the reduced dimensions.
    kept: usize,
    reduced: usize,
    /// Side by side: size of the innermost, kept dimension.
    inner: usize,
    chunks: usize,
    units: usize,
    parts: usize,
    how: Vec<How>,
    /// By output, unit (and place within it).
    partial: Shared<Total>,
    /// Of each output.
    totals: usize,
    is_reduced: [bool; MAX_RANK],
}

impl Job<'_> {
    /// Computes the program for a range of points; results are in the registers of its outputs.
    unsafe fn compute(&self, registers: &mut Registers, start: usize, count: usize, fault: &Fault) {
        for &result in &self.program.results {
            if self.program.is_temporary(result) {
                registers.slot[result as usize] = registers.own(result as usize);
            }
        }
        registers.load(&self.space, start, count);
        registers.run(count, fault);
    }

    /// Where a range of totals of output `k` lies.
    #[allow(clippy::mut_from_ref, reason = "ranges of parts do not overlap")]
    unsafe fn totals_of(&self, k: usize, from: usize, count: usize) -> &mut [Total] {
        from_raw_parts_mut(self.partial.get().add(k * self.totals + from), count)
    }

    /// # Safety
    /// As for [`crate::run`]; each part at most once.
    unsafe fn run_part(&self, part: usize, fault: &Fault) {
        let units = part_range(self.units, self.parts, part, 1);
        if units.is_empty() {
            return;
        }
        let chunk = self.reduced.div_ceil(self.chunks);
        let mut registers = match Registers::new(self.program, self.params, units.len() * chunk) {
            Ok(registers) => registers,
            Err(error) => return fault.error(error),
        };
        for (k, how) in self.how.iter().enumerate() {
            self.totals_of(k, units.start, units.len()).fill(how.start());
        }
        // Units follow one another in the space: blocks may span several.
        let begin_of = |group: usize, piece: usize| group * self.reduced + (piece * chunk).min(self.reduced);
        let mut unit = units.start;
        let mut at = begin_of(unit / self.chunks, unit % self.chunks);
        let mut unit_end = begin_of(unit / self.chunks, unit % self.chunks + 1);
        let last = units.end - 1;
        let end = begin_of(last / self.chunks, last % self.chunks + 1);
        while at < end {
            let count = self.space.block_length(at, end, registers.block);
            self.compute(&mut registers, at, count, fault);
            let mut done = 0;
            while done < count {
                while unit_end <= at + done {
                    unit += 1;
                    unit_end = begin_of(unit / self.chunks, unit % self.chunks + 1);
                }
                let run = (unit_end - at - done).min(count - done);
                for (k, how) in self.how.iter().enumerate() {
                    let values = registers.slot[self.program.results[k] as usize].add(done * how.dtype.bytes());
                    how.take_run(values, run, &mut self.totals_of(k, unit, 1)[0]);
                }
                done += run;
            }
            at += count;
        }
    }

    /// # Safety
    /// As for [`Job::run_part`].
    unsafe fn side_part(&self, part: usize, fault: &Fault) {
        let units = part_range(self.units, self.parts, part, 1);
        if units.is_empty() {
            return;
        }
        let strips = self.inner.div_ceil(SIDE);
        let mut registers = match Registers::new(self.program, self.params, self.reduced * self.inner) {
            Ok(registers) => registers,
            Err(error) => return fault.error(error),
        };
        let mut sums = [0f64; SIDE];
        let plain = self.how.len() == 1 && self.how[0].kind == Kind::Sum && self.how[0].dtype == F32;
        for unit in units {
            let (piece, strip) = (unit % self.chunks, unit / self.chunks % strips);
            let outer = unit / self.chunks / strips;
            let first = strip * SIDE;
            let width = (self.inner - first).min(SIDE);
            let rows = part_range(self.reduced, self.chunks, piece, 1);
            let place = piece * self.kept + outer * self.inner + first;
            if plain {
                sums[..width].fill(0.0);
            } else {
                for (k, how) in self.how.iter().enumerate() {
                    self.totals_of(k, place, width).fill(how.start());
                }
            }
            // Narrow rows go several to a block.
            let several = if width == self.inner { (registers.block / width).max(1) } else { 1 };
            let mut row = rows.start;
            while row < rows.end {
                let count = several.min(rows.end - row);
                let start = (outer * self.reduced + row) * self.inner + first;
                let mut done = 0;
                while done < count * width {
                    // The block may be shorter than a row where registers are many.
                    let points = (count * width - done).min(registers.block);
                    self.compute(&mut registers, start + done, points, fault);
                    let mut i = 0;
                    while i < points {
                        let column = (done + i) % width;
                        let run = (width - column).min(points - i);
                        for (k, how) in self.how.iter().enumerate() {
                            let slot = registers.slot[self.program.results[k] as usize];
                            let values = slot.add(i * how.dtype.bytes());
                            if plain {
                                let values = from_raw_parts(values.cast::<f32>(), run);
                                add_row_f32(values, &mut sums[column..column + run]);
                            } else {
                                how.take_row(values, self.totals_of(k, place + column, run));
                            }
                        }
                        i += run;
                    }
                    done += points;
                }
                row += count;
            }
            if plain {
                for (total, &value) in self.totals_of(0, place, width).iter_mut().zip(&sums) {
                    *total = Total { value, error: 0.0, whole: 0 };
                }
            }
        }
    }

    /// Stores one group's value.
    unsafe fn store(&self, k: usize, total: &Total, to: *mut u8) {
        let How { kind, dtype } = self.how[k];
        let view = self.space.views[self.inputs + k].dtype;
        let logical = matches!(kind, Kind::Any | Kind::All);
        let mut value = if logical { total.whole as f64 } else { total.value };
        if kind == Kind::Sum && dtype == F64 {
            // Infinities make the error NaN; the plain sum is right then.
            let exact = total.value + total.error;
            if !exact.is_nan() {
                value = exact;
            }
        }
        let rounded = value as f32;
        match dtype {
            F64 => store_run(view, to, 1, (&raw const value).cast(), 1),
            F32 => store_run(view, to, 1, (&raw const rounded).cast(), 1),
            I32 | U32 | Bool => store_run(view, to, 1, (&raw const total.whole).cast(), 1),
        }
    }

    /// Combines the chunks of a range of groups, in order, and stores the results.
    ///
    /// # Safety
    /// As for [`Job::run_part`], when all of those are done.
    unsafe fn finish_part(&self, part: usize) {
        let space = &self.space;
        let groups = part_range(self.kept, parts_of(self.kept, FINISH), part, 1);
        for (k, how) in self.how.iter().enumerate() {
            let view = &space.views[self.inputs + k];
            let bytes = view.dtype.bytes() as isize;
            let kept = || (0..space.rank).rev().filter(|&axis| !self.is_reduced[axis]);
            let mut index = [0usize; MAX_RANK];
            let mut offset = 0isize;
            let mut rest = groups.start;
            for axis in kept() {
                index[axis] = rest % space.shape[axis];
                rest /= space.shape[axis];
                offset += index[axis] as isize * view.strides[axis];
            }
            for group in groups.clone() {
                let (first, step) = if self.side_by_side { (group, self.kept) } else { (group * self.chunks, 1) };
                let mut total = self.totals_of(k, first, 1)[0];
                for piece in 1..self.chunks {
                    how.merge(&mut total, &self.totals_of(k, first + piece * step, 1)[0]);
                }
                self.store(k, &total, view.data.offset(offset * bytes));
                for axis in kept() {
                    offset += view.strides[axis];
                    index[axis] += 1;
                    if index[axis] < space.shape[axis] {
                        break;
                    }
                    index[axis] = 0;
                    offset -= view.strides[axis] * space.shape[axis] as isize;
                }
            }
        }
    }
}

/// Attributes: number of axes, axes, kinds by output.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn reduce(call: &Call) -> Result<(), Error> {
    let program = call.program(call.inputs.len(), call.outputs.len())?;
    let axes = call.list(1, call.attribute(0))?;
    let kinds = call.list(1 + axes.len(), call.outputs.len())?;
    let mut reduced_axis = [false; MAX_RANK];
    for &axis in &axes {
        reduced_axis[axis] = true;
    }
    let shaped = &call.inputs[0];
    let mut space = Space::new(shaped.shape(), call.inputs, call.outputs, &program.axes, Some(&reduced_axis))?;
    let rank = space.rank;
    // Outputs stand still along reduced axes, and along those alone: merged dimensions are of one kind.
    let kept_strides = space.views[call.inputs.len()].strides;
    let is_reduced: Vec<bool> = (0..rank).map(|axis| space.shape[axis] > 1 && kept_strides[axis] == 0).collect();
    let product = |wanted: bool| -> usize {
        (0..rank).filter(|&axis| is_reduced[axis] == wanted).map(|axis| space.shape[axis]).product()
    };
    let (kept, reduced) = (product(false), product(true));
    let inner = space.inner();
    let side_by_side = !is_reduced[rank - 1] && reduced > 1 && inner >= 4;
    // Kept dimensions outside, reduced ones inside; side by side, the innermost one stays where it is.
    let fixed = if side_by_side { rank - 1 } else { rank };
    let mut order: Vec<usize> = (0..fixed).filter(|&axis| !is_reduced[axis]).collect();
    order.extend((0..fixed).filter(|&axis| is_reduced[axis]));
    order.extend(fixed..rank);
    space.reorder(&order);
    let mut reduced_now = [false; MAX_RANK];
    for (to, &from) in order.iter().enumerate() {
        reduced_now[to] = is_reduced[from];
    }
    let mut how = room(kinds.len())?;
    for (&kind, &dtype) in kinds.iter().zip(&program.result_dtypes) {
        how.push(How::new(kind, dtype)?);
    }
    let cost = program.cost + 0.15 * (call.inputs.len() + call.outputs.len()) as f64;
    let (chunks, units, totals, grain);
    if side_by_side {
        let strips = inner.div_ceil(SIDE);
        let whole = kept / inner * strips;
        let width = inner.min(SIDE);
        chunks = if whole >= 16 { 1 } else { parts_of(reduced, (CHUNK / width).max(1)) };
        units = whole * chunks;
        totals = kept * chunks;
        grain = CHUNK as f64 / (reduced as f64 * width as f64 / chunks as f64);
    } else {
        chunks = if kept >= 16 { 1 } else { parts_of(reduced, CHUNK) };
        units = kept * chunks;
        totals = units;
        grain = CHUNK as f64 / (reduced as f64 / chunks as f64);
    }
    let parts = parts_of(units, grain.max(1.0) as usize);
    let memory = Scratch::new::<Total>(how.len() * totals)?;
    let nanoseconds = space.size as f64 * cost;
    let job = Job {
        program,
        params: call.params,
        space,
        inputs: call.inputs.len(),
        side_by_side,
        kept,
        reduced,
        inner,
        chunks,
        units,
        parts,
        how,
        partial: Shared::new(memory.data()),
        totals,
        is_reduced: reduced_now,
    };
    let fault = Fault::default();
    parallel(call.threads, parts, nanoseconds, |part| {
        // SAFETY: parts have units, and so totals, of their own.
        unsafe {
            if side_by_side {
                job.side_part(part, &fault);
            } else {
                job.run_part(part, &fault);
            }
        }
    });
    fault.result()?;
    let work = kept as f64 * (5.0 + 5.0 * chunks as f64) * job.how.len() as f64;
    parallel(call.threads, parts_of(kept, FINISH), work, |part| {
        // SAFETY: all totals are there, and groups have outputs of their own.
        unsafe { job.finish_part(part) }
    });
    Ok(())
}
