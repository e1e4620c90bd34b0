//! Kernels on strided views of plain memory, without any JavaScript.
//!
//! A [`View`] says where elements lie, a [`Call`] what to do with several, [`run`] does it. Whoever makes views answers
//! for their memory: each position of a view lies in memory that lives as long as the call, and nobody else writes there
//! meanwhile ([`View::within`] checks the first). [`run`] refuses calls whose views do not fit each other. All code below
//! relies on that and on core's rule that an output equals an input or overlaps none.

mod arg_reduce;
mod attention;
mod attention_blocks;
#[cfg(target_arch = "x86_64")]
mod attention_rows;
mod attention_step;
mod attention_tiles;
mod awake;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod call;
mod check;
mod conv;
mod conv_depth;
mod conv_direct;
mod conv_grad;
mod conv_shift;
#[cfg(test)]
mod conv_tests;
mod conv_turn;
mod conv_weights;
mod dense;
mod dtype;
mod failures;
mod gather;
mod interpret;
mod level;
mod map;
mod math;
mod matmul;
mod matvec;
mod memory;
mod pool;
#[cfg(test)]
mod pool_tests;
mod product;
mod program;
mod quantized;
mod queue;
mod reduce;
mod registers;
mod rows;
mod scan;
mod small;
mod sort;
mod space;
mod special;
mod stream;
mod taint;
mod threads;
mod tokens;
mod transfer;
mod turn;
mod window;

pub use call::{run, Call, Error, Kernel};
pub use dtype::{Compute, DType};
pub use level::{level, Level};
pub use memory::{Block, Pool, Refusal};
pub use program::{Instruction, Program, Scalar};
pub use quantized::{Laying, Panels, Room};
pub use queue::{Failure, Queue, Reply};
pub use space::{View, MAX_RANK};
pub use stream::read_rates;
pub use threads::{parallel, pool_threads, release_scratch, start_pool};
