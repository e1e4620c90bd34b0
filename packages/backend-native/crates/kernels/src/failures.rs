//! What went wrong in work that is done later, where that shows, and who was told.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use crate::call::{Error, Kernel};
use crate::dtype::Compute;
use crate::space::View;
use crate::taint::{span, Taints};

/// Most failures that are kept until somebody is told of them; the first ones stay.
const MOST_UNTOLD: usize = 4096;

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A call failed, this or one that made what is read.
    Call { kernel: Kernel, program: Option<usize>, error: Error },
    /// The memory to answer with was not to be had.
    OutOfMemory(usize),
    /// The queue was closed before.
    Closed,
}

/// Why memory holds no result: what a read of it is told, and the numbers of all failures that it comes from.
struct Reason {
    failure: Failure,
    numbers: Vec<u64>,
}

/// The failures of a queue.
#[derive(Default)]
pub struct Failures {
    taints: Taints<Reason>,
    /// What went wrong and nobody was told of, by the number of the failure.
    untold: BTreeMap<u64, Failure>,
    /// How many failures there were so far.
    count: u64,
    /// The last of them, and the whole numbers that a check did not take, until they change.
    latest: Option<(u64, Vec<Range<usize>>)>,
}

fn meet(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

impl Failures {
    /// Refuses to read what was not made.
    pub fn admit(&mut self, bytes: &Range<usize>) -> Result<(), Failure> {
        let reasons = self.taints.find(bytes);
        let Some(first) = reasons.first() else {
            return Ok(());
        };
        // Whoever is told that a result was not made knows all that went wrong on the way to it.
        for number in reasons.iter().flat_map(|reason| &reason.numbers) {
            self.untold.remove(number);
        }
        // What fails from here on is another operation's.
        self.latest = None;
        Err(first.failure.clone())
    }

    /// These bytes hold something else from here on.
    fn changed(&mut self, bytes: &Range<usize>) {
        if let Some((_, suspects)) = &mut self.latest {
            suspects.retain(|one| !meet(one, bytes));
            if suspects.is_empty() {
                self.latest = None;
            }
        }
    }

    /// These bytes were written, or given back.
    pub fn clear(&mut self, bytes: &Range<usize>) {
        self.taints.clear(bytes);
        self.changed(bytes);
    }

    /// The elements of these views were written.
    pub fn written(&mut self, outputs: &[View]) {
        if self.taints.is_empty() && self.latest.is_none() {
            return;
        }
        for view in outputs {
            self.taints.clear_view(view);
            self.changed(&span(view));
        }
    }

    /// Marks outputs that cannot be made where inputs were not; whether that is so.
    pub fn pass_on<'a>(&mut self, inputs: impl IntoIterator<Item = &'a View>, outputs: &[View]) -> bool {
        if self.taints.is_empty() {
            return false;
        }
        let reasons = self.taints.find_in(inputs);
        let [first, others @ ..] = &reasons[..] else {
            return false;
        };
        let reason = if others.is_empty() {
            first.clone()
        } else {
            // Failures that somebody was told of need no further mention.
            let mut numbers: Vec<u64> = reasons.iter().flat_map(|one| &one.numbers).copied().collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers.retain(|number| self.untold.contains_key(number));
            Arc::new(Reason { failure: first.failure.clone(), numbers })
        };
        for view in outputs {
            self.taints.mark(view, &reason);
        }
        true
    }

    /// The first failure that nobody was told of; it was told of all of them then.
    pub fn tell(&mut self) -> Option<Failure> {
        self.latest = None;
        mem::take(&mut self.untold).into_values().next()
    }

    /// Marks the outputs of a call that failed. An operation may be a call that checks its indices and one that uses them:
    /// what fails one after the other at the same whole numbers is one failure.
    pub fn add(&mut self, inputs: &[View], outputs: &[View], failure: Failure) {
        let checked = matches!(failure, Failure::Call { error: Error::Check(_), .. });
        let whole = inputs.iter().filter(|view| checked && view.dtype.compute() == Compute::I32);
        let suspects: Vec<_> = whole.map(span).collect();
        let number = match &self.latest {
            Some((number, before)) if suspects.iter().any(|one| before.iter().any(|other| meet(one, other))) => *number,
            _ => {
                self.count += 1;
                if self.untold.len() < MOST_UNTOLD {
                    self.untold.insert(self.count, failure.clone());
                }
                self.count
            }
        };
        self.latest = (!suspects.is_empty()).then_some((number, suspects));
        outputs.iter().for_each(|view| self.changed(&span(view)));
        let reason = Arc::new(Reason { failure, numbers: vec![number] });
        for view in outputs {
            self.taints.mark(view, &reason);
        }
    }
}
