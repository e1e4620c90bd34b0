//! Memory that may be missing. Whatever a call's sizes decide on is allocated here, and fails with an error.

use std::alloc::{alloc, dealloc, Layout};
use std::cell::RefCell;

use crate::call::Error;

/// Blocks begin at multiples of this, and sizes are rounded up to it.
const ALIGN: usize = 64;
/// A huge page, where the system has them.
const HUGE: usize = 2 << 20;

/// One aligned block of uninitialised memory.
pub struct Block {
    data: *mut u8,
    bytes: usize,
}

// SAFETY: a block owns its memory; nothing in it belongs to a thread.
unsafe impl Send for Block {}

impl Block {
    /// At least so many bytes, or an error where there is no room.
    pub fn new(bytes: usize) -> Result<Block, Error> {
        let Some(layout) = layout_of(bytes) else {
            return Err(Error::OutOfMemory(bytes));
        };
        // SAFETY: the layout's size is not 0.
        let data = unsafe { alloc(layout) };
        if data.is_null() {
            return Err(Error::OutOfMemory(bytes));
        }
        prefer_huge_pages(data, &layout);
        Ok(Block { data, bytes: layout.size() })
    }

    pub fn data(&self) -> *mut u8 {
        self.data
    }

    /// Size, rounded up as it was allocated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn layout_of(bytes: usize) -> Option<Layout> {
    let rounded = bytes.max(1).checked_next_multiple_of(ALIGN)?;
    // Large blocks begin with a huge page.
    let align = if rounded >= 2 * HUGE { HUGE } else { ALIGN };
    Layout::from_size_align(rounded, align).ok()
}

/// Asks for huge pages under a large block: a weight that is read once passes 512 times as many of the others, and finding
/// each in memory costs most where the machine is a virtual one. They come into being faster, too. Where there are none,
/// nothing changes.
fn prefer_huge_pages(data: *mut u8, layout: &Layout) {
    #[cfg(target_os = "linux")]
    if layout.align() == HUGE {
        extern "C" {
            fn madvise(address: *mut u8, length: usize, advice: i32) -> i32;
        }
        const MADV_HUGEPAGE: i32 = 14;
        // SAFETY: advice about whole pages of a block that nobody has yet; memory stays what it is.
        unsafe { madvise(data, layout.size() / HUGE * HUGE, MADV_HUGEPAGE) };
    }
    let _ = (data, layout);
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = layout_of(self.bytes) {
            // SAFETY: allocated with this very layout, in `new`.
            unsafe { dealloc(self.data, layout) };
        }
    }
}

/// An empty list with room for so many, or an error where there is none.
pub fn room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    match list.try_reserve_exact(count) {
        Ok(()) => Ok(list),
        Err(_) => Err(Error::OutOfMemory(count.saturating_mul(size_of::<T>()))),
    }
}

/// Buffers by handle: the memory of one backend instance.
pub struct Pool {
    slots: Vec<Option<Block>>,
    idle: Vec<u32>,
    live: usize,
    limit: usize,
}

/// Why a buffer was not to be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More than the limit.
    Limit,
    /// More than the machine gives.
    Machine,
}

impl Pool {
    /// A pool of at most `limit` bytes.
    pub fn new(limit: usize) -> Pool {
        Pool { slots: Vec::new(), idle: Vec::new(), live: 0, limit }
    }

    /// A new buffer's handle.
    pub fn allocate(&mut self, bytes: usize) -> Result<u32, Refusal> {
        let rounded = bytes.max(1).checked_next_multiple_of(ALIGN).ok_or(Refusal::Machine)?;
        if rounded > self.limit - self.live.min(self.limit) {
            return Err(Refusal::Limit);
        }
        // Room for giving every buffer back too: `free` allocates nothing.
        let returns = self.slots.len() + 1 - self.idle.len();
        if self.slots.try_reserve(1).is_err() || self.idle.try_reserve(returns).is_err() {
            return Err(Refusal::Machine);
        }
        let block = Block::new(bytes).map_err(|_| Refusal::Machine)?;
        self.live += block.bytes();
        let handle = self.idle.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[handle as usize] = Some(block);
        Ok(handle)
    }

    /// Gives a buffer back; whether there was one.
    pub fn free(&mut self, handle: u32) -> bool {
        self.take(handle).is_some()
    }

    /// Takes a buffer out: its memory goes back when the block is dropped.
    pub fn take(&mut self, handle: u32) -> Option<Block> {
        let block = self.slots.get_mut(handle as usize).and_then(Option::take)?;
        self.live -= block.bytes();
        self.idle.push(handle);
        Some(block)
    }

    /// A buffer that is alive.
    #[inline]
    pub fn block(&self, handle: usize) -> Option<&Block> {
        self.slots.get(handle)?.as_ref()
    }

    /// Bytes that may be in use.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes in use.
    pub fn live(&self) -> usize {
        self.live
    }
}

/// Most bytes of scratch memory that one thread keeps from call to call.
const MOST_KEPT: usize = 256 << 20;

thread_local! {
    static KEPT: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Gives back what this thread keeps.
pub fn forget_scratch() {
    KEPT.with_borrow_mut(Vec::clear);
}

/// Memory for the time of a call. It is kept for the next one: fresh pages are slow.
pub struct Scratch {
    block: Option<Block>,
}

impl Scratch {
    /// Memory for `count` elements of a type whose bits may be anything.
    pub fn new<T: Copy>(count: usize) -> Result<Scratch, Error> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(Error::OutOfMemory(usize::MAX))?;
        let kept = KEPT.with_borrow_mut(|blocks| {
            let best = (0..blocks.len())
                .filter(|&i| blocks[i].bytes() >= bytes && blocks[i].bytes() / 4 <= bytes.max(1 << 14))
                .min_by_key(|&i| blocks[i].bytes())?;
            Some(blocks.swap_remove(best))
        });
        let block = match kept {
            Some(block) => block,
            None => Block::new(bytes)?,
        };
        Ok(Scratch { block: Some(block) })
    }

    pub fn data<T>(&self) -> *mut T {
        self.block.as_ref().map_or(std::ptr::null_mut(), |block| block.data().cast())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            KEPT.with_borrow_mut(|blocks| {
                let kept: usize = blocks.iter().map(Block::bytes).sum();
                if blocks.len() < 32 && kept + block.bytes() <= MOST_KEPT && blocks.try_reserve(1).is_ok() {
                    blocks.push(block);
                } else if kept > MOST_KEPT / 2 {
                    // Sizes have changed: what lies here is of no use.
                    blocks.clear();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_to_its_limit_and_reuses_handles() {
        let mut pool = Pool::new(256);
        let first = pool.allocate(100).unwrap();
        assert_eq!(pool.live(), 128);
        assert_eq!(pool.allocate(200), Err(Refusal::Limit));
        assert_eq!(pool.block(first as usize).unwrap().data() as usize % ALIGN, 0);
        assert!(pool.free(first));
        assert!(!pool.free(first));
        assert_eq!(pool.allocate(0).unwrap(), first);
        assert_eq!(pool.live(), 64);
    }

    #[test]
    fn large_blocks_begin_with_a_page_of_their_own() {
        let block = Block::new(2 * HUGE + 100).unwrap();
        assert_eq!((block.data() as usize % HUGE, block.bytes()), (0, 2 * HUGE + 128));
        // SAFETY: within the block.
        unsafe { block.data().add(2 * HUGE + 127).write(1) };
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let mut pool = Pool::new(usize::MAX);
        assert_eq!(pool.allocate(usize::MAX), Err(Refusal::Machine));
        assert_eq!(pool.allocate(isize::MAX as usize - 100), Err(Refusal::Machine));
        assert!(Scratch::new::<u64>(usize::MAX / 4).is_err());
        assert!(pool.allocate(10).is_ok());
    }
}
