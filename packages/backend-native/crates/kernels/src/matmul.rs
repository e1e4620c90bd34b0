//! matmul: stacks of matrices of any dtype. Floats go to the crates of `gemm`.

#[cfg(target_arch = "x86_64")]
use crate::bf16;
use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::dtype::{bfloat_to_f32, f32_to_bfloat, Compute, DType};
use crate::matvec::{few_rows, Matrix, Rows, Target, FEW_ROWS};
use crate::memory::Scratch;
use crate::product::{Cut, Factor, Float};
use crate::space::{View, MAX_RANK};
use crate::threads::{parallel, part_range, parts_of, Shared};

/// A stack seen as matrices: strides of the last two dimensions, and those of the batch dimensions.
struct Stack {
    row: isize,
    column: isize,
    batch: [isize; MAX_RANK],
}

impl Stack {
    fn new(view: &View, dense: bool) -> Stack {
        let strides = if dense { view.dense_strides() } else { view.strides };
        Stack { row: strides[view.rank - 2], column: strides[view.rank - 1], batch: strides }
    }
}

struct Shape {
    /// Batch dimensions.
    batch: Vec<usize>,
    rows: usize,
    columns: usize,
    depth: usize,
}

impl Shape {
    /// Takes trailing batch dimensions that share b for further rows of a, as in [batch, time, width] x [width, width].
    fn fold(&mut self, a: &Stack, b: &Stack, c: &Stack) {
        while let Some(&size) = self.batch.last() {
            let axis = self.batch.len() - 1;
            let fits = |stack: &Stack| stack.batch[axis] == self.rows as isize * stack.row;
            if size != 1 && (b.batch[axis] != 0 || !fits(a) || !fits(c)) {
                return;
            }
            self.rows *= size;
            self.batch.pop();
        }
    }

    fn count(&self) -> usize {
        self.batch.iter().product()
    }

    /// Where matrix `index` of a stack begins, in elements.
    fn offset(&self, stack: &Stack, mut index: usize) -> isize {
        let mut offset = 0;
        for axis in (0..self.batch.len()).rev() {
            offset += (index % self.batch[axis]) as isize * stack.batch[axis];
            index /= self.batch[axis];
        }
        offset
    }
}

/// A product of stacks of f32 or f64.
///
/// # Safety
/// The stacks lie in live memory, and the product overlaps neither operand.
unsafe fn product<T: Float>(
    shape: &Shape,
    (a, a_data): (&Stack, *const T),
    (b, b_data): (&Stack, *const T),
    (c, c_data): (&Stack, *mut T),
    threads: usize,
) {
    let count = shape.count();
    let products = shape.rows as f64 * shape.columns as f64 * shape.depth as f64;
    let shared = (Shared::new(a_data.cast_mut()), Shared::new(b_data.cast_mut()), Shared::new(c_data));
    let sizes = [shape.rows, shape.columns, shape.depth];
    let cut = Cut::new(sizes);
    let pieces = cut.pieces;
    let one_piece = |index: usize, piece: usize| {
        // SAFETY: offsets stay within the stacks; each piece of the product has one writer.
        unsafe {
            let factor = |stack: &Stack, data: Shared<T>| Factor {
                data: data.get().offset(shape.offset(stack, index)),
                row: stack.row,
                column: stack.column,
            };
            cut.multiply(piece, factor(a, shared.0), factor(b, shared.1), factor(c, shared.2));
        }
    };
    let units = count * pieces;
    let parts = parts_of(units, (20_000.0 / products * pieces as f64).max(1.0) as usize);
    parallel(threads, parts, count as f64 * products * 0.02, |part| {
        for unit in part_range(units, parts, part, 1) {
            one_piece(unit / pieces, unit % pieces);
        }
    });
}

/// Whole numbers, which wrap around: signed or not makes no difference.
///
/// # Safety
/// As for [`product`].
unsafe fn whole(
    shape: &Shape,
    (a, a_data): (&Stack, *const u32),
    (b, b_data): (&Stack, *const u32),
    (c, c_data): (&Stack, *mut u32),
    threads: usize,
) {
    let (rows, columns, depth) = (shape.rows, shape.columns, shape.depth);
    let shared = (Shared::new(a_data.cast_mut()), Shared::new(b_data.cast_mut()), Shared::new(c_data));
    let lines = shape.count() * rows;
    let work = columns as f64 * depth as f64;
    let parts = parts_of(lines, (20_000.0 / work).max(1.0) as usize);
    parallel(threads, parts, lines as f64 * work * 0.5, |part| {
        for line in part_range(lines, parts, part, 1) {
            let (batch, row) = (line / rows, (line % rows) as isize);
            // SAFETY: offsets stay within the stacks; each line of the product has one part.
            unsafe {
                let x = shared.0.get().offset(shape.offset(a, batch) + row * a.row);
                let y = shared.1.get().offset(shape.offset(b, batch));
                let z = shared.2.get().offset(shape.offset(c, batch) + row * c.row);
                for j in 0..columns as isize {
                    *z.offset(j * c.column) = 0;
                }
                for k in 0..depth as isize {
                    let factor = *x.offset(k * a.column);
                    let y = y.offset(k * b.row);
                    for j in 0..columns as isize {
                        let to = z.offset(j * c.column);
                        *to = (*to).wrapping_add(factor.wrapping_mul(*y.offset(j * b.column)));
                    }
                }
            }
        }
    });
}

/// Matrices of fewer elements go to the crates, unless they would have to be widened.
const LEAST_ELEMENTS: usize = 1 << 15;

/// The product of a few dense rows with one matrix of dense columns or rows, or of such a matrix with a few dense columns,
/// not over an operand. Gives false where the product is none of these.
///
/// # Safety
/// As for [`matmul`].
unsafe fn few(a: &View, b: &View, c: &View, threads: usize) -> Result<bool, Error> {
    let (row, column) = (c.rank - 2, c.rank - 1);
    let is_one = |size: &usize| *size == 1;
    let singles = a.dtype == DType::F32 && c.dtype == DType::F32;
    if !singles || !c.shape()[..row].iter().all(is_one) || c.data == a.data || c.data == b.data {
        return Ok(false);
    }
    let (rows, columns, depth) = (c.shape[row], c.shape[column], a.shape[column]);
    let mut x = Rows { data: a.data.cast(), count: rows, step: a.strides[row] };
    let mut to = Target { data: c.data.cast(), row: c.strides[row], column: c.strides[column] };
    // Steps along the depth: of the few, and of the matrix; and the matrix' other step.
    let (mut along, mut deep, mut across) = (a.strides[column], b.strides[row], b.strides[column]);
    let (mut data, mut dtype, mut count) = (b.data, b.dtype, columns);
    if rows > FEW_ROWS && b.dtype == DType::F32 {
        // The same, seen from the other side.
        x = Rows { data: b.data.cast(), count: columns, step: b.strides[column] };
        to = Target { data: to.data, row: to.column, column: to.row };
        (along, deep, across) = (b.strides[row], a.strides[column], a.strides[row]);
        (data, dtype, count) = (a.data, a.dtype, rows);
    }
    let narrow = matches!(dtype, DType::F16 | DType::BF16);
    let enough = x.count == 1 || narrow || count * depth >= LEAST_ELEMENTS;
    let by_columns = deep == 1 || depth == 1;
    let dense = (along == 1 || depth == 1) && (by_columns || across == 1 || count == 1);
    if x.count > FEW_ROWS || !dense || !enough || !(narrow || dtype == DType::F32) {
        return Ok(false);
    }
    let step = if by_columns { across } else { deep };
    few_rows(&x, &Matrix { data, dtype, depth, columns: count, by_columns, step }, &to, threads)?;
    Ok(true)
}

/// Whether factors are rounded to bf16: those that are anyway, and floats of 32 bits where the call asks for it and there
/// is more to do than to read them.
fn is_narrow(call: &Call, a: &View, b: &View, c: &View) -> bool {
    let wanted = call.attribute(0) == 1 && c.shape[c.rank - 2..c.rank].iter().all(|&size| size > FEW_ROWS);
    let fits = |view: &View| view.dtype == DType::BF16 || (view.dtype == DType::F32 && wanted);
    fits(a) && fits(b) && c.dtype.compute() == Compute::F32
}

/// f32 from a dense copy, rounded to bf16.
///
/// # Safety
/// The view is f32 and lies in live memory.
unsafe fn rounded(view: &View, threads: usize) -> Result<(Dense, Scratch), Error> {
    let dense = Dense::load(view, threads)?;
    let copy = Scratch::new::<f32>(view.size)?;
    let (from, to) = (Shared::new(dense.data.cast::<f32>()), Shared::new(copy.data::<f32>()));
    let parts = parts_of(view.size, 1 << 14);
    parallel(threads, parts, view.size as f64 * 0.5, |part| {
        for i in part_range(view.size, parts, part, 64) {
            // SAFETY: both have as many elements; each has one part.
            unsafe { *to.get().add(i) = bfloat_to_f32(f32_to_bfloat(*from.get().add(i))) };
        }
    });
    Ok((dense, copy))
}

/// The product of factors that are rounded to bf16, with the processor's instructions for that. Gives false where nothing
/// is to be added up.
///
/// # Safety
/// As for [`matmul`]; [`is_narrow`] and [`bf16::available`] hold.
#[cfg(target_arch = "x86_64")]
unsafe fn narrow(a: &View, b: &View, c: &View, threads: usize) -> Result<bool, Error> {
    let (rank, depth) = (c.rank, a.shape[a.rank - 1]);
    if c.size == 0 || depth == 0 {
        return Ok(false);
    }
    let turned = c.strides[rank - 1] != 1 && c.strides[rank - 2] == 1;
    let placed = c.dtype == DType::F32 && (turned || c.strides[rank - 1] == 1);
    let aside = !placed || c.data == a.data || c.data == b.data;
    let turned = turned && !aside;
    let (left, right, to) = (Stack::new(a, false), Stack::new(b, false), Stack::new(c, aside));
    let target = if aside { Some(Dense::target(c, false)?) } else { None };
    let data = Shared::new(target.as_ref().map_or(c.data, |dense| dense.data).cast::<f32>());
    let batch = c.shape[..rank - 2].to_vec();
    let mut shape = Shape { batch, rows: c.shape[rank - 2], columns: c.shape[rank - 1], depth };
    shape.fold(&left, &right, &to);
    let (rows, columns) = (shape.rows, shape.columns);
    let sizes = if turned { [columns, rows, depth] } else { [rows, columns, depth] };
    let factors = (Shared::new(a.data), Shared::new(b.data));
    let of = |index: usize| {
        let factor = |data: Shared<u8>, dtype: DType, stack: &Stack, across: isize, along: isize| {
            let offset = shape.offset(stack, index) * dtype.bytes() as isize;
            bf16::Factor { data: data.get().wrapping_offset(offset), dtype, across, along }
        };
        let x = factor(factors.0, a.dtype, &left, left.row, left.column);
        let y = factor(factors.1, b.dtype, &right, right.column, right.row);
        let data = data.get().wrapping_offset(shape.offset(&to, index));
        if turned {
            (y, x, bf16::Product { data, row: to.column })
        } else {
            (x, y, bf16::Product { data, row: to.row })
        }
    };
    bf16::multiply_all(sizes, shape.count(), of, threads)?;
    if let Some(dense) = target {
        dense.store(c, threads)?;
    }
    Ok(true)
}

/// # Safety
/// See [`crate::run`].
pub unsafe fn matmul(call: &Call) -> Result<(), Error> {
    #[cfg(target_arch = "x86_64")]
    return matmul_with(call, bf16::available());
    #[cfg(not(target_arch = "x86_64"))]
    matmul_with(call, false)
}

/// With the processor's instructions for bf16, or without.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "the instructions are those of x86"))]
unsafe fn matmul_with(call: &Call, instructions: bool) -> Result<(), Error> {
    let [av, bv] = [0, 1].map(|i| call.inputs.get(i));
    let (Some(av), Some(bv), Some(cv)) = (av, bv, call.outputs.first()) else {
        return Err(Error::Invalid("a product has two operands".into()));
    };
    if few(av, bv, cv, call.threads)? {
        return Ok(());
    }
    let is_narrow = is_narrow(call, av, bv, cv);
    #[cfg(target_arch = "x86_64")]
    if is_narrow && instructions && narrow(av, bv, cv, call.threads)? {
        return Ok(());
    }
    // Rounded copies are dense; what is stored as bf16 is widened below, and was rounded before.
    let round = |view: &View| is_narrow && view.dtype == DType::F32;
    let a_short = if round(av) { Some(rounded(av, call.threads)?) } else { None };
    let b_short = if round(bv) { Some(rounded(bv, call.threads)?) } else { None };
    let dense = |view: &View, copy: &Option<(Dense, Scratch)>| match copy {
        Some((_, copy)) => View::dense(DType::F32, copy.data::<u8>(), view.shape()),
        None => *view,
    };
    let (av, bv) = (&dense(av, &a_short), &dense(bv, &b_short));
    let rank = cv.rank;
    let native = |view: &View| view.dtype.is_native();
    // The product may lie where an operand lies: then it is computed aside.
    let aside = !native(cv) || cv.data == av.data || cv.data == bv.data;
    let (a_dense, b_dense) = (!native(av), !native(bv));
    let (a, b, c) = (Stack::new(av, a_dense), Stack::new(bv, b_dense), Stack::new(cv, aside));
    let a_copy = if a_dense { Some(Dense::load(av, call.threads)?) } else { None };
    let b_copy = if b_dense { Some(Dense::load(bv, call.threads)?) } else { None };
    let c_copy = if aside { Some(Dense::target(cv, false)?) } else { None };
    let place = |copy: &Option<Dense>, view: &View| copy.as_ref().map_or(view.data, |dense| dense.data);
    let (a_data, b_data, c_data) = (place(&a_copy, av), place(&b_copy, bv), place(&c_copy, cv));
    let mut shape = Shape {
        batch: cv.shape()[..rank - 2].to_vec(),
        rows: cv.shape[rank - 2],
        columns: cv.shape[rank - 1],
        depth: av.shape[rank - 1],
    };
    shape.fold(&a, &b, &c);
    let threads = call.threads;
    match cv.dtype.compute() {
        Compute::F32 => {
            product::<f32>(&shape, (&a, a_data.cast()), (&b, b_data.cast()), (&c, c_data.cast()), threads);
        }
        Compute::F64 => {
            product::<f64>(&shape, (&a, a_data.cast()), (&b, b_data.cast()), (&c, c_data.cast()), threads);
        }
        _ => whole(&shape, (&a, a_data.cast()), (&b, b_data.cast()), (&c, c_data.cast()), threads),
    }
    if let Some(dense) = c_copy {
        dense.store(cv, threads)?;
    }
    Ok(())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn strided(data: &mut [f32], shape: &[usize], strides: &[isize]) -> View {
        let mut view = View::dense(DType::F32, data.as_mut_ptr().cast(), shape);
        view.strides[..shape.len()].copy_from_slice(strides);
        view.update();
        view
    }

    #[test]
    fn rounded_products_are_alike_with_instructions_and_without() {
        crate::start_pool(4, false);
        if !bf16::available() {
            return;
        }
        let (m, n, k) = (21, 35, 67);
        let fill = |count: usize, seed: f32| (0..count).map(|i| (i as f32 * 0.61 + seed).sin()).collect::<Vec<f32>>();
        for batch in [1, 3, 9] {
            let (mut a, mut b) = (fill(batch * m * k, 0.1), fill(k * n, 0.7));
            let left = View::dense(DType::F32, a.as_mut_ptr().cast(), &[batch, m, k]);
            // One matrix for all of a stack, turned round.
            let right = strided(&mut b, &[batch, k, n], &[0, 1, k as isize]);
            let short = |value: f32| bfloat_to_f32(f32_to_bfloat(value)) as f64;
            for strides in [[m * n, n, 1], [m * n, 1, m], [2 * m * n, 2 * n, 2]] {
                for (instructions, threads) in [(true, 1), (true, 4), (false, 4)] {
                    let mut c = vec![f32::NAN; 2 * batch * m * n];
                    let outputs = [strided(&mut c, &[batch, m, n], &strides.map(|step| step as isize))];
                    let call = Call {
                        inputs: &[left, right],
                        outputs: &outputs,
                        attributes: &[1.0],
                        params: &[],
                        program: None,
                        threads,
                    };
                    // SAFETY: the views are these vectors.
                    unsafe { matmul_with(&call, instructions).unwrap() };
                    for place in 0..batch * m * n {
                        let (index, i, j) = (place / (m * n), place / n % m, place % n);
                        let terms = (0..k).map(|l| short(a[(index * m + i) * k + l]) * short(b[j * k + l]));
                        let (sum, size) = terms.fold((0.0, 0.0), |(s, t), term| (s + term, t + term.abs()));
                        let got = c[index * strides[0] + i * strides[1] + j * strides[2]] as f64;
                        assert!(
                            (got - sum).abs() <= 2e-6 * size,
                            "{batch} {strides:?} {instructions}: {got} for {sum}"
                        );
                    }
                }
            }
        }
    }
}
