//! When a task publishes what its sink holds back until a checkpoint is complete: one commit at a time, and again after a failure.
//!
//! ```text
//! Idle --complete c--> Committing c --done--> Idle     (report c; what became complete meanwhile is next)
//!                      Committing c --failed--> Committing the newest complete one, after a while; at last the task gives up
//! ```
//!
//! Lives here: which completion is being published, which one is next, when to give up.
//! Never here: what is published ([`transactions`](crate::transactions)), files, clocks.

use crate::ids::CheckpointId;
use crate::machine::Machine;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// So many times in a row a commit may fail before the task does. What it leaves is committed by the next attempt.
const MOST_TRIES: u32 = 5;
/// Before the second try; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What happens to a task's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Everything up to and with this checkpoint is complete. May be late or repeated.
    Completed(CheckpointId),
    /// The answer to [`Output::Commit`]: all that waited for it is published, or nothing did.
    Done(CheckpointId),
    /// The other answer.
    Failed {
        /// Of which checkpoint.
        checkpoint: CheckpointId,
        /// Whether it would fail again.
        lasts: bool,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Publish all that has waited for this checkpoint or an earlier one; answered. At most one is unanswered: two would publish in no
    /// particular order.
    Commit {
        /// Which.
        checkpoint: CheckpointId,
        /// Not before this time.
        wait: Duration,
    },
    /// Tell the coordinator that it is published.
    Report(CheckpointId),
    /// Fail the task.
    GiveUp(CheckpointId),
    /// The input came too late to matter.
    Ignored(&'static str),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit { checkpoint, wait } if wait.is_zero() => write!(f, "commit {checkpoint}"),
            Self::Commit { checkpoint, wait } => write!(f, "commit {checkpoint} in {wait:?}"),
            Self::Report(checkpoint) => write!(f, "report {checkpoint}"),
            Self::GiveUp(checkpoint) => write!(f, "give-up {checkpoint}"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

/// The commits of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Committer {
    running: Option<CheckpointId>,
    /// The newest checkpoint that is complete and not committed yet; it stands for those before it.
    wanted: Option<CheckpointId>,
    /// How many have failed in a row.
    failed: u32,
}

impl Machine for Committer {
    type Input = Input;
    type Output = Output;
    type Durable = ();

    /// What the restored checkpoint names is published before a task begins.
    fn recover((): (), _out: &mut Vec<Output>) -> Self {
        Self::default()
    }

    /// Total: an answer that nobody waits for comes out as `Ignored`.
    fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Completed(checkpoint) => {
                self.wanted = self.wanted.max(Some(checkpoint));
                self.next(Duration::ZERO, out);
            }
            Input::Done(checkpoint) | Input::Failed { checkpoint, .. } if self.running != Some(checkpoint) => {
                out.push(Output::Ignored("it is not being committed"));
            }
            Input::Done(checkpoint) => {
                (self.running, self.failed) = (None, 0);
                out.push(Output::Report(checkpoint));
                self.next(Duration::ZERO, out);
            }
            Input::Failed { checkpoint, lasts } => {
                self.running = None;
                self.failed += 1;
                if lasts || self.failed >= MOST_TRIES {
                    out.push(Output::GiveUp(checkpoint));
                } else {
                    self.wanted = self.wanted.max(Some(checkpoint));
                    self.next(FIRST_WAIT * (1 << (self.failed - 1)), out);
                }
            }
        }
    }
}

impl Committer {
    /// The checkpoint that is being committed.
    #[must_use]
    pub fn running(&self) -> Option<CheckpointId> {
        self.running
    }

    fn next(&mut self, wait: Duration, out: &mut Vec<Output>) {
        if self.running.is_some() {
            return;
        }
        self.running = self.wanted.take();
        out.extend(self.running.map(|checkpoint| Output::Commit { checkpoint, wait }));
    }
}
