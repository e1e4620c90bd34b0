//! Memory, programs and threads of one backend.

use std::sync::Arc;

use nanoflux_kernels::{self as kernels, Call, DType, Kernel, Pool, Program, Queue, Refusal, Reply, View};
use napi::bindgen_prelude::Float64Array;

use crate::orders::Orders;
use crate::pins::{Look, Pins};
use crate::task;
use crate::words::Words;

const SYNCHRONOUS: &str = "the engine's calls are not run later";

pub struct Engine {
    pool: Pool,
    programs: Vec<Option<Arc<Program>>>,
    words: Float64Array,
    threads: usize,
    /// Those of the call under way come first; the rest are left of larger calls.
    views: Vec<View>,
    /// Their buffers.
    handles: Vec<u32>,
    orders: Orders,
    /// Where calls go that are not done at once.
    queue: Option<Queue>,
    pins: Pins,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end(Box::new(|_| ()));
    }
}

impl Engine {
    pub fn new(max_bytes: f64, threads: usize, words: Float64Array) -> Engine {
        // Infinity becomes the greatest number there is.
        let pool = Pool::new(max_bytes as usize);
        Engine {
            pool,
            programs: Vec::new(),
            words,
            threads,
            views: Vec::new(),
            handles: Vec::new(),
            orders: Orders::default(),
            queue: None,
            pins: Pins::default(),
        }
    }

    pub fn attach(&mut self, words: Float64Array) {
        self.words = words;
    }

    /// From here on calls run later, on a thread of their own.
    pub fn defer(&mut self) -> Result<(), String> {
        self.queue = Some(Queue::new()?);
        Ok(())
    }

    /// Whether calls are under way.
    pub fn busy(&self) -> bool {
        self.queue.as_ref().is_some_and(Queue::busy)
    }

    /// Copies bytes out of a buffer once all calls before are done. `make` makes who is told, where nothing is wrong: one
    /// that nobody answers would keep the process from ending.
    pub fn read_later<T>(
        &mut self,
        handle: u32,
        offset: usize,
        bytes: usize,
        make: impl FnOnce() -> Result<(Reply, T), String>,
    ) -> Result<T, String> {
        let from = self.range(handle, offset, bytes)?;
        self.settle(handle);
        let queue = self.queue.as_ref().ok_or(SYNCHRONOUS)?;
        let (reply, answer) = make()?;
        // SAFETY: the range lies in a block, and blocks of this engine go back through its queue.
        unsafe { queue.read(from, bytes, reply) };
        Ok(answer)
    }

    /// Answers once all calls before are done.
    pub fn finish<T>(&self, make: impl FnOnce() -> Result<(Reply, T), String>) -> Result<T, String> {
        let queue = self.queue.as_ref().ok_or(SYNCHRONOUS)?;
        let (reply, answer) = make()?;
        queue.finish(reply);
        Ok(answer)
    }

    /// Gives all memory back, once the call under way is done.
    pub fn end(&mut self, reply: Reply) {
        let part = self.pins.part(&mut |handle| self.pool.take(handle));
        // The call under way may still use what is looked at.
        let reply: Reply = Box::new(move |result| {
            part();
            reply(result);
        });
        match self.queue.take() {
            Some(queue) => queue.close(std::mem::replace(&mut self.pool, Pool::new(0)), reply),
            None => reply(Ok(Vec::new())),
        }
    }

    /// The address of bytes of a buffer, which stay there until the look at them ends.
    pub fn look(
        &mut self,
        handle: u32,
        offset: usize,
        bytes: usize,
        number: u32,
    ) -> Result<(*mut u8, Arc<Look>), String> {
        let from = self.range(handle, offset, bytes)?;
        self.settle(handle);
        if let Some(queue) = &self.queue {
            queue.admit(from, bytes).map_err(|failure| task::text_of(&failure))?;
        }
        self.sweep();
        Ok((from, self.pins.look(handle, number)))
    }

    /// Ends a look.
    pub fn unlook(&mut self, number: u32) {
        if let Some(handle) = self.pins.end(number) {
            self.give_back(handle);
        }
    }

    /// Gives back what nobody looks at any more.
    fn sweep(&mut self) {
        if !self.pins.is_empty() {
            for handle in self.pins.sweep() {
                self.give_back(handle);
            }
        }
    }

    pub fn allocate(&mut self, bytes: f64) -> i32 {
        self.sweep();
        let mut result = self.pool.allocate(bytes as usize);
        if let Some(queue) = &self.queue {
            // What was given back may still be in use.
            let freed = queue.freed();
            if result.is_err() && freed > 0 {
                queue.wait();
                result = self.pool.allocate(bytes as usize);
            } else if freed > self.pool.limit() - self.pool.live() {
                queue.wait();
            }
        }
        match result {
            Ok(handle) => handle as i32,
            Err(Refusal::Limit) => -1,
            Err(Refusal::Machine) => -2,
        }
    }

    pub fn free(&mut self, handle: u32) -> Result<(), String> {
        if !self.pins.is_empty() && self.pins.hold(handle)? {
            return Ok(());
        }
        if self.give_back(handle) {
            Ok(())
        } else {
            Err(format!("there is no buffer {handle}"))
        }
    }

    /// Whether there was such a buffer.
    fn give_back(&mut self, handle: u32) -> bool {
        let block = self.pool.take(handle);
        self.orders.forget(handle);
        let found = block.is_some();
        if let (Some(queue), Some(block)) = (&self.queue, block) {
            queue.give_back(block);
        }
        found
    }

    pub fn live(&self) -> usize {
        self.pool.live()
    }

    /// The address of a range of a buffer.
    fn range(&self, handle: u32, offset: usize, bytes: usize) -> Result<*mut u8, String> {
        let block = self.pool.block(handle as usize).ok_or_else(|| format!("there is no buffer {handle}"))?;
        match offset.checked_add(bytes) {
            Some(end) if end <= block.bytes() => Ok(block.data().wrapping_add(offset)),
            _ => Err(format!("bytes {offset} and {bytes} more leave buffer {handle}")),
        }
    }

    /// Has a buffer's bytes lie as they were written.
    fn settle(&mut self, handle: u32) {
        // SAFETY: blocks of this engine go back through its queue, if there is one.
        unsafe { self.orders.settle(handle, self.threads, self.queue.as_ref()) };
    }

    pub fn write(&mut self, handle: u32, offset: usize, bytes: &[u8]) -> Result<(), String> {
        let to = self.range(handle, offset, bytes.len())?;
        let range = to as usize..to as usize + bytes.len();
        // SAFETY: blocks of this engine go back through its queue, if there is one.
        unsafe { self.orders.overwrite(handle, range, true, self.threads, self.queue.as_ref()) };
        if let Some(queue) = &self.queue {
            // SAFETY: the range lies in a block, and blocks of this engine go back through its queue.
            unsafe { queue.write(to, bytes) };
            return Ok(());
        }
        // SAFETY: the range lies in the block, which is no memory of JavaScript's, and no call is under way.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    pub fn read(&mut self, handle: u32, offset: usize, into: &mut [u8]) -> Result<(), String> {
        let from = self.range(handle, offset, into.len())?;
        self.settle(handle);
        if let Some(queue) = &self.queue {
            // SAFETY: the range lies in a block, and blocks of this engine go back through its queue.
            return unsafe { queue.read_now(from, into) }.map_err(|failure| task::text_of(&failure));
        }
        // SAFETY: as in `write`. What was never written may be anything, bytes included.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// `read` to the beginning of the words.
    pub fn peek(&mut self, handle: u32, offset: usize, bytes: usize) -> Result<(), String> {
        let to = self.staging(bytes)?;
        // SAFETY: `staging` has that many bytes, which nobody else looks at before this returns.
        self.read(handle, offset, unsafe { std::slice::from_raw_parts_mut(to, bytes) })
    }

    /// `write` from the beginning of the words.
    pub fn poke(&mut self, handle: u32, offset: usize, bytes: usize) -> Result<(), String> {
        let from = self.staging(bytes)?;
        // SAFETY: as in `peek`.
        self.write(handle, offset, unsafe { std::slice::from_raw_parts(from, bytes) })
    }

    /// The words as memory for so many bytes.
    fn staging(&mut self, bytes: usize) -> Result<*mut u8, String> {
        // SAFETY: JavaScript waits for this function, and nothing else looks at the array.
        let words = unsafe { self.words.as_mut() };
        if bytes <= size_of_val(words) {
            Ok(words.as_mut_ptr().cast())
        } else {
            Err(format!("{bytes} bytes are more than the words hold"))
        }
    }

    pub fn register(&mut self, program: usize, words: &[f64]) -> Result<(), String> {
        let decoded = Program::decode(words)?;
        if self.programs.len() <= program {
            let more = program + 1 - self.programs.len();
            self.programs.try_reserve(more).map_err(|_| "there is no room for the program")?;
            self.programs.resize_with(program + 1, || None);
        }
        self.programs[program] = Some(Arc::new(decoded));
        Ok(())
    }

    /// Words of a call: scratch bytes asked for (out), program's number + 1 or 0, number of inputs, outputs, attributes
    /// and params, then attributes, params, views.
    pub fn run(&mut self, kernel: usize) -> Result<i32, String> {
        let kernel = Kernel::from_code(kernel).ok_or_else(|| format!("there is no kernel {kernel}"))?;
        let mut words = Words::new(&self.words);
        words.next()?;
        let program = words.count()?;
        let (inputs, outputs) = (words.count()?, words.count()?);
        let (attributes, params) = (words.count()?, words.count()?);
        let attributes = words.list(attributes)?;
        let params = words.list(params)?;
        let views = inputs.saturating_add(outputs);
        if views > self.views.len() {
            let more = views - self.views.len();
            if self.views.try_reserve(more).is_err() || self.handles.try_reserve(more).is_err() {
                return Ok(self.out_of_memory(views.saturating_mul(size_of::<View>())));
            }
            self.views.resize(views, View::dense(DType::F32, std::ptr::null_mut(), &[]));
            self.handles.resize(views, 0);
        }
        for (view, handle) in self.views[..views].iter_mut().zip(&mut self.handles) {
            *handle = words.view(&self.pool, view)?;
        }
        let registered = match program {
            0 => None,
            id => Some(self.programs.get(id - 1).and_then(Option::as_ref).ok_or("the program is not registered")?),
        };
        let (inputs, outputs) = self.views[..views].split_at(inputs);
        if outputs.is_empty() {
            return Err("a call has outputs".into());
        }
        let mut call =
            Call { inputs, outputs, attributes, params, program: registered.map(|one| &**one), threads: self.threads };
        if kernel == Kernel::QuantizedMatmul && attributes.iter().any(|&format| format > 1.0) {
            return Err("there is no such format".into());
        }
        // What panels are read with is said here alone.
        if kernel == Kernel::Gather && attributes.len() > 1 {
            return Err("gather has one attribute".into());
        }
        let queue = self.queue.as_ref();
        // SAFETY: all views lie within blocks of this engine, which go back through its queue, if there is one.
        let laid = unsafe { self.orders.prepare(kernel, &call, &self.handles[..views], &self.pins, queue) };
        if let Some(laid) = &laid {
            call.attributes = laid.attributes();
        }
        let done = match queue {
            // SAFETY: as above, and the blocks live on: `&mut self` keeps them until the call returns, and nobody else
            // has their addresses. How outputs may overlap is core's promise.
            None => unsafe { kernels::run(kernel, &call) },
            // SAFETY: as above, and blocks go back through the queue.
            Some(queue) => unsafe { queue.run(kernel, &call, registered.map(|one| (program - 1, one.clone()))) },
        };
        match done {
            Ok(()) => Ok(0),
            Err(kernels::Error::Check(code)) => Ok(code as i32 + 1),
            Err(kernels::Error::OutOfMemory(bytes)) => Ok(self.out_of_memory(bytes)),
            Err(kernels::Error::Invalid(message)) => Err(message),
        }
    }

    /// Says how many bytes were not to be had; returns what `run` returns then.
    fn out_of_memory(&mut self, bytes: usize) -> i32 {
        // SAFETY: JavaScript waits for this function, and nothing else looks at the array.
        if let Some(first) = unsafe { self.words.as_mut() }.first_mut() {
            *first = bytes as f64;
        }
        -1
    }
}

pub fn panic_on_purpose(in_pool: bool) {
    if in_pool {
        kernels::parallel(4, 16, 1e9, |part| assert!(part != 7, "a planted panic in the pool"));
    } else {
        panic!("a planted panic");
    }
}
