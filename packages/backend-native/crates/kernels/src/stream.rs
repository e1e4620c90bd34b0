//! How fast memory is read: what kernels that read a weight once are held against.

use crate::call::Error;
use crate::memory::Block;
use crate::threads::{parallel, part_range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Bytes a nanosecond (GB/s) of each of some passes over so many bytes, read in order by some threads of the pool.
///
/// # Errors
/// Where there is no room for them.
pub fn read_rates(bytes: usize, threads: usize, passes: usize) -> Result<Vec<f64>, Error> {
    let block = Block::new(bytes)?;
    let count = block.bytes() / 8;
    // SAFETY: the block has as many bytes, all of which are written here.
    let words: &[u64] = unsafe {
        std::ptr::write_bytes(block.data(), 1, block.bytes());
        std::slice::from_raw_parts(block.data().cast(), count)
    };
    let mut rates = crate::memory::room(passes)?;
    for _ in 0..passes {
        let total = AtomicU64::new(0);
        let start = Instant::now();
        parallel(threads, 64, 1e9, |part| {
            let mut sums = [0u64; 16];
            for line in words[part_range(count, 64, part, 16)].chunks_exact(16) {
                for (sum, word) in sums.iter_mut().zip(line) {
                    *sum ^= word;
                }
            }
            total.fetch_xor(sums.iter().fold(0, |a, b| a ^ b), Ordering::Relaxed);
        });
        // The total is used, so that nothing is left out.
        std::hint::black_box(total.into_inner());
        rates.push(count as f64 * 8.0 / start.elapsed().as_nanos().max(1) as f64);
    }
    Ok(rates)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_pass_has_a_rate() {
        let rates = super::read_rates(1 << 20, 1, 3).unwrap();
        assert!(rates.len() == 3 && rates.iter().all(|rate| rate.is_finite() && *rate > 0.01));
        assert!(super::read_rates(usize::MAX / 2, 1, 1).is_err());
    }
}
