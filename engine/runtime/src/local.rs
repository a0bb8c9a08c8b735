//! Local recovery: a second copy of keyed state on the worker's own disk, tried first when a subtask is restored there (Flink:
//! `TaskLocalStateStore`).
//!
//! ```text
//! <folder>/<task>-<checkpoint>-<attempt>/<uid>-<n>    the same blocks as a file of the checkpoint; files that several copies have are links
//! <folder>/<task>-<checkpoint>-<attempt>/_copy        what the copy consists of; written last, whole or not at all
//! ```
//!
//! * here: what a worker and its subtasks do with copies.
//! * `writer`: what a snapshot tells of itself, without waiting.
//! * `copying`: making one, beside the checkpoint. Nothing that goes wrong or takes long here fails or delays a checkpoint.
//! * `reader`: reading one, all of it checked.
//! * `keeper`: deletes what nobody will ask for.
//!
//! Never here: which copy may be used and which goes ([`cofferdam_protocol::local`]).

mod copying;
mod keeper;
mod reader;
mod writer;

pub use reader::CopyReader;
pub use writer::{CopyName, CopyWriter, Doubled, KeptFiles};

use crate::env::Env;
use crate::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::local::{Input, LocalCopy, LocalSnapshot, Taken};
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId, WorkerId};
use copying::Copying;
use keeper::{keep, Command};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use writer::Shared;

/// What a copy consists of.
const MANIFEST: &str = "_copy";
const MANIFEST_TEMPORARY: &str = "_copy.tmp";

/// The copies of one worker. Clones are the same.
#[derive(Clone)]
pub struct LocalState<E: Env> {
    env: E,
    folder: Arc<str>,
    commands: mpsc::UnboundedSender<Command>,
}

impl<E: Env> LocalState<E> {
    /// Copies are kept in this folder, of this worker and job alone: a job that begins anew under an old name, with its checkpoints
    /// thrown away, needs another one, since its snapshots would have the old ones' names. It is made when it is needed. What a former
    /// process left there is found with the first deployment. The task deletes copies for as long as it is held.
    pub fn new(env: &E, worker: WorkerId, folder: &str) -> (Self, E::Task) {
        let folder: Arc<str> = folder.trim_end_matches('/').into();
        let (commands, received) = mpsc::unbounded_channel();
        let keeper = env.spawn("keep copies", keep(env.clone(), worker, folder.clone(), received));
        (Self { env: env.clone(), folder, commands }, keeper)
    }

    fn tell(&self, input: Input) {
        // The keeper lives as long as the worker.
        let _ = self.commands.send(Command::Step(input));
    }

    /// The worker gets these tasks. Of all copies, only theirs of what they begin from are of use, and those of the tasks that go on.
    pub fn deployed(&self, attempt: AttemptId, tasks: BTreeMap<TaskId, Option<Taken>>, going_on: BTreeSet<TaskId>) {
        // As above.
        let _ = self.commands.send(Command::Deployed { attempt, tasks, going_on });
    }

    /// The job is over: deletes all copies, as far as the disk lets it.
    pub async fn end(&self) {
        let (done, ended) = oneshot::channel();
        // As above.
        let _ = self.commands.send(Command::End(done));
        let _ = ended.await;
    }

    /// What a subtask of an attempt sees of it.
    #[must_use]
    pub fn of(&self, task: TaskId, attempt: AttemptId, from: Option<Taken>) -> TaskCopies<E> {
        TaskCopies { state: self.clone(), task, attempt, from }
    }
}

/// The copies of one subtask.
#[derive(Clone)]
pub struct TaskCopies<E: Env> {
    state: LocalState<E>,
    task: TaskId,
    attempt: AttemptId,
    from: Option<Taken>,
}

impl<E: Env> TaskCopies<E> {
    fn folder(&self, copy: LocalCopy) -> String {
        format!("{}/{}", self.state.folder, copy.folder())
    }

    fn observe(&self, checkpoint: CheckpointId, moment: Moment, detail: Detail) {
        let event = Event { actor: Actor::Task(self.task), attempt: Some(self.attempt), checkpoint: Some(checkpoint), moment, detail };
        self.state.env.observe(event);
    }

    /// Begins to write a copy, once the one before is made or has come to nothing: it may link to what is in that.
    #[must_use]
    pub fn begin(&self, checkpoint: CheckpointId, before: Option<Made>) -> (CopyWriter, CopyTask<E>, Made) {
        let copy = LocalCopy { task: self.task, taken: Taken { checkpoint, attempt: self.attempt } };
        self.state.tell(Input::Begun(copy));
        let (work, told) = mpsc::unbounded_channel();
        let (shared, (made, is_made)) = (Arc::<Shared>::default(), oneshot::channel());
        let copying = Copying::new(self.clone(), copy, shared.clone());
        let task = self.state.env.spawn("copy", async move {
            // Dropped when this is over, however it ends.
            let _made: oneshot::Sender<()> = made;
            if let Some(before) = before {
                let _ = before.0.await;
            }
            copying.run(told).await;
        });
        (CopyWriter::new(work, shared), CopyTask { _task: task }, Made(is_made))
    }

    /// This subtask was told that a checkpoint is complete.
    pub fn completed(&self, checkpoint: CheckpointId) {
        self.state.tell(Input::Completed(self.task, checkpoint));
    }

    /// This subtask was told that a checkpoint will not be, or has given up its part of it.
    pub fn aborted(&self, checkpoint: CheckpointId) {
        self.state.tell(Input::Aborted(self.task, checkpoint));
    }

    /// The copy of what the subtask begins from, if there is a readable one on this disk. One that cannot be read is deleted.
    pub async fn restorable(&self) -> Option<Restorable<E>> {
        let wanted = LocalCopy { task: self.task, taken: self.from? };
        match reader::manifest(&self.state.env, &self.folder(wanted)).await {
            Ok(snapshot) => Some(Restorable { copies: self.clone(), wanted, snapshot, is_unusable: AtomicBool::new(false) }),
            Err(error) => {
                if !error.is_gone() {
                    self.unusable(wanted, &error);
                }
                // Without a manifest, whatever else is there is of no use.
                self.state.tell(Input::Failed(wanted));
                None
            }
        }
    }

    fn unusable(&self, copy: LocalCopy, why: &dyn Display) {
        self.observe(copy.taken.checkpoint, Moment::LocalCopyUnusable, Detail::Text(why.to_string()));
    }

    /// Says what a subtask was restored from.
    pub fn restored(&self, from: RestoredBytes) {
        let Some(taken) = self.from else { return };
        for (bytes, moment) in [(from.local, Moment::RestoredLocally), (from.remote, Moment::RestoredRemotely)] {
            if let Some(bytes) = bytes {
                self.observe(taken.checkpoint, moment, Detail::Count(bytes));
            }
        }
    }
}

/// A copy while it is made. Dropping it ends that.
pub struct CopyTask<E: Env> {
    _task: E::Task,
}

/// Resolves when a copy is made, or is not being made any more.
pub struct Made(oneshot::Receiver<()>);

/// How many bytes of keyed state a subtask has read, and where; `None` where there was none to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredBytes {
    /// On the worker's disk.
    pub local: Option<u64>,
    /// Where the checkpoint is.
    pub remote: Option<u64>,
}

/// A copy whose manifest was read and is in order.
pub struct Restorable<E: Env> {
    copies: TaskCopies<E>,
    /// What was looked for.
    pub wanted: LocalCopy,
    /// What the manifest says, which may be something else.
    pub snapshot: LocalSnapshot,
    is_unusable: AtomicBool,
}

impl<E: Env> Restorable<E> {
    /// Where a file of it is.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.copies.folder(self.wanted))
    }

    /// It, or the part of one operator, cannot be used after all: says why.
    pub fn unusable(&self, why: &dyn Display) {
        self.copies.unusable(self.wanted, why);
        self.is_unusable.store(true, Ordering::Relaxed);
    }

    /// The subtask is restored. Only now may a copy go that turned out to be of no use: another operator may have read from it.
    pub fn close(self) {
        if self.is_unusable.into_inner() {
            self.copies.state.tell(Input::Failed(self.wanted));
        }
    }
}
