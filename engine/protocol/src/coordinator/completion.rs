//! Metadata, then the journal, then everything that follows from being complete.

use super::journal::Change;
use super::lifecycle::Job;
use super::pending::{By, Stage};
use super::{Coordinator, Ended, FailureReason, Kind, Output, Status};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl<S: Acknowledged> Coordinator<S> {
    /// All tasks that have not finished have acknowledged.
    pub(super) fn publish(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let attempt = self.attempt;
        let pending = self.pending.get_mut(&checkpoint).expect("only a pending checkpoint is published");
        pending.stage = Stage::Publishing;
        let (snapshots, finished, kind) = (core::mem::take(&mut pending.snapshots), pending.finished.clone(), pending.kind);
        let whole = self.plan.tasks.iter().all(|task| snapshots.contains_key(task) != finished.contains(task));
        // Why: a cut with a missing piece would silently lose that task's records on restore.
        assert!(whole, "{checkpoint} is published with the part of every task that has not finished");
        self.assert_is_closed(checkpoint, &finished);
        out.push(Output::WriteMetadata { attempt, checkpoint, kind, snapshots, finished });
    }

    pub(super) fn metadata_durable(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get_mut(&checkpoint) {
            Some(pending) if pending.stage == Stage::Publishing => {
                if pending.kind.stops() {
                    pending.stage = Stage::Queued;
                    self.ledger.wanted.push_back(Change::Stop(checkpoint));
                } else if pending.kind.is_savepoint() {
                    self.savepoint_written(checkpoint, out);
                } else {
                    pending.stage = Stage::Queued;
                    self.ledger.wanted.push_back(Change::Complete(checkpoint));
                }
            }
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Publishing, out),
        }
    }

    pub(super) fn metadata_failed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Publishing => {
                self.abort(checkpoint, FailureReason::FinalizeFailure, By::Answer, out);
            }
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Publishing, out),
        }
    }

    /// What the tasks handed over cannot be a checkpoint at this moment.
    pub(super) fn parts_refused(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        match self.pending.get(&checkpoint) {
            Some(pending) if pending.stage == Stage::Publishing => {
                self.abort(checkpoint, FailureReason::PartiallyFinished, By::Answer, out);
            }
            Some(_) | None => self.answered_too_late(checkpoint, Stage::Publishing, out),
        }
    }

    /// A savepoint is the user's: not a restore point, subsumes nothing, commits nothing (FLINK-25191). Whatever happens now, it stays;
    /// nobody is told before the journal has let go of it.
    fn savepoint_written(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let kind = self.pending.remove(&checkpoint).expect("only a pending savepoint completes").kind;
        self.savepoints.insert(checkpoint);
        self.begun.remove(&checkpoint);
        self.handing_over.insert(checkpoint, kind);
        out.push(Output::Disarm(Timer::CheckpointDeadline(checkpoint)));
    }

    /// The savepoint is the user's now.
    pub(super) fn savepoint_complete(&mut self, checkpoint: CheckpointId, kind: Kind, out: &mut Vec<Output<S>>) {
        out.push(Output::Completed { checkpoint, kind });
        self.tally.succeeded(checkpoint);
        if self.job == Job::Running {
            self.pause(checkpoint, out);
        }
    }

    /// The journal names it: it is a restore point.
    pub(super) fn stored(&mut self, checkpoint: CheckpointId, unneeded: BTreeSet<CheckpointId>, out: &mut Vec<Output<S>>) {
        let pending = self.pending.remove(&checkpoint).expect("a checkpoint is pending until its entry is answered");
        out.push(Output::Disarm(Timer::CheckpointDeadline(checkpoint)));
        out.push(Output::Completed { checkpoint, kind: pending.kind });
        let older = self.pending.range(..checkpoint).filter(|(_, pending)| !pending.kind.is_savepoint());
        let older: Vec<CheckpointId> = older.map(|(&older, _)| older).collect();
        for older in older {
            self.abort(older, FailureReason::Subsumed, By::Coordinator, out);
        }
        self.tally.succeeded(checkpoint);
        let running = self.job == Job::Running;
        if running || self.is_down_in_part() {
            out.push(Output::NotifyComplete { attempt: self.attempt, checkpoint });
        }
        if running {
            self.pause(checkpoint, out);
        }
        self.discard_all(unneeded, out);
        self.release_shared(out);
        self.forget_origin(out);
        if running && pending.is_final {
            self.commit_the_end(checkpoint, out);
        }
    }

    /// The final checkpoint is complete. Why the job has not ended yet: its completion may not have reached everybody, and with the
    /// journal's last entry nobody would come back to publish what waits for it.
    fn commit_the_end(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let missing = self.who_still_commits();
        if missing.is_empty() {
            self.end(Ended::Finished, out);
            return;
        }
        self.leave_for(Job::Committing { checkpoint, missing }, out);
        self.stop_scheduler(FailureReason::CoordinatorShutdown, out);
        self.abort_all(FailureReason::CoordinatorShutdown, out);
        self.set_status(Status::Committing(self.attempt), out);
    }

    pub(super) fn task_committed(&mut self, attempt: AttemptId, checkpoint: CheckpointId, task: TaskId, out: &mut Vec<Output<S>>) {
        let current = self.attempt_of(task);
        match &mut self.job {
            Job::Committing { checkpoint: last, missing } if attempt == current && checkpoint >= *last => {
                if !missing.remove(&task) {
                    out.push(Output::Ignored("nobody waits for what it published"));
                } else if missing.is_empty() {
                    self.end(Ended::Finished, out);
                }
            }
            Job::Stopping(_) => self.published_at_the_stop(attempt, checkpoint, task, out),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Committing { .. } => {
                out.push(Output::Ignored("nobody waits for what it published"));
            }
            Job::Failing { .. } | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("nobody waits for what it published"));
            }
        }
    }

    /// The next periodic trigger keeps its distance from this completion.
    fn pause(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let pause = self.plan.checkpoints.min_pause;
        if pause.is_zero() {
            return;
        }
        if let Some(earlier) = self.scheduler.pausing.replace(checkpoint) {
            out.push(Output::Disarm(Timer::MinPause(earlier)));
        }
        out.push(Output::Arm { timer: Timer::MinPause(checkpoint), from: pause, to: pause });
    }
}
