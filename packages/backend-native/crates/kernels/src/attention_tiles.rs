//! attention of many queries at once, as training and prompts have it: the keys of a head are transposed once, scores of a
//! few queries lie in the nearest cache, and what a causal head does not see is not computed.

use crate::attention::{again_row, grad_row, softmax_row, Job, Operand};
use crate::call::Error;
use crate::memory::Scratch;
use crate::product::Factor;
use crate::small::{multiply_small, Rows, COLUMNS};

/// Queries that see equally many keys here.
const BLOCK: usize = 16;
/// Queries whose scores are kept for the gradients of keys and values.
const KEPT: usize = 128;
/// Most keys: beyond, scores and transposed keys leave the caches, and packed products win.
const MOST_KEYS: usize = 1024;

/// Whether these ways are taken.
pub fn is_tiled(job: &Job) -> bool {
    job.width.is_multiple_of(COLUMNS) && job.queries >= BLOCK && job.keys <= MOST_KEYS
}

/// Keys, rounded up as scores are.
fn padded(keys: usize) -> usize {
    keys.next_multiple_of(COLUMNS)
}

/// Rows of an operand as a product takes them on its right: in place where they are dense, else copied.
unsafe fn dense(from: Factor<f32>, rows: usize, width: usize, memory: *mut f32) -> Rows {
    if from.column == 1 && from.row >= 0 {
        return Rows { data: from.data, row: from.row as usize };
    }
    for i in 0..rows {
        for j in 0..width {
            *memory.add(i * width + j) = *from.data.offset(i as isize * from.row + j as isize * from.column);
        }
    }
    Rows { data: memory, row: width }
}

/// Rows of an operand as columns, with zeros behind.
unsafe fn transposed(from: Factor<f32>, rows: usize, width: usize, to: *mut f32) -> Rows {
    let row = padded(rows);
    // Squares, or each place of a column would throw others out of the cache.
    for first in (0..rows).step_by(COLUMNS) {
        for left in (0..width).step_by(COLUMNS) {
            for j in left..left + COLUMNS {
                for i in first..rows.min(first + COLUMNS) {
                    *to.add(j * row + i) = *from.data.offset(i as isize * from.row + j as isize * from.column);
                }
            }
        }
    }
    for j in 0..width {
        std::slice::from_raw_parts_mut(to.add(j * row + rows), row - rows).fill(0.0);
    }
    Rows { data: to, row }
}

fn factor(rows: Rows) -> Factor<f32> {
    Factor { data: rows.data, row: rows.row as isize, column: 1 }
}

/// The queries `first..end` of one head.
///
/// # Safety
/// As for [`Job::forward`]: offsets are those of the operands, and nobody else computes these queries.
pub unsafe fn forward(
    job: &Job,
    [batch, head]: [usize; 2],
    first: usize,
    end: usize,
    to: &Operand,
    sums: *mut f32,
) -> Result<(), Error> {
    let (keys, width) = (job.keys, job.width);
    let row = padded(keys);
    let memory = Scratch::new::<f32>(BLOCK * row + width * row + width * keys)?;
    let p = Rows { data: memory.data(), row };
    let spare = p.data.add(BLOCK * row);
    let kv = head / job.shared;
    let most = job.visible(end - 1);
    let k = transposed(job.k.rows(batch, kv, 0), most, width, spare);
    let v = dense(job.v.rows(batch, kv, 0), most, width, spare.add(width * row));
    let sums = sums.add((batch * job.heads + head) * job.queries);
    for query in (first..end).step_by(BLOCK) {
        let count = BLOCK.min(end - query);
        let seen = job.visible(query + count - 1);
        multiply_small([count, padded(seen), width], job.q.rows(batch, head, query), k, p, false);
        for i in 0..count {
            let (mask, step) = job.mask_row(batch, head, query + i);
            let at = p.from(i).data;
            *sums.add(query + i) = softmax_row(at, seen, job.visible(query + i), job.scale, mask, step);
        }
        let out = to.rows(batch, head, query);
        multiply_small([count, width, seen], factor(p), v, Rows { data: out.data, row: out.row as usize }, false);
    }
    Ok(())
}

/// What the gradients of one key's heads are made from.
pub struct Gradients<'a> {
    pub g: &'a Operand,
    pub out: &'a Operand,
    pub log_sums: *const f32,
    pub dq: &'a Operand,
    pub dk: &'a Operand,
    pub dv: &'a Operand,
}

/// All gradients of the heads that share a key.
///
/// # Safety
/// Offsets are those of the operands, and nobody else computes these heads.
pub unsafe fn backward(job: &Job, [batch, kv]: [usize; 2], to: &Gradients) -> Result<(), Error> {
    let (keys, width) = (job.keys, job.width);
    let row = padded(keys);
    let kept = KEPT.min(job.queries.next_multiple_of(BLOCK));
    let memory = Scratch::new::<f32>(2 * kept * row + 2 * width * row + width * keys + 2 * width * kept)?;
    let p = Rows { data: memory.data(), row };
    let ds = p.from(kept);
    let [kt, vt] = [ds.from(kept).data, ds.from(kept).data.add(width * row)];
    let copies = vt.add(width * row);
    let (k, v) = (job.k.rows(batch, kv, 0), job.v.rows(batch, kv, 0));
    let (kt, vt) = (transposed(k, keys, width, kt), transposed(v, keys, width, vt));
    let k = dense(k, keys, width, copies);
    let [dk, dv] = [to.dk, to.dv].map(|operand| Rows { data: operand.rows(batch, kv, 0).data, row: width });
    for rows in [dk, dv] {
        std::slice::from_raw_parts_mut(rows.data, keys * width).fill(0.0);
    }
    for head in kv * job.shared..(kv + 1) * job.shared {
        let log_sums = to.log_sums.add((batch * job.heads + head) * job.queries);
        for first in (0..job.queries).step_by(KEPT) {
            let end = job.queries.min(first + KEPT);
            for query in (first..end).step_by(BLOCK) {
                let count = BLOCK.min(end - query);
                let seen = job.visible(query + count - 1);
                let (p, ds) = (p.from(query - first), ds.from(query - first));
                let (g, o) = (to.g.rows(batch, head, query), to.out.rows(batch, head, query));
                multiply_small([count, padded(seen), width], job.q.rows(batch, head, query), kt, p, false);
                multiply_small([count, padded(seen), width], g, vt, ds, false);
                for i in 0..count {
                    let visible = job.visible(query + i);
                    let (mask, step) = job.mask_row(batch, head, query + i);
                    let (p, ds) = (p.from(i).data, ds.from(i).data);
                    again_row(p, padded(seen), visible, job.scale, mask, step, *log_sums.add(query + i));
                    let at = i as isize;
                    let level = dot(g.data.offset(at * g.row), g.column, o.data.offset(at * o.row), o.column, width);
                    grad_row(p, ds, visible, level, job.scale);
                    std::slice::from_raw_parts_mut(ds.add(visible), padded(seen) - visible).fill(0.0);
                }
                let dq = to.dq.rows(batch, head, query);
                multiply_small(
                    [count, width, seen],
                    factor(ds),
                    k,
                    Rows { data: dq.data, row: dq.row as usize },
                    false,
                );
            }
            let q = dense(job.q.rows(batch, head, first), end - first, width, copies.add(width * keys));
            let g = dense(to.g.rows(batch, head, first), end - first, width, copies.add(width * (keys + kept)));
            // Each tile of keys from the first query on that sees one of them; their scores end with a block's last key.
            for key in (0..keys).step_by(BLOCK) {
                let count = BLOCK.min(keys - key);
                let begin = (first..end).find(|&query| job.visible(query) > key).unwrap_or(end) - first;
                let depth = end - first - begin;
                let sizes = [count, width, depth];
                for (scores, other, sum) in [(p, g, dv), (ds, q, dk)] {
                    let scores = Factor { data: scores.from(begin).data.add(key), row: 1, column: row as isize };
                    multiply_small(sizes, scores, other.from(begin), sum.from(key), true);
                }
            }
        }
    }
    Ok(())
}

/// Σ a b in eight doubles.
unsafe fn dot(a: *const f32, a_step: isize, b: *const f32, b_step: isize, count: usize) -> f32 {
    let mut sums = [0f64; 8];
    if a_step == 1 && b_step == 1 {
        for at in (0..count).step_by(8) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += *a.add(at + lane) as f64 * *b.add(at + lane) as f64;
            }
        }
    } else {
        for i in 0..count as isize {
            sums[i as usize % 8] += *a.offset(i * a_step) as f64 * *b.offset(i * b_step) as f64;
        }
    }
    sums.iter().sum::<f64>() as f32
}
