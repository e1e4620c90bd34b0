//! Sixteen floats at a time, in whatever vectors the processor has. Sums are made in the same order everywhere.

/// Sixteen lanes. All methods are inlined into functions that are compiled for the processor which has them.
pub trait Lanes: Copy {
    /// Registers of sixteen lanes.
    const REGISTERS: usize;
    /// # Safety
    /// The processor has the vectors, as for all below.
    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// Sixteen elements lie there, as for all loads and stores.
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn load_half(at: *const u16) -> Self;
    unsafe fn load_bfloat(at: *const u16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self * b + c
    unsafe fn madd(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    /// The sum of all lanes: of each with that eight further, then four, two, one.
    unsafe fn sum(self) -> f32;
}

/// An element type of a matrix.
pub trait Element: Copy {
    /// # Safety
    /// As for [`Lanes::load`].
    unsafe fn load<L: Lanes>(at: *const Self) -> L;
    fn widen(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const f32) -> L {
        L::load(at)
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

/// IEEE binary16 as its bits.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Half(pub u16);

impl Element for Half {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Half) -> L {
        L::load_half(at.cast())
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        crate::dtype::half_to_f32(self.0)
    }
}

/// bfloat16 as its bits.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Bfloat(pub u16);

impl Element for Bfloat {
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const Bfloat) -> L {
        L::load_bfloat(at.cast())
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        crate::dtype::bfloat_to_f32(self.0)
    }
}

/// For any processor. The compiler makes what vectors it can (NEON on aarch64).
#[derive(Clone, Copy)]
pub struct Plain([f32; 16]);

impl Lanes for Plain {
    const REGISTERS: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Plain {
        Plain([0.0; 16])
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Plain {
        Plain([value; 16])
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Plain {
        Plain(at.cast::<[f32; 16]>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn load_half(at: *const u16) -> Plain {
        Plain(at.cast::<[u16; 16]>().read_unaligned().map(crate::dtype::half_to_f32))
    }
    #[inline(always)]
    unsafe fn load_bfloat(at: *const u16) -> Plain {
        Plain(at.cast::<[u16; 16]>().read_unaligned().map(crate::dtype::bfloat_to_f32))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        to.cast::<[f32; 16]>().write_unaligned(self.0);
    }
    #[inline(always)]
    unsafe fn madd(self, b: Plain, c: Plain) -> Plain {
        const FUSED: bool = cfg!(target_arch = "aarch64");
        Plain(std::array::from_fn(|i| crate::math::madd::<FUSED>(self.0[i], b.0[i], c.0[i])))
    }
    #[inline(always)]
    unsafe fn add(self, b: Plain) -> Plain {
        Plain(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut lanes = self.0;
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        lanes[0]
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    #[inline(always)]
    unsafe fn sum8(v: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
    }

    /// AVX-512.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const REGISTERS: usize = 32;
        #[inline(always)]
        unsafe fn zero() -> Avx512 {
            Avx512(_mm512_setzero_ps())
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Avx512 {
            Avx512(_mm512_set1_ps(value))
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Avx512 {
            Avx512(_mm512_loadu_ps(at))
        }
        #[inline(always)]
        unsafe fn load_half(at: *const u16) -> Avx512 {
            Avx512(_mm512_cvtph_ps(_mm256_loadu_si256(at.cast())))
        }
        #[inline(always)]
        unsafe fn load_bfloat(at: *const u16) -> Avx512 {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm512_storeu_ps(to, self.0);
        }
        #[inline(always)]
        unsafe fn madd(self, b: Avx512, c: Avx512) -> Avx512 {
            Avx512(_mm512_fmadd_ps(self.0, b.0, c.0))
        }
        #[inline(always)]
        unsafe fn add(self, b: Avx512) -> Avx512 {
            Avx512(_mm512_add_ps(self.0, b.0))
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            sum8(_mm256_add_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)))
        }
    }

    /// AVX2 with fused multiply-add and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    impl Lanes for Avx2 {
        const REGISTERS: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Avx2 {
            Avx2(_mm256_setzero_ps(), _mm256_setzero_ps())
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Avx2 {
            Avx2(_mm256_set1_ps(value), _mm256_set1_ps(value))
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Avx2 {
            Avx2(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)))
        }
        #[inline(always)]
        unsafe fn load_half(at: *const u16) -> Avx2 {
            let part = |i: usize| _mm256_cvtph_ps(_mm_loadu_si128(at.add(i).cast()));
            Avx2(part(0), part(8))
        }
        #[inline(always)]
        unsafe fn load_bfloat(at: *const u16) -> Avx2 {
            let part = |i: usize| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.add(i).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            Avx2(part(0), part(8))
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
        #[inline(always)]
        unsafe fn madd(self, b: Avx2, c: Avx2) -> Avx2 {
            Avx2(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1))
        }
        #[inline(always)]
        unsafe fn add(self, b: Avx2) -> Avx2 {
            Avx2(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1))
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            sum8(_mm256_add_ps(self.0, self.1))
        }
    }
}
