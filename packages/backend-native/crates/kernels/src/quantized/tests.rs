use super::*;
use crate::dtype::f32_to_half;

/// Blocks of arbitrary levels; `scale` a block's number.
fn blocks(nibbles: bool, count: usize, scale: impl Fn(usize) -> f32) -> Vec<u8> {
    let size = block_bytes(nibbles);
    let mut bytes: Vec<u8> =
        (0..count * size).map(|i| ((i as u32 + 17).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    for block in 0..count {
        bytes[block * size..block * size + 2].copy_from_slice(&f32_to_half(scale(block)).to_le_bytes());
    }
    bytes
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 1.3).sin() * (1.0 + (i % 7) as f32)).collect()
}

/// The product in doubles, and Σ |x w|.
fn exact(x: &[f32], rows: usize, weight: &Weight) -> Vec<(f64, f64)> {
    let inner = weight.blocks * BLOCK;
    let mut all = Vec::new();
    for row in 0..rows {
        for column in 0..weight.columns {
            let (mut sum, mut size) = (0.0, 0.0);
            for i in 0..inner {
                // SAFETY: the weight is a vector that holds all of its blocks.
                let value = unsafe {
                    let block = weight.row(column).add(i / BLOCK * weight.block_bytes());
                    scale_of(block) as f64 * level_of(block, weight.nibbles, i % BLOCK) as f64
                };
                sum += x[row * inner + i] as f64 * value;
                size += (x[row * inner + i] as f64 * value).abs();
            }
            all.push((sum, size));
        }
    }
    all
}

/// What a product may miss by, of Σ |x w|: rows of many may be rounded to 8 bits where bytes are multiplied.
fn allowed(way: Way, rows: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vnni && rows >= MANY_ROWS {
        return 4e-3;
    }
    let _ = (way, rows);
    2e-5
}

fn product(way: Way, x: &[f32], rows: usize, weight: &Weight, threads: usize) -> Vec<f32> {
    let mut to = vec![f32::NAN; rows * weight.columns];
    // SAFETY: all are vectors of these sizes.
    unsafe { multiply(way, x.as_ptr(), rows, weight, to.as_mut_ptr(), threads).unwrap() };
    to
}

#[test]
fn every_way_gives_the_product() {
    crate::start_pool(4, false);
    for nibbles in [false, true] {
        for (rows, columns, count) in
            [(1, 60, 9), (2, 70, 8), (3, 33, 17), (4, 64, 16), (5, 19, 25), (8, 50, 3), (13, 35, 2), (27, 16, 8)]
        {
            let bytes = blocks(nibbles, columns * count, |block| 0.01 + (block % 5) as f32 * 0.02);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns, blocks: count };
            let x = wave(rows * count * BLOCK);
            let wanted = exact(&x, rows, &weight);
            for &way in Way::all() {
                for (got, (sum, size)) in product(way, &x, rows, &weight, 1).iter().zip(&wanted) {
                    let place = format!("{way:?} {nibbles} {rows} {columns} {count}");
                    assert!((*got as f64 - sum).abs() <= allowed(way, rows) * size, "{place}: {got} for {sum}");
                }
            }
        }
    }
}

/// Numbers between -1 and 1 without a pattern.
fn noise(i: usize) -> f32 {
    let mut bits = (i as u32 + 1).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    (bits ^ (bits >> 16)) as f32 / 2f32.powi(31) - 1.0
}

/// Blocks of the nearest levels, scaled by a block's greatest value.
fn quantised(nibbles: bool, values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in values.chunks(BLOCK) {
        let scale = block.iter().fold(0f32, |most, value| most.max(value.abs())) / if nibbles { 7.0 } else { 127.0 };
        bytes.extend(f32_to_half(scale).to_le_bytes());
        let level = |i: usize| (block[i] / scale).round() as i32;
        if nibbles {
            bytes.extend((0..16).map(|i| (level(i) + 8) as u8 | ((level(16 + i) + 8) as u8) << 4));
        } else {
            bytes.extend((0..BLOCK).map(|i| level(i) as i8 as u8));
        }
    }
    bytes
}

/// A value by its row and its place therein.
type Value = fn(usize, usize) -> f32;

#[test]
fn no_rounding_of_x_costs_more_than_a_product_may() {
    const AT: Value = |row, i| noise(row * 2048 + i);
    let cases: [(&str, Value, Value); 6] = [
        ("no pattern", AT, |row, i| AT(row + 99, i)),
        (
            "a great value in one block",
            |row, i| AT(row, i) * if i == 5 { 100.0 } else { 1.0 },
            |row, i| AT(row + 99, i) * if i == 5 { 0.01 } else { 1.0 },
        ),
        (
            "a great value in each block",
            |row, i| AT(row, i) * if i % 32 == 5 { 100.0 } else { 1.0 },
            |row, i| AT(row + 99, i) * if i % 32 == 5 { 0.01 } else { 1.0 },
        ),
        (
            "eight great values in each block",
            |row, i| AT(row, i) * if i % 4 == 1 { 100.0 } else { 1.0 },
            |row, i| AT(row + 99, i) * if i % 4 == 1 { 0.01 } else { 1.0 },
        ),
        (
            "a mean that weights cancel",
            |row, i| 1.0 + 0.05 * AT(row, i),
            |row, i| {
                let size = 1.2 + AT(row + 99, i / 2);
                if i % 2 == 0 {
                    size
                } else {
                    -size
                }
            },
        ),
        (
            "such rows among others",
            |row, i| AT(row, i) * if row % 3 == 0 && i % 32 == 5 { 100.0 } else { 1.0 },
            |row, i| AT(row + 99, i) * if i % 32 == 5 { 0.01 } else { 1.0 },
        ),
    ];
    let (columns, inner) = (48, 1024);
    for (name, x, w) in cases {
        for nibbles in [false, true] {
            let values: Vec<f32> = (0..columns * inner).map(|i| w(i / inner, i % inner)).collect();
            let bytes = quantised(nibbles, &values);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns, blocks: inner / BLOCK };
            for rows in [1, 3, 8, 16, 29] {
                let x: Vec<f32> = (0..rows * inner).map(|i| x(i / inner, i % inner)).collect();
                let wanted = exact(&x, rows, &weight);
                for &way in Way::all() {
                    let got = product(way, &x, rows, &weight, 2);
                    for row in 0..rows {
                        let pairs = || got.iter().zip(&wanted).skip(row * columns).take(columns);
                        let all: f64 = pairs().map(|(_, (sum, _))| sum * sum).sum();
                        let off: f64 = pairs().map(|(got, (sum, _))| (*got as f64 - sum).powi(2)).sum();
                        assert!(off <= 2e-4 * all, "{name} {way:?} {nibbles} {rows}: {:e}", off / all);
                    }
                }
            }
        }
    }
}

/// The same weight in panels, which `memory` then holds.
fn laid(weight: &Weight, memory: &mut Vec<u8>) -> Weight {
    let bytes = weight.columns * weight.blocks * weight.block_bytes();
    // SAFETY: the weight is a vector of as many bytes.
    *memory = unsafe { std::slice::from_raw_parts(weight.data, bytes) }.to_vec();
    let Weight { nibbles, columns, blocks, .. } = *weight;
    let panels = Panels::at(memory.as_mut_ptr(), nibbles, columns, blocks);
    // SAFETY: this vector is the weight.
    unsafe { Laying::new(panels, false, 2, Room::new(&panels).unwrap().into()).run() };
    Weight { data: memory.as_ptr(), panels: true, ..*weight }
}

#[test]
fn panels_become_rows_again_and_hold_the_same_blocks() {
    for nibbles in [false, true] {
        for (columns, count) in [(16, 1), (48, 2), (32, 5), (160, 16)] {
            let bytes = blocks(nibbles, columns * count, |block| block as f32);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns, blocks: count };
            let mut memory = Vec::new();
            let other = laid(&weight, &mut memory);
            assert_ne!(memory, bytes);
            let mut copy = [0; block_bytes(false)];
            for (i, block) in bytes.chunks(weight.block_bytes()).enumerate() {
                // SAFETY: the weight is this vector.
                unsafe { other.block(i / count, i % count, &mut copy) };
                assert_eq!(&copy[..block.len()], block);
            }
            let panels = Panels::at(memory.as_mut_ptr(), nibbles, columns, count);
            // SAFETY: as above.
            unsafe { Laying::new(panels, true, 2, Room::new(&panels).unwrap().into()).run() };
            assert_eq!(memory, bytes);
        }
    }
}

#[test]
fn room_for_one_panel_lays_a_weight_both_ways() {
    let bytes = blocks(false, 80 * 16, |block| block as f32);
    let mut memory = bytes.clone();
    let panels = Panels::at(memory.as_mut_ptr(), false, 80, 16);
    // All that is kept for a weight of one block a row.
    let room = std::sync::Arc::new(Room::new(&Panels::at(memory.as_mut_ptr(), false, 16, 1)).unwrap());
    assert_eq!(room.panels(&panels), 1);
    // SAFETY: this vector is the weight.
    unsafe { Laying::new(panels, false, 2, room.clone()).run() };
    assert_ne!(memory, bytes);
    // SAFETY: as above.
    unsafe { Laying::new(panels, true, 2, room).run() };
    assert_eq!(memory, bytes);
}

#[test]
fn rows_are_taken_out_of_panels_as_they_were() {
    use crate::call::{Kernel, CHECK_INDEX};
    use crate::dtype::DType;
    use crate::space::View;
    crate::start_pool(4, false);
    for nibbles in [false, true] {
        for count in [1, 2, 7] {
            let bytes = blocks(nibbles, 64 * count, |block| block as f32);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns: 64, blocks: count };
            let mut memory = Vec::new();
            laid(&weight, &mut memory);
            let panels = Panels::at(memory.as_mut_ptr(), nibbles, 64, count);
            let size = count * weight.block_bytes();
            // All rows, and those from the fifth on.
            for first in [0, 5] {
                let mut wanted: Vec<i32> = (0..300).map(|i| i * 37 % (64 - first as i32)).collect();
                let mut taken = vec![0u8; wanted.len() * size];
                let source = View::dense(DType::U8, memory[first * size..].as_mut_ptr(), &[64 - first, size]);
                let mut index = View::dense(DType::I32, wanted.as_mut_ptr().cast(), &[wanted.len(), size]);
                index.strides[..2].copy_from_slice(&[1, 0]);
                index.update();
                let output = View::dense(DType::U8, taken.as_mut_ptr(), &[wanted.len(), size]);
                let (inputs, outputs) = ([source, index], [output]);
                let mut call = Call {
                    inputs: &inputs,
                    outputs: &outputs,
                    attributes: &[0.0],
                    params: &[],
                    program: None,
                    threads: 3,
                };
                let attributes = panels.rows_of(Kernel::Gather, &call).unwrap();
                call.attributes = &attributes;
                // SAFETY: the views are these vectors.
                unsafe { crate::run(Kernel::Gather, &call).unwrap() };
                for (&row, got) in wanted.iter().zip(taken.chunks(size)) {
                    let start = (first + row as usize) * size;
                    assert_eq!(got, &bytes[start..start + size], "{nibbles} {count} {first} {row}");
                }
                wanted[7] = 64 - first as i32;
                // SAFETY: as above.
                let result = unsafe { crate::run(Kernel::Gather, &call) };
                assert_eq!(result, Err(crate::Error::Check(CHECK_INDEX)));
                // Parts of rows are not taken so, nor are rows of others.
                call.attributes = &[0.0];
                let part = View::dense(DType::U8, memory.as_mut_ptr(), &[64 * count, size / count]);
                let mut few = index;
                few.shape[1] = size / count;
                let narrow = [part, few];
                let to = [View::dense(DType::U8, taken.as_mut_ptr(), &[wanted.len(), size / count])];
                let narrow = Call { inputs: &narrow, outputs: &to, ..call };
                assert_eq!(panels.rows_of(Kernel::Gather, &narrow).is_some(), count == 1);
                assert!(panels.rows_of(Kernel::Scatter, &call).is_none());
            }
        }
    }
}

#[test]
fn a_weight_in_panels_gives_the_same_bits() {
    if !Way::best().wants_panels() {
        return;
    }
    crate::start_pool(4, false);
    for nibbles in [false, true] {
        for (rows, columns, count) in
            [(1, 64, 16), (2, 80, 15), (3, 32, 32), (5, 48, 17), (8, 64, 9), (15, 64, 8), (29, 160, 12)]
        {
            let bytes = blocks(nibbles, columns * count, |block| 0.01 + (block % 5) as f32 * 0.02);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns, blocks: count };
            let mut memory = Vec::new();
            let other = laid(&weight, &mut memory);
            let mut x = wave(rows * count * BLOCK);
            assert_eq!(product(Way::best(), &x, rows, &weight, 1), product(Way::best(), &x, rows, &other, 3));
            x[3] = f32::INFINITY;
            let bits =
                |weight| product(Way::best(), &x, rows, weight, 2).iter().map(|y| y.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&weight), bits(&other));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn rows_that_stand_it_get_8_bits_whatever_lies_beside_them() {
    if !Way::all().contains(&Way::Vnni) {
        return;
    }
    let (rows, blocks, columns) = (37, 32, 40);
    let inner = blocks * BLOCK;
    let bytes = self::blocks(true, columns * blocks, |_| 0.5);
    let weight = Weight { data: bytes.as_ptr(), nibbles: true, panels: false, columns, blocks };
    let x: Vec<f32> = (0..rows * inner)
        .map(|i| noise(i) * if (i / inner).is_multiple_of(3) && i % inner == 40 { 99.0 } else { 1.0 })
        .collect();
    // SAFETY: x is this vector.
    let rounded = unsafe { Rounded::new(x.as_ptr(), rows, &weight, Layout::Mixed, 2) }.unwrap();
    let mut seen: Vec<(usize, bool)> =
        rounded.tiles().flat_map(|tile| tile.rows.iter().map(move |&row| (row, tile.words))).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..rows).map(|row| (row, row % 3 == 0)).collect::<Vec<_>>());
    // Rows in another order get the same results.
    let turned: Vec<f32> = x.chunks(inner).rev().flatten().copied().collect();
    let (one, other) = (product(Way::Vnni, &x, rows, &weight, 1), product(Way::Vnni, &turned, rows, &weight, 2));
    assert!(one.chunks(columns).eq(other.chunks(columns).rev()));
}

#[test]
fn products_of_blocks_are_the_same_integers() {
    // With one block and scales of 1 nothing but the integers counts.
    for nibbles in [false, true] {
        let (columns, rows) = (600, 3);
        let bytes = blocks(nibbles, columns, |_| 1.0);
        let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns, blocks: 1 };
        let mut x = wave(rows * BLOCK);
        for row in 0..rows {
            for i in 0..BLOCK {
                x[row * BLOCK + i] = ((i * 37 + row * 11) % 63) as f32 - 31.0;
            }
            // The greatest value, of which all others are whole parts.
            x[row * BLOCK] = 32_639.0;
        }
        let wanted = exact(&x, rows, &weight);
        for &way in Way::all() {
            let got = product(way, &x, rows, &weight, 1);
            assert!(got.iter().zip(&wanted).all(|(got, (sum, _))| *got == *sum as f32), "{way:?}");
        }
    }
}

#[test]
fn threads_do_not_show() {
    crate::start_pool(4, false);
    for (nibbles, rows) in [(false, 1), (true, 1), (false, 40), (true, 40)] {
        let bytes = blocks(nibbles, 500 * 24, |block| 0.01 + (block % 3) as f32);
        let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns: 500, blocks: 24 };
        let x = wave(rows * 24 * BLOCK);
        let one = product(Way::best(), &x, rows, &weight, 1);
        assert_eq!(one, product(Way::best(), &x, rows, &weight, 4));
    }
}

#[test]
fn what_is_not_finite_shows_in_its_row_alone() {
    for nibbles in [false, true] {
        for rows in [2, 20] {
            let bytes = blocks(nibbles, 80 * 8, |_| 0.5);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns: 80, blocks: 8 };
            for &way in Way::all() {
                let plain = product(way, &vec![1.0; rows * 256], rows, &weight, 1);
                for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1.0; rows * 256];
                    x[77] = special;
                    let got = product(way, &x, rows, &weight, 1);
                    assert!(got[..80].iter().all(|value| !value.is_finite()), "{way:?} {rows}");
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * b.abs().max(1.0);
                    assert!(got[80..].iter().zip(&plain[80..]).all(near), "{way:?} {rows}");
                }
            }
        }
    }
}

#[test]
fn scales_may_be_subnormal_negative_or_nothing() {
    let scales = [2f32.powi(-24), -1.5, 6e-5, 65504.0, 0.0];
    for nibbles in [false, true] {
        for rows in [1, 20] {
            let bytes = blocks(nibbles, 60 * 20, |block| scales[block / 20 % 5]);
            let weight = Weight { data: bytes.as_ptr(), nibbles, panels: false, columns: 60, blocks: 20 };
            let mut x = wave(rows * 20 * BLOCK);
            // A block so small that it counts as zeros.
            x[..BLOCK].fill(1e-36);
            let wanted = exact(&x, rows, &weight);
            for &way in Way::all() {
                for (got, (sum, size)) in product(way, &x, rows, &weight, 1).iter().zip(&wanted) {
                    assert!(
                        (*got as f64 - sum).abs() <= allowed(way, rows) * size,
                        "{way:?} {nibbles} {rows}: {got} for {sum}"
                    );
                }
            }
        }
    }
}
