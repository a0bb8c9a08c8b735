//! What a transactional sink publishes, and what it deletes (Flink: `TwoPhaseCommitSinkFunction`).
//!
//! ```text
//! rows --barrier of c7--> open, named by every snapshot from here on
//!      --c7, or a later one, complete--> published, and open no more
//!      --restored with it----> published before anything else
//! ```
//!
//! A completion stands for all before it: what an aborted checkpoint or a savepoint has closed is published with the first checkpoint that
//! is complete. Whoever gets there publishes: the task when it is told, the next attempt before its first record, a task of a fenced
//! attempt that was told in time. All do the same to the same name, in any order, any number of times.
//!
//! The list of a snapshot goes to every subtask: each sees to its share, by who made them, but must know all, since it also deletes what
//! was never completed, and must not take what another one is about to publish.
//!
//! Lives here: which transactions are open, which are due, whose they are, which names go.
//! Never here: rows, files, when a commit is tried again ([`committer`](crate::committer)).

use crate::ids::{AttemptId, CheckpointId, SubtaskIndex};
use crate::machine::Machine;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;

/// The rows between two barriers, closed. Two never have the same name.
pub trait Transaction: Clone + Eq + Hash + Debug {
    /// What it is staged and published as.
    fn name(&self) -> &str;
    /// The number of the subtask that made it.
    fn maker(&self) -> u32;
}

/// Which part of what was left is this subtask's to see to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Share {
    /// The subtask.
    pub subtask: SubtaskIndex,
    /// How many there are; 0 stands for 1.
    pub parallelism: u32,
    /// The attempt.
    pub attempt: AttemptId,
}

impl Share {
    /// Whether what that subtask made is this one's. Each number is somebody's, also where there were more subtasks.
    #[must_use]
    pub fn has(&self, maker: u32) -> bool {
        maker % self.parallelism.max(1) == self.subtask.0
    }
}

/// What a sink begins from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Beginning<T> {
    /// Its share.
    pub share: Share,
    /// All transactions that the restored snapshot names, of all subtasks.
    pub restored: Vec<T>,
}

/// Something that is staged: a transaction, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Staged {
    /// Its name.
    pub name: String,
    /// The number of the subtask that made it.
    pub maker: u32,
    /// In which attempt.
    pub attempt: AttemptId,
}

/// What happens to a sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<T> {
    /// It is published, and not staged any more; or somebody else has done so.
    Published(T),
    /// The answer to [`Output::ListStaged`].
    Found(BTreeSet<Staged>),
    /// The rows since the last barrier are a transaction now, at the barrier of this checkpoint. Without rows there is none.
    Closed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The rows.
        transaction: T,
    },
    /// Everything up to and with this checkpoint is complete.
    Completed(CheckpointId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<T> {
    /// Make it visible; answered. One that cannot be published stays open.
    Publish(T),
    /// Look for what earlier attempts have staged; answered.
    ListStaged,
    /// It was never completed: delete it.
    Delete(String),
    /// The sink may take records.
    Opened,
}

impl<T: Transaction> fmt::Display for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(transaction) => write!(f, "publish {}", transaction.name()),
            Self::ListStaged => f.write_str("list-staged"),
            Self::Delete(name) => write!(f, "delete {name}"),
            Self::Opened => f.write_str("opened"),
        }
    }
}

/// The transactions of one sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transactions<T> {
    share: Share,
    /// Until it is opened: what the snapshot named.
    restored: Vec<T>,
    /// Of its share, what is not published yet.
    left: Vec<T>,
    /// In the order in which they were closed, with the checkpoint at whose barrier that was.
    open: Vec<(CheckpointId, T)>,
}

impl<T: Transaction> Machine for Transactions<T> {
    type Input = Input<T>;
    type Output = Output<T>;
    type Durable = Beginning<T>;

    /// First of all its share of what is complete is published, and only then is anything deleted.
    fn recover(Beginning { share, restored }: Beginning<T>, out: &mut Vec<Output<T>>) -> Self {
        let left: Vec<T> = restored.iter().filter(|transaction| share.has(transaction.maker())).cloned().collect();
        out.extend(left.iter().cloned().map(Output::Publish));
        if left.is_empty() {
            out.push(Output::ListStaged);
        }
        Self { share, restored, left, open: Vec::new() }
    }

    /// Total: what is published twice, or by others, is published.
    fn step(&mut self, input: Input<T>, out: &mut Vec<Output<T>>) {
        match input {
            Input::Published(transaction) => {
                let before = self.left.len();
                self.left.retain(|other| *other != transaction);
                if self.left.is_empty() && before > 0 {
                    out.push(Output::ListStaged);
                }
                self.open.retain(|(_, other)| *other != transaction);
            }
            Input::Found(staged) => {
                let named: BTreeSet<&str> = self.restored.iter().map(Transaction::name).collect();
                let goes = |staged: &Staged| {
                    !named.contains(staged.name.as_str()) && self.share.has(staged.maker) && staged.attempt < self.share.attempt
                };
                out.extend(staged.into_iter().filter(goes).map(|staged| Output::Delete(staged.name)));
                out.push(Output::Opened);
                self.restored = Vec::new();
            }
            Input::Closed { checkpoint, transaction } => self.open.push((checkpoint, transaction)),
            Input::Completed(checkpoint) => {
                let due = self.open.iter().filter(|(closed, _)| *closed <= checkpoint);
                out.extend(due.map(|(_, transaction)| Output::Publish(transaction.clone())));
            }
        }
        self.check();
    }
}

impl<T: Transaction> Transactions<T> {
    /// What a snapshot names, in the order in which it was closed: all that is not known to be published.
    pub fn open(&self) -> impl Iterator<Item = &T> {
        self.open.iter().map(|(_, transaction)| transaction)
    }

    fn check(&self) {
        let names: BTreeSet<&str> = self.open().map(Transaction::name).collect();
        // Why: a second one would be taken for published when the first one is.
        assert!(names.len() == self.open.len(), "no two open transactions have the same name: {:?}", self.open);
        assert!(self.open.is_sorted_by_key(|(checkpoint, _)| *checkpoint), "barriers come in the order of their checkpoints");
    }
}
