//! Which copies a worker's disk holds, and which of them go (Flink: `TaskLocalStateStoreImpl`).
//!
//! ```text
//! Writing --written--> Whole                           a complete one of a later checkpoint: both go
//!    |                   |                             this one aborted: this one goes, no other
//!    +--- given up ------+---> deleted                 a deployment that does not name it: it goes
//! ```
//!
//! A notice stands for itself alone: lost, late and repeated ones do no harm, since the next completion takes whatever is older.

use super::{LocalCopy, Taken};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::machine::Machine;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

/// What happens to a worker's copies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The worker gets these tasks, each of which begins from a snapshot, or from nothing. `found` is what is on the disk, which may be
    /// looked at when the tasks write already.
    Deployed {
        /// As which attempt.
        attempt: AttemptId,
        /// The tasks of this worker that start, and what each begins from.
        tasks: BTreeMap<TaskId, Option<Taken>>,
        /// Tasks that go on on this worker: theirs is not touched.
        going_on: BTreeSet<TaskId>,
        /// Whatever an earlier process or attempt left.
        found: BTreeSet<LocalCopy>,
    },
    /// A subtask has begun to write a copy.
    Begun(LocalCopy),
    /// It is whole.
    Written(LocalCopy),
    /// It cannot be written, or not be used.
    Failed(LocalCopy),
    /// The checkpoint is complete, as this subtask was told.
    Completed(TaskId, CheckpointId),
    /// The checkpoint will not be, as this subtask was told.
    Aborted(TaskId, CheckpointId),
    /// The job is over.
    Ended {
        /// Whatever is on the disk.
        found: BTreeSet<LocalCopy>,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Nobody will ask for it any more. It may be gone already, or only half there.
    Delete(LocalCopy),
    /// The input came too late to matter.
    Ignored(&'static str),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(copy) => write!(f, "delete {copy}"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

/// The copies on one worker's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalCopies {
    /// Whether each is whole.
    copies: BTreeMap<LocalCopy, bool>,
    /// The newest checkpoint that each subtask was told to be complete, in this deployment.
    completed: BTreeMap<TaskId, CheckpointId>,
}

impl Machine for LocalCopies {
    type Input = Input;
    type Output = Output;
    type Durable = ();

    /// What is on the disk is found with the next deployment.
    fn recover((): (), _out: &mut Vec<Output>) -> Self {
        Self::default()
    }

    /// Total: every input is legal in every state. What can no longer matter comes out as `Ignored`.
    fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Deployed { attempt, tasks, going_on, found } => self.deployed(attempt, &tasks, &going_on, found, out),
            Input::Begun(copy) => {
                if self.is_subsumed(copy) {
                    out.push(Output::Ignored("a later checkpoint is complete"));
                } else {
                    self.copies.insert(copy, false);
                }
            }
            Input::Written(copy) => match self.copies.get_mut(&copy) {
                Some(whole) => *whole = true,
                // Whoever wrote it had not heard yet that nobody wants it.
                None => out.push(Output::Delete(copy)),
            },
            Input::Failed(copy) => {
                self.copies.remove(&copy);
                // Also one that is not known: something of it may be there.
                out.push(Output::Delete(copy));
            }
            Input::Completed(task, checkpoint) => self.completed(task, checkpoint, out),
            Input::Aborted(task, checkpoint) => {
                self.delete(out, |copy| copy.task == task && copy.taken.checkpoint == checkpoint);
            }
            Input::Ended { found } => {
                self.copies.extend(found.into_iter().map(|copy| (copy, true)));
                self.delete(out, |_| true);
            }
        }
        self.check();
    }
}

/// One line.
impl fmt::Display for LocalCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.copies.is_empty() {
            return f.write_str("no copies");
        }
        f.write_str("copies")?;
        self.copies.iter().try_for_each(|(copy, whole)| write!(f, " {copy}{}", if *whole { "" } else { " (being written)" }))
    }
}

impl LocalCopies {
    /// Those that are whole.
    pub fn whole(&self) -> impl Iterator<Item = LocalCopy> + '_ {
        self.copies.iter().filter(|(_, whole)| **whole).map(|(copy, _)| *copy)
    }

    fn deployed(
        &mut self,
        attempt: AttemptId,
        tasks: &BTreeMap<TaskId, Option<Taken>>,
        going_on: &BTreeSet<TaskId>,
        found: BTreeSet<LocalCopy>,
        out: &mut Vec<Output>,
    ) {
        self.completed.retain(|task, _| going_on.contains(task));
        // Those of this attempt and of later ones speak for themselves, and so do those of tasks that go on.
        let old = |copy: LocalCopy| copy.taken.attempt < attempt && !going_on.contains(&copy.task);
        self.copies.extend(found.into_iter().filter(|copy| old(*copy)).map(|copy| (copy, true)));
        self.delete(out, |copy| old(copy) && tasks.get(&copy.task) != Some(&Some(copy.taken)));
    }

    fn completed(&mut self, task: TaskId, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        let newest = self.completed.entry(task).or_insert(CheckpointId::NONE);
        if checkpoint <= *newest {
            out.push(Output::Ignored("this or a later one is complete"));
            return;
        }
        *newest = checkpoint;
        self.delete(out, |copy| copy.task == task && copy.taken.checkpoint < checkpoint);
    }

    fn is_subsumed(&self, copy: LocalCopy) -> bool {
        self.completed.get(&copy.task).is_some_and(|completed| copy.taken.checkpoint < *completed)
    }

    fn delete(&mut self, out: &mut Vec<Output>, which: impl Fn(LocalCopy) -> bool) {
        self.copies.retain(|copy, _| {
            let goes = which(*copy);
            if goes {
                out.push(Output::Delete(*copy));
            }
            !goes
        });
    }

    /// What is true between any two steps.
    fn check(&self) {
        for copy in self.copies.keys() {
            // Why: nothing would ever be restored from it, and nobody would delete it.
            assert!(!self.is_subsumed(*copy), "{copy} is kept though a later checkpoint is complete");
        }
    }
}
