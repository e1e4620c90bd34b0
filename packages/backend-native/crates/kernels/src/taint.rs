//! Which memory holds no result, because the call that should have made it failed or was left out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::space::{View, MAX_RANK};

/// Most stretches of one view that are looked at one by one. A view of more counts as all bytes from its first to its last
/// where it was not made or is read, and as none where it is written.
const MOST_RUNS: usize = 1 << 18;

/// Stretches of memory, by address, each with the reason why it holds no result. None overlap.
pub struct Taints<T> {
    /// Ends and reasons by beginning.
    marked: BTreeMap<usize, (usize, Arc<T>)>,
}

impl<T> Default for Taints<T> {
    fn default() -> Self {
        Taints { marked: BTreeMap::new() }
    }
}

impl<T> Taints<T> {
    pub fn is_empty(&self) -> bool {
        self.marked.is_empty()
    }

    /// The stretches that reach into these bytes, the last first.
    fn among<'a>(&'a self, bytes: &Range<usize>) -> impl Iterator<Item = (usize, usize, &'a Arc<T>)> {
        let start = bytes.start;
        let before = self.marked.range(..bytes.end).rev();
        before.map(|(&from, (to, reason))| (from, *to, reason)).take_while(move |&(_, to, _)| to > start)
    }

    /// The reasons why some of these bytes hold no result, each once, those of the last bytes first.
    pub fn find(&self, bytes: &Range<usize>) -> Vec<Arc<T>> {
        let mut reasons = Vec::new();
        self.collect(bytes, &mut reasons);
        reasons
    }

    /// The same for the elements of several views.
    pub fn find_in<'a>(&self, views: impl IntoIterator<Item = &'a View>) -> Vec<Arc<T>> {
        let mut reasons = Vec::new();
        for view in views {
            let runs = Runs::of(view);
            let span = runs.span();
            if self.among(&span).next().is_none() {
                continue;
            }
            if runs.count > MOST_RUNS {
                self.collect(&span, &mut reasons);
            } else {
                runs.each(|run| self.collect(&run, &mut reasons));
            }
        }
        reasons
    }

    fn collect(&self, bytes: &Range<usize>, reasons: &mut Vec<Arc<T>>) {
        for (_, _, reason) in self.among(bytes) {
            if !reasons.iter().any(|known| Arc::ptr_eq(known, reason)) {
                reasons.push(reason.clone());
            }
        }
    }

    /// Marks the elements of a view.
    pub fn mark(&mut self, view: &View, reason: &Arc<T>) {
        let runs = Runs::of(view);
        let mut mark = |bytes: Range<usize>| {
            self.clear(&bytes);
            self.marked.insert(bytes.start, (bytes.end, reason.clone()));
        };
        if runs.count > MOST_RUNS {
            mark(runs.span());
        } else {
            runs.each(mark);
        }
    }

    /// These bytes were written, or given back.
    pub fn clear(&mut self, bytes: &Range<usize>) {
        let last = |taints: &Self| taints.among(bytes).next().map(|(from, to, reason)| (from, to, reason.clone()));
        while let Some((from, to, reason)) = last(self) {
            self.marked.remove(&from);
            if to > bytes.end {
                self.marked.insert(bytes.end, (to, reason.clone()));
            }
            if from < bytes.start {
                self.marked.insert(from, (bytes.start, reason));
            }
        }
    }

    /// The elements of a view were written.
    pub fn clear_view(&mut self, view: &View) {
        let runs = Runs::of(view);
        let found = self.among(&runs.span()).next().is_some();
        if found && runs.count <= MOST_RUNS {
            runs.each(|run| self.clear(&run));
        }
    }
}

/// All bytes from the first to the last of a view that is not empty.
pub fn span(view: &View) -> Range<usize> {
    Runs::of(view).span()
}

/// The bytes of a view that is not empty, as stretches of equal length.
struct Runs {
    first: usize,
    bytes: usize,
    count: usize,
    /// Numbers of stretches and the bytes between their beginnings, the nearest first.
    steps: [(usize, usize); MAX_RANK],
    rank: usize,
}

impl Runs {
    fn of(view: &View) -> Runs {
        let size = view.dtype.bytes();
        let mut runs = Runs { first: view.data as usize, bytes: size, count: 1, steps: [(1, 0); MAX_RANK], rank: 0 };
        for axis in 0..view.rank {
            let (count, step) = (view.shape[axis], view.strides[axis] * size as isize);
            if count == 1 || step == 0 {
                // The same element again.
                continue;
            }
            if step < 0 {
                runs.first -= (count - 1) * step.unsigned_abs();
            }
            runs.steps[runs.rank] = (count, step.unsigned_abs());
            runs.rank += 1;
        }
        let steps = &mut runs.steps[..runs.rank];
        steps.sort_unstable_by_key(|&(_, step)| step);
        // What lies beside each other is one stretch.
        let mut kept = 0;
        for at in 0..runs.rank {
            let (count, step) = runs.steps[at];
            match kept {
                0 if step == runs.bytes => runs.bytes *= count,
                0 => {
                    runs.steps[0] = (count, step);
                    kept = 1;
                }
                _ if step == runs.steps[kept - 1].0 * runs.steps[kept - 1].1 => runs.steps[kept - 1].0 *= count,
                _ => {
                    runs.steps[kept] = (count, step);
                    kept += 1;
                }
            }
        }
        runs.rank = kept;
        runs.count = runs.steps[..kept].iter().map(|&(count, _)| count).product();
        runs
    }

    /// All bytes from the first to the last.
    fn span(&self) -> Range<usize> {
        let reach: usize = self.steps[..self.rank].iter().map(|&(count, step)| (count - 1) * step).sum();
        self.first..self.first + reach + self.bytes
    }

    fn each(&self, mut what: impl FnMut(Range<usize>)) {
        for index in 0..self.count {
            let (mut rest, mut at) = (index, self.first);
            for &(count, step) in &self.steps[..self.rank] {
                at += rest % count * step;
                rest /= count;
            }
            what(at..at + self.bytes);
        }
    }
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
        taints.find(&(first..first + 4)).first().map(|reason| **reason)
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
    fn a_view_marks_its_elements_alone() {
        let mut taints = Taints::default();
        taints.mark(&view(7, &[2, 2], &[-3, 1]), &Arc::new(1));
        assert_eq!(all(&taints, 12), [4, 5, 7, 8]);
        assert!(taints.find_in([&view(0, &[4], &[1]), &view(9, &[2], &[1])]).is_empty());
        assert!(taints.find_in([&view(0, &[3], &[3])]).is_empty());
        assert!(!taints.find_in([&view(0, &[2], &[8])]).is_empty());
        // One element many times, and the columns of a matrix one by one.
        assert!(taints.find_in([&view(6, &[100, 1], &[0, 1])]).is_empty());
        let mut taints = Taints::default();
        taints.mark(&view(1, &[4, 1], &[3, 1]), &Arc::new(1));
        assert_eq!(all(&taints, 12), [1, 4, 7, 10]);
        taints.mark(&view(2, &[4], &[3]), &Arc::new(2));
        taints.clear_view(&view(1, &[4], &[3]));
        assert_eq!(all(&taints, 12), [2, 5, 8, 11]);
        assert!(taints.find_in([&view(0, &[4, 2], &[3, 1])]).is_empty());
    }

    #[test]
    fn all_reasons_are_found_once() {
        let mut taints = Taints::default();
        let reasons = [Arc::new(1), Arc::new(2), Arc::new(3)];
        for (at, reason) in reasons.iter().enumerate() {
            taints.mark(&view(at, &[4], &[3]), reason);
        }
        let mut numbers: Vec<u8> = taints.find_in([&view(0, &[12], &[1])]).iter().map(|reason| **reason).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(taints.find_in([&view(9, &[2], &[-3])]).len(), 1);
    }

    #[test]
    fn many_stretches_are_kept_apart_and_more_are_taken_together() {
        let mut taints = Taints::default();
        taints.mark(&view(0, &[MOST_RUNS], &[2]), &Arc::new(1));
        assert_eq!(taints.marked.len(), MOST_RUNS);
        assert!(taints.find_in([&view(1, &[MOST_RUNS], &[2])]).is_empty());
        taints.clear_view(&view(0, &[MOST_RUNS], &[2]));
        assert!(taints.is_empty());
        taints.mark(&view(0, &[MOST_RUNS + 1], &[2]), &Arc::new(1));
        assert_eq!(all(&taints, 4), [0, 1, 2, 3]);
        // Too many to be looked at: they stay without a result.
        taints.clear_view(&view(0, &[MOST_RUNS + 1], &[2]));
        assert!(!taints.is_empty());
        taints.clear_view(&view(0, &[2 * MOST_RUNS + 1], &[1]));
        assert!(taints.is_empty());
    }
}
