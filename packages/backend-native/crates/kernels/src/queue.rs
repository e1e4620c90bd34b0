//! Work that a thread of its own does, in order, while the thread that asked for it goes on.
//!
//! Commands hold addresses into blocks of a [`Pool`]. They stay valid because blocks that are given back while work is
//! under way go through the queue as well ([`Queue::give_back`]), and the pool itself ends in it ([`Queue::close`]).

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::call::{run, Call, Error, Kernel};
use crate::check::check;
pub use crate::failures::Failure;
use crate::failures::Failures;
use crate::memory::{room, Block, Pool};
use crate::program::Program;
use crate::quantized::Laying;
use crate::space::View;

/// Most commands that may wait; who has more waits with them.
const MOST_WAITING: usize = 4096;
/// Most bytes that may wait to be written.
const MOST_WRITTEN: usize = 64 << 20;

/// Receives what a command was asked for, on the queue's thread.
pub type Reply = Box<dyn FnOnce(Result<Vec<u8>, Failure>) + Send>;

/// A call that keeps all it needs.
struct Owned {
    kernel: Kernel,
    views: Vec<View>,
    inputs: usize,
    attributes: Vec<f64>,
    params: Vec<f64>,
    program: Option<(usize, Arc<Program>)>,
    threads: usize,
}

/// Bytes of a block, by address.
struct Place {
    data: *mut u8,
    bytes: usize,
}

// SAFETY: an address is a number. Its memory outlives the command that holds it, as the module says, and is used by the
// queue's thread alone while the command waits.
unsafe impl Send for Place {}

impl Place {
    fn range(&self) -> Range<usize> {
        self.data as usize..self.data as usize + self.bytes
    }
}

enum Command {
    Run(Owned),
    Lay(Laying),
    Write(Place, Vec<u8>),
    Read(Place, Reply),
    Free(Block),
    Finish(Reply),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Command>,
    /// Commands that wait or are under way.
    open: usize,
    /// Bytes of writes and of blocks given back among them.
    written: usize,
    freed: usize,
    closed: Option<(Pool, Reply)>,
    failures: Failures,
}

struct Shared {
    state: Mutex<State>,
    /// There is work.
    work: Condvar,
    /// A command is done.
    done: Condvar,
    closing: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that may panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue of one engine, and the thread that works on it until it is closed.
pub struct Queue {
    shared: Arc<Shared>,
}

impl Queue {
    /// A queue with its thread, or an error where the system gives none.
    pub fn new() -> Result<Queue, String> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        let worker = shared.clone();
        let made = std::thread::Builder::new().name("nanoflux-queue".into()).spawn(move || work(&worker));
        match made {
            Ok(_) => Ok(Queue { shared }),
            Err(error) => Err(format!("there is no thread for asynchronous work: {error}")),
        }
    }

    /// Whether something waits or is under way. Only the thread that pushes can make it so.
    pub fn busy(&self) -> bool {
        self.shared.lock().open > 0
    }

    /// Bytes of blocks that were given back and are still in use.
    pub fn freed(&self) -> usize {
        self.shared.lock().freed
    }

    /// Waits until nothing is under way.
    pub fn wait(&self) {
        drop(self.wait_for(0));
    }

    fn wait_for(&self, most: usize) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        while state.open > most {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn push(&self, command: Command) {
        let mut state = self.wait_for(MOST_WAITING);
        state.open += 1;
        match &command {
            Command::Write(_, bytes) => state.written += bytes.len(),
            Command::Free(block) => state.freed += block.bytes(),
            _ => {}
        }
        state.waiting.push_back(command);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Runs a call later. One that no kernel takes is refused at once. Failures call its program by the number beside it.
    ///
    /// # Safety
    /// What [`run`] asks for, until the call is done: blocks of its views are given back through this queue.
    pub unsafe fn run(&self, kernel: Kernel, call: &Call, program: Option<(usize, Arc<Program>)>) -> Result<(), Error> {
        check(kernel, call)?;
        let mut views = room(call.inputs.len() + call.outputs.len())?;
        views.extend_from_slice(call.inputs);
        views.extend_from_slice(call.outputs);
        self.push(Command::Run(Owned {
            kernel,
            views,
            inputs: call.inputs.len(),
            attributes: call.attributes.to_vec(),
            params: call.params.to_vec(),
            program,
            threads: call.threads,
        }));
        Ok(())
    }

    /// Lays a weight out anew. What failed to make some of its bytes belongs to the same bytes afterwards: for all but its
    /// products it is laid back before.
    ///
    /// # Safety
    /// As for [`Queue::write`]. The room for it is this queue's alone.
    pub unsafe fn lay(&self, laying: Laying) {
        self.push(Command::Lay(laying));
    }

    /// Copies bytes into a block, after all that was asked for before.
    ///
    /// # Safety
    /// The memory from `to` on is a block's, which is given back through this queue.
    pub unsafe fn write(&self, to: *mut u8, bytes: &[u8]) {
        let copied = match self.shared.lock() {
            state if state.open > 0 && state.written + bytes.len() <= MOST_WRITTEN => room(bytes.len()),
            _ => Err(Error::OutOfMemory(bytes.len())),
        };
        let place = Place { data: to, bytes: bytes.len() };
        match copied {
            Ok(mut list) => {
                list.extend_from_slice(bytes);
                self.push(Command::Write(place, list));
            }
            // Nothing is under way, or too much: then this thread waits, and writes itself.
            Err(_) => {
                let mut state = self.wait_for(0);
                // SAFETY: the memory is there, and nobody else uses it.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
                state.failures.clear(&place.range());
            }
        }
    }

    /// Copies bytes out of a block, once all that was asked for before is done.
    ///
    /// # Safety
    /// As for [`Queue::write`].
    pub unsafe fn read(&self, from: *mut u8, bytes: usize, reply: Reply) {
        self.push(Command::Read(Place { data: from, bytes }, reply));
    }

    /// The same for a caller that waits.
    ///
    /// # Safety
    /// As for [`Queue::write`].
    pub unsafe fn read_now(&self, from: *mut u8, into: &mut [u8]) -> Result<(), Failure> {
        let mut state = self.wait_for(0);
        let place = Place { data: from, bytes: into.len() };
        state.failures.admit(&place.range())?;
        // SAFETY: the memory is there, and nobody else uses it.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Waits until nothing is under way; fails where these bytes were not made.
    pub fn admit(&self, from: *mut u8, bytes: usize) -> Result<(), Failure> {
        self.wait_for(0).failures.admit(&Place { data: from, bytes }.range())
    }

    /// Gives a block back once nothing that was asked for before can use it.
    pub fn give_back(&self, block: Block) {
        if self.busy() {
            return self.push(Command::Free(block));
        }
        let place = Place { data: block.data(), bytes: block.bytes() };
        self.shared.lock().failures.clear(&place.range());
    }

    /// Answers once all that was asked for before is done, with what went wrong in it and nobody was told of.
    pub fn finish(&self, reply: Reply) {
        self.push(Command::Finish(reply));
    }

    /// Ends the queue: the call under way is finished, what waits is answered with [`Failure::Closed`], the pool's memory
    /// given back, and `reply` told.
    pub fn close(self, pool: Pool, reply: Reply) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.lock().closed = Some((pool, reply));
        self.shared.work.notify_one();
    }
}

fn work(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() && state.closed.is_none() {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let batch = mem::take(&mut state.waiting);
        let closed = state.closed.take();
        drop(state);
        for command in batch {
            let (mut written, mut freed) = (0, 0);
            match &command {
                Command::Write(_, bytes) => written = bytes.len(),
                Command::Free(block) => freed = block.bytes(),
                _ => {}
            }
            let closing = shared.closing.load(Ordering::Relaxed);
            let answer = if closing { refuse(command) } else { obey(shared, command) };
            let mut state = shared.lock();
            state.open -= 1;
            state.written -= written;
            state.freed -= freed;
            drop(state);
            shared.done.notify_all();
            // Who is answered must find the command done.
            if let Some((reply, result)) = answer {
                reply(result);
            }
        }
        if let Some((pool, reply)) = closed {
            drop(pool);
            return reply(Ok(Vec::new()));
        }
    }
}

/// Whom to tell, and what.
type Answer = (Reply, Result<Vec<u8>, Failure>);

fn refuse(command: Command) -> Option<Answer> {
    match command {
        Command::Read(_, reply) | Command::Finish(reply) => Some((reply, Err(Failure::Closed))),
        _ => None,
    }
}

fn obey(shared: &Shared, command: Command) -> Option<Answer> {
    match command {
        Command::Run(call) => run_call(shared, &call),
        Command::Lay(laying) => lay(shared, &laying),
        Command::Write(place, bytes) => {
            // SAFETY: `Queue::write` was promised that the memory is there.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place.data, place.bytes) };
            shared.lock().failures.clear(&place.range());
        }
        Command::Read(place, reply) => {
            let admitted = shared.lock().failures.admit(&place.range());
            return Some((reply, admitted.and_then(|()| copy_of(&place))));
        }
        Command::Free(block) => {
            let place = Place { data: block.data(), bytes: block.bytes() };
            shared.lock().failures.clear(&place.range());
        }
        Command::Finish(reply) => {
            let untold = shared.lock().failures.tell();
            return Some((reply, untold.map_or(Ok(Vec::new()), Err)));
        }
    }
    None
}

fn copy_of(place: &Place) -> Result<Vec<u8>, Failure> {
    let mut bytes = room(place.bytes).map_err(|_| Failure::OutOfMemory(place.bytes))?;
    // SAFETY: `Queue::read` was promised that the memory is there; the list has room for as much. What was never written
    // may be anything, bytes included.
    unsafe {
        ptr::copy_nonoverlapping(place.data, bytes.as_mut_ptr(), place.bytes);
        bytes.set_len(place.bytes);
    }
    Ok(bytes)
}

fn lay(shared: &Shared, laying: &Laying) {
    // SAFETY: `Queue::lay` was promised that the memory is there. Commands run one after the other.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { laying.run() }));
    if let Err(panic) = result {
        let error = Error::Invalid(text_of(&*panic));
        let failure = Failure::Call { kernel: Kernel::QuantizedMatmul, program: None, error };
        shared.lock().failures.add(&[], &[laying.view()], failure);
    }
}

fn run_call(shared: &Shared, owned: &Owned) {
    let (inputs, outputs) = owned.views.split_at(owned.inputs);
    let mut state = shared.lock();
    let also = if owned.kernel.keeps_outputs() { outputs } else { &[] };
    if state.failures.pass_on(inputs.iter().chain(also), outputs) {
        return;
    }
    drop(state);
    let program = owned.program.as_ref().map(|(_, program)| &**program);
    let call =
        Call { inputs, outputs, attributes: &owned.attributes, params: &owned.params, program, threads: owned.threads };
    // SAFETY: `Queue::run` was promised that the views' memory is there until now. Commands run one after the other.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { run(owned.kernel, &call) }));
    let result = result.unwrap_or_else(|panic| Err(Error::Invalid(text_of(&*panic))));
    let mut state = shared.lock();
    match result {
        Ok(()) => state.failures.written(outputs),
        Err(error) => {
            let program = owned.program.as_ref().map(|&(number, _)| number);
            state.failures.add(inputs, outputs, Failure::Call { kernel: owned.kernel, program, error });
        }
    }
}

/// What a panic said.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).into(),
        (_, Some(text)) => text.clone(),
        _ => "a panic".into(),
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
