//! Which vector instructions this processor has, and functions compiled once for each kind.

use std::sync::atomic::{AtomicU8, Ordering};

/// Kinds of processors that functions are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What every processor of the target has.
    Portable = 1,
    /// AVX2, fused multiply-add, and conversions of 16-bit floats (F16C).
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The best level this processor has.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        0 => detect(),
        1 => Level::Portable,
        2 => Level::Avx2,
        _ => Level::Avx512,
    }
}

#[cold]
fn detect() -> Level {
    let found = best();
    LEVEL.store(found as u8, Ordering::Relaxed);
    found
}

fn best() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let halves = is_x86_feature_detected!("f16c");
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && halves {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            return if wide { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Portable
}

/// Whether the processor multiplies bytes in 512-bit vectors (AVX-512 VNNI), and has the rest of [`Level::Avx512`].
#[cfg(target_arch = "x86_64")]
pub fn vnni() -> bool {
    level() == Level::Avx512 && is_x86_feature_detected!("avx512vnni")
}

/// `unsafe fn name(arguments) = body` defines a function that runs `body::<FMA>(arguments)` compiled for the processor at
/// hand. `body` is `#[inline(always)]`, as is all that should be vectorised in it; `FMA` says whether multiply-add is one
/// instruction. The function is as unsafe as its body, and for no other reason.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "as many as the body takes")]
        $vis unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
                #[allow(clippy::too_many_arguments, reason = "as many as the body takes")]
                unsafe fn avx512($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
                #[allow(clippy::too_many_arguments, reason = "as many as the body takes")]
                unsafe fn avx2($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                match $crate::level::level() {
                    $crate::level::Level::Avx512 => return avx512($($arg),*),
                    $crate::level::Level::Avx2 => return avx2($($arg),*),
                    $crate::level::Level::Portable => {}
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use multiversion;
