//! Threads of the pool that stay awake for a moment after work: waking one takes longer than many kernels do.
//!
//! They are jobs of Rayon's that look for what a caller has to share until nothing came for [`PATIENCE`]. One caller at a
//! time has them; others begin alone and are helped by threads of Rayon's that come in time ([`offer`]).

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{current, yield_now, Thread, ThreadId};
use std::time::{Duration, Instant};

/// How long a thread looks for further work.
const PATIENCE: Duration = Duration::from_micros(300);
/// Looks between two glances at the clock.
const LOOKS: usize = 64;

/// What a caller shares: it lives on the caller's stack.
struct Task<'a> {
    work: &'a (dyn Fn() + Sync),
    /// How many more threads may take part.
    seats: AtomicIsize,
    panicked: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// Whether a caller has the helpers.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The task of that caller, a `Task` in truth; null where there is none.
static TASK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
/// Changes with each task, so that a helper takes part once.
static ROUND: AtomicUsize = AtomicUsize::new(0);
/// Helpers that may be looking at the task.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Helpers that are awake, or will be.
static HELPERS: AtomicUsize = AtomicUsize::new(0);
/// The thread that never helps: JavaScript's, where it is one of the pool.
static CALLER: OnceLock<ThreadId> = OnceLock::new();

/// Keeps this thread from helping: it would look for work instead of going on with its own.
pub fn never_here() {
    let _ = CALLER.set(Thread::id(&current()));
}

/// Runs `work` here and on up to `helpers` threads that are awake, and has them woken if they are not. Returns when all are
/// done; false, with nothing done, where another caller has the helpers.
pub fn share(helpers: usize, work: &(impl Fn() + Sync)) -> bool {
    if BUSY.swap(true, SeqCst) {
        return false;
    }
    let task = Task { work, seats: AtomicIsize::new(helpers as isize), panicked: Mutex::new(None) };
    ROUND.fetch_add(1, SeqCst);
    TASK.store((&raw const task).cast_mut().cast(), SeqCst);
    while HELPERS.load(SeqCst) < helpers {
        HELPERS.fetch_add(1, SeqCst);
        rayon::spawn(help);
    }
    let own = catch_unwind(AssertUnwindSafe(work));
    TASK.store(std::ptr::null_mut(), SeqCst);
    // Whoever counted itself in before that may have the task; whoever does later finds none.
    let mut looks = 0;
    while INSIDE.load(SeqCst) > 0 {
        looks += 1;
        if looks % LOOKS == 0 {
            yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
    BUSY.store(false, SeqCst);
    let other = task.panicked.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(panic) = own.err().or(other) {
        resume_unwind(panic);
    }
    true
}

/// What a caller shares without those who are awake. It outlives the caller's turn, for threads that come too late.
struct Offer {
    /// On the caller's stack: only for those who came in before it closed.
    work: *const (dyn Fn() + Sync),
    /// Threads inside, and [`CLOSED`].
    inside: AtomicUsize,
    panicked: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// Nobody may come in any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

// SAFETY: `work` is `Sync`, and `take_part` says why it is alive where it is called.
unsafe impl Send for Offer {}
// SAFETY: as above.
unsafe impl Sync for Offer {}

impl Offer {
    fn take_part(&self) {
        // A count that came in after the end changes nothing.
        if self.inside.fetch_add(1, SeqCst) & CLOSED == 0 {
            // SAFETY: the caller waits, after it closed the offer, until all who came in before are out.
            let work = unsafe { &*self.work };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                *self.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
        }
        self.inside.fetch_sub(1, SeqCst);
    }
}

/// Runs `work` here, and on up to `helpers` threads of Rayon's that wake up before it is done. Nobody waits for one that has
/// not begun: with `rayon::join` a caller that is no thread of the pool would wait for one of the pool to do all of it, and
/// one that is would do others' work while it waits.
pub fn offer(helpers: usize, work: &(impl Fn() + Sync)) {
    let short: &(dyn Fn() + Sync) = work;
    // SAFETY: a lifetime alone is left out; `take_part` keeps to it.
    let work: *const (dyn Fn() + Sync) = unsafe { std::mem::transmute(short) };
    let offer = Arc::new(Offer { work, inside: AtomicUsize::new(0), panicked: Mutex::new(None) });
    for _ in 0..helpers {
        let offer = offer.clone();
        rayon::spawn(move || offer.take_part());
    }
    let own = catch_unwind(AssertUnwindSafe(short));
    let mut inside = offer.inside.fetch_or(CLOSED, SeqCst);
    let mut looks = 0;
    while inside & !CLOSED > 0 {
        looks += 1;
        if looks % LOOKS == 0 {
            yield_now();
        } else {
            std::hint::spin_loop();
        }
        inside = offer.inside.load(SeqCst);
    }
    let other = offer.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = own.err().or(other) {
        resume_unwind(panic);
    }
}

/// Looks for tasks until none came for a while.
fn help() {
    let mut last = Instant::now();
    let mut round = 0;
    while CALLER.get() != Some(&current().id()) {
        for _ in 0..LOOKS {
            if !TASK.load(SeqCst).is_null() && ROUND.load(SeqCst) != round && enter(&mut round) {
                last = Instant::now();
            }
            std::hint::spin_loop();
        }
        if last.elapsed() > PATIENCE {
            break;
        }
        yield_now();
    }
    HELPERS.fetch_sub(1, SeqCst);
}

/// Takes part in the task, if it is still there; whether it was.
fn enter(round: &mut usize) -> bool {
    INSIDE.fetch_add(1, SeqCst);
    let task = TASK.load(SeqCst).cast::<Task>();
    let found = !task.is_null();
    if found {
        *round = ROUND.load(SeqCst);
        // SAFETY: the caller waits, after it took the task away, until nobody is inside; this thread was counted before it
        // found the task.
        let task = unsafe { &*task };
        if task.seats.fetch_sub(1, SeqCst) > 0 {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(task.work)) {
                *task.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
        }
    }
    INSIDE.fetch_sub(1, SeqCst);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::{parallel, start_pool};

    #[test]
    fn work_is_done_once_however_many_share() {
        start_pool(4, false);
        for round in 0..2000 {
            let sum = AtomicUsize::new(0);
            parallel(1 + round % 4, 16, 1e6, |part| {
                sum.fetch_add(part + 1, SeqCst);
            });
            assert_eq!(sum.into_inner(), 136);
        }
    }

    #[test]
    fn several_callers_do_not_wait_for_each_other() {
        start_pool(4, false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicUsize::new(0);
                        parallel(3, 8, 1e6, |part| {
                            sum.fetch_add(part, SeqCst);
                        });
                        assert_eq!(sum.into_inner(), 28);
                    }
                });
            }
        });
    }

    #[test]
    fn an_offer_is_done_once_and_ends_with_its_caller() {
        start_pool(4, false);
        for round in 0..2000 {
            let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            offer(round % 4, &|| loop {
                let part = next.fetch_add(1, SeqCst);
                if part >= 16 {
                    return;
                }
                sum.fetch_add(part + 1, SeqCst);
            });
            assert_eq!(sum.into_inner(), 136);
        }
        // Whoever comes late finds it closed; a panic of any thread comes out here.
        for bad in [0, 15] {
            let next = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                offer(3, &|| {
                    while let part @ 0..16 = next.fetch_add(1, SeqCst) {
                        assert!(part != bad, "planted")
                    }
                })
            }));
            assert!(result.is_err());
        }
    }

    #[test]
    fn a_panic_anywhere_reaches_the_caller() {
        start_pool(4, false);
        for bad in [0, 15] {
            let result = catch_unwind(|| parallel(4, 16, 1e6, |part| assert!(part != bad, "planted")));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        parallel(4, 8, 1e6, |part| {
            sum.fetch_add(part, SeqCst);
        });
        assert_eq!(sum.into_inner(), 28);
    }
}
