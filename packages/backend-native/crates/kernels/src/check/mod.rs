//! What each kernel wants of a call's views and attributes. Kernels index one operand by another's shape, so a call that
//! is none of theirs must not reach them. Costs no more than a look at each dimension.

use crate::call::{Call, Error, Kernel};
use crate::dtype::{Compute, DType};
use crate::space::{View, MAX_RANK};

mod fused;

type Checked = Result<(), Error>;

/// Whole numbers up to here are whole in doubles.
const MOST: f64 = 9_007_199_254_740_992.0;

fn invalid<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Invalid(message.into()))
}

/// Refuses a call that its kernel does not take.
pub fn check(kernel: Kernel, call: &Call) -> Checked {
    if call.outputs.is_empty() {
        return invalid("a call has outputs");
    }
    if call.attributes.iter().any(|&value| !(0.0..=MOST).contains(&value) || value.fract() != 0.0) {
        return invalid("attributes are whole numbers from 0 on");
    }
    match kernel {
        Kernel::Map => map(call, call.inputs, call.outputs),
        Kernel::MapMany => map_many(call),
        Kernel::Reduce => reduce(call),
        Kernel::ArgReduce => arg_reduce(call),
        Kernel::Matmul => matmul(call),
        Kernel::Gather => indexed(call, false),
        Kernel::Scatter => indexed(call, true),
        Kernel::Scan => scan(call),
        Kernel::Sort => sort(call),
        Kernel::Softmax => fused::softmax(call),
        Kernel::Norm => fused::norm(call),
        Kernel::CrossEntropy => fused::cross_entropy(call),
        Kernel::Conv => fused::conv(call),
        Kernel::Pooling => fused::pooling(call),
        Kernel::Attention => fused::attention(call),
        Kernel::Rope => fused::rope(call),
        Kernel::EmbeddingGrad => fused::embedding_grad(call),
        Kernel::QuantizedMatmul => fused::quantized_matmul(call),
    }
}

fn shape_is(what: &str, view: &View, shape: &[usize]) -> Checked {
    if view.shape() == shape {
        Ok(())
    } else {
        invalid(format!("{what} has shape {:?}, {shape:?} was expected", view.shape()))
    }
}

fn each_shape(what: &str, views: &[View], shape: &[usize]) -> Checked {
    views.iter().try_for_each(|view| shape_is(what, view, shape))
}

fn rank_is(what: &str, view: &View, rank: usize) -> Checked {
    if view.rank == rank {
        Ok(())
    } else {
        invalid(format!("{what} has {} dimensions, {rank} were expected", view.rank))
    }
}

fn rank_from(what: &str, view: &View, least: usize) -> Checked {
    if view.rank >= least {
        Ok(())
    } else {
        invalid(format!("{what} has {} dimensions, at least {least} were expected", view.rank))
    }
}

fn dtype_is(what: &str, view: &View, dtype: DType) -> Checked {
    if view.dtype == dtype {
        Ok(())
    } else {
        invalid(format!("{what} is {:?}, {dtype:?} was expected", view.dtype))
    }
}

fn computes(what: &str, view: &View, compute: Compute) -> Checked {
    if view.dtype.compute() == compute {
        Ok(())
    } else {
        invalid(format!("{what} is {:?}, a type computed in {compute:?} was expected", view.dtype))
    }
}

/// Fused kernels compute in f32.
fn singles<'a>(views: impl IntoIterator<Item = &'a View>) -> Checked {
    views.into_iter().try_for_each(|view| computes("an operand", view, Compute::F32))
}

fn all_singles(call: &Call) -> Checked {
    singles(call.inputs.iter().chain(call.outputs))
}

/// An attribute that numbers one of `count` choices.
fn choice(call: &Call, index: usize, count: usize, what: &str) -> Result<usize, Error> {
    match call.attributes.get(index) {
        Some(&value) if value < count as f64 => Ok(value as usize),
        Some(value) => invalid(format!("{what} {value} does not exist")),
        None => invalid(format!("{what} is missing")),
    }
}

fn flag(call: &Call, index: usize, what: &str) -> Result<bool, Error> {
    Ok(choice(call, index, 2, what)? == 1)
}

fn attributes(call: &Call, count: usize) -> Checked {
    if call.attributes.len() == count {
        Ok(())
    } else {
        invalid(format!("{} attributes, {count} were expected", call.attributes.len()))
    }
}

fn map(call: &Call, inputs: &[View], outputs: &[View]) -> Checked {
    let program = call.program(inputs.len(), outputs.len())?;
    let shape = outputs[0].shape();
    for (view, &dtype) in inputs.iter().zip(&program.inputs) {
        computes("an input", view, dtype)?;
        shape_is("an input", view, shape)?;
    }
    for (view, &dtype) in outputs.iter().zip(&program.result_dtypes) {
        computes("an output", view, dtype)?;
        shape_is("an output", view, shape)?;
    }
    Ok(())
}

fn map_many(call: &Call) -> Checked {
    attributes(call, 1)?;
    let groups = call.attribute(0);
    let Some(program) = call.program else {
        return invalid("the program is missing");
    };
    let (inputs, outputs) = (program.inputs.len(), program.results.len());
    call.expect(groups.saturating_mul(inputs), groups.saturating_mul(outputs))?;
    for group in 0..groups {
        let reads = &call.inputs[group * inputs..(group + 1) * inputs];
        map(call, reads, &call.outputs[group * outputs..(group + 1) * outputs])?;
    }
    Ok(())
}

/// The view's shape with 1 along the axes that attributes from `first` on name after their number; and the place behind.
fn without_axes(call: &Call, view: &View, first: usize) -> Result<([usize; MAX_RANK], usize), Error> {
    let mut shape = view.shape;
    let count = choice(call, first, view.rank + 1, "a number of axes")?;
    if count == 0 {
        return invalid("there are no axes");
    }
    let mut least = 0;
    for place in first + 1..=first + count {
        let axis = choice(call, place, view.rank, "axis")?;
        if axis < least {
            return invalid("axes must be ascending");
        }
        least = axis + 1;
        shape[axis] = 1;
    }
    Ok((shape, first + 1 + count))
}

fn reduce(call: &Call) -> Checked {
    let program = call.program(call.inputs.len(), call.outputs.len())?;
    let Some(first) = call.inputs.first() else {
        return invalid("an input is missing");
    };
    let (shape, kinds) = without_axes(call, first, 0)?;
    attributes(call, kinds + call.outputs.len())?;
    for (view, &dtype) in call.inputs.iter().zip(&program.inputs) {
        computes("an input", view, dtype)?;
        shape_is("an input", view, first.shape())?;
    }
    for (k, (view, &dtype)) in call.outputs.iter().zip(&program.result_dtypes).enumerate() {
        choice(call, kinds + k, 6, "kind")?;
        computes("an output", view, dtype)?;
        shape_is("an output", view, &shape[..first.rank])?;
    }
    Ok(())
}

fn arg_reduce(call: &Call) -> Checked {
    call.expect(1, 1)?;
    let input = &call.inputs[0];
    flag(call, 0, "kind")?;
    let (shape, end) = without_axes(call, input, 1)?;
    attributes(call, end)?;
    shape_is("the output", &call.outputs[0], &shape[..input.rank])?;
    dtype_is("the output", &call.outputs[0], DType::I32)
}

fn matmul(call: &Call) -> Checked {
    attributes(call, 1)?;
    choice(call, 0, 2, "precision")?;
    // Behind the operands come those of a program, which runs as a call of its own.
    let ([a, b, ..], [out]) = (call.inputs, call.outputs) else {
        return invalid("a product has two operands and one output");
    };
    rank_from("the first operand", a, 2)?;
    rank_is("the second operand", b, a.rank)?;
    let (inner, columns) = (a.rank - 2, a.rank - 1);
    let mut shape = a.shape;
    shape[inner] = a.shape[columns];
    shape[columns] = b.shape[columns];
    shape_is("the second operand", b, &shape[..a.rank])?;
    shape[inner] = a.shape[inner];
    shape_is("the output", out, &shape[..a.rank])?;
    if a.dtype == DType::Bool {
        return invalid("there are no products of Bool");
    }
    if !(a.dtype == DType::F32 && matches!(b.dtype, DType::F16 | DType::BF16)) {
        dtype_is("the second operand", b, a.dtype)?;
    }
    computes("the output", out, a.dtype.compute())
}

/// gather and scatter: what is addressed through the index has its sizes, except along the axis.
fn indexed(call: &Call, scatters: bool) -> Checked {
    call.expect(2, 1)?;
    // Rows of a weight in panels have two more.
    let in_panels = !scatters && call.attributes.len() == 3;
    attributes(call, if in_panels { 3 } else { 1 + scatters as usize })?;
    let (first, index, output) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    let (fixed, moving) = if scatters { (output, first) } else { (first, output) };
    let axis = choice(call, 0, index.rank, "axis")?;
    if scatters {
        choice(call, 1, 3, "mode")?;
    }
    rank_is("the addressed view", fixed, index.rank)?;
    let mut shape = index.shape;
    shape[axis] = fixed.shape[axis];
    shape_is("the addressed view", fixed, &shape[..index.rank])?;
    shape_is("the moved view", moving, index.shape())?;
    dtype_is("the index", index, DType::I32)?;
    dtype_is("the output", output, first.dtype)
}

fn scan(call: &Call) -> Checked {
    call.expect(1, 1)?;
    attributes(call, 3)?;
    choice(call, 0, 3, "kind")?;
    choice(call, 1, call.inputs[0].rank, "axis")?;
    flag(call, 2, "direction")?;
    if call.inputs[0].dtype == DType::Bool {
        return invalid("there are no running totals of Bool");
    }
    shape_is("the output", &call.outputs[0], call.inputs[0].shape())?;
    dtype_is("the output", &call.outputs[0], call.inputs[0].dtype)
}

fn sort(call: &Call) -> Checked {
    call.expect(1, 2)?;
    attributes(call, 2)?;
    let axis = choice(call, 0, call.inputs[0].rank, "axis")?;
    flag(call, 1, "direction")?;
    if call.inputs[0].shape[axis] > i32::MAX as usize {
        return invalid("positions are I32");
    }
    each_shape("an output", call.outputs, call.inputs[0].shape())?;
    dtype_is("the first output", &call.outputs[0], call.inputs[0].dtype)?;
    dtype_is("the second output", &call.outputs[1], DType::I32)
}
