//! Views as dense arrays of what they are computed in, for kernels that would rather not walk.

use crate::call::Error;
use crate::dtype::{Compute, DType};
use crate::memory::Scratch;
use crate::space::{Space, View};
use crate::threads::{parallel, part_range, parts_of};
use crate::transfer::register_bytes;

/// All elements of a view in row-major order, as they are computed: in place, or a copy.
pub struct Dense {
    pub data: *mut u8,
    #[allow(dead_code, reason = "holds the copy")]
    copy: Option<Scratch>,
}

// SAFETY: threads share its address alone; whoever dereferences that says why it is sound.
unsafe impl Sync for Dense {}

impl Dense {
    /// Loads a view that is not dense or not stored as it is computed.
    ///
    /// # Safety
    /// The view lies in live memory.
    pub unsafe fn load(view: &View, threads: usize) -> Result<Dense, Error> {
        if view.contiguous && view.dtype.is_native() {
            return Ok(Dense { data: view.data, copy: None });
        }
        let width = register_bytes(view.dtype);
        let copy = Scratch::new::<u64>((view.size * width).div_ceil(8))?;
        let data: *mut u8 = copy.data();
        let space = Space::new(view.shape(), &[*view], &[], &[], None)?;
        let shared = crate::threads::Shared::new(data);
        let parts = parts_of(view.size, 1 << 14);
        parallel(threads, parts, view.size as f64 * 0.5, |part| {
            let range = part_range(view.size, parts, part, 64);
            // SAFETY: parts write places of their own; a copy is always wanted here, so `fetch` is told apart by address.
            unsafe {
                let to = shared.get().add(range.start * width);
                let mut start = range.start;
                while start < range.end {
                    let count = (range.end - start).min(4096);
                    let slot = to.add((start - range.start) * width);
                    let from = space.fetch(0, start, count, slot);
                    if from != slot {
                        std::ptr::copy_nonoverlapping(from, slot, count * width);
                    }
                    start += count;
                }
            }
        });
        Ok(Dense { data, copy: Some(copy) })
    }

    /// Where to compute a view: in place where that is possible and allowed, else memory that [`Dense::store`] puts there.
    pub fn target(view: &View, in_place: bool) -> Result<Dense, Error> {
        if in_place && view.contiguous && view.dtype.is_native() {
            return Ok(Dense { data: view.data, copy: None });
        }
        let copy = Scratch::new::<u64>((view.size * register_bytes(view.dtype)).div_ceil(8))?;
        Ok(Dense { data: copy.data(), copy: Some(copy) })
    }

    /// Puts what was computed into the view.
    ///
    /// # Safety
    /// All elements were computed; nobody else writes to the view.
    pub unsafe fn store(self, view: &View, threads: usize) -> Result<(), Error> {
        if self.copy.is_none() {
            return Ok(());
        }
        let width = register_bytes(view.dtype);
        let space = Space::new(view.shape(), &[*view], &[], &[], None)?;
        let shared = crate::threads::Shared::new(self.data);
        let parts = parts_of(view.size, 1 << 14);
        parallel(threads, parts, view.size as f64 * 0.5, |part| {
            let range = part_range(view.size, parts, part, 64);
            if !range.is_empty() {
                // SAFETY: parts have elements of their own.
                unsafe { space.put(0, range.start, range.len(), shared.get().add(range.start * width)) }
            }
        });
        Ok(())
    }
}

/// The type that a kernel's loops run in. Masks of bools compare like u32.
pub fn loop_type(dtype: DType) -> Compute {
    match dtype.compute() {
        Compute::Bool => Compute::U32,
        other => other,
    }
}
