//! Which memory holds no result, because the call that should have made it failed or was left out.

use std::ops::Range;
use std::sync::Arc;

use crate::space::View;

/// Most stretches of one view that are taken out one by one; a view of more leaves its memory as it is.
const MOST_RUNS: usize = 1 << 16;

/// Stretches of memory, by address, each with the reason why it holds no result. None overlap.
pub struct Taints<T> {
    marked: Vec<(Range<usize>, Arc<T>)>,
}

impl<T> Default for Taints<T> {
    fn default() -> Self {
        Taints { marked: Vec::new() }
    }
}

impl<T> Taints<T> {
    pub fn is_empty(&self) -> bool {
        self.marked.is_empty()
    }

    /// The reason why some of these bytes hold no result.
    pub fn find(&self, bytes: &Range<usize>) -> Option<&Arc<T>> {
        let hit = self.marked.iter().find(|(marked, _)| marked.start < bytes.end && bytes.start < marked.end);
        hit.map(|(_, reason)| reason)
    }

    /// The same for any of several views.
    pub fn find_in<'a>(&self, views: impl IntoIterator<Item = &'a View>) -> Option<&Arc<T>> {
        views.into_iter().find_map(|view| self.find(&span(view)))
    }

    /// Marks all bytes between the first and the last of a view.
    pub fn mark(&mut self, view: &View, reason: &Arc<T>) {
        let bytes = span(view);
        self.clear(&bytes);
        self.marked.push((bytes, reason.clone()));
    }

    /// These bytes were written, or given back.
    pub fn clear(&mut self, bytes: &Range<usize>) {
        for at in (0..self.marked.len()).rev() {
            let (marked, reason) = &self.marked[at];
            if marked.end <= bytes.start || bytes.end <= marked.start {
                continue;
            }
            let (before, after) = (marked.start..bytes.start, bytes.end..marked.end);
            let reason = reason.clone();
            self.marked.swap_remove(at);
            for rest in [before, after] {
                if !rest.is_empty() {
                    self.marked.push((rest, reason.clone()));
                }
            }
        }
    }

    /// The elements of a view were written.
    pub fn clear_view(&mut self, view: &View) {
        let bytes = span(view);
        if self.find(&bytes).is_none() {
            return;
        }
        let size = view.dtype.bytes();
        if bytes.len() == view.size * size {
            // Each position once and no gaps: in whatever order.
            return self.clear(&bytes);
        }
        let last = view.rank - 1;
        // A repeated dimension would be no output; one that is not dense is taken element by element.
        let run = if view.strides[last] == 1 { view.shape[last] } else { 1 };
        if view.size / run > MOST_RUNS {
            return;
        }
        for first in (0..view.size).step_by(run) {
            let mut rest = first;
            let mut at = view.data as isize;
            for axis in (0..view.rank).rev() {
                at += (rest % view.shape[axis]) as isize * view.strides[axis] * size as isize;
                rest /= view.shape[axis];
            }
            self.clear(&(at as usize..at as usize + run * size));
        }
    }
}

/// The addresses from the first to the last byte of a view that is not empty.
fn span(view: &View) -> Range<usize> {
    let size = view.dtype.bytes() as isize;
    let (mut low, mut high) = (view.data as isize, view.data as isize + size);
    for axis in 0..view.rank {
        let reach = (view.shape[axis] as isize - 1) * view.strides[axis] * size;
        low += reach.min(0);
        high += reach.max(0);
    }
    low as usize..high as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    const BASE: usize = 4096;

    fn view(first: usize, shape: &[usize], strides: &[isize]) -> View {
        let mut view = View::dense(DType::F32, (BASE + 4 * first) as *mut u8, shape);
        view.strides[..strides.len()].copy_from_slice(strides);
        view.update();
        view
    }

    fn found(taints: &Taints<u8>, element: usize) -> Option<u8> {
        let first = BASE + 4 * element;
        taints.find(&(first..first + 4)).map(|reason| **reason)
    }

    fn all(taints: &Taints<u8>, count: usize) -> Vec<usize> {
        (0..count).filter(|&element| found(taints, element).is_some()).collect()
    }

    #[test]
    fn what_is_marked_is_found_until_it_is_written() {
        let mut taints = Taints::default();
        taints.mark(&view(2, &[6], &[1]), &Arc::new(1));
        assert_eq!(all(&taints, 12), [2, 3, 4, 5, 6, 7]);
        taints.mark(&view(6, &[4], &[1]), &Arc::new(2));
        assert_eq!((found(&taints, 5), found(&taints, 6), found(&taints, 9)), (Some(1), Some(2), Some(2)));
        taints.clear_view(&view(4, &[4], &[1]));
        assert_eq!(all(&taints, 12), [2, 3, 8, 9]);
        taints.clear(&(BASE..BASE + 400));
        assert!(taints.is_empty());
    }

    #[test]
    fn views_in_any_order_are_taken_out_to_the_element() {
        let mut taints = Taints::default();
        let block = view(0, &[3, 4], &[4, 1]);
        taints.mark(&block, &Arc::new(1));
        // The left half of each row, then the right one backwards.
        taints.clear_view(&view(0, &[3, 2], &[4, 1]));
        assert_eq!(all(&taints, 12), [2, 3, 6, 7, 10, 11]);
        taints.clear_view(&view(11, &[3, 2], &[-4, -1]));
        assert!(taints.is_empty());
        taints.mark(&block, &Arc::new(1));
        taints.clear_view(&view(0, &[4, 3], &[1, 4]));
        assert!(taints.is_empty());
    }

    #[test]
    fn a_view_reaches_from_its_first_to_its_last_byte() {
        let mut taints = Taints::default();
        taints.mark(&view(7, &[2, 2], &[-3, 1]), &Arc::new(1));
        assert_eq!(all(&taints, 12), [4, 5, 6, 7, 8]);
        assert!(taints.find_in([&view(0, &[4], &[1]), &view(9, &[2], &[1])]).is_none());
        assert!(taints.find_in([&view(0, &[2], &[8])]).is_some());
    }
}
