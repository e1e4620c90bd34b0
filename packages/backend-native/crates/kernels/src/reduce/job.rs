//! The parts of a reduction: totals of units first, then one value for each group.

use std::slice::from_raw_parts_mut;

use super::total::{How, Kind, Total};
use super::{FINISH, SIDE};
use crate::dtype::Compute::{Bool, F32, F64, I32, U32};
use crate::program::Program;
use crate::registers::Registers;
use crate::space::{Space, MAX_RANK};
use crate::threads::{part_range, parts_of, Fault, Shared};
use crate::transfer::store_run;

/// One reduction, cut into parts.
pub struct Job<'a> {
    pub program: &'a Program,
    pub params: &'a [f64],
    pub space: Space,
    pub inputs: usize,
    pub side_by_side: bool,
    /// Points of the kept and of the reduced dimensions.
    pub kept: usize,
    pub reduced: usize,
    /// Side by side: size of the innermost, kept dimension.
    pub inner: usize,
    pub chunks: usize,
    pub units: usize,
    pub parts: usize,
    pub how: Vec<How>,
    /// By output, unit (and place within it).
    pub partial: Shared<Total>,
    /// Of each output.
    pub totals: usize,
    pub is_reduced: [bool; MAX_RANK],
}

/// Accumulators where no vector of them reaches into two lines of the cache.
#[repr(align(64))]
struct Side([f64; SIDE]);

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
    pub unsafe fn run_part(&self, part: usize, fault: &Fault) {
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
    pub unsafe fn side_part(&self, part: usize, fault: &Fault) {
        let units = part_range(self.units, self.parts, part, 1);
        if units.is_empty() {
            return;
        }
        let strips = self.inner.div_ceil(SIDE);
        let mut registers = match Registers::new(self.program, self.params, self.reduced * self.inner) {
            Ok(registers) => registers,
            Err(error) => return fault.error(error),
        };
        let mut side = Side([0.0; SIDE]);
        let side = &mut side.0;
        let plain = if self.how.len() == 1 { self.how[0].plain_start() } else { None };
        for unit in units {
            let (piece, strip) = (unit % self.chunks, unit / self.chunks % strips);
            let outer = unit / self.chunks / strips;
            let first = strip * SIDE;
            let width = (self.inner - first).min(SIDE);
            let rows = part_range(self.reduced, self.chunks, piece, 1);
            let place = piece * self.kept + outer * self.inner + first;
            if let Some(start) = plain {
                side[..width].fill(start);
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
                            if plain.is_some() {
                                how.take_plain(values, &mut side[column..column + run]);
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
            if plain.is_some() {
                for (total, &value) in self.totals_of(0, place, width).iter_mut().zip(&*side) {
                    *total = self.how[0].plain_total(value);
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
    pub unsafe fn finish_part(&self, part: usize) {
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
