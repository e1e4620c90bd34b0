//! Engines whose calls run on a thread of their own: how answers and failures reach JavaScript.

use nanoflux_kernels::{Error, Failure, Reply};
use napi::bindgen_prelude::{Object, Uint8Array};
use napi::{Env, Result};

use crate::invalid;

type Resolver = Box<dyn FnOnce(Env) -> Result<Uint8Array> + Send>;

/// A promise of bytes, and what settles it from another thread.
pub fn promise(env: &Env) -> std::result::Result<(Reply, Object<'_>), String> {
    let made = env.create_deferred::<Uint8Array, Resolver>();
    let (deferred, promise) = made.map_err(|error| error.reason.to_string())?;
    let reply: Reply = Box::new(move |result| match result {
        Ok(bytes) => deferred.resolve(Box::new(move |_| Ok(bytes.into()))),
        Err(failure) => deferred.reject(invalid(text_of(&failure))),
    });
    Ok((reply, promise))
}

/// A failure as `failureOf` in src/async.ts reads it: its kind, the kernel's number, the program's number + 1 or 0, a
/// number that belongs to the kind, and a text.
pub fn text_of(failure: &Failure) -> String {
    match failure {
        Failure::Call { kernel, program, error } => {
            let (kernel, program) = (*kernel as u8, program.map_or(0, |number| number + 1));
            match error {
                Error::Check(code) => format!("late check {kernel} {program} {code}"),
                Error::OutOfMemory(bytes) => format!("late memory {kernel} {program} {bytes}"),
                Error::Invalid(message) => format!("late other {kernel} {program} 0 {message}"),
            }
        }
        Failure::OutOfMemory(bytes) => format!("late read 0 0 {bytes}"),
        Failure::Closed => "late closed 0 0 0".into(),
    }
}
