//! reduce: a program at every point, its results combined over some axes.
//!
//! Two ways through the space. "Runs": kept dimensions outside, reduced ones inside, each group one run of points. "Side by
//! side": where the innermost dimension is kept, a block of it accumulates in parallel, so that memory is read in order.
//! A space with few groups is cut along the reduced dimensions too; partial results are combined in order at the end.

mod job;
mod loops;
mod total;

use crate::call::{Call, Error};
use crate::memory::{room, Scratch};
use crate::space::{Space, MAX_RANK};
use crate::threads::{parallel, parts_of, Fault, Shared};
use job::Job;
use total::{How, Total};

/// Longest row of accumulators that stay side by side.
const SIDE: usize = 512;
/// Reduced points that a part which is cut along the reduced dimensions has at least.
const CHUNK: usize = 16384;
/// Groups that a part stores at least.
const FINISH: usize = 2048;

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
