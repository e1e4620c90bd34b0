//! The kernels as a Node module: numbers in, numbers out. `src/binding.ts` says what each function is for.
//!
//! Every export catches panics, which become JavaScript errors (`scripts/check-exports.mjs` holds that): one that passed
//! into Node would end the process.

mod engine;
mod orders;
mod pins;
mod task;
mod words;

use std::cell::RefCell;

use engine::Engine;
use nanoflux_kernels as kernels;
use napi::bindgen_prelude::{ArrayBuffer, Float64Array, Object, Uint8Array};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;

thread_local! {
    // A backend belongs to the thread that made it, as everything in JavaScript does.
    static ENGINES: RefCell<Vec<Option<Engine>>> = const { RefCell::new(Vec::new()) };
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Status::InvalidArg, message.into())
}

fn with_engine<T>(id: u32, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
    ENGINES.with_borrow_mut(|engines| match engines.get_mut(id as usize) {
        Some(Some(engine)) => work(engine),
        _ => Err(invalid(format!("there is no engine {id}"))),
    })
}

/// Starts the thread pool of the process; returns its number of threads.
#[napi(catch_unwind)]
pub fn start(threads: u32, this_thread: bool) -> u32 {
    kernels::start_pool(threads as usize, this_thread) as u32
}

/// What the processor's vectors are.
#[napi(catch_unwind)]
pub fn level() -> String {
    match kernels::level() {
        kernels::Level::Avx512 => "avx512",
        kernels::Level::Avx2 => "avx2",
        kernels::Level::Portable => "portable",
    }
    .into()
}

/// Makes an engine: memory, programs and threads of one backend. `words` is where its calls are written.
#[napi(catch_unwind)]
pub fn open(max_bytes: f64, threads: u32, words: Float64Array) -> u32 {
    let engine = Engine::new(max_bytes, threads as usize, words);
    ENGINES.with_borrow_mut(|engines| match engines.iter().position(Option::is_none) {
        Some(id) => {
            engines[id] = Some(engine);
            id as u32
        }
        None => {
            engines.push(Some(engine));
            engines.len() as u32 - 1
        }
    })
}

/// Gives all of an engine's memory back, and what threads keep for the next call: those of the pool as soon as they look
/// for work.
#[napi(catch_unwind)]
pub fn close(engine: u32) {
    ENGINES.with_borrow_mut(|engines| {
        if let Some(slot) = engines.get_mut(engine as usize) {
            *slot = None;
        }
    });
    kernels::release_scratch();
}

/// Takes another array for the calls of an engine.
#[napi(catch_unwind)]
pub fn attach(engine: u32, words: Float64Array) -> Result<()> {
    with_engine(engine, |engine| {
        engine.attach(words);
        Ok(())
    })
}

/// A new buffer's handle, or -1 above the engine's limit, or -2 where the machine has no room.
#[napi(catch_unwind)]
pub fn allocate(engine: u32, bytes: f64) -> Result<i32> {
    with_engine(engine, |engine| Ok(engine.allocate(bytes)))
}

/// Gives a buffer back.
#[napi(catch_unwind)]
pub fn free(engine: u32, handle: u32) -> Result<()> {
    with_engine(engine, |engine| engine.free(handle).map_err(invalid))
}

/// Bytes of live buffers.
#[napi(catch_unwind)]
pub fn live(engine: u32) -> Result<f64> {
    with_engine(engine, |engine| Ok(engine.live() as f64))
}

/// Copies bytes into a buffer.
#[napi(catch_unwind)]
pub fn write(engine: u32, handle: u32, offset: f64, bytes: Uint8Array) -> Result<()> {
    with_engine(engine, |engine| engine.write(handle, offset as usize, &bytes).map_err(invalid))
}

/// Copies bytes out of a buffer, as many as `into` holds.
#[napi(catch_unwind)]
pub fn read(engine: u32, handle: u32, offset: f64, mut into: Uint8Array) -> Result<()> {
    // SAFETY: JavaScript runs on this thread alone and waits for this function: nobody else touches the array.
    let into = unsafe { into.as_mut() };
    with_engine(engine, |engine| engine.read(handle, offset as usize, into).map_err(invalid))
}

/// Copies so many bytes of a buffer to the beginning of the words. To pass an array costs more than few bytes do.
#[napi(catch_unwind)]
pub fn peek(engine: u32, handle: u32, offset: f64, bytes: u32) -> Result<()> {
    with_engine(engine, |engine| engine.peek(handle, offset as usize, bytes as usize).map_err(invalid))
}

/// Copies so many bytes from the beginning of the words into a buffer.
#[napi(catch_unwind)]
pub fn poke(engine: u32, handle: u32, offset: f64, bytes: u32) -> Result<()> {
    with_engine(engine, |engine| engine.poke(handle, offset as usize, bytes as usize).map_err(invalid))
}

/// Bytes of a buffer where they are. They stay there until the array is collected, or let go with [`unlook`] by the number
/// that the caller chose.
#[napi(catch_unwind)]
pub fn look(engine: u32, handle: u32, offset: f64, bytes: f64, number: u32) -> Result<Uint8Array> {
    with_engine(engine, |engine| {
        let found = engine.look(handle, offset as usize, bytes as usize, number);
        let (data, look) = found.map_err(invalid)?;
        // SAFETY: the memory lies in a block that lives until the look ends, which is when the array has.
        Ok(unsafe { Uint8Array::with_external_data(data, bytes as usize, move |_, _| look.end()) })
    })
}

/// Ends a look whose array nobody can reach any more, since it was detached.
#[napi(catch_unwind)]
pub fn unlook(engine: u32, number: u32) -> Result<()> {
    with_engine(engine, |engine| {
        engine.unlook(number);
        Ok(())
    })
}

/// Takes the memory away from an array of [`look`]: its length is 0 from here on.
#[napi(catch_unwind)]
pub fn detach(buffer: ArrayBuffer) -> Result<()> {
    buffer.detach()
}

/// Registers a program under a number.
#[napi(catch_unwind)]
pub fn register(engine: u32, program: u32, words: Float64Array) -> Result<()> {
    with_engine(engine, |engine| engine.register(program as usize, &words).map_err(invalid))
}

/// Runs the call that was written: 0, or a failed check's code + 1, or -1 where scratch memory was not to be had; the
/// first word then holds how much.
#[napi(catch_unwind)]
pub fn run(engine: u32, kernel: u32) -> Result<i32> {
    with_engine(engine, |engine| engine.run(kernel as usize).map_err(invalid))
}

/// Runs an engine's calls later, on a thread of their own: `run` then gives 0 for a call that can be run.
#[napi(catch_unwind)]
pub fn defer(engine: u32) -> Result<()> {
    with_engine(engine, |engine| engine.defer().map_err(invalid))
}

/// Whether calls are under way.
#[napi(catch_unwind)]
pub fn busy(engine: u32) -> Result<bool> {
    with_engine(engine, |engine| Ok(engine.busy()))
}

/// The bytes of a buffer once all calls before are done; a failure of what made them as `task::text_of` writes it.
#[napi(catch_unwind)]
pub fn read_later<'env>(env: &'env Env, engine: u32, handle: u32, offset: f64, bytes: f64) -> Result<Object<'env>> {
    with_engine(engine, |engine| {
        let make = || task::promise(env);
        engine.read_later(handle, offset as usize, bytes as usize, make).map_err(invalid)
    })
}

/// Resolves once all calls before are done, or rejects with a failure that no read told of.
#[napi(catch_unwind)]
pub fn finish<'env>(env: &'env Env, engine: u32) -> Result<Object<'env>> {
    with_engine(engine, |engine| engine.finish(|| task::promise(env)).map_err(invalid))
}

/// Closes an engine whose calls run later: resolves once its memory was given back. What waits fails.
#[napi(catch_unwind)]
pub fn close_later<'env>(env: &'env Env, engine: u32) -> Result<Object<'env>> {
    let promise = with_engine(engine, |engine| {
        let (reply, promise) = task::promise(env).map_err(invalid)?;
        engine.end(reply);
        Ok(promise)
    });
    close(engine);
    promise
}

/// Bytes a nanosecond of passes over memory: for benchmarks.
#[napi(catch_unwind)]
pub fn read_rates(bytes: f64, threads: u32, passes: u32) -> Result<Vec<f64>> {
    kernels::read_rates(bytes as usize, threads as usize, passes as usize)
        .map_err(|error| invalid(format!("{error:?}")))
}

/// Panics, on this thread or on others of the pool: shows that a panic becomes an error.
#[napi(catch_unwind)]
pub fn panic_on_purpose(in_pool: bool) {
    engine::panic_on_purpose(in_pool);
}
