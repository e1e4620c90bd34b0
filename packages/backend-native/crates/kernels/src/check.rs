//! What each kernel wants of a call's views and attributes. Kernels index one operand by another's shape, so a call that
//! is none of theirs must not reach them. Costs no more than a look at each dimension.

use crate::call::{Call, Error, Kernel};
use crate::dtype::{Compute, DType};
use crate::quantized::{block_bytes, BLOCK};
use crate::space::{View, MAX_RANK};
use crate::window::SPATIAL;

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
        Kernel::Softmax => softmax(call),
        Kernel::Norm => norm(call),
        Kernel::CrossEntropy => cross_entropy(call),
        Kernel::Conv => conv(call),
        Kernel::Pooling => pooling(call),
        Kernel::Attention => attention(call),
        Kernel::Rope => rope(call),
        Kernel::EmbeddingGrad => embedding_grad(call),
        Kernel::QuantizedMatmul => quantized_matmul(call),
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
    attributes(call, 1 + scatters as usize)?;
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

fn softmax(call: &Call) -> Checked {
    attributes(call, 2)?;
    let backward = flag(call, 0, "pass")?;
    flag(call, 1, "logarithm")?;
    call.expect(1 + backward as usize, 1)?;
    all_singles(call)?;
    rank_from("the input", &call.inputs[0], 1)?;
    each_shape("an input", call.inputs, call.inputs[0].shape())?;
    each_shape("the output", call.outputs, call.inputs[0].shape())
}

fn norm(call: &Call) -> Checked {
    attributes(call, 4)?;
    let backward = flag(call, 0, "pass")?;
    let statistics = 1 + flag(call, 1, "centring")? as usize;
    let weights = flag(call, 2, "weight")? as usize;
    let extra = weights + flag(call, 3, "bias")? as usize;
    if backward {
        call.expect(2 + statistics + weights, 1 + extra)?;
    } else {
        call.expect(1 + extra, 1 + statistics)?;
    }
    all_singles(call)?;
    let input = &call.inputs[0];
    rank_from("the input", input, 1)?;
    let last = input.rank - 1;
    let width = &input.shape()[last..];
    let mut rows = input.shape;
    rows[last] = 1;
    let rows = &rows[..input.rank];
    shape_is("the output", &call.outputs[0], input.shape())?;
    if backward {
        shape_is("the second input", &call.inputs[1], input.shape())?;
        each_shape("a statistic", &call.inputs[2..2 + statistics], rows)?;
        each_shape("the weight", &call.inputs[2 + statistics..], width)?;
        each_shape("a gradient", &call.outputs[1..], width)
    } else {
        each_shape("weight or bias", &call.inputs[1..], width)?;
        each_shape("a statistic", &call.outputs[1..], rows)
    }
}

fn cross_entropy(call: &Call) -> Checked {
    attributes(call, 1)?;
    let backward = flag(call, 0, "pass")?;
    call.expect(2 + 2 * backward as usize, 2 - backward as usize)?;
    let (logits, target) = (&call.inputs[backward as usize], &call.inputs[1 + backward as usize]);
    singles(call.inputs.iter().enumerate().filter(|&(i, _)| i != 1 + backward as usize).map(|(_, view)| view))?;
    singles(call.outputs)?;
    dtype_is("the target", target, DType::I32)?;
    rank_is("the logits", logits, 2)?;
    let rows = &logits.shape()[..1];
    shape_is("the target", target, rows)?;
    if backward {
        shape_is("the gradient", &call.inputs[0], rows)?;
        shape_is("the log-sum-exp", &call.inputs[3], rows)?;
        shape_is("the output", &call.outputs[0], logits.shape())
    } else {
        each_shape("an output", call.outputs, rows)
    }
}

/// Attributes of windows of one dimension: stride, dilation, padding before and after, from `at` on; how many windows fit.
fn positions(call: &Call, at: usize, size: usize, kernel: usize) -> Result<usize, Error> {
    let [stride, dilation, before, after] = [0, 1, 2, 3].map(|word| call.attribute(at + word) as u128);
    let padded = size as u128 + before + after;
    let reach = dilation * (kernel.max(1) - 1) as u128 + 1;
    if stride == 0 || dilation == 0 || kernel == 0 || reach > padded {
        return invalid(format!("windows of {kernel}, {stride} and {dilation} apart, do not fit into {padded}"));
    }
    match usize::try_from((padded - reach) / stride + 1) {
        Ok(count) if padded < isize::MAX as u128 => Ok(count),
        _ => invalid("windows beyond all memory"),
    }
}

fn spatial_rank(x: &View) -> Result<usize, Error> {
    rank_from("the image", x, 3)?;
    if x.rank > 2 + SPATIAL {
        return invalid(format!("{} spatial dimensions, at most {SPATIAL}", x.rank - 2));
    }
    Ok(x.rank - 2)
}

fn conv(call: &Call) -> Checked {
    let pass = choice(call, 0, 3, "pass")?;
    let ([first, second, rest @ ..], [result]) = (call.inputs, call.outputs) else {
        return invalid("a convolution has two operands and one output");
    };
    if rest.len() > (pass == 0) as usize {
        return invalid(format!("{} inputs are too many", call.inputs.len()));
    }
    all_singles(call)?;
    let (x, weight, out) = match pass {
        0 => (first, second, result),
        1 => (result, second, first),
        _ => (second, result, first),
    };
    let rank = spatial_rank(x)?;
    attributes(call, 2 + 4 * rank)?;
    rank_is("the weight", weight, x.rank)?;
    let groups = call.attribute(1);
    if groups == 0 || x.shape[1] % groups != 0 || weight.shape[0] % groups != 0 {
        return invalid(format!("{groups} groups of {} and {} channels", x.shape[1], weight.shape[0]));
    }
    let mut shape = weight.shape;
    shape[1] = x.shape[1] / groups;
    shape_is("the weight", weight, &shape[..x.rank])?;
    (shape[0], shape[1]) = (x.shape[0], weight.shape[0]);
    for axis in 0..rank {
        shape[2 + axis] = positions(call, 2 + 4 * axis, x.shape[2 + axis], weight.shape[2 + axis])?;
    }
    shape_is("the convolution", out, &shape[..x.rank])?;
    each_shape("the bias", rest, &weight.shape()[..1])
}

fn pooling(call: &Call) -> Checked {
    let [backward, mean] = [flag(call, 0, "pass")?, flag(call, 1, "kind")?];
    flag(call, 2, "counting of padding")?;
    call.expect(1 + (backward && !mean) as usize, 1)?;
    all_singles(call)?;
    let (first, result) = (&call.inputs[0], &call.outputs[0]);
    let (x, out) = if backward { (result, first) } else { (first, result) };
    let rank = spatial_rank(x)?;
    attributes(call, 3 + 7 * rank)?;
    let mut shape = x.shape;
    for axis in 0..rank {
        let at = 3 + 7 * axis;
        shape[2 + axis] = positions(call, at + 1, x.shape[2 + axis], call.attribute(at))?;
    }
    shape_is("the pooled view", out, &shape[..x.rank])?;
    each_shape("the second input", &call.inputs[1..], x.shape())
}

fn attention(call: &Call) -> Checked {
    attributes(call, 3)?;
    let backward = flag(call, 0, "pass")?;
    flag(call, 1, "causality")?;
    let masks = flag(call, 2, "mask")? as usize;
    if backward {
        call.expect(6 + masks, 3)?;
    } else {
        call.expect(3 + masks, 2)?;
    }
    all_singles(call)?;
    let operands = &call.inputs[backward as usize..];
    let (q, k, v) = (&operands[0], &operands[1], &operands[2]);
    rank_is("q", q, 4)?;
    rank_is("k", k, 4)?;
    let &[batch, heads, queries, width] = q.shape() else {
        return invalid("q has four dimensions");
    };
    let (shared, keys) = (k.shape[1], k.shape[2]);
    shape_is("k", k, &[batch, shared, keys, width])?;
    shape_is("v", v, k.shape())?;
    if heads % shared != 0 {
        return invalid(format!("{heads} heads are no multiple of {shared}"));
    }
    each_shape("the mask", &operands[3..3 + masks], &[batch, heads, queries, keys])?;
    let (out, sums) = if backward {
        (&call.inputs[4 + masks], &call.inputs[5 + masks])
    } else {
        (&call.outputs[0], &call.outputs[1])
    };
    shape_is("out", out, q.shape())?;
    shape_is("the log-sum-exp", sums, &[batch, heads, queries])?;
    if backward {
        shape_is("the gradient", &call.inputs[0], q.shape())?;
        for (view, of) in call.outputs.iter().zip([q, k, v]) {
            shape_is("an output", view, of.shape())?;
        }
    }
    Ok(())
}

fn rope(call: &Call) -> Checked {
    call.expect(3, 1)?;
    attributes(call, 2)?;
    flag(call, 0, "interleaving")?;
    flag(call, 1, "direction")?;
    all_singles(call)?;
    let input = &call.inputs[0];
    rank_from("the input", input, 2)?;
    let (length, width) = (input.shape[input.rank - 2], input.shape[input.rank - 1]);
    if width % 2 != 0 {
        return invalid(format!("rows of {width} are not made of pairs"));
    }
    each_shape("cos or sin", &call.inputs[1..], &[length, width / 2])?;
    shape_is("the output", &call.outputs[0], input.shape())
}

fn embedding_grad(call: &Call) -> Checked {
    call.expect(2, 1)?;
    attributes(call, 0)?;
    let (gradient, index, table) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    singles([gradient, table])?;
    dtype_is("the index", index, DType::I32)?;
    rank_is("the gradient", gradient, 2)?;
    rank_is("the output", table, 2)?;
    if index.size > u32::MAX as usize {
        return invalid("too many indices");
    }
    shape_is("the gradient", gradient, &[index.size, gradient.shape[1]])?;
    shape_is("the output", table, &[table.shape[0], gradient.shape[1]])
}

fn quantized_matmul(call: &Call) -> Checked {
    call.expect(2, 1)?;
    attributes(call, 1)?;
    let nibbles = flag(call, 0, "format")?;
    let (x, weight, out) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    singles([x, out])?;
    dtype_is("the weight", weight, DType::U8)?;
    rank_is("x", x, 2)?;
    rank_is("the output", out, 2)?;
    if x.shape[1] % BLOCK != 0 {
        return invalid(format!("rows of {} are not made of blocks of {BLOCK}", x.shape[1]));
    }
    shape_is("the output", out, &[x.shape[0], out.shape[1]])?;
    // Blocks are read as they lie.
    if !weight.contiguous || weight.size != out.shape[1].saturating_mul(x.shape[1] / BLOCK * block_bytes(nibbles)) {
        return invalid(format!("{} bytes of a weight, not dense or not those of {:?}", weight.size, out.shape()));
    }
    Ok(())
}
