//! Views, and the common shape of several with as few dimensions as they allow.

use crate::call::Error;
use crate::dtype::DType;
use crate::memory::room;

/// Most dimensions of a view.
pub const MAX_RANK: usize = 16;

/// A strided look at memory: element `(i, j, …)` lies `i * strides[0] + j * strides[1] + …` elements from `data`.
#[derive(Clone, Copy)]
pub struct View {
    pub dtype: DType,
    pub rank: usize,
    /// Element `(0, 0, …)`.
    pub data: *mut u8,
    /// Number of elements.
    pub size: usize,
    /// Row-major without gaps.
    pub contiguous: bool,
    pub shape: [usize; MAX_RANK],
    /// In elements; may be 0 or negative.
    pub strides: [isize; MAX_RANK],
}

// SAFETY: a view is numbers; whoever reads or writes through one says why that is sound.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// A dense view.
    pub fn dense(dtype: DType, data: *mut u8, shape: &[usize]) -> View {
        let mut view = View {
            dtype,
            rank: shape.len(),
            data,
            size: shape.iter().product(),
            contiguous: true,
            shape: [1; MAX_RANK],
            strides: [0; MAX_RANK],
        };
        view.shape[..shape.len()].copy_from_slice(shape);
        view.strides = view.dense_strides();
        view
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    /// Row-major strides of its shape.
    pub fn dense_strides(&self) -> [isize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank).rev() {
            strides[axis] = step;
            step *= self.shape[axis] as isize;
        }
        strides
    }

    /// Works out anew whether it is contiguous, after shape or strides were changed.
    pub fn update(&mut self) {
        let dense = self.dense_strides();
        self.contiguous = (0..self.rank).all(|axis| self.shape[axis] == 1 || self.strides[axis] == dense[axis]);
    }

    /// Whether all positions, counted from `offset` elements into a buffer of `bytes`, lie in that buffer.
    pub fn within(&self, offset: usize, bytes: usize) -> bool {
        let elements = bytes / self.dtype.bytes();
        if self.contiguous && self.size > 0 {
            return offset.checked_add(self.size).is_some_and(|end| end <= elements);
        }
        let elements = elements as i128;
        let (mut low, mut high) = (offset as i128, offset as i128);
        for axis in 0..self.rank {
            let reach = (self.shape[axis] as i128 - 1) * self.strides[axis] as i128;
            if reach < 0 {
                low += reach;
            } else {
                high += reach;
            }
        }
        low >= 0 && high < elements
    }
}

/// A view's part of a [`Space`].
#[derive(Clone, Copy)]
pub struct SpaceView {
    pub data: *mut u8,
    pub dtype: DType,
    /// Whether the points follow one another in memory without gaps.
    pub linear: bool,
    pub strides: [isize; MAX_RANK],
}

// SAFETY: numbers, as a view.
unsafe impl Send for SpaceView {}
// SAFETY: as above.
unsafe impl Sync for SpaceView {}

/// A shape that several views are walked in, in row-major order.
pub struct Space {
    pub rank: usize,
    pub size: usize,
    pub shape: [usize; MAX_RANK],
    pub views: Vec<SpaceView>,
    /// By coordinate: the dimension it is, or none where it is always 0.
    pub dimensions: Vec<Option<usize>>,
}

impl Space {
    /// The merged space of views. `axes` are coordinates, counted from the end, that must stay dimensions of their own;
    /// views from `first_still` on stand still along the axes that `still` marks.
    pub fn new(
        shape: &[usize],
        inputs: &[View],
        outputs: &[View],
        axes: &[i32],
        still: Option<&[bool; MAX_RANK]>,
    ) -> Result<Space, Error> {
        let count = inputs.len() + outputs.len();
        let size = shape.iter().product();
        let all = || inputs.iter().chain(outputs);
        let mut views = room(count)?;
        views.extend(all().map(|view| SpaceView {
            data: view.data,
            dtype: view.dtype,
            linear: false,
            strides: [0; MAX_RANK],
        }));
        let mut dimensions = room(axes.len())?;
        dimensions.resize(axes.len(), None);
        let mut space = Space { rank: 1, size, shape: [1; MAX_RANK], views, dimensions };
        if axes.is_empty() && still.is_none() && all().all(|view| view.contiguous) {
            space.shape[0] = size;
            for view in &mut space.views {
                view.strides[0] = 1;
                view.linear = true;
            }
            return Ok(space);
        }
        let stride_of = |index: usize, view: &View, axis: usize| match still {
            Some(still) if index >= inputs.len() && still[axis] => 0,
            _ => view.strides[axis],
        };
        // Built from the innermost dimension outwards, in the upper end of the arrays, then moved down.
        let mut at = MAX_RANK;
        let mut inner_is_protected = false;
        for axis in (0..shape.len()).rev() {
            let here = shape[axis];
            if here == 1 {
                continue;
            }
            let protected = axes.iter().position(|&wanted| wanted == axis as i32 - shape.len() as i32);
            let merges = at < MAX_RANK
                && protected.is_none()
                && !inner_is_protected
                && all().enumerate().all(|(index, view)| {
                    stride_of(index, view, axis) == space.views[index].strides[at] * space.shape[at] as isize
                });
            if merges {
                space.shape[at] *= here;
                continue;
            }
            at -= 1;
            if let Some(coordinate) = protected {
                space.dimensions[coordinate] = Some(at);
            }
            inner_is_protected = protected.is_some();
            space.shape[at] = here;
            for (index, view) in all().enumerate() {
                space.views[index].strides[at] = stride_of(index, view, axis);
            }
        }
        if at == MAX_RANK {
            at -= 1;
            space.shape[at] = 1;
            for view in &mut space.views {
                view.strides[at] = 1;
            }
        }
        space.rank = MAX_RANK - at;
        space.shape.copy_within(at.., 0);
        for view in &mut space.views {
            view.strides.copy_within(at.., 0);
        }
        for dimension in space.dimensions.iter_mut().flatten() {
            *dimension -= at;
        }
        space.find_linear();
        Ok(space)
    }

    /// Puts the dimensions into another order: dimension `i` becomes the old dimension `order[i]`.
    pub fn reorder(&mut self, order: &[usize]) {
        let old = self.shape;
        for (to, &from) in order.iter().enumerate() {
            self.shape[to] = old[from];
        }
        for view in &mut self.views {
            let old = view.strides;
            for (to, &from) in order.iter().enumerate() {
                view.strides[to] = old[from];
            }
        }
        for dimension in self.dimensions.iter_mut().flatten() {
            *dimension = order.iter().position(|from| from == dimension).unwrap_or(0);
        }
        self.find_linear();
    }

    fn find_linear(&mut self) {
        for view in &mut self.views {
            let mut step = 1;
            view.linear = (0..self.rank).rev().all(|axis| {
                let fits = view.strides[axis] == step;
                step *= self.shape[axis] as isize;
                fits
            });
        }
    }

    /// Size of the innermost dimension.
    pub fn inner(&self) -> usize {
        self.shape[self.rank - 1]
    }

    /// Points from `start` that are best computed at once: at most `block`, and not beyond a long row's end.
    pub fn block_length(&self, start: usize, end: usize, block: usize) -> usize {
        let count = block.min(end - start);
        let inner = self.inner();
        // Rows shorter than this are gathered, several to a block.
        if self.rank > 1 && inner >= 128 {
            count.min(inner - start % inner)
        } else {
            count
        }
    }
}

/// A row (all but the innermost dimension) as an index, and where it lies in a view.
pub struct Row {
    index: [usize; MAX_RANK],
    pub offset: isize,
}

impl Row {
    pub fn find(space: &Space, strides: &[isize; MAX_RANK], mut row: usize) -> Row {
        let mut found = Row { index: [0; MAX_RANK], offset: 0 };
        for axis in (0..space.rank - 1).rev() {
            let size = space.shape[axis];
            found.index[axis] = row % size;
            row /= size;
            found.offset += found.index[axis] as isize * strides[axis];
        }
        found
    }

    pub fn next(&mut self, space: &Space, strides: &[isize; MAX_RANK]) {
        for axis in (0..space.rank - 1).rev() {
            self.offset += strides[axis];
            self.index[axis] += 1;
            if self.index[axis] < space.shape[axis] {
                return;
            }
            self.index[axis] = 0;
            self.offset -= strides[axis] * space.shape[axis] as isize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[usize], strides: &[isize]) -> View {
        let mut view = View::dense(DType::F32, std::ptr::null_mut(), shape);
        view.strides[..strides.len()].copy_from_slice(strides);
        view.update();
        view
    }

    #[test]
    fn neighbours_merge_where_all_views_walk_them_as_one() {
        let a = view(&[2, 3, 4], &[12, 4, 1]);
        let b = view(&[2, 3, 4], &[0, 4, 1]);
        let space = Space::new(&[2, 3, 4], &[a], &[b], &[], None).unwrap();
        assert_eq!(&space.shape[..space.rank], [2, 12]);
        assert_eq!(space.views[1].strides[..2], [0, 1]);
        assert!(space.views[0].linear && !space.views[1].linear);
        let space = Space::new(&[2, 3, 4], &[a], &[a], &[-2], None).unwrap();
        assert_eq!(&space.shape[..space.rank], [2, 3, 4]);
        assert_eq!(space.dimensions, [Some(1)]);
        let scalar = Space::new(&[1, 1], &[view(&[1, 1], &[0, 0])], &[], &[], None).unwrap();
        assert_eq!((scalar.rank, scalar.size), (1, 1));
    }

    #[test]
    fn views_that_leave_their_buffer_are_found() {
        let flipped = view(&[3, 2], &[-2, 1]);
        assert!(flipped.within(4, 24));
        assert!(!flipped.within(3, 24));
        assert!(!flipped.within(4, 20));
        // Farther than any number of 64 bits reaches.
        assert!(!view(&[1 << 40, 9], &[isize::MAX / 4, 1]).within(0, 100));
    }
}
