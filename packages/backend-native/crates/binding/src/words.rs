//! Calls as the words that src/engine.ts writes.

use nanoflux_kernels::{DType, Pool, View, MAX_RANK};

/// Most elements of a view: their bytes, and those of sums over them, are still numbers.
const MOST: usize = 1 << 48;

/// Reads words one after the other.
pub struct Words<'a> {
    words: &'a [f64],
    at: usize,
}

impl<'a> Words<'a> {
    pub fn new(words: &'a [f64]) -> Self {
        Words { words, at: 0 }
    }

    #[inline]
    pub fn next(&mut self) -> Result<f64, String> {
        let word = *self.words.get(self.at).ok_or("the call is cut short")?;
        self.at += 1;
        Ok(word)
    }

    #[inline]
    pub fn count(&mut self) -> Result<usize, String> {
        let word = self.next()?;
        let count = word as usize;
        // Neither NaN, which an unknown name would have become, nor a fraction.
        if count as f64 == word {
            Ok(count)
        } else {
            Err(format!("{word} is no count"))
        }
    }

    /// So many words as they are.
    pub fn list(&mut self, count: usize) -> Result<&'a [f64], String> {
        let list = self.words.get(self.at..self.at.saturating_add(count)).ok_or("the call is cut short")?;
        self.at += count;
        Ok(list)
    }

    /// A view: handle, dtype, offset, rank, whether it is contiguous, shape and, if it is not contiguous, strides. Written
    /// where it is kept, since views are large. Returns the handle.
    pub fn view(&mut self, pool: &Pool, view: &mut View) -> Result<u32, String> {
        let handle = self.count()?;
        let block = pool.block(handle).ok_or_else(|| format!("there is no buffer {handle}"))?;
        let dtype = DType::from_code(self.count()?).ok_or("there is no such dtype")?;
        let offset = self.count()?;
        let rank = self.count()?;
        let contiguous = self.next()? != 0.0;
        if rank > MAX_RANK {
            return Err(format!("{rank} dimensions, at most {MAX_RANK} are possible"));
        }
        view.dtype = dtype;
        view.rank = rank;
        view.data = block.data().wrapping_add(offset.wrapping_mul(dtype.bytes()));
        view.shape = [1; MAX_RANK];
        view.size = 1;
        for to in &mut view.shape[..rank] {
            *to = self.count()?;
            view.size =
                view.size.checked_mul(*to).filter(|&size| size <= MOST).ok_or("a view has too many elements")?;
        }
        view.strides = view.dense_strides();
        view.contiguous = true;
        if !contiguous {
            for (to, &stride) in view.strides.iter_mut().zip(self.list(rank)?) {
                *to = stride as isize;
                if *to as f64 != stride {
                    return Err(format!("{stride} is no stride"));
                }
            }
            view.update();
        }
        if view.size == 0 || !view.within(offset, block.bytes()) {
            return Err(format!("a view leaves buffer {handle}, or is empty"));
        }
        Ok(handle as u32)
    }
}
