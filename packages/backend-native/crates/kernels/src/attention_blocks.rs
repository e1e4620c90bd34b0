//! Attention by blocks of queries, whose products go through `gemm`: for what `attention_tiles.rs` does not take.

use crate::attention::{again_row, grad_row, softmax_row, Job, Operand};
use crate::attention_tiles::Gradients;
use crate::product::{multiply, Factor};

/// Queries that are done together.
pub const BLOCK: usize = 64;

fn transposed(of: Factor<f32>) -> Factor<f32> {
    Factor { data: of.data, row: of.column, column: of.row }
}

fn block(data: *mut f32, width: usize) -> Factor<f32> {
    Factor { data, row: width as isize, column: 1 }
}

/// One block of queries of one head.
///
/// # Safety
/// The operands are those of the job, nobody else writes these rows, and `p` has room for [`BLOCK`] rows of keys.
pub unsafe fn forward(job: &Job, [batch, head]: [usize; 2], query: usize, to: &Operand, sums: *mut f32, p: *mut f32) {
    let count = BLOCK.min(job.queries - query);
    let seen = job.visible(query + count - 1);
    let out = to.rows(batch, head, query);
    let sums = sums.add((batch * job.heads + head) * job.queries + query);
    if seen == 0 {
        for i in 0..count {
            std::slice::from_raw_parts_mut(out.data.offset(i as isize * out.row), job.width).fill(0.0);
            *sums.add(i) = f32::NEG_INFINITY;
        }
        return;
    }
    let (q, kv) = (job.q.rows(batch, head, query), head / job.shared);
    let (k, v) = (job.k.rows(batch, kv, 0), job.v.rows(batch, kv, 0));
    multiply([count, seen, job.width], q, transposed(k), block(p, seen), false);
    for i in 0..count {
        let (mask, step) = job.mask_row(batch, head, query + i);
        *sums.add(i) = softmax_row(p.add(i * seen), seen, job.visible(query + i), job.scale, mask, step);
    }
    multiply([count, job.width, seen], block(p, seen), v, out, false);
}

/// Gradients of the heads that share a key.
///
/// # Safety
/// The operands are those of the job, nobody else writes these heads, and `p` has room for twice [`BLOCK`] rows of keys.
pub unsafe fn backward(job: &Job, [batch, kv]: [usize; 2], to: &Gradients, p: *mut f32) {
    let (k, v) = (job.k.rows(batch, kv, 0), job.v.rows(batch, kv, 0));
    let (dk, dv) = (to.dk.rows(batch, kv, 0), to.dv.rows(batch, kv, 0));
    for to in [dk, dv] {
        std::slice::from_raw_parts_mut(to.data, job.keys * job.width).fill(0.0);
    }
    let (ds, w) = (p.add(BLOCK * job.keys), job.width);
    for head in kv * job.shared..(kv + 1) * job.shared {
        for query in (0..job.queries).step_by(BLOCK) {
            let count = BLOCK.min(job.queries - query);
            let seen = job.visible(query + count - 1);
            let (q, dq) = (job.q.rows(batch, head, query), to.dq.rows(batch, head, query));
            let (g, o) = (to.g.rows(batch, head, query), to.out.rows(batch, head, query));
            if seen == 0 {
                std::slice::from_raw_parts_mut(dq.data, count * w).fill(0.0);
                continue;
            }
            let (scores, grads) = (block(p, seen), block(ds, seen));
            multiply([count, seen, w], q, transposed(k), scores, false);
            multiply([count, seen, w], g, transposed(v), grads, false);
            for i in 0..count {
                let row = query + i;
                let (mask, step) = job.mask_row(batch, head, row);
                let log_sum = *to.log_sums.add((batch * job.heads + head) * job.queries + row);
                again_row(p.add(i * seen), seen, job.visible(row), job.scale, mask, step, log_sum);
            }
            // dv takes p before dp becomes the gradient of the scores.
            multiply([seen, w, count], transposed(scores), g, dv, true);
            for i in 0..count as isize {
                let term = |d: isize| {
                    *g.data.offset(i * g.row + d * g.column) as f64 * *o.data.offset(i * o.row + d * o.column) as f64
                };
                let level: f64 = (0..w as isize).map(term).sum();
                let at = i as usize * seen;
                grad_row(p.add(at), ds.add(at), seen, level as f32, job.scale);
            }
            multiply([count, w, seen], grads, k, dq, false);
            multiply([seen, w, count], transposed(grads), q, dk, true);
        }
    }
}
