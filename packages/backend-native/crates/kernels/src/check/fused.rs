//! The same for kernels that stand for several operations.

use super::{
    all_singles, attributes, choice, dtype_is, each_shape, flag, invalid, rank_from, rank_is, shape_is, singles,
    Checked,
};
use crate::call::{Call, Error};
use crate::dtype::DType;
use crate::quantized::{block_bytes, can_be_panels, BLOCK};
use crate::space::View;
use crate::window::SPATIAL;

pub fn softmax(call: &Call) -> Checked {
    attributes(call, 2)?;
    let backward = flag(call, 0, "pass")?;
    flag(call, 1, "logarithm")?;
    call.expect(1 + backward as usize, 1)?;
    all_singles(call)?;
    rank_from("the input", &call.inputs[0], 1)?;
    each_shape("an input", call.inputs, call.inputs[0].shape())?;
    each_shape("the output", call.outputs, call.inputs[0].shape())
}

pub fn norm(call: &Call) -> Checked {
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

pub fn cross_entropy(call: &Call) -> Checked {
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

pub fn conv(call: &Call) -> Checked {
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

pub fn pooling(call: &Call) -> Checked {
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

pub fn attention(call: &Call) -> Checked {
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

pub fn rope(call: &Call) -> Checked {
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

pub fn embedding_grad(call: &Call) -> Checked {
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

pub fn quantized_matmul(call: &Call) -> Checked {
    call.expect(2, 1)?;
    attributes(call, 1)?;
    let format = choice(call, 0, 4, "format")?;
    let nibbles = format % 2 == 1;
    let (x, weight, out) = (&call.inputs[0], &call.inputs[1], &call.outputs[0]);
    singles([x, out])?;
    dtype_is("the weight", weight, DType::U8)?;
    rank_is("x", x, 2)?;
    rank_is("the output", out, 2)?;
    if x.shape[1] % BLOCK != 0 {
        return invalid(format!("rows of {} are not made of blocks of {BLOCK}", x.shape[1]));
    }
    shape_is("the output", out, &[x.shape[0], out.shape[1]])?;
    // Blocks are read without gaps, in rows or in panels.
    if !weight.contiguous || weight.size != out.shape[1].saturating_mul(x.shape[1] / BLOCK * block_bytes(nibbles)) {
        return invalid(format!("{} bytes of a weight, not dense or not those of {:?}", weight.size, out.shape()));
    }
    if format >= 2 && !can_be_panels(out.shape[1], x.shape[1] / BLOCK) {
        return invalid(format!("{} columns cannot lie in panels", out.shape[1]));
    }
    Ok(())
}
