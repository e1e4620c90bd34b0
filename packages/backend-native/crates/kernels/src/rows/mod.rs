//! Kernels along the last dimension, in f32.

use crate::call::Error;
use crate::dense::Dense;
use crate::space::View;
use crate::threads::{parts_of, Shared};

/// The sum of a term over a row, in sixteen doubles whatever the processor has, so that it does not show in the result.
macro_rules! sum_of {
    ($n:expr, |$i:ident| $term:expr) => {{
        let mut sums = [0f64; 16];
        let whole = $n & !15;
        let mut at = 0;
        while at < whole {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let $i = at + lane;
                *sum += ($term) as f64;
            }
            at += 16;
        }
        for $i in whole..$n {
            sums[$i - whole] += ($term) as f64;
        }
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
        }
        sums[0]
    }};
}

mod norm;
mod softmax;

pub use norm::norm;
pub use softmax::{cross_entropy, softmax};

/// A view's rows as dense f32.
struct Rows {
    #[allow(dead_code, reason = "holds the copy, if it is one")]
    dense: Dense,
    data: Shared<f32>,
}

impl Rows {
    unsafe fn load(view: &View, threads: usize) -> Result<Rows, Error> {
        let dense = Dense::load(view, threads)?;
        let data = Shared::new(dense.data.cast());
        Ok(Rows { dense, data })
    }

    /// Where an output is computed: never over an input.
    fn target(view: &View, inputs: &[View]) -> Result<Rows, Error> {
        let dense = Dense::target(view, inputs.iter().all(|input| input.data != view.data))?;
        let data = Shared::new(dense.data.cast());
        Ok(Rows { dense, data })
    }

    unsafe fn at(&self, offset: usize) -> *mut f32 {
        self.data.get().add(offset)
    }

    unsafe fn store(self, view: &View, threads: usize) -> Result<(), Error> {
        self.dense.store(view, threads)
    }
}

fn last(view: &View) -> usize {
    view.shape[view.rank - 1]
}

/// Parts of so many rows.
fn row_parts(count: usize, width: usize) -> usize {
    parts_of(count, 1 + 4096 / width.max(1))
}
