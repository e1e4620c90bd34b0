//! map: a program at every point of a space.

use crate::call::{Call, Error};
use crate::memory::room;
use crate::program::Program;
use crate::registers::Registers;
use crate::space::{Space, View};
use crate::threads::{parallel, part_range, parts_of, Fault};

/// Work of a part in nanoseconds, at least.
const PART_NS: f64 = 6000.0;
/// Parts are cut at multiples of this, so that two threads never write into one line of a cache.
const ALIGN: usize = 64;

/// One program over one space.
struct Job<'a> {
    program: &'a Program,
    params: &'a [f64],
    space: Space,
    /// By output: whether it lies where an input lies.
    over_input: Vec<bool>,
    /// Whether a result is an input, while something is stored over inputs.
    keep_inputs: bool,
    parts: usize,
    nanoseconds: f64,
}

impl<'a> Job<'a> {
    fn new(program: &'a Program, params: &'a [f64], inputs: &[View], outputs: &[View]) -> Result<Job<'a>, Error> {
        let space = Space::new(outputs[0].shape(), inputs, outputs, &program.axes, None)?;
        let mut over_input = room(outputs.len())?;
        over_input.extend(outputs.iter().map(|out| inputs.iter().any(|input| input.data == out.data)));
        let passes = program.results.iter().any(|&result| (result as usize) < inputs.len());
        let keep_inputs = passes && outputs.len() > 1 && over_input.contains(&true);
        let cost = program.cost + 0.06 * (inputs.len() + outputs.len()) as f64;
        let parts = parts_of(space.size, (PART_NS / cost).max(512.0) as usize);
        let nanoseconds = space.size as f64 * cost;
        Ok(Job { program, params, space, over_input, keep_inputs, parts, nanoseconds })
    }

    /// # Safety
    /// As for [`crate::run`]; each part at most once.
    unsafe fn part(&self, part: usize, fault: &Fault) {
        let (space, program) = (&self.space, self.program);
        let inputs = program.inputs.len();
        let range = part_range(space.size, self.parts, part, ALIGN);
        let mut registers = match Registers::new(program, self.params, range.len()) {
            Ok(registers) => registers,
            Err(error) => return fault.error(error),
        };
        let mut start = range.start;
        while start < range.end {
            let count = space.block_length(start, range.end, registers.block);
            registers.load(space, start, count);
            for (k, &result) in program.results.iter().enumerate() {
                if !program.is_temporary(result) {
                    continue;
                }
                // Not over an input: instructions never write where they or later ones read.
                let direct = if self.over_input[k] { None } else { space.place(inputs + k, start, count) };
                registers.slot[result as usize] = direct.unwrap_or_else(|| registers.own(result as usize));
            }
            registers.run(count, fault);
            if self.keep_inputs {
                // A result that is an input must be stored as it was, whatever is stored over that input before.
                for &result in &program.results {
                    let (slot, own) = (registers.slot[result as usize], registers.own(result as usize));
                    if (result as usize) < inputs && slot != own {
                        std::ptr::copy_nonoverlapping(slot, own, count * program.inputs[result as usize].bytes());
                        registers.slot[result as usize] = own;
                    }
                }
            }
            for (k, &result) in program.results.iter().enumerate() {
                let slot = registers.slot[result as usize];
                if space.place(inputs + k, start, count) != Some(slot) {
                    space.put(inputs + k, start, count, slot);
                }
            }
            start += count;
        }
    }
}

/// # Safety
/// See [`crate::run`].
pub unsafe fn map(call: &Call) -> Result<(), Error> {
    let program = call.program(call.inputs.len(), call.outputs.len())?;
    let job = Job::new(program, call.params, call.inputs, call.outputs)?;
    let fault = Fault::default();
    parallel(call.threads, job.parts, job.nanoseconds, |part| {
        // SAFETY: parts have points of their own.
        unsafe { job.part(part, &fault) }
    });
    fault.result()
}

/// Attribute: number of groups. The parts of all groups are shared out together.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn map_many(call: &Call) -> Result<(), Error> {
    let groups = call.attribute(0);
    let (inputs, outputs) = (call.inputs.len() / groups, call.outputs.len() / groups);
    let program = call.program(inputs, outputs)?;
    let mut jobs = room(groups)?;
    let mut first = room(groups + 1)?;
    first.push(0);
    for group in 0..groups {
        let ins = &call.inputs[group * inputs..(group + 1) * inputs];
        let outs = &call.outputs[group * outputs..(group + 1) * outputs];
        let job = Job::new(program, call.params, ins, outs)?;
        first.push(first[group] + job.parts);
        jobs.push(job);
    }
    let fault = Fault::default();
    let nanoseconds = jobs.iter().map(|job: &Job| job.nanoseconds).sum();
    parallel(call.threads, first[groups], nanoseconds, |part| {
        let group = first.partition_point(|&begin| begin <= part) - 1;
        // SAFETY: groups have outputs of their own, and parts points of their own.
        unsafe { jobs[group].part(part - first[group], &fault) }
    });
    fault.result()
}
