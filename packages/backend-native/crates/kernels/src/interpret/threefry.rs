//! Random bits.

use super::Step;
use crate::program::Instruction;

/// Threefry2x32 with 20 rounds. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#[inline(always)]
fn threefry(k0: u32, k1: u32, c0: u32, c1: u32) -> (u32, u32) {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let keys = [k0, k1, 0x1bd1_1bda ^ k0 ^ k1];
    let mut x = c0.wrapping_add(keys[0]);
    let mut y = c1.wrapping_add(keys[1]);
    macro_rules! four {
        ($n:expr) => {
            four!(@ $n, 0);
            four!(@ $n, 1);
            four!(@ $n, 2);
            four!(@ $n, 3);
            x = x.wrapping_add(keys[$n % 3]);
            y = y.wrapping_add(keys[($n + 1) % 3]).wrapping_add($n as u32);
        };
        (@ $n:expr, $i:expr) => {
            x = x.wrapping_add(y);
            y = y.rotate_left(ROTATIONS[($n as usize - 1) % 2 * 4 + $i]) ^ x;
        };
    }
    four!(1);
    four!(2);
    four!(3);
    four!(4);
    four!(5);
    (x, y)
}

#[inline(always)]
pub unsafe fn threefry_body(step: &Step, one: &Instruction) {
    let [k0, k1, c0, c1] = one.args.map(|slot| step.get::<u32>(slot));
    let first = step.set::<u32>(one.dst);
    match one.extra {
        0 => {
            for i in 0..step.count {
                first[i] = threefry(k0[i], k1[i], c0[i], c1[i]).0;
            }
        }
        1 => {
            for i in 0..step.count {
                first[i] = threefry(k0[i], k1[i], c0[i], c1[i]).1;
            }
        }
        _ => {
            let second = step.set::<u32>(one.second);
            for i in 0..step.count {
                (first[i], second[i]) = threefry(k0[i], k1[i], c0[i], c1[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_has_the_published_vectors() {
        assert_eq!(threefry(0, 0, 0, 0), (0x6b200159, 0x99ba4efe));
        assert_eq!(threefry(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3), (0xc4923a9c, 0x483df7a0));
    }
}
