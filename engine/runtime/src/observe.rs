//! What can be watched of a running engine: one [`Event`] per transition. For people it becomes a line of a trace, for a
//! test an occasion to act, for an oracle a fact to judge.
//!
//! * here: events.
//! * `step`: what the machines of the protocol get and want, for whoever replays them.

mod step;

pub use step::{MachineStep, Step};

use cofferdam_protocol::coordinator::{Ended, FailureReason};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, Epoch, TaskId, WorkerId};
use std::fmt;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The coordinator of an epoch.
    Coordinator(Epoch),
    /// A worker process.
    Worker(WorkerId),
    /// One subtask, on whatever worker.
    Task(TaskId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(epoch) => f.pad(&format!("coord {epoch}")),
            Self::Worker(worker) => f.pad(&worker.to_string()),
            Self::Task(task) => f.pad(&task.to_string()),
        }
    }
}

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Who.
    pub actor: Actor,
    /// In which attempt, where it matters.
    pub attempt: Option<AttemptId>,
    /// Of which checkpoint, where it matters.
    pub checkpoint: Option<CheckpointId>,
    /// What.
    pub moment: Moment,
    /// The rest.
    pub detail: Detail,
}

/// More about a transition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Nothing more.
    #[default]
    None,
    /// A number: records, bytes, channels.
    Count(u64),
    /// A channel.
    Channel(ChannelIndex),
    /// The subtask that it is about.
    Task(TaskId),
    /// The worker that it is about.
    Worker(WorkerId),
    /// Why a checkpoint failed.
    Reason(FailureReason),
    /// How the job ended.
    Ended(Ended),
    /// Free text for people.
    Text(String),
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Count(count) => write!(f, "{count}"),
            Self::Channel(channel) => write!(f, "{channel}"),
            Self::Task(task) => write!(f, "{task}"),
            Self::Worker(worker) => write!(f, "{worker}"),
            Self::Reason(reason) => write!(f, "{reason:?}"),
            Self::Ended(ended) => write!(f, "{ended:?}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

macro_rules! moments {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened: the protocol's moments, by the names that scenarios pin faults to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Moment { $($(#[$doc])* $name,)* }

        impl Moment {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name, as in traces and scenario files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl std::str::FromStr for Moment {
            type Err = UnknownMoment;
            fn from_str(text: &str) -> Result<Self, UnknownMoment> {
                match text { $($text => Ok(Self::$name),)* _ => Err(UnknownMoment(text.to_owned())) }
            }
        }
    };
}

/// There is no moment of this name; [`Moment::ALL`] has the names that there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown moment {0:?}")]
pub struct UnknownMoment(pub String);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

moments! {
    /// Coordinator: its epoch is durable.
    TookOver = "took-over",
    /// Coordinator: another one has taken over.
    SteppedDown = "stepped-down",
    /// Coordinator: a worker has joined.
    WorkerJoined = "worker-joined",
    /// Coordinator: a worker is lost.
    WorkerLost = "worker-lost",
    /// Coordinator: tasks are placed and told to start; the checkpoint is the one to restore, if any.
    Deploying = "deploying",
    /// Coordinator: all tasks of the attempt run.
    JobRunning = "job-running",
    /// Coordinator: the attempt has failed.
    JobFailing = "job-failing",
    /// Coordinator: the restart delay runs.
    JobRestarting = "job-restarting",
    /// Coordinator: slots are missing.
    JobWaiting = "job-waiting",
    /// Coordinator: the job is over.
    JobEnded = "job-ended",
    /// Coordinator: a checkpoint has its number and its timeout runs.
    CheckpointTriggered = "checkpoint-triggered",
    /// Coordinator: the folder of the checkpoint is durable.
    LocationReady = "location-ready",
    /// Coordinator: a task's acknowledgement has arrived.
    AckReceived = "ack-received",
    /// Coordinator: every task has acknowledged, and the metadata is about to be written.
    AllAcked = "all-acked",
    /// Coordinator: the temporary file of the metadata is written and synced, not yet renamed.
    MetadataWritten = "metadata-written",
    /// Coordinator: the metadata is renamed, its folder not yet synced.
    MetadataRenamed = "metadata-renamed",
    /// Coordinator: the metadata is durable, the journal does not name it yet.
    MetadataDurable = "metadata-durable",
    /// Coordinator: the journal names the checkpoint; nobody has been told.
    CheckpointCompleted = "checkpoint-completed",
    /// A savepoint has its number.
    SavepointTriggered = "savepoint-triggered",
    /// A savepoint is durable, and the user's.
    SavepointCompleted = "savepoint-completed",
    /// A hook of the coordinator did not do its part.
    HookFailed = "hook-failed",
    /// Coordinator: completion notices have been sent.
    CompletionNotified = "completion-notified",
    /// Coordinator: a checkpoint failed.
    CheckpointAborted = "checkpoint-aborted",
    /// Coordinator: a request for a checkpoint was refused.
    RequestRefused = "request-refused",
    /// Coordinator: files of a checkpoint are being deleted.
    Discarding = "discarding",
    /// Coordinator: files of a checkpoint are gone.
    Discarded = "discarded",
    /// Worker: connected and registered.
    Registered = "registered",
    /// Worker: lost its coordinator.
    CoordinatorLost = "coordinator-lost",
    /// Worker: starts the tasks of an attempt.
    TasksStarting = "tasks-starting",
    /// Worker: all tasks of the attempt have stopped.
    TasksStopped = "tasks-stopped",
    /// Task: begins to read its state.
    RestoreStarted = "restore-started",
    /// Task: its state is restored; the count is how many entries and list items it holds now.
    RestoreDone = "restore-done",
    /// Task: runs.
    TaskRunning = "task-running",
    /// Task: failed.
    TaskFailed = "task-failed",
    /// Task: has processed all its input.
    TaskDrained = "task-drained",
    /// Task: all that came on a channel is processed, and who sent on it has finished.
    ChannelEnded = "channel-ended",
    /// Task: a complete checkpoint has its last state, and it leaves.
    TaskFinished = "task-finished",
    /// Coordinator: a task had finished, by what the attempt begins from, and is not started.
    FinishedBefore = "finished-before",
    /// Task: a batch of records went through; the count is how many. Not a line of the trace, but in its hash.
    Batch = "batch",
    /// Task: a barrier arrived on a channel.
    BarrierArrived = "barrier-arrived",
    /// Task: a channel is held back.
    ChannelHeld = "channel-held",
    /// Task: all channels flow again.
    ChannelsReleased = "channels-released",
    /// Task: the barrier is behind everything emitted so far.
    BarrierForwarded = "barrier-forwarded",
    /// Task: the synchronous part is done.
    SnapshotTaken = "snapshot-taken",
    /// Task: the asynchronous part is durable.
    SnapshotDurable = "snapshot-durable",
    /// Task: the asynchronous part failed.
    SnapshotFailed = "snapshot-failed",
    /// Task: told the coordinator so.
    Acknowledged = "acknowledged",
    /// Task: will not deliver.
    Declined = "declined",
    /// Task: knows that a checkpoint is complete.
    Committed = "committed",
    /// Task: gave a checkpoint up.
    SnapshotForgotten = "snapshot-forgotten",
    /// Task: a second copy of its part is durable on the worker's disk; the count is its bytes.
    LocalCopyWritten = "local-copy-written",
    /// Task: there is no second copy; the checkpoint does not need it.
    LocalCopyFailed = "local-copy-failed",
    /// Task: the copy of what it begins from is not what it should be.
    LocalCopyUnusable = "local-copy-unusable",
    /// Worker: a copy that nobody will ask for is deleted.
    LocalCopyDeleted = "local-copy-deleted",
    /// Task: with local recovery, so many bytes of keyed state came from the worker's disk.
    RestoredLocally = "restored-locally",
    /// Task: with local recovery, so many bytes of keyed state came from the checkpoint all the same.
    RestoredRemotely = "restored-remotely",
    /// Coordinator: the final checkpoint is complete, and tasks publish what waited for it.
    JobCommitting = "job-committing",
    /// Task: its sink has published what waited for a checkpoint; the count is how many transactions.
    OutputCommitted = "output-committed",
    /// Task: its sink could not publish, and tries again.
    OutputCommitFailed = "output-commit-failed",
    /// Task: a barrier that may overtake has come to a channel, perhaps behind data.
    BarrierAnnounced = "barrier-announced",
    /// Task: a barrier has overtaken: records under way become part of the checkpoint.
    BarrierOvertook = "barrier-overtook",
    /// Task: all barriers have come; the count is how many records were under way.
    ChannelsLogged = "channels-logged",
    /// Task: so many records that were under way are put in front of everything that comes.
    InFlightRecovered = "in-flight-recovered",
    /// Coordinator: a savepoint that an earlier one has begun is its user's, or nothing is left of it; the text says which.
    SavepointSettled = "savepoint-settled",
    /// Coordinator: the claimed snapshot that the job was started from is not needed any more.
    OriginDiscarding = "origin-discarding",
    /// Coordinator: it does not look like a snapshot any more; what it consisted of is still there.
    OriginUnmade = "origin-unmade",
    /// Coordinator: nothing of it is left.
    OriginForgotten = "origin-forgotten",
    /// Coordinator: an enumerator has found splits; the count is how many.
    SplitsFound = "splits-found",
    /// Coordinator: an enumerator could not look for splits, and tries again.
    LookFailed = "look-failed",
    /// Coordinator: a split is a reader's from now on. The word of it may have to wait.
    SplitAssigned = "split-assigned",
    /// Coordinator: the enumerators' parts of a checkpoint are taken, and nothing that they say is let through.
    EnumeratorsTaken = "enumerators-taken",
    /// Task: what its enumerator has told it is part of its state; the count is the number of the event.
    EventTakenIn = "event-taken-in",
    /// Task: processes nothing more, as the job stops with a savepoint.
    TaskSuspended = "task-suspended",
    /// Task: goes on, as the savepoint was given up.
    TaskResumed = "task-resumed",
    /// Coordinator: the journal says that the job has stopped; nobody has been told.
    JobStopping = "job-stopping",
    /// Coordinator: who asked the job to stop is told that it has; the text says why it is not known that all was published.
    StopAnswered = "stop-answered",
    /// Coordinator: a worker of another release is not taken.
    WorkerRefused = "worker-refused",
    /// Worker: starts one task of a region, as that attempt, beside what goes on.
    TaskStarting = "task-starting",
    /// Worker: one task of a region has stopped, and others go on.
    TaskStopped = "task-stopped",
}

impl fmt::Display for Event {
    /// Columns that never move: who, attempt, checkpoint, what, details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.attempt.map(|a| a.to_string()).unwrap_or_default();
        let checkpoint = self.checkpoint.map(|c| c.to_string()).unwrap_or_default();
        let line = format!("{:<9} {attempt:<6} {checkpoint:<5} {:<21} {}", self.actor, self.moment, self.detail);
        f.write_str(line.trim_end())
    }
}
