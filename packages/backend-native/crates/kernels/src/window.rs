//! Where the windows of a convolution or pooling lie, with every tensor seen as having three spatial dimensions.

use crate::call::{Call, Error};
use crate::space::View;

pub const SPATIAL: usize = 3;
/// One number a spatial dimension; missing outer dimensions are filled up at the front.
pub type Triple = [usize; SPATIAL];

/// Geometry along the three dimensions.
#[derive(Clone, Copy)]
pub struct Window {
    pub input: Triple,
    pub output: Triple,
    pub kernel: Triple,
    pub stride: Triple,
    pub dilation: Triple,
    pub before: Triple,
}

/// The spatial sizes of a `[batch, channels, …]` view.
pub fn spatial(view: &View) -> Result<Triple, Error> {
    triple(&view.shape()[2..], 1)
}

fn triple(list: &[usize], missing: usize) -> Result<Triple, Error> {
    if list.len() > SPATIAL {
        return Err(Error::Invalid(format!("{} spatial dimensions, at most {SPATIAL}", list.len())));
    }
    let mut all = [missing; SPATIAL];
    all[SPATIAL - list.len()..].copy_from_slice(list);
    Ok(all)
}

impl Window {
    /// The geometry that attributes from `first` on tell: stride, dilation and padding before of each dimension, `words`
    /// attributes apart.
    pub fn new(
        call: &Call,
        first: usize,
        words: usize,
        input: &View,
        output: &View,
        kernel: &[usize],
    ) -> Result<Window, Error> {
        let at = |word: usize| -> Vec<usize> {
            (0..kernel.len()).map(|axis| call.attribute(first + axis * words + word)).collect()
        };
        Ok(Window {
            input: spatial(input)?,
            output: spatial(output)?,
            kernel: triple(kernel, 1)?,
            stride: triple(&at(0), 1)?,
            dilation: triple(&at(1), 1)?,
            before: triple(&at(2), 0)?,
        })
    }

    /// Output positions along a dimension whose element `tap` of the window lies inside the input, as first and end, and
    /// where in the input the first one lies.
    pub fn inside(&self, axis: usize, tap: usize) -> (usize, usize, usize) {
        let (stride, shift) = (self.stride[axis], tap * self.dilation[axis]);
        let before = self.before[axis];
        let first = before.saturating_sub(shift).div_ceil(stride);
        // The last position p with p * stride + shift - before < input.
        let reach = (self.input[axis] + before).saturating_sub(shift);
        let end = reach.div_ceil(stride).min(self.output[axis]);
        let first = first.min(end);
        (first, end, (first * stride + shift).saturating_sub(before))
    }
}

/// Number of elements.
pub fn volume(size: Triple) -> usize {
    size.iter().product()
}
