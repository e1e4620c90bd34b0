//! Packs factors of bf16 products into panels of pairs along the depth; f32 is rounded on the way.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{mask16, Factor};
use crate::dtype::DType;

/// Packs one panel: for each pair along the depth W numbers of two halves, zeros where rows, columns or depth end. The last
/// vector may write up to 16 numbers where fewer are meant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2")]
pub(super) unsafe fn pack<const W: usize>(from: &Factor, across: Range<usize>, deep: &Range<usize>, to: *mut u32) {
    for v in 0..W.div_ceil(16) {
        let start = across.start + v * 16;
        let lanes = across.end.saturating_sub(start).min(16).min(W - v * 16);
        let to = to.add(v * 16);
        if from.along == 1 && deep.len() > 1 {
            pack_dense_depth::<W>(from, start, lanes, deep, to);
        } else {
            pack_lanes::<W>(from, start, lanes, deep, to);
        }
    }
}

/// Where what lies side by side is the depth: sixteen lines of 32 elements are turned round.
#[inline(always)]
unsafe fn pack_dense_depth<const W: usize>(
    from: &Factor,
    start: usize,
    lanes: usize,
    deep: &Range<usize>,
    to: *mut u32,
) {
    for at in (deep.start..deep.end).step_by(32) {
        let left = (deep.end - at).min(32);
        let mut lines = [_mm512_setzero_si512(); 16];
        for lane in 0..16 {
            if lane >= lanes {
                break;
            }
            let data = from.at(start + lane, at);
            lines[lane] = if from.dtype == DType::BF16 {
                _mm512_maskz_loadu_epi16(((1u64 << left) - 1) as __mmask32, data.cast())
            } else {
                let data = data.cast::<f32>();
                let low = _mm512_maskz_loadu_ps(mask16(left as isize), data);
                let high = _mm512_maskz_loadu_ps(mask16(left as isize - 16), data.wrapping_add(16));
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
            };
        }
        let turned = transpose(lines);
        let pairs = left.div_ceil(2);
        let to = to.add((at - deep.start) / 2 * W);
        for pair in 0..16 {
            if pair < pairs {
                _mm512_storeu_si512(to.add(pair * W).cast(), turned[pair]);
            }
        }
    }
}

/// Where rows (columns) lie side by side, or nothing does.
#[inline(always)]
unsafe fn pack_lanes<const W: usize>(from: &Factor, start: usize, lanes: usize, deep: &Range<usize>, to: *mut u32) {
    let mask = mask16(lanes as isize);
    let zero = _mm512_setzero_si512();
    for (pair, at) in (deep.start..deep.end).step_by(2).enumerate() {
        let both = at + 1 < deep.end;
        let (first, second) = (from.at(start, at), from.at(start, at + 1));
        let vector = match (from.dtype == DType::BF16, from.across == 1) {
            (true, true) => {
                let wide = |at: *const u8| _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at.cast()));
                let high = if both { wide(second) } else { zero };
                _mm512_or_si512(wide(first), _mm512_slli_epi32::<16>(high))
            }
            (false, true) => {
                let load = |at: *const u8| _mm512_maskz_loadu_ps(mask, at.cast());
                beside(load(first), if both { load(second) } else { _mm512_setzero_ps() })
            }
            _ => {
                let mut values = [[0f32; 16]; 2];
                for lane in 0..lanes {
                    for (i, value) in values[..1 + both as usize].iter_mut().enumerate() {
                        let data = from.at(start + lane, at + i);
                        value[lane] = if from.dtype == DType::BF16 {
                            crate::dtype::bfloat_to_f32(data.cast::<u16>().read())
                        } else {
                            data.cast::<f32>().read()
                        };
                    }
                }
                beside(_mm512_loadu_ps(values[0].as_ptr()), _mm512_loadu_ps(values[1].as_ptr()))
            }
        };
        _mm512_storeu_si512(to.add(pair * W).cast(), vector);
    }
}

/// Pairs of rounded values: one of `first`, one of `second`.
#[inline(always)]
unsafe fn beside(first: __m512, second: __m512) -> __m512i {
    let narrow = |values| _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)));
    _mm512_or_si512(narrow(first), _mm512_slli_epi32::<16>(narrow(second)))
}

/// Sixteen lines of sixteen numbers, turned round.
#[inline(always)]
unsafe fn transpose(lines: [__m512i; 16]) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    let (mut twos, mut fours, mut all) = ([zero; 16], [zero; 16], [zero; 16]);
    for i in 0..8 {
        twos[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
        twos[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
    }
    for i in [0, 4, 8, 12] {
        for j in 0..2 {
            fours[i + 2 * j] = _mm512_unpacklo_epi64(twos[i + j], twos[i + j + 2]);
            fours[i + 2 * j + 1] = _mm512_unpackhi_epi64(twos[i + j], twos[i + j + 2]);
        }
    }
    for j in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
        all[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        all[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        all[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        all[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    all
}
