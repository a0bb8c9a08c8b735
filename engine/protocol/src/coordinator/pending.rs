//! A checkpoint from its number to its last acknowledgement.
//!
//! ```text
//! Locating --location--> [Enumerating --> Hooking -->] Collecting --last ack--> Publishing --metadata--> Queued --entry out--> Storing --durable--> complete
//!     |                        |              |             |                      |                      |
//!     +------------------------+--------------+-- aborted --+----------------------+      only the answer decides
//! ```
//!
//! Before that a savepoint is `Naming` until the journal names it, and once its metadata is durable it is not pending any more:
//! see `leftovers`.

use super::admission::Request;
use super::journal::Change;
use super::lifecycle::Job;
use super::{Coordinator, FailureReason, Kind, Output, Plan};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// A final checkpoint that failed is asked for again no sooner than this.
const LEAST_RETRY: Duration = Duration::from_millis(100);

/// How far a pending checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Stage {
    /// Of a savepoint: the journal does not name it yet. There is nothing of it.
    Naming,
    /// Its place is being made.
    Locating,
    /// The enumerators have said what is theirs, and what they told their readers before is under way.
    Enumerating,
    /// The coordinator's hooks are being called.
    Hooking,
    /// The sources were told; acknowledgements come in.
    Collecting,
    /// Its metadata is being written.
    Publishing,
    /// Its journal entry waits for its turn.
    Queued,
    /// Its journal entry is under way: nothing but the answer decides what becomes of it.
    Storing,
}

impl Stage {
    /// Whether something is being written that only its answer says the end of.
    fn writes(self) -> bool {
        match self {
            Self::Locating | Self::Hooking | Self::Publishing => true,
            Self::Naming | Self::Enumerating | Self::Collecting | Self::Queued | Self::Storing => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending<S> {
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    /// Triggered after all tasks were drained: it holds the end of all input.
    pub(super) is_final: bool,
    pub(super) missing: BTreeSet<TaskId>,
    /// They had left before it came to them: it has no part of theirs.
    pub(super) finished: BTreeSet<TaskId>,
    pub(super) snapshots: BTreeMap<TaskId, S>,
}

/// Who ended a checkpoint before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A task that declined.
    Task,
    /// The answer to what the checkpoint was waiting for.
    Answer,
    /// The coordinator, while the checkpoint may still be waiting for an answer.
    Coordinator,
}

impl<S> Pending<S> {
    pub(super) fn check(&self, checkpoint: CheckpointId, plan: &Plan) {
        let complete = self.stage >= Stage::Publishing;
        // Why: a cut with a missing piece would silently lose that task's records on restore.
        // A savepoint that drains waits for more than acknowledgements.
        let whole = self.missing.is_empty() && (complete || !self.kind.drains());
        let begun = self.stage >= Stage::Collecting;
        assert!(!begun || whole == complete, "{checkpoint} is {:?} without {:?}", self.stage, self.missing);
        let known = self.missing.len() + self.snapshots.len() + self.finished.len();
        assert!(complete || known == plan.tasks.len(), "every task's part of {checkpoint} is here or missing");
        assert!(!complete || self.snapshots.is_empty(), "the parts of {checkpoint} went into its metadata");
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// The request is admitted: it gets its number, and its timeout runs.
    pub(super) fn begin(&mut self, request: Request, out: &mut Vec<Output<S>>) {
        let checkpoint = self.last_used.next();
        assert!(checkpoint <= self.ledger.durable.reserved, "{checkpoint} is durably reserved before it is used");
        self.last_used = checkpoint;
        let pending = Pending {
            kind: request.kind,
            stage: if request.kind.is_savepoint() { Stage::Naming } else { Stage::Locating },
            is_final: false,
            missing: self.plan.tasks.difference(&self.finished).copied().collect(),
            finished: self.finished.clone(),
            snapshots: BTreeMap::new(),
        };
        self.pending.insert(checkpoint, pending);
        let timeout = self.plan.checkpoints.timeout;
        out.push(Output::Triggered { checkpoint, kind: request.kind });
        out.push(Output::Arm { timer: Timer::CheckpointDeadline(checkpoint), from: timeout, to: timeout });
        if request.kind.is_savepoint() {
            self.begun.insert(checkpoint, request.target);
        } else {
            out.push(Output::CreateLocation(checkpoint, request.kind));
        }
    }

    pub(super) fn location_ready(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get_mut(&checkpoint) {
            Some(pending) if pending.stage == Stage::Locating && self.plan.enumerators => {
                pending.stage = Stage::Enumerating;
                out.push(Output::SnapshotEnumerators(checkpoint));
            }
            Some(pending) if pending.stage == Stage::Locating => self.call_hooks(checkpoint, out),
            // Why nothing else: enumerators that close their gateways for what is given up would never open them.
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Locating, out),
        }
    }

    pub(super) fn enumerators_ready(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Enumerating => self.call_hooks(checkpoint, out),
            Some(_) | None => out.push(Output::Ignored("nobody waits for this answer")),
        }
    }

    fn call_hooks(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if !self.plan.hooks {
            self.trigger(checkpoint, out);
            return;
        }
        self.pending.get_mut(&checkpoint).expect("hooks are called for a pending checkpoint").stage = Stage::Hooking;
        out.push(Output::CallHooks(checkpoint));
    }

    /// The hooks come before the tasks, so that what they prepare is there when barriers flow.
    pub(super) fn hooks_ready(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Hooking => self.trigger(checkpoint, out),
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Hooking, out),
        }
    }

    pub(super) fn hooks_failed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Hooking => {
                self.abort(checkpoint, FailureReason::TriggerFailure, By::Answer, out);
            }
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Hooking, out),
        }
    }

    fn trigger(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let all_drained = self.drained == self.plan.tasks;
        let pending = self.pending.get_mut(&checkpoint).expect("only a pending checkpoint is triggered");
        pending.stage = Stage::Collecting;
        pending.is_final = all_drained && !pending.kind.is_savepoint();
        self.ask_first(checkpoint, out);
    }

    pub(super) fn location_failed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Locating => {
                self.abort(checkpoint, FailureReason::IoException, By::Answer, out);
            }
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Locating, out),
        }
    }

    /// An answer about a checkpoint that was aborted meanwhile: only now can its files be deleted for good.
    pub(super) fn answered_too_late(&mut self, checkpoint: CheckpointId, stage: Stage, out: &mut Vec<Output<S>>) {
        if self.abandoned.get(&checkpoint) == Some(&stage) {
            self.abandoned.remove(&checkpoint);
            self.discard(checkpoint, out);
        } else {
            out.push(Output::Ignored("nobody waits for this answer"));
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        task: TaskId,
        snapshot: S,
        out: &mut Vec<Output<S>>,
    ) {
        if attempt.epoch != self.epoch {
            // What an earlier reign has completed is not known here in full, so nothing of it is deleted piecemeal.
            out.push(Output::Ignored("the acknowledgement is for an earlier coordinator"));
            return;
        }
        // Whatever becomes of the checkpoint: its files may be reused by the next one, and go once no later one has used them.
        if !self.savepoints.contains(&checkpoint) && self.pending.get(&checkpoint).is_none_or(|pending| !pending.kind.is_savepoint()) {
            snapshot.shared_files().for_each(|file| self.shared.register(file, checkpoint));
        }
        let current = self.attempt_of(task);
        let Some(pending) = self.pending.get_mut(&checkpoint) else {
            if self.is_or_may_be_complete(checkpoint) {
                // Repeated: its file belongs to the checkpoint.
                out.push(Output::Ignored("the checkpoint is complete, or may be"));
            } else {
                self.refuse(checkpoint, snapshot, "the checkpoint is not pending", out);
            }
            return;
        };
        let left = pending.finished.contains(&task);
        if left || pending.stage < Stage::Collecting || attempt != current || !self.plan.tasks.contains(&task) {
            self.refuse(checkpoint, snapshot, "the task was not asked", out);
        } else if pending.missing.remove(&task) {
            pending.snapshots.insert(task, snapshot);
            self.publish_if_whole(checkpoint, out);
        } else {
            out.push(Output::Ignored("the task has acknowledged before"));
        }
    }

    fn is_or_may_be_complete(&self, checkpoint: CheckpointId) -> bool {
        self.ledger.durable.completed.contains(&checkpoint) || self.doubtful.contains(&checkpoint) || self.savepoints.contains(&checkpoint)
    }

    fn refuse(&mut self, checkpoint: CheckpointId, snapshot: S, why: &'static str, out: &mut Vec<Output<S>>) {
        out.push(Output::DiscardSnapshot { checkpoint, snapshot });
        out.push(Output::Ignored(why));
    }

    pub(super) fn declined(
        &mut self,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        task: TaskId,
        reason: FailureReason,
        out: &mut Vec<Output<S>>,
    ) {
        let awaited = self.missing(checkpoint).is_some_and(|missing| missing.contains(&task));
        if attempt == self.attempt_of(task) && awaited {
            self.abort(checkpoint, reason, By::Task, out);
        } else {
            out.push(Output::Ignored("nobody waits for this task"));
        }
    }

    pub(super) fn checkpoint_expired(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint).map(|pending| pending.stage) {
            Some(_) if matches!(self.job, Job::Stopping(_)) => out.push(Output::Ignored("the job has stopped with it")),
            Some(
                Stage::Naming
                | Stage::Locating
                | Stage::Enumerating
                | Stage::Hooking
                | Stage::Collecting
                | Stage::Publishing
                | Stage::Queued,
            ) => {
                self.abort(checkpoint, FailureReason::Expired, By::Coordinator, out);
            }
            Some(Stage::Storing) => out.push(Output::Ignored("its journal entry is under way")),
            None => out.push(Output::Ignored("the checkpoint is not pending")),
        }
    }

    /// The checkpoint fails: everybody is told, its files go, and it may count against the job.
    pub(super) fn abort(&mut self, checkpoint: CheckpointId, reason: FailureReason, by: By, out: &mut Vec<Output<S>>) {
        let pending = self.pending.remove(&checkpoint).expect("only a pending checkpoint is aborted");
        // Why: the entry may become durable, and the files of a restore point must stay.
        assert!(pending.stage != Stage::Storing, "{checkpoint} is aborted while its journal entry is under way");
        self.ledger.wanted.retain(|change| *change != Change::Complete(checkpoint) && *change != Change::Stop(checkpoint));
        self.tell_aborted(checkpoint, &pending, reason, out);
        let waits = pending.stage.writes();
        if pending.stage == Stage::Naming {
            self.begun.remove(&checkpoint);
        } else if waits && by != By::Answer {
            self.abandoned.insert(checkpoint, pending.stage);
        } else {
            self.discard(checkpoint, out);
        }
        self.after_abort(checkpoint, &pending, reason, by, out);
    }

    pub(super) fn tell_aborted(&mut self, checkpoint: CheckpointId, pending: &Pending<S>, reason: FailureReason, out: &mut Vec<Output<S>>) {
        out.push(Output::Disarm(Timer::CheckpointDeadline(checkpoint)));
        let told = if self.plan.enumerators { Stage::Enumerating } else { Stage::Collecting };
        if pending.stage >= told {
            let latest_completed = self.latest_completed();
            out.push(Output::NotifyAbort { attempt: self.attempt, checkpoint, latest_completed });
        }
        out.push(Output::Aborted { checkpoint: Some(checkpoint), kind: pending.kind, reason });
    }

    pub(super) fn after_abort(
        &mut self,
        checkpoint: CheckpointId,
        pending: &Pending<S>,
        reason: FailureReason,
        by: By,
        out: &mut Vec<Output<S>>,
    ) {
        if pending.is_final && self.job == Job::Running && !self.is_stopping() {
            let again = self.plan.checkpoints.interval.unwrap_or(LEAST_RETRY).max(LEAST_RETRY);
            out.push(Output::Arm { timer: Timer::Trigger(self.attempt), from: again, to: again });
        }
        self.count_failure(checkpoint, reason, pending.kind.is_savepoint(), by, out);
        if pending.kind.stops() {
            self.stop_failed(pending, out);
        }
    }

    /// All pending checkpoints whose fate is not the journal's already.
    pub(super) fn abort_all(&mut self, reason: FailureReason, out: &mut Vec<Output<S>>) {
        let open = self.pending.iter().filter(|(_, pending)| pending.stage != Stage::Storing);
        let open: Vec<CheckpointId> = open.map(|(&checkpoint, _)| checkpoint).collect();
        for checkpoint in open {
            self.abort(checkpoint, reason, By::Coordinator, out);
        }
    }
}
