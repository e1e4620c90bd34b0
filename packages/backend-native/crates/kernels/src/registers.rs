//! Registers of a program for a block of points, in memory that each thread keeps.

use std::cell::Cell;

use crate::call::Error;
use crate::dtype::Compute;
use crate::interpret::interpret;
use crate::memory::{room, Block};
use crate::program::Program;
use crate::space::Space;
use crate::threads::Fault;

/// Points computed at once.
const BLOCK: usize = 512;
/// Most bytes of registers: blocks are shorter where registers are many, so that they stay in the nearest caches.
const MOST_BYTES: usize = 96 << 10;
/// Between registers, so that they do not all begin at the same place of a page, which processors dislike.
const GAP: usize = 64;

thread_local! {
    static MEMORY: Cell<Option<Block>> = const { Cell::new(None) };
}

/// Registers of one thread, given back when dropped.
pub struct Registers<'a> {
    program: &'a Program,
    memory: Option<Block>,
    /// Points computed at once, at most.
    pub block: usize,
    /// Where each register's values lie at the moment.
    pub slot: Vec<*mut u8>,
    stride: usize,
}

impl<'a> Registers<'a> {
    /// Gives every register memory, and fills scalars for blocks of at most `points`.
    pub fn new(program: &'a Program, params: &[f64], points: usize) -> Result<Registers<'a>, Error> {
        let mut block = BLOCK;
        while block > 64 && program.slots * block * 4 > MOST_BYTES {
            block /= 2;
        }
        let stride = block * 8 + GAP;
        let bytes = stride * program.slots.max(1);
        let memory = match MEMORY.take() {
            Some(memory) if memory.bytes() >= bytes => memory,
            _ => Block::new(bytes.max(64 << 10))?,
        };
        let mut slot = room(program.slots)?;
        slot.extend((0..program.slots).map(|i| memory.data().wrapping_add(i * stride)));
        let registers = Registers { program, memory: Some(memory), block, slot, stride };
        let count = block.min(points);
        for scalar in &program.scalars {
            let value = scalar.param.map_or(scalar.value, |param| params[param]);
            let to = registers.slot[scalar.slot as usize];
            // SAFETY: each register has room for `block` values of 8 bytes, and nobody else has this memory.
            unsafe {
                match scalar.dtype {
                    Compute::F64 => std::slice::from_raw_parts_mut(to.cast::<f64>(), count).fill(value),
                    dtype => {
                        let bits = match dtype {
                            Compute::F32 => (value as f32).to_bits(),
                            Compute::Bool if value != 0.0 => u32::MAX,
                            Compute::Bool => 0,
                            _ => value as i64 as u32,
                        };
                        std::slice::from_raw_parts_mut(to.cast::<u32>(), count).fill(bits);
                    }
                }
            }
        }
        Ok(registers)
    }

    /// A register's own memory.
    pub fn own(&self, slot: usize) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), |memory| memory.data().wrapping_add(slot * self.stride))
    }

    /// Loads inputs and coordinates for the points from `start`.
    ///
    /// # Safety
    /// The space's first views are the program's inputs, the points lie in it, and `count` is at most `block`.
    pub unsafe fn load(&mut self, space: &Space, start: usize, count: usize) {
        let inputs = self.program.inputs.len();
        for i in 0..inputs {
            self.slot[i] = space.fetch(i, start, count, self.own(i));
        }
        for (i, &dimension) in space.dimensions.iter().enumerate() {
            let slot = std::slice::from_raw_parts_mut(self.own(inputs + i).cast::<i32>(), count);
            space.fetch_coordinate(dimension, start, slot);
        }
    }

    /// Runs the program on the first `count` points.
    ///
    /// # Safety
    /// All registers hold or have room for `count` values, and none that an instruction writes overlaps another.
    pub unsafe fn run(&self, count: usize, fault: &Fault) {
        interpret(self.program, &self.slot, count, fault);
    }
}

impl Drop for Registers<'_> {
    fn drop(&mut self) {
        MEMORY.set(self.memory.take());
    }
}
