//! Calls, and the table of kernels.

use crate::check::check;
use crate::program::Program;
use crate::space::View;
use crate::{arg_reduce, attention, conv, gather, map, matmul, pool, quantized, reduce, rows, scan, sort, tokens};

/// Why a call could not be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// A check of a program failed, with its code.
    Check(u32),
    /// Scratch memory of so many bytes was not to be had.
    OutOfMemory(usize),
    /// The call is none that kernels take.
    Invalid(String),
}

/// Codes of checks that kernels make themselves, numbered like `CHECK_CODES` of core.
pub const CHECK_INDEX: u32 = 1;

/// One call of a kernel.
pub struct Call<'a> {
    pub inputs: &'a [View],
    pub outputs: &'a [View],
    /// What the kernel's TypeScript wrote, in order.
    pub attributes: &'a [f64],
    pub params: &'a [f64],
    pub program: Option<&'a Program>,
    /// Threads to use, at most.
    pub threads: usize,
}

impl<'a> Call<'a> {
    /// An attribute, as a count.
    pub fn attribute(&self, index: usize) -> usize {
        self.attributes.get(index).map_or(0, |&value| value as usize)
    }

    /// The attributes from `first`, as a list of so many counts.
    pub fn list(&self, first: usize, count: usize) -> Result<Vec<usize>, Error> {
        let values = self.attributes.get(first..first.saturating_add(count));
        let values = values.ok_or_else(|| Error::Invalid("attributes are missing".into()))?;
        Ok(values.iter().map(|&value| value as usize).collect())
    }

    /// The call's program, whose inputs, outputs and parameters are there.
    pub fn program(&self, inputs: usize, outputs: usize) -> Result<&'a Program, Error> {
        let program = self.program.ok_or_else(|| Error::Invalid("the program is missing".into()))?;
        let fits =
            program.inputs.len() == inputs && program.results.len() == outputs && program.params <= self.params.len();
        if fits {
            Ok(program)
        } else {
            Err(Error::Invalid("the program's inputs, outputs or parameters are not those of the call".into()))
        }
    }

    /// Refuses a call that has other numbers of views.
    pub fn expect(&self, inputs: usize, outputs: usize) -> Result<(), Error> {
        if self.inputs.len() == inputs && self.outputs.len() == outputs {
            Ok(())
        } else {
            Err(Error::Invalid(format!("{inputs} inputs and {outputs} outputs were expected")))
        }
    }
}

/// Kernels, numbered as in src/kernels/numbers.ts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kernel {
    Map,
    Reduce,
    ArgReduce,
    Matmul,
    Gather,
    Scatter,
    Scan,
    Sort,
    MapMany,
    Softmax,
    Norm,
    CrossEntropy,
    Conv,
    Pooling,
    Attention,
    Rope,
    EmbeddingGrad,
    QuantizedMatmul,
}

impl Kernel {
    /// The kernel with a number, if there is one.
    pub fn from_code(code: usize) -> Option<Kernel> {
        use Kernel::*;
        let all = [
            Map,
            Reduce,
            ArgReduce,
            Matmul,
            Gather,
            Scatter,
            Scan,
            Sort,
            MapMany,
            Softmax,
            Norm,
            CrossEntropy,
            Conv,
            Pooling,
            Attention,
            Rope,
            EmbeddingGrad,
            QuantizedMatmul,
        ];
        all.get(code).copied()
    }

    /// Whether outputs are read too: what is not written stays.
    pub fn keeps_outputs(self) -> bool {
        self == Kernel::Scatter
    }
}

/// Runs a call, if it is one that its kernel takes.
///
/// # Safety
/// Each position of each view lies in memory that lives until the call returns and that nobody else writes to. An output
/// equals an input or overlaps none, outputs do not overlap each other, and each output holds every position once.
pub unsafe fn run(kernel: Kernel, call: &Call) -> Result<(), Error> {
    check(kernel, call)?;
    match kernel {
        Kernel::Map => map::map(call),
        Kernel::MapMany => map::map_many(call),
        Kernel::Reduce => reduce::reduce(call),
        Kernel::ArgReduce => arg_reduce::arg_reduce(call),
        Kernel::Matmul => matmul::matmul(call),
        Kernel::Gather => gather::gather(call),
        Kernel::Scatter => gather::scatter(call),
        Kernel::Scan => scan::scan(call),
        Kernel::Sort => sort::sort(call),
        Kernel::Softmax => rows::softmax(call),
        Kernel::Norm => rows::norm(call),
        Kernel::CrossEntropy => rows::cross_entropy(call),
        Kernel::Conv => conv::conv(call),
        Kernel::Pooling => pool::pooling(call),
        Kernel::Attention => attention::attention(call),
        Kernel::Rope => tokens::rope(call),
        Kernel::EmbeddingGrad => tokens::embedding_grad(call),
        Kernel::QuantizedMatmul => quantized::quantized_matmul(call),
    }
}
