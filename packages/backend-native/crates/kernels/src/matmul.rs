//! matmul: stacks of matrices of any dtype. Floats go to the crates of `gemm`.

use crate::call::{Call, Error};
use crate::dense::Dense;
use crate::dtype::{Compute, DType};
use crate::product::{multiply, Factor, Float};
use crate::space::{View, MAX_RANK};
use crate::threads::{parallel, part_range, parts_of, Shared};
use crate::vector::{row_times_columns, Columns};

/// Products that are worth several threads within one matrix.
const SHARED_PRODUCTS: f64 = 200_000.0;

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
    let one_matrix = |index: usize, threads: usize| {
        // SAFETY: offsets stay within the stacks; each matrix of the product has one writer.
        unsafe {
            let factor = |stack: &Stack, data: Shared<T>| Factor {
                data: data.get().offset(shape.offset(stack, index)),
                row: stack.row,
                column: stack.column,
            };
            let (a, b, c) = (factor(a, shared.0), factor(b, shared.1), factor(c, shared.2));
            multiply([shape.rows, shape.columns, shape.depth], a, b, c, false, threads);
        }
    };
    if threads > 1 && products > SHARED_PRODUCTS && count < 4 {
        for index in 0..count {
            one_matrix(index, threads);
        }
        return;
    }
    let parts = parts_of(count, (20_000.0 / products).max(1.0) as usize);
    parallel(threads, parts, count as f64 * products * 0.02, |part| {
        for index in part_range(count, parts, part, 1) {
            one_matrix(index, 1);
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

/// Whether a product is one dense row of f32 times one matrix of dense columns of floats, not over an operand.
fn is_row(a: &View, b: &View, c: &View) -> bool {
    let rank = c.rank;
    let is_one = |size: &usize| *size == 1;
    c.shape()[..rank - 1].iter().all(is_one)
        && a.dtype == DType::F32
        && c.dtype == DType::F32
        && matches!(b.dtype, DType::F32 | DType::F16 | DType::BF16)
        && (a.strides[rank - 1] == 1 || a.shape[rank - 1] == 1)
        && (b.strides[rank - 2] == 1 || b.shape[rank - 2] == 1)
        && c.data != a.data
        && c.data != b.data
}

/// # Safety
/// See [`crate::run`].
pub unsafe fn matmul(call: &Call) -> Result<(), Error> {
    let [av, bv] = [0, 1].map(|i| call.inputs.get(i));
    let (Some(av), Some(bv), Some(cv)) = (av, bv, call.outputs.first()) else {
        return Err(Error::Invalid("a product has two operands".into()));
    };
    if is_row(av, bv, cv) {
        let rank = cv.rank;
        let columns = Columns {
            data: bv.data,
            dtype: bv.dtype,
            step: bv.strides[rank - 1],
            count: cv.shape[rank - 1],
            depth: av.shape[rank - 1],
        };
        row_times_columns(av.data.cast(), &columns, cv.data.cast(), cv.strides[rank - 1], call.threads);
        return Ok(());
    }
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
