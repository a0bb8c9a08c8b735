//! The coordinator of one job: who runs where, which checkpoint is pending, which one a restart begins from.
//!
//! Lives here: the life of the job (waiting for workers, deploying, running, restarting, ended) and everything of Flink's
//! `CheckpointCoordinator`, `CheckpointRequestDecider`, `CheckpointFailureManager` and `CompletedCheckpointStore` that decides.
//! Never here: files, sockets, clocks, what a snapshot looks like inside (`S` is never opened).
//!
//! ```text
//! TakingOver --epoch durable--> Waiting --slots--> Deploying --all tasks run--> Running --final checkpoint--> Committing
//!                                  ^                   |                           |                             |
//!                                  |                   +-------- a failure --------+-----------------------------+
//!                                  |                                |
//!                              Restarting <--all stopped-- Failing <+
//!                                                             |
//!              Ended <--journal says so-- Ending <------------+  (also from anywhere: cancelled; from Committing: finished)
//!
//!   Running --the journal is told that the job stops with a savepoint--> Stopping --all published, or some task failed--> Ended
//! ```
//!
//! * `lifecycle`: workers, deployment, failure, restart, end.
//! * `admission`: which request for a checkpoint may begin, and when.
//! * `pending`: a checkpoint from its number to its last acknowledgement.
//! * `completion`: metadata, then the journal, then everything that follows from being complete.
//! * `journal`: one unanswered entry at a time, and what an unknown outcome means.
//! * `failures`: which failed checkpoint counts, and which failed attempt is followed by another.
//! * `regional`: some tasks restart while the others go on.
//! * `retention`: which completed checkpoints stay, and whose files go.
//! * `finishing`: tasks that finish while others go on.
//! * `stopping`: the savepoint that a job stops with, from the request to the end.
//! * `leftovers`: what nobody else would clean up after a coordinator that dies: savepoints, and a claimed snapshot.

mod admission;
mod completion;
mod failures;
mod finishing;
mod journal;
mod kind;
mod leftovers;
mod lifecycle;
mod message;
mod pending;
mod portrait;
mod regional;
mod retention;
mod show;
mod stopping;

pub use kind::{Kind, RequestNumber};
pub use message::{
    ClaimMode, Ended, FailureKind, FailureReason, Input, Journal, Origin, Output, Plan, RestorePoint, Status, StoppedWith, Written,
};

pub use portrait::{Outline, MANY};

use crate::ids::{AttemptId, CheckpointId, Epoch, TaskId, WorkerId};
use crate::machine::Machine;
use crate::shared_files::SharedFiles;
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use admission::Scheduler;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use failures::{Backoff, FailureTally};
use journal::Ledger;
use leftovers::Parting;
use lifecycle::{Job, Worker};
use pending::{Pending, Stage};

/// What a coordinator starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The job.
    pub plan: Plan,
    /// The newest journal entry; the default one if there is none yet.
    pub journal: Journal,
}

/// The coordinator of one job. `S` is what one task acknowledges with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator<S> {
    plan: Plan,
    epoch: Epoch,
    ledger: Ledger,
    job: Job,
    status: Option<Status>,
    attempt: AttemptId,
    /// Of the tasks that were deployed before the latest attempt and go on: in which one.
    older: BTreeMap<TaskId, AttemptId>,
    workers: BTreeMap<WorkerId, Worker>,
    placement: BTreeMap<TaskId, WorkerId>,
    /// Where they were in the attempt before, in this reign.
    previous: BTreeMap<TaskId, WorkerId>,
    drained: BTreeSet<TaskId>,
    /// Those that have left, or were not started as they had before.
    finished: BTreeSet<TaskId>,
    /// Sources that are behind what there is to read.
    behind: BTreeSet<TaskId>,
    backoff: Backoff,
    scheduler: Scheduler,
    last_used: CheckpointId,
    pending: BTreeMap<CheckpointId, Pending<S>>,
    tally: FailureTally,
    /// Told to be discarded, not yet answered.
    cleaning: BTreeSet<CheckpointId>,
    /// Aborted while a question about it was unanswered: discarded once that is answered, or the answer could write again.
    abandoned: BTreeMap<CheckpointId, Stage>,
    /// Failed because the outcome of its journal entry is unknown: kept until an entry without it is durable.
    doubtful: BTreeSet<CheckpointId>,
    /// Complete savepoints of this reign: theirs are files that a repeated acknowledgement must not take away.
    savepoints: BTreeSet<CheckpointId>,
    /// Savepoints of which something may be there that is not the user's: as the next journal entry names them.
    begun: BTreeMap<CheckpointId, String>,
    /// Those that earlier coordinators have begun, and that are being looked at.
    left: BTreeSet<CheckpointId>,
    /// Those whose metadata is durable, until the journal has let go of them.
    handing_over: BTreeMap<CheckpointId, Kind>,
    /// How far the deletion of the claimed origin is.
    parting: Parting,
    /// Who needs which shared file.
    shared: SharedFiles,
    /// Whether that includes what was retained when this coordinator took over. Before, nothing shared is deleted.
    shared_is_known: bool,
}

impl<S: Acknowledged> Machine for Coordinator<S> {
    type Input = Input<S>;
    type Output = Output<S>;
    type Durable = Standing;

    /// A takeover: a new epoch, which is written before anything else is done.
    fn recover(Standing { plan, journal }: Standing, out: &mut Vec<Output<S>>) -> Self {
        // Why: no task would ever acknowledge, and no barrier ever flow.
        assert!(!plan.sources.is_empty(), "a job has at least one source");
        assert!(plan.sources.is_subset(&plan.tasks), "every source is a task of the job");
        assert!(plan.committers.is_subset(&plan.tasks), "whoever commits is a task of the job");
        let epoch = journal.epoch.next();
        let mut coordinator = Self {
            epoch,
            last_used: journal.reserved,
            begun: journal.begun.clone(),
            ledger: Ledger::taking_over(journal),
            job: Job::TakingOver { cancelled: false },
            status: None,
            attempt: AttemptId { epoch, number: 0 },
            older: BTreeMap::new(),
            workers: BTreeMap::new(),
            placement: BTreeMap::new(),
            previous: BTreeMap::new(),
            drained: BTreeSet::new(),
            finished: BTreeSet::new(),
            behind: BTreeSet::new(),
            backoff: Backoff::default(),
            scheduler: Scheduler::default(),
            pending: BTreeMap::new(),
            tally: FailureTally::default(),
            cleaning: BTreeSet::new(),
            abandoned: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            savepoints: BTreeSet::new(),
            left: BTreeSet::new(),
            handing_over: BTreeMap::new(),
            parting: Parting::NotBegun,
            shared: SharedFiles::default(),
            shared_is_known: false,
            plan,
        };
        coordinator.write_next(out);
        coordinator.check();
        coordinator
    }

    /// Total: every input is legal in every state. What can no longer matter comes out as `Ignored`.
    fn step(&mut self, input: Input<S>, out: &mut Vec<Output<S>>) {
        if self.job == Job::SteppedDown {
            out.push(Output::Ignored("another coordinator has taken over"));
            return;
        }
        match input {
            Input::Journal(written) => self.written(written, out),
            Input::WorkerJoined { worker, incarnation, slots } => self.worker_joined(worker, incarnation, slots, out),
            Input::WorkerLost { worker, incarnation } => self.worker_lost(worker, incarnation, "lost", out),
            Input::Heartbeat { worker, incarnation } => self.heartbeat(worker, incarnation, out),
            Input::TaskRunning { attempt, task } => self.task_running(attempt, task, out),
            Input::TaskRestoring { attempt, task } => self.task_restoring(attempt, task, out),
            Input::TaskFailed { attempt, task, cause, kind } => self.task_failed(attempt, task, &cause, kind, out),
            Input::Deployed { attempt } => self.tasks_told(attempt, out),
            Input::TaskDrained { attempt, task } => self.task_drained(attempt, task, out),
            Input::TaskFinished { attempt, task } => self.task_finished(attempt, task, out),
            Input::FinishedBefore { attempt, tasks } => self.finished_before(attempt, tasks, out),
            Input::Committed { attempt, checkpoint, task } => self.task_committed(attempt, checkpoint, task, out),
            Input::WorkerStopped { attempt, worker } => self.worker_stopped(attempt, worker, out),
            Input::RestoreFailed { attempt, cause, kind } => self.restore_failed(attempt, cause, kind, out),
            Input::Acknowledged { attempt, checkpoint, task, snapshot } => {
                self.acknowledged(attempt, checkpoint, task, snapshot, out);
            }
            Input::Declined { attempt, checkpoint, task, reason } => self.declined(attempt, checkpoint, task, reason, out),
            Input::LocationReady(checkpoint) => self.location_ready(checkpoint, out),
            Input::LocationFailed(checkpoint) => self.location_failed(checkpoint, out),
            Input::EnumeratorsReady(checkpoint) => self.enumerators_ready(checkpoint, out),
            Input::HooksReady(checkpoint) => self.hooks_ready(checkpoint, out),
            Input::HooksFailed(checkpoint) => self.hooks_failed(checkpoint, out),
            Input::Backlog { attempt, task, behind } => self.backlog(attempt, task, behind, out),
            Input::SharedListed(files) => self.shared_listed(files, out),
            Input::MetadataDurable(checkpoint) => self.metadata_durable(checkpoint, out),
            Input::MetadataFailed(checkpoint) => self.metadata_failed(checkpoint, out),
            Input::PartsRefused(checkpoint) => self.parts_refused(checkpoint, out),
            Input::Discarded(checkpoint) => self.discarded(checkpoint, out),
            Input::SavepointSettled(checkpoint) => self.savepoint_settled(checkpoint, out),
            Input::OriginDiscarded => self.origin_discarded(out),
            Input::OriginForgotten => self.origin_forgotten(out),
            Input::Requested { kind, target } => self.request(kind, target, out),
            Input::CancelRequested => self.cancel(out),
            Input::Fired(timer) => self.fired(timer, out),
        }
        if self.job == Job::SteppedDown {
            return;
        }
        self.admit(out);
        self.deploy_if_possible(out);
        self.write_next(out);
        self.check();
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// The very first start of a job.
    pub fn new(plan: Plan, out: &mut Vec<Output<S>>) -> Self {
        Self::recover(Standing { plan, journal: Journal::default() }, out)
    }

    /// The job.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The reign of this coordinator.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The current or latest attempt; its number is 0 before the first one.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// What was last said by [`Output::Status`]; `None` before the epoch is durable.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The newest entry known to be durable (before the takeover is, the one that was taken over).
    pub fn journal(&self) -> &Journal {
        &self.ledger.durable
    }

    /// The retained completed checkpoints.
    pub fn completed(&self) -> &BTreeSet<CheckpointId> {
        &self.ledger.durable.completed
    }

    /// What a restart would begin from.
    pub fn restore_point(&self) -> Option<RestorePoint> {
        let own = self.latest_completed().map(RestorePoint::Own);
        own.or_else(|| self.ledger.durable.origin.clone().map(RestorePoint::Origin))
    }

    /// Who needs which shared file.
    pub fn shared_files(&self) -> &SharedFiles {
        &self.shared
    }

    /// The newest checkpoint of the job itself.
    pub fn latest_completed(&self) -> Option<CheckpointId> {
        self.ledger.durable.completed.last().copied()
    }

    /// The checkpoints that are under way, with their kind.
    pub fn pending(&self) -> impl Iterator<Item = (CheckpointId, Kind)> + '_ {
        self.pending.iter().map(|(&checkpoint, pending)| (checkpoint, pending.kind))
    }

    /// The tasks whose acknowledgement of this pending checkpoint is missing; `None` if it is not pending.
    pub fn missing(&self, checkpoint: CheckpointId) -> Option<&BTreeSet<TaskId>> {
        self.pending.get(&checkpoint).map(|pending| &pending.missing)
    }

    /// Which task runs where. What is not in it is down.
    pub fn placement(&self) -> &BTreeMap<TaskId, WorkerId> {
        &self.placement
    }

    /// The workers that are believed alive.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.workers.keys().copied()
    }

    /// Whether another coordinator has taken over.
    pub fn has_stepped_down(&self) -> bool {
        self.job == Job::SteppedDown
    }

    fn fired(&mut self, timer: Timer, out: &mut Vec<Output<S>>) {
        match timer {
            Timer::Trigger(attempt) => self.trigger_due(attempt, out),
            Timer::MinPause(checkpoint) => self.min_pause_over(checkpoint, out),
            Timer::CheckpointDeadline(checkpoint) => self.checkpoint_expired(checkpoint, out),
            Timer::WorkerSilent(worker, incarnation) => self.worker_lost(worker, incarnation, "silent", out),
            Timer::DeployDeadline(attempt) => self.deploy_expired(attempt, out),
            Timer::StopDeadline(attempt) => self.stop_expired(attempt, out),
            Timer::Restart(attempt) => self.restart_due(attempt, out),
            Timer::BackoffReset(attempt) => self.ran_long_enough(attempt, out),
            Timer::FailureForgotten(attempt) => self.backoff.forget(attempt),
            Timer::JournalRetry => self.ledger.retrying = false,
        }
    }

    fn set_status(&mut self, status: Status, out: &mut Vec<Output<S>>) {
        self.status = Some(status.clone());
        out.push(Output::Status(status));
    }

    /// What is true between any two steps.
    fn check(&self) {
        let durable = &self.ledger.durable;
        // Why: a number above could be given out again by the next coordinator.
        assert!(self.last_used <= durable.reserved, "{} was used before it was durably reserved", self.last_used);
        // Why: two triggers at once could reach the sources in either order.
        assert!(self.on_their_way() <= 1, "at most one checkpoint is on its way to the sources");
        let ordinary = self.pending.values().filter(|pending| !pending.kind.is_savepoint()).count();
        let most = self.plan.checkpoints.max_concurrent as usize;
        assert!(ordinary <= most, "{ordinary} checkpoints are pending where {most} may be");
        for (checkpoint, pending) in &self.pending {
            pending.check(*checkpoint, &self.plan);
            // Why: its files would be deleted under its feet, or its number stand for two cuts.
            assert!(!self.let_go(*checkpoint), "{checkpoint} is pending and given up");
            assert!(!durable.completed.contains(checkpoint), "{checkpoint} is pending and complete");
        }
        for checkpoint in &durable.completed {
            // Why: a restore from it would find nothing.
            assert!(!self.let_go(*checkpoint), "{checkpoint} is a restore point and its files are being deleted");
        }
        self.check_ledger();
        self.check_job();
        self.check_regions();
        self.check_leftovers();
        self.check_stopping();
        self.check_finishing();
    }

    /// How many checkpoints the sources have not been told of yet.
    fn on_their_way(&self) -> usize {
        self.pending.values().filter(|pending| pending.stage < Stage::Collecting).count()
    }

    fn let_go(&self, checkpoint: CheckpointId) -> bool {
        self.cleaning.contains(&checkpoint) || self.abandoned.contains_key(&checkpoint) || self.doubtful.contains(&checkpoint)
    }

    fn in_stage(&self, stage: Stage) -> impl Iterator<Item = CheckpointId> + '_ {
        self.pending.iter().filter(move |(_, pending)| pending.stage == stage).map(|(&checkpoint, _)| checkpoint)
    }
}
