//! Memory, programs and threads of one backend.

use nanoflux_kernels::{self as kernels, Call, Kernel, Pool, Program, Refusal, View};
use napi::bindgen_prelude::Float64Array;

use crate::words::Words;

pub struct Engine {
    pool: Pool,
    programs: Vec<Option<Program>>,
    words: Float64Array,
    threads: usize,
    views: Vec<View>,
}

impl Engine {
    pub fn new(max_bytes: f64, threads: usize, words: Float64Array) -> Engine {
        // Infinity becomes the greatest number there is.
        Engine { pool: Pool::new(max_bytes as usize), programs: Vec::new(), words, threads, views: Vec::new() }
    }

    pub fn attach(&mut self, words: Float64Array) {
        self.words = words;
    }

    pub fn allocate(&mut self, bytes: f64) -> i32 {
        match self.pool.allocate(bytes as usize) {
            Ok(handle) => handle as i32,
            Err(Refusal::Limit) => -1,
            Err(Refusal::Machine) => -2,
        }
    }

    pub fn free(&mut self, handle: u32) -> Result<(), String> {
        if self.pool.free(handle) {
            Ok(())
        } else {
            Err(format!("there is no buffer {handle}"))
        }
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

    pub fn write(&mut self, handle: u32, offset: usize, bytes: &[u8]) -> Result<(), String> {
        let to = self.range(handle, offset, bytes.len())?;
        // SAFETY: the range lies in the block, which is no memory of JavaScript's, and no call is under way.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    pub fn read(&self, handle: u32, offset: usize, into: &mut [u8]) -> Result<(), String> {
        let from = self.range(handle, offset, into.len())?;
        // SAFETY: as in `write`. What was never written may be anything, bytes included.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    pub fn register(&mut self, program: usize, words: &[f64]) -> Result<(), String> {
        let decoded = Program::decode(words)?;
        if self.programs.len() <= program {
            let more = program + 1 - self.programs.len();
            self.programs.try_reserve(more).map_err(|_| "there is no room for the program")?;
            self.programs.resize_with(program + 1, || None);
        }
        self.programs[program] = Some(decoded);
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
        self.views.clear();
        let views = inputs.saturating_add(outputs);
        if self.views.try_reserve(views).is_err() {
            return Ok(self.out_of_memory(views.saturating_mul(size_of::<View>())));
        }
        for _ in 0..views {
            self.views.push(words.view(&self.pool)?);
        }
        let program = match program {
            0 => None,
            id => Some(self.programs.get(id - 1).and_then(Option::as_ref).ok_or("the program is not registered")?),
        };
        let (inputs, outputs) = self.views.split_at(inputs);
        if outputs.is_empty() {
            return Err("a call has outputs".into());
        }
        let call = Call { inputs, outputs, attributes, params, program, threads: self.threads };
        // SAFETY: all views lie within blocks of this engine, which live on: `&mut self` keeps them until the call
        // returns, and nobody else has their addresses. How outputs may overlap is core's promise.
        match unsafe { kernels::run(kernel, &call) } {
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
