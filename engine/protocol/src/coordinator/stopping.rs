//! A job that stops with a savepoint (Flink: `StopWithSavepointTerminationHandler`).
//!
//! ```text
//! request --nothing else is begun--> savepoint, at whose barrier tasks stop --metadata durable--> entry: stopped --> published --> over
//!             |                          |                                          |               |
//!             +------- given up, or the attempt failed: the job goes on ------------+          only the answer decides
//! ```
//!
//! The journal says that the job has stopped before any task publishes what waited for that. So whoever takes over finds a job that
//! runs on, and of which nothing was published that its checkpoints do not have, or one that is over, and is never deployed again.
//! From when that entry is written there is no way back, as it may be durable: a task that fails is not restarted, and what it has not
//! published is left to the job that begins from the savepoint.
//!
//! Suspended tasks of a savepoint that is given up go on when they are told. Drained ones have given out what they hold, and cannot:
//! their attempt has failed.

use super::lifecycle::Job;
use super::pending::{By, Pending, Stage};
use super::{Coordinator, Ended, FailureReason, Journal, Kind, Output, RequestNumber, Status, StoppedWith};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// A job of which there is no way back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stopping {
    checkpoint: CheckpointId,
    request: RequestNumber,
    /// Of the attempt: from then on nothing is published any more that could be waited for.
    broken: Option<String>,
    /// Once the journal says so.
    publishing: Option<Publishing>,
}

impl Stopping {
    /// How many tasks have not published what waited for the savepoint.
    pub(super) fn awaited(&self) -> usize {
        self.publishing.as_ref().map_or(0, |publishing| publishing.missing.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Publishing {
    with: StoppedWith,
    /// These tasks have not published what waited for the savepoint.
    missing: BTreeSet<TaskId>,
    /// Checkpoints that go when the job is over.
    unneeded: BTreeSet<CheckpointId>,
}

impl<S: Acknowledged> Coordinator<S> {
    /// A request to stop waits, or its savepoint is under way: nothing else is begun.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_waits() || self.pending.values().any(|pending| pending.kind.stops())
    }

    /// A request to stop has come. Savepoints that others have asked for before are finished first.
    pub(super) fn nothing_else_is_begun(&mut self, out: &mut Vec<Output<S>>) {
        out.push(Output::Disarm(Timer::Trigger(self.attempt)));
        self.refuse_ordinary(out);
        let open = self.pending.iter().filter(|(_, pending)| !pending.kind.is_savepoint() && pending.stage != Stage::Storing);
        let open: Vec<CheckpointId> = open.map(|(&checkpoint, _)| checkpoint).collect();
        for checkpoint in open {
            self.abort(checkpoint, FailureReason::CoordinatorSuspend, By::Coordinator, out);
        }
    }

    /// A task has given out what it holds; its part may have come before.
    pub(super) fn drained_for_the_stop(&mut self, out: &mut Vec<Output<S>>) {
        if self.drained != self.plan.tasks {
            return;
        }
        let waits = |pending: &Pending<S>| pending.kind.drains() && pending.stage == Stage::Collecting && pending.missing.is_empty();
        let whole = self.pending.iter().find(|(_, pending)| waits(pending)).map(|(&checkpoint, _)| checkpoint);
        if let Some(checkpoint) = whole {
            self.publish(checkpoint, out);
        }
    }

    /// The savepoint was given up: the job goes on, if it still can.
    pub(super) fn stop_failed(&mut self, pending: &Pending<S>, out: &mut Vec<Output<S>>) {
        if self.job != Job::Running {
            return;
        }
        if pending.kind.drains() && pending.stage >= Stage::Collecting {
            self.fail_attempt("its tasks were drained for a savepoint that is not complete".into(), out);
        } else {
            self.start_scheduler(out);
            self.end_of_input(out);
        }
    }

    /// What the journal says of it.
    pub(super) fn stop_entry(&self, checkpoint: CheckpointId, entry: &mut Journal) {
        let target = entry.begun.remove(&checkpoint).expect("the journal names a savepoint until it is complete");
        let ended = Ended::Stopped(StoppedWith { checkpoint, target, drained: self.pending[&checkpoint].kind.drains() });
        super::retention::keep_nothing(entry, &ended);
        entry.ended = Some(ended);
    }

    /// The entry goes out, and may be durable from now on.
    pub(super) fn no_way_back(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if matches!(self.job, Job::Stopping(_)) {
            // It is tried again.
            return;
        }
        let kind = self.pending[&checkpoint].kind;
        let Kind::Stop { request, .. } = kind else { unreachable!("a job stops only with a savepoint for that") };
        self.leave_for(Job::Stopping(Stopping { checkpoint, request, broken: None, publishing: None }), out);
        out.push(Output::Disarm(Timer::CheckpointDeadline(checkpoint)));
        if let Some(pausing) = self.scheduler.pausing.take() {
            out.push(Output::Disarm(Timer::MinPause(pausing)));
        }
    }

    /// The job has stopped. Only now may anybody publish what waited for the savepoint.
    pub(super) fn stop_durable(&mut self, checkpoint: CheckpointId, unneeded: BTreeSet<CheckpointId>, out: &mut Vec<Output<S>>) {
        let pending = self.pending.remove(&checkpoint).expect("a savepoint is pending until its entry is answered");
        self.savepoints.insert(checkpoint);
        self.begun.remove(&checkpoint);
        out.push(Output::Completed { checkpoint, kind: pending.kind });
        let Some(Ended::Stopped(with)) = self.ledger.durable.ended.clone() else { unreachable!("the entry says so") };
        let missing = self.who_still_commits();
        let (attempt, publishing) = (self.attempt, Publishing { with, missing, unneeded });
        let Job::Stopping(stopping) = &mut self.job else { unreachable!("there was no way back") };
        let broken = stopping.broken.is_some();
        stopping.publishing = Some(publishing);
        self.set_status(Status::Stopping { attempt, checkpoint }, out);
        if !broken {
            out.push(Output::NotifyComplete { attempt, checkpoint });
        }
        self.over_if_published(out);
    }

    pub(super) fn published_at_the_stop(&mut self, attempt: AttemptId, checkpoint: CheckpointId, task: TaskId, out: &mut Vec<Output<S>>) {
        let current = self.attempt_of(task);
        let Job::Stopping(Stopping { checkpoint: last, publishing, .. }) = &mut self.job else { return };
        let awaited = attempt == current && checkpoint >= *last;
        if publishing.as_mut().is_some_and(|publishing| awaited && publishing.missing.remove(&task)) {
            self.over_if_published(out);
        } else {
            out.push(Output::Ignored("nobody waits for what it published"));
        }
    }

    /// The attempt has failed. There is no other: the job ends, and what is not published is in the savepoint.
    pub(super) fn stop_is_broken(&mut self, cause: String, out: &mut Vec<Output<S>>) {
        let Job::Stopping(stopping) = &mut self.job else { return };
        stopping.broken.get_or_insert(cause);
        self.over_if_published(out);
    }

    fn over_if_published(&mut self, out: &mut Vec<Output<S>>) {
        let Job::Stopping(Stopping { checkpoint, request, broken, publishing: Some(publishing) }) = &self.job else { return };
        // Where nothing is held back, nothing can be missing.
        let unpublished = broken.clone().filter(|_| !publishing.missing.is_empty());
        if broken.is_none() && !publishing.missing.is_empty() {
            return;
        }
        let (checkpoint, request) = (*checkpoint, *request);
        let Publishing { with, unneeded, .. } = publishing.clone();
        out.push(Output::Stopped { request, checkpoint, unpublished });
        self.end_durable(Ended::Stopped(with), unneeded, out);
    }

    pub(super) fn check_stopping(&self) {
        let stops = self.pending.iter().filter(|(_, pending)| pending.kind.stops());
        // Why: each would be the last thing that the job does.
        assert!(stops.count() + usize::from(self.stop_waits()) <= 1, "a job stops once");
        if let Some((checkpoint, pending)) = self.pending.iter().find(|(_, pending)| pending.kind.stops()) {
            // Why: what tasks take in behind its barrier, and publish with another one, would be taken in again.
            assert_eq!(self.pending.len(), 1, "nothing is pending beside {checkpoint}, with which the job stops");
            assert!(
                pending.stage != Stage::Storing || matches!(self.job, Job::Stopping(_)),
                "the job runs on though it may have stopped with {checkpoint}"
            );
        }
        if let Job::Stopping(Stopping { checkpoint, publishing, .. }) = &self.job {
            let durable = matches!(&self.ledger.durable.ended, Some(Ended::Stopped(with)) if with.checkpoint == *checkpoint);
            // Why: it would be published, and then again by a job that runs on.
            assert_eq!(durable, publishing.is_some(), "what waited for {checkpoint} is published exactly when the journal says so");
            assert!(durable || self.pending.contains_key(checkpoint), "{checkpoint} is pending until the journal says so");
        }
    }
}
