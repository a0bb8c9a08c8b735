//! What the coordinator is told, what it wants done, and what it keeps.

use super::kind::{Kind, RequestNumber};
use crate::ids::{AttemptId, CheckpointId, Epoch, Incarnation, TaskId, WorkerId};
use crate::regions::Regions;
use crate::settings::{CheckpointSettings, RestartStrategy};
use crate::shared_files::FileId;
use crate::timer::Timer;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What does not change over the life of the job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Every subtask of the job.
    pub tasks: BTreeSet<TaskId>,
    /// Those that barriers are injected at.
    pub sources: BTreeSet<TaskId>,
    /// Of each other task, those whose output it reads.
    pub predecessors: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// Those that publish something when a checkpoint is complete: the job has finished only when they have, for the last one.
    pub committers: BTreeSet<TaskId>,
    /// What restarts together. [`Regions::whole`]: all of it.
    pub regions: Regions,
    /// `execution.checkpointing.*`, validated.
    pub checkpoints: CheckpointSettings,
    /// `restart-strategy.*`.
    pub restart: RestartStrategy,
    /// Whether the coordinator has hooks of its own to call before tasks are triggered (Flink: `MasterHooks`).
    pub hooks: bool,
    /// Whether some operators have a part of their own at the coordinator, which is in the cut with their tasks.
    pub enumerators: bool,
    /// What a job without any checkpoint of its own begins from.
    pub origin: Option<Origin>,
    /// Whether workers keep copies of state (`execution.state-recovery.from-local`): then a subtask goes where it was before, if it can.
    pub local_recovery: bool,
    /// A worker that is silent for so long is lost (`heartbeat.timeout`).
    pub heartbeat_timeout: Duration,
    /// An attempt has failed if some of its tasks do not run yet and nothing was heard of any of those for so long, from when they were
    /// told on: a restore may take as long as it takes.
    pub deploy_timeout: Duration,
    /// A restart waits no longer than this for the tasks of the failed attempt to stop.
    pub stop_timeout: Duration,
}

/// What survives the coordinator, as one journal entry. Small on purpose: each entry is the whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Journal {
    /// Whose entry this is.
    pub epoch: Epoch,
    /// Checkpoint numbers up to and with this one may have been used.
    pub reserved: CheckpointId,
    /// The retained completed checkpoints.
    pub completed: BTreeSet<CheckpointId>,
    /// What the job was started from, until checkpoints of its own have taken its place.
    pub origin: Option<Origin>,
    /// Savepoints that were begun, and where each goes: of those that are not complete, nothing may be left.
    pub begun: BTreeMap<CheckpointId, String>,
    /// The claimed snapshot that the job was started from, while it is being deleted.
    pub discarding: Option<Origin>,
    /// Set once the job has ended; nothing is deployed after that.
    pub ended: Option<Ended>,
}

/// A snapshot that somebody else took and that a job is started from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Its folder. Never opened here.
    pub path: String,
    /// Its number: the job's own begin above it.
    pub checkpoint: CheckpointId,
    /// Whose it is from now on.
    pub claim: ClaimMode,
}

/// Who owns the snapshot that a job is started from (Flink: `RecoveryClaimMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimMode {
    /// Still the user: the job never deletes any of it, and its own first checkpoint shares nothing with it.
    #[default]
    NoClaim,
    /// The job: it becomes one of its checkpoints, is built upon, and deleted when it is subsumed.
    Claim,
}

/// The savepoint that a job was stopped with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoppedWith {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Where its folder is. Never opened here.
    pub target: String,
    /// Whether all that operators held back was given out before: then no job goes on from it.
    pub drained: bool,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ended {
    /// All input was processed, the final checkpoint completed, and everything that waited for that is published.
    Finished,
    /// The restart strategy gave up, or no attempt could begin from the latest checkpoint.
    Failed(String),
    /// The user asked for it.
    Cancelled,
    /// The user asked for it, and another job can go on from where it was. What its tasks had not published by then is published by
    /// whoever begins from the savepoint.
    Stopped(StoppedWith),
}

/// Whether another attempt can do better (Flink: `ThrowableType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// It may: the restart strategy decides.
    Recoverable,
    /// Each would fail in the same way, such as at state that cannot be read: the job is over (`SuppressRestartsException`).
    NonRecoverable,
}

/// What became of a journal write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// It is durable.
    Durable,
    /// The answer was an error, but it may have happened. Nothing that it may refer to can be deleted.
    Unknown,
    /// Another coordinator has taken over: this one must stop, and touch nothing any more.
    Fenced,
}

/// Why a checkpoint failed or was never begun (Flink: `CheckpointFailureReason`). [`counted`](Self::counted) ones work
/// towards `tolerable-failed-checkpoints`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    /// The queue of requests is full.
    TooManyRequests,
    /// A periodic one came too early after the last completed one.
    MinimumTimeBetweenCheckpoints,
    /// Some task does not run.
    NotAllRequiredTasksRunning,
    /// The timeout passed. Counted.
    Expired,
    /// A task could not write its snapshot. Counted.
    AsyncException,
    /// A task said no. Counted.
    Declined,
    /// A task gave it up for a newer one.
    DeclinedSubsumed,
    /// A task is not running, or not any more.
    DeclinedNotReady,
    /// A newer one completed first.
    Subsumed,
    /// A hook of the coordinator failed (`TRIGGER_CHECKPOINT_FAILURE`).
    TriggerFailure,
    /// The place for its files could not be made. Counted.
    IoException,
    /// Metadata or the journal entry could not be written. Counted.
    FinalizeFailure,
    /// A task failed.
    TaskFailure,
    /// The coordinator stopped taking checkpoints because the job is not running any more.
    CoordinatorSuspend,
    /// The job ended.
    CoordinatorShutdown,
    /// The job is being stopped with a savepoint: nothing else is begun.
    Stopping,
    /// Some subtasks of an operator have finished, and what they had in a union list would be lost
    /// (`PartialFinishingNotSupportedByStateException`).
    PartiallyFinished,
    /// Some tasks are being restarted while others go on (`JOB_FAILOVER_REGION`).
    FailoverRegion,
}

impl FailureReason {
    /// Whether it works towards `tolerable-failed-checkpoints` (Flink: `CheckpointFailureManager.checkFailureCounter`).
    #[must_use]
    pub fn counted(self) -> bool {
        match self {
            Self::Expired | Self::AsyncException | Self::Declined | Self::IoException | Self::FinalizeFailure => true,
            Self::TooManyRequests
            | Self::MinimumTimeBetweenCheckpoints
            | Self::NotAllRequiredTasksRunning
            | Self::DeclinedSubsumed
            | Self::DeclinedNotReady
            | Self::Subsumed
            | Self::TriggerFailure
            | Self::TaskFailure
            | Self::CoordinatorSuspend
            | Self::CoordinatorShutdown
            | Self::Stopping
            | Self::PartiallyFinished
            | Self::FailoverRegion => false,
        }
    }
}

/// What the world tells the coordinator. `S` is what one task acknowledges with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<S> {
    /// The answer to the oldest unanswered [`Output::Write`].
    Journal(Written),
    /// A worker has come, or come back (a larger incarnation replaces the old one, whose tasks are lost).
    WorkerJoined {
        /// Which worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: Incarnation,
        /// How many slots it offers.
        slots: u32,
    },
    /// Its connection broke.
    WorkerLost {
        /// Which worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// It is alive.
    Heartbeat {
        /// Which worker.
        worker: WorkerId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// The task is restored and ready for records.
    TaskRunning {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which task.
        task: TaskId,
    },
    /// The task is not ready yet: it still takes its state in.
    TaskRestoring {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which task.
        task: TaskId,
    },
    /// The task has failed; `cause` is for people.
    TaskFailed {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which task.
        task: TaskId,
        /// Why, for people.
        cause: String,
        /// Whether it would fail again.
        kind: FailureKind,
    },
    /// The task has processed all its input and flushed what it holds. It still takes barriers.
    TaskDrained {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which task.
        task: TaskId,
    },
    /// The task has left: a checkpoint with its last state is complete, and everything that waited for that is published.
    TaskFinished {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which task.
        task: TaskId,
    },
    /// Before [`Deployed`](Self::Deployed): what the attempt begins from says that these had finished. They are not started.
    FinishedBefore {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which tasks.
        tasks: BTreeSet<TaskId>,
    },
    /// The task has published all that it held back up to and with this checkpoint.
    Committed {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which task.
        task: TaskId,
    },
    /// No task of this attempt (or of an older one) is left on the worker.
    WorkerStopped {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which worker.
        worker: WorkerId,
    },
    /// The answer to [`Output::Deploy`]: what the tasks begin from was read, and they were told.
    Deployed {
        /// Of which attempt.
        attempt: AttemptId,
    },
    /// The other answer: the attempt cannot begin from what it was to be restored from.
    RestoreFailed {
        /// Of which attempt.
        attempt: AttemptId,
        /// Why, for people.
        cause: String,
        /// Whether the next one could.
        kind: FailureKind,
    },
    /// The task's part of the checkpoint is durable.
    Acknowledged {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which task.
        task: TaskId,
        /// What the task handed over.
        snapshot: S,
    },
    /// The task will not deliver its part.
    Declined {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which task.
        task: TaskId,
        /// Why.
        reason: FailureReason,
    },
    /// The answer to [`Output::CreateLocation`].
    LocationReady(CheckpointId),
    /// The answer to [`Output::CreateLocation`].
    LocationFailed(CheckpointId),
    /// The answer to [`Output::SnapshotEnumerators`]. Where the checkpoint is given up before, there is none.
    EnumeratorsReady(CheckpointId),
    /// The answer to [`Output::CallHooks`].
    HooksReady(CheckpointId),
    /// The answer to [`Output::CallHooks`].
    HooksFailed(CheckpointId),
    /// The source is behind what there is to read, or has caught up (Flink: `setIsProcessingBacklog`).
    Backlog {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which source.
        task: TaskId,
        /// Whether it is behind.
        behind: bool,
    },
    /// The answer to [`Output::ListShared`]: all shared files of the retained snapshots, and their newest users.
    SharedListed(BTreeMap<FileId, CheckpointId>),
    /// The answer to [`Output::WriteMetadata`].
    MetadataDurable(CheckpointId),
    /// The answer to [`Output::WriteMetadata`].
    MetadataFailed(CheckpointId),
    /// The third answer: some operator has finished in part, and has state that this would lose.
    PartsRefused(CheckpointId),
    /// The answer to [`Output::Discard`]: gone, or given up on.
    Discarded(CheckpointId),
    /// The answer to [`Output::SettleSavepoint`]: it is complete and stays, or nothing is left of it.
    SavepointSettled(CheckpointId),
    /// The answer to [`Output::DiscardOrigin`]: it is a snapshot no more, and what no other could share is gone.
    OriginDiscarded,
    /// The answer to [`Output::ForgetOrigin`]: nothing is left of it.
    OriginForgotten,
    /// The user, or a test, asks for a checkpoint.
    Requested {
        /// Of which kind.
        kind: Kind,
        /// Where a savepoint is to go; empty for others.
        target: String,
    },
    /// The user cancels the job.
    CancelRequested,
    /// A timer fired.
    Fired(Timer),
}

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<S> {
    /// Fire this timer after a time that the driver draws evenly from the closed range (often a single value).
    Arm {
        /// Which.
        timer: Timer,
        /// Not before.
        from: Duration,
        /// Not after.
        to: Duration,
    },
    /// Like `Arm`, unless the timer is set to fire before that anyway.
    ArmSooner {
        /// Which.
        timer: Timer,
        /// After this time.
        after: Duration,
    },
    /// The timer is not needed any more.
    Disarm(Timer),
    /// Append this journal entry; answered by [`Input::Journal`]. At most one is unanswered.
    Write(Journal),
    /// Make the place for the files of a checkpoint durable; answered.
    CreateLocation(CheckpointId, Kind),
    /// Take what the enumerators have for this checkpoint, let through nothing that they say from now on, and answer when all that they
    /// said before has been taken in by the tasks; see [`gateway`](crate::gateway).
    SnapshotEnumerators(CheckpointId),
    /// Call the hooks, each of which may add to the checkpoint; answered.
    CallHooks(CheckpointId),
    /// Have these begin: sources, and tasks that hear from nobody any more. Again for the same checkpoint when more have finished.
    Trigger {
        /// Of which attempt. Here and in notices, each task is meant in the attempt that it was deployed in.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Of which kind.
        kind: Kind,
        /// Whether no file of an earlier checkpoint may be reused (`forceFullSnapshot`).
        full: bool,
        /// At which tasks.
        tasks: BTreeSet<TaskId>,
    },
    /// Publish the metadata; answered.
    WriteMetadata {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Of which kind.
        kind: Kind,
        /// What the tasks acknowledged with.
        snapshots: BTreeMap<TaskId, S>,
        /// The other ones: they had finished.
        finished: BTreeSet<TaskId>,
    },
    /// Tell every task of the attempt, and the enumerators.
    NotifyComplete {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Tell every task of the attempt. One that missed the completion of `latest_completed` commits that first. Enumerators that have
    /// closed their gateways for it open them.
    NotifyAbort {
        /// Of which attempt.
        attempt: AttemptId,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// The newest that is complete, if there is one.
        latest_completed: Option<CheckpointId>,
    },
    /// Delete all files of a checkpoint that nothing needs; answered by [`Input::Discarded`].
    Discard(CheckpointId),
    /// Delete these shared files: no snapshot of the job needs them.
    DiscardShared(BTreeSet<FileId>),
    /// An earlier coordinator has begun this savepoint. If it is not complete, delete what there is of it; answered. One that is
    /// complete, or may be, is the user's.
    SettleSavepoint {
        /// Its number.
        checkpoint: CheckpointId,
        /// Where it was to go.
        target: String,
    },
    /// Delete the snapshot that the job was started from and has claimed, but for what it shares; answered. First of all it must not
    /// look like a snapshot any more. It may have been begun before.
    DiscardOrigin(Origin),
    /// What the claimed snapshot has shared is not needed any more: delete what is left of it; answered.
    ForgetOrigin(Origin),
    /// Read which shared files these snapshots need; answered. If that cannot be read there is no answer, and nothing shared is
    /// ever deleted by this coordinator.
    ListShared {
        /// The retained checkpoints.
        checkpoints: BTreeSet<CheckpointId>,
        /// The claimed snapshot that the job was started from, also if it is being deleted.
        origin: Option<Origin>,
    },
    /// Delete all shared files of the job but these.
    SweepShared {
        /// These stay.
        keep: BTreeSet<FileId>,
        /// Only those that attempts of earlier epochs wrote; `None`: all.
        before: Option<Epoch>,
    },
    /// Delete the private files of one late acknowledgement.
    DiscardSnapshot {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What the task handed over.
        snapshot: S,
    },
    /// Delete the files of every checkpoint up to and with `up_to` but these (after a takeover, and at the end).
    Sweep {
        /// These stay.
        keep: BTreeSet<CheckpointId>,
        /// Later ones are not touched.
        up_to: CheckpointId,
    },
    /// Start the tasks as the given attempt, restored from the checkpoint; answered. They are all of the job, or those that are down while
    /// the others go on: those are not touched.
    Deploy {
        /// Of which attempt.
        attempt: AttemptId,
        /// From what; `None` starts empty.
        restore: Option<RestorePoint>,
        /// What goes where.
        placement: BTreeMap<TaskId, WorkerId>,
    },
    /// Tell every worker to stop the tasks of this attempt and of older ones; answered by [`Input::WorkerStopped`].
    Stop {
        /// Of which attempt.
        attempt: AttemptId,
    },
    /// Tell every worker to stop these tasks, of this attempt or of older ones, and no others; answered by [`Input::WorkerStopped`].
    StopTasks {
        /// The latest attempt.
        attempt: AttemptId,
        /// Which.
        tasks: BTreeSet<TaskId>,
    },
    /// For statistics: the checkpoint has begun.
    Triggered {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Of which kind.
        kind: Kind,
    },
    /// For statistics: it is durable and stored.
    Completed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Of which kind.
        kind: Kind,
    },
    /// For statistics: it failed. `None` stands for one that failed before it had a number.
    Aborted {
        /// Which checkpoint, if it had got a number.
        checkpoint: Option<CheckpointId>,
        /// Of which kind.
        kind: Kind,
        /// Why.
        reason: FailureReason,
    },
    /// The answer to a request to stop that came to its end; one that did not is [`Aborted`](Self::Aborted).
    Stopped {
        /// Which request.
        request: RequestNumber,
        /// The savepoint.
        checkpoint: CheckpointId,
        /// Why it is not known that all was published, if it is not (Flink: `StopWithSavepointStoppingException`).
        unpublished: Option<String>,
    },
    /// For people and tests: what the job does now.
    Status(Status),
    /// Another coordinator has taken over: stop this process.
    SteppedDown,
    /// The input came too late to matter.
    Ignored(&'static str),
}

/// What an attempt begins from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RestorePoint {
    /// A checkpoint of the job.
    Own(CheckpointId),
    /// What the job was started from.
    Origin(Origin),
}

impl RestorePoint {
    /// Its number.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointId {
        match self {
            Self::Own(checkpoint) => *checkpoint,
            Self::Origin(origin) => origin.checkpoint,
        }
    }
}

/// What the job does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not enough slots: this many are missing.
    WaitingForWorkers {
        /// How many.
        slots_missing: u32,
    },
    /// Tasks are starting.
    Deploying(AttemptId),
    /// All tasks run.
    Running(AttemptId),
    /// The final checkpoint is complete, and some tasks have not published yet what waited for it.
    Committing(AttemptId),
    /// The journal says that the job has stopped with a savepoint, and some tasks have not published yet what waited for that.
    Stopping {
        /// Whose tasks publish.
        attempt: AttemptId,
        /// The savepoint.
        checkpoint: CheckpointId,
    },
    /// The attempt has failed and its tasks are being stopped.
    Failing {
        /// Of which attempt.
        attempt: AttemptId,
        /// Why, for people.
        cause: String,
    },
    /// The restart strategy's delay runs.
    Restarting {
        /// The attempt that failed.
        after: AttemptId,
    },
    /// It is over, durably.
    Ended(Ended),
}
