//! Kernels that language models need besides attention: rotary positions, and the gradient of an embedding's table.

use crate::call::{Call, Error, CHECK_INDEX};
use crate::dense::Dense;
use crate::level::multiversion;
use crate::memory::Scratch;
use crate::threads::{parallel, part_range, parts_of, Shared};

/// (a, b) becomes (a cos - b sin, b cos + a sin), with partners `apart` and pairs `step` elements apart.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the operands of the call and its numbers")]
unsafe fn rotate_body<const F: bool>(
    x: *const f32,
    y: *mut f32,
    cos: *const f32,
    sin: *const f32,
    sign: f32,
    half: usize,
    apart: usize,
    step: usize,
) {
    macro_rules! pairs {
        ($step:expr, $apart:expr) => {
            for pair in 0..half {
                let (c, s) = (*cos.add(pair), *sin.add(pair) * sign);
                let (a, b) = (*x.add(pair * $step), *x.add(pair * $step + $apart));
                *y.add(pair * $step) = a * c - b * s;
                *y.add(pair * $step + $apart) = b * c + a * s;
            }
        };
    }
    if step == 1 {
        pairs!(1, apart);
    } else {
        pairs!(2, 1);
    }
}
multiversion! {
    unsafe fn rotate(x: *const f32, y: *mut f32, cos: *const f32, sin: *const f32, sign: f32, half: usize, apart: usize,
        step: usize) = rotate_body
}

/// Attributes: interleaved, inverse.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn rope(call: &Call) -> Result<(), Error> {
    call.expect(3, 1)?;
    let (input, output) = (&call.inputs[0], &call.outputs[0]);
    let (positions, width) = (input.shape[input.rank - 2], input.shape[input.rank - 1]);
    let half = width / 2;
    let (apart, step) = if call.attribute(0) == 1 { (1, 2) } else { (half, 1) };
    let sign = if call.attribute(1) == 1 { -1.0 } else { 1.0 };
    let threads = call.threads;
    let x = Dense::load(input, threads)?;
    let cos = Dense::load(&call.inputs[1], threads)?;
    let sin = Dense::load(&call.inputs[2], threads)?;
    let to = Dense::target(output, call.inputs.iter().all(|view| view.data != output.data))?;
    let [from, cos, sin, target] = [&x, &cos, &sin, &to].map(|dense| Shared::new(dense.data.cast::<f32>()));
    let rows = input.size / width;
    let parts = parts_of(rows, 1 + 8192 / width);
    parallel(threads, parts, input.size as f64 * 0.4, |part| {
        for row in part_range(rows, parts, part, 1) {
            let angles = row % positions * half;
            // SAFETY: all are dense; rows have one part.
            unsafe {
                let (x, y) = (from.get().add(row * width), target.get().add(row * width));
                rotate(x, y, cos.get().add(angles), sin.get().add(angles), sign, half, apart, step);
            }
        }
    });
    to.store(output, threads)?;
    Ok(())
}

#[inline(always)]
unsafe fn add_body<const F: bool>(values: *const f32, sums: &mut [f64]) {
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum += *values.add(i) as f64;
    }
}
multiversion! {
    unsafe fn add_row(values: *const f32, sums: &mut [f64]) = add_body
}

/// Columns that are added up together.
const COLUMNS: usize = 256;

/// The gradients of equal indices are brought together first, so that each row of the table is written once, by one thread,
/// from sums in doubles.
///
/// # Safety
/// See [`crate::run`].
pub unsafe fn embedding_grad(call: &Call) -> Result<(), Error> {
    call.expect(2, 1)?;
    let (gradient, table) = (&call.inputs[0], &call.outputs[0]);
    let (count, width, rows) = (gradient.shape[0], gradient.shape[1], table.shape[0]);
    let threads = call.threads;
    let g = Dense::load(gradient, threads)?;
    let indices = Dense::load(&call.inputs[1], threads)?;
    let indices = std::slice::from_raw_parts(indices.data.cast::<i32>(), count);
    if indices.iter().any(|&index| index < 0 || index as usize >= rows) {
        return Err(Error::Check(CHECK_INDEX));
    }
    let to = Dense::target(table, call.inputs.iter().all(|view| view.data != table.data))?;
    let (from, target) = (Shared::new(g.data.cast::<f32>()), Shared::new(to.data.cast::<f32>()));
    // Where each row's gradients begin in `order`, which lists them row by row, in their own order.
    let memory = Scratch::new::<u32>(rows + 1 + count)?;
    let (first, order) = std::slice::from_raw_parts_mut(memory.data::<u32>(), rows + 1 + count).split_at_mut(rows + 1);
    first.fill(0);
    for &index in indices {
        first[index as usize + 1] += 1;
    }
    for row in 0..rows {
        first[row + 1] += first[row];
    }
    for (position, &index) in indices.iter().enumerate().rev() {
        // Filled from behind: the ends become the beginnings of the next rows.
        first[index as usize + 1] -= 1;
        order[first[index as usize + 1] as usize] = position as u32;
    }
    let (first, order) = (&*first, &*order);
    // What was the beginning of row r lies at r + 1 now; the last row ends with the list.
    let begin = |row: usize| if row < rows { first[row + 1] as usize } else { count };
    let parts = parts_of(rows, 1 + 8192 / width);
    parallel(threads, parts, (table.size as f64 * 0.1) + gradient.size as f64 * 0.4, |part| {
        let mut sums = [0f64; COLUMNS];
        for row in part_range(rows, parts, part, 1) {
            for column in (0..width).step_by(COLUMNS) {
                let sums = &mut sums[..COLUMNS.min(width - column)];
                sums.fill(0.0);
                // SAFETY: all are dense; rows have one part.
                unsafe {
                    for &position in &order[begin(row)..begin(row + 1)] {
                        add_row(from.get().add(position as usize * width + column), sums);
                    }
                    for (i, &sum) in sums.iter().enumerate() {
                        *target.get().add(row * width + column + i) = sum as f32;
                    }
                }
            }
        }
    });
    to.store(table, threads)?;
    Ok(())
}
