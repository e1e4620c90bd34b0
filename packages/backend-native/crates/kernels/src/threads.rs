//! Sharing work out over the one thread pool of the process.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::OnceLock;

use crate::awake;
use crate::call::Error;
use crate::memory::forget_scratch;

/// Work below this many nanoseconds is not shared.
const SERIAL_NS: f64 = 8000.0;
/// Most parts that work is cut into.
const MOST_PARTS: usize = 64;

static POOL: OnceLock<usize> = OnceLock::new();

/// Starts the pool, once a process; later calls change nothing. Returns its number of threads.
///
/// `threads` is what is wanted at least. `this_thread` makes the calling thread one of them, which makes handing work over
/// cheap; only for a thread that lives as long as the process. There are eight threads at least: a later backend may ask for
/// more than the first did, and the pool does not grow.
pub fn start_pool(threads: usize, this_thread: bool) -> usize {
    *POOL.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let size = threads.max(cores).max(8);
        let mut builder =
            rayon::ThreadPoolBuilder::new().num_threads(size).thread_name(|index| format!("nanoflux-{index}"));
        if this_thread {
            builder = builder.use_current_thread();
            awake::never_here();
        }
        // Whoever started rayon's pool before has decided on its size.
        let _ = builder.build_global();
        rayon::current_num_threads()
    })
}

/// Lets go of the scratch memory that this thread and those of the pool keep: here at once, there as soon as they look for
/// work. Nobody waits for them: a thread of the pool may be JavaScript's, and be busy there.
pub fn release_scratch() {
    forget_scratch();
    if pool_threads() > 0 {
        rayon::spawn_broadcast(|_| forget_scratch());
    }
}

/// Threads of the pool, 0 before it is started.
pub fn pool_threads() -> usize {
    POOL.get().copied().unwrap_or(0)
}

/// Runs `part(0)` … `part(parts - 1)`, on at most `threads` threads, where `nanoseconds` (a guess of the whole work on one
/// thread) make that worth while.
///
/// How work is cut must follow from shapes alone, and partial results must be added in a fixed order: the same bits come
/// out for any number of threads. Parts must not call this again.
pub fn parallel(threads: usize, parts: usize, nanoseconds: f64, part: impl Fn(usize) + Sync) {
    if parts <= 1 || threads <= 1 || nanoseconds < SERIAL_NS || pool_threads() < 2 {
        for index in 0..parts {
            part(index);
        }
        return;
    }
    let next = AtomicUsize::new(0);
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= parts {
            return;
        }
        part(index);
    };
    // Handing work over costs some microseconds at worst: as many threads as have that much to do.
    let useful = (nanoseconds / (SERIAL_NS / 2.0)) as usize;
    let threads = threads.min(parts).min(useful.max(2));
    if !awake::share(threads - 1, &work) {
        awake::offer(threads - 1, &work);
    }
}

/// Parts for `n` items, at least `grain` items each.
pub fn parts_of(n: usize, grain: usize) -> usize {
    n.div_ceil(grain.max(1)).clamp(1, MOST_PARTS)
}

/// The items of one part: equal shares, cut at multiples of `align`.
pub fn part_range(n: usize, parts: usize, part: usize, align: usize) -> Range<usize> {
    let units = n.div_ceil(align);
    let begin = units * part / parts * align;
    let end = units * (part + 1) / parts * align;
    begin.min(n)..end.min(n)
}

/// What went wrong inside of parts: the first fault counts.
#[derive(Default)]
pub struct Fault {
    check: AtomicU32,
    error: OnceLock<Error>,
}

impl Fault {
    /// A check of a program failed.
    pub fn check(&self, code: u32) {
        let _ = self.check.compare_exchange(0, code + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A part could not be done at all.
    pub fn error(&self, error: Error) {
        let _ = self.error.set(error);
    }

    /// The result of a call.
    pub fn result(&self) -> Result<(), Error> {
        if let Some(error) = self.error.get() {
            return Err(error.clone());
        }
        match self.check.load(Ordering::Relaxed) {
            0 => Ok(()),
            code => Err(Error::Check(code - 1)),
        }
    }
}

/// A pointer that parts on several threads share, each for elements of its own.
#[derive(Clone, Copy)]
pub struct Shared<T>(*mut T);
// SAFETY: it is only a number; every dereference says why its elements have one writer.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(pointer: *mut T) -> Self {
        Shared(pointer)
    }

    /// The pointer. A method, so that closures capture the whole and not its field.
    pub fn get(&self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for n in [1, 5, 64, 1000, 1001] {
            for parts in [1, 3, 64] {
                for align in [1, 16] {
                    let mut next = 0;
                    for part in 0..parts {
                        let range = part_range(n, parts, part, align);
                        assert!(range.is_empty() || range.start == next);
                        next = next.max(range.end);
                    }
                    assert_eq!(next, n);
                }
            }
        }
    }

    #[test]
    fn the_first_fault_stays_what_it_was() {
        let fault = Fault::default();
        assert_eq!(fault.result(), Ok(()));
        fault.check(3);
        assert_eq!(fault.result(), Err(Error::Check(3)));
        fault.error(Error::Invalid("no".into()));
        fault.error(Error::OutOfMemory(8));
        assert_eq!(fault.result(), Err(Error::Invalid("no".into())));
    }

    #[test]
    fn all_parts_run_on_several_threads() {
        start_pool(4, false);
        let sum = AtomicUsize::new(0);
        parallel(4, 64, 1e6, |part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 64 * 63 / 2);
    }
}
