//! Which request for a checkpoint may begin, and when (Flink: `CheckpointRequestDecider`).

use super::lifecycle::Job;
use super::{Coordinator, FailureReason, Kind, Output};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// How many requests may wait.
const MOST_REQUESTS: usize = 1000;

/// A wish for a checkpoint. Savepoints first, then a user's, then the timer's; among equals the older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Request {
    pub(super) kind: Kind,
    place: u64,
    /// Of a savepoint.
    pub(super) target: String,
}

/// What triggers, and what waits to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scheduler {
    queue: BTreeSet<Request>,
    /// It has run for an earlier attempt.
    started_before: bool,
    /// The minimum pause after this checkpoint runs.
    pub(super) pausing: Option<CheckpointId>,
    /// A periodic checkpoint came too early: it is triggered when the pause is over.
    refused: bool,
}

impl Scheduler {
    /// Returns the request that had to give way, if there are too many.
    fn enqueue(&mut self, kind: Kind, target: String) -> Option<Request> {
        let place = self.queue.iter().map(|request| request.place + 1).max().unwrap_or(0);
        let request = Request { kind, place, target };
        self.queue.insert(request.clone());
        if self.queue.len() <= MOST_REQUESTS {
            return None;
        }
        let last = self.queue.last().expect("it was just added to").clone();
        let loser = if last.kind == Kind::Periodic { last } else { request };
        self.queue.remove(&loser);
        Some(loser)
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// All tasks run: periodic checkpoints begin.
    pub(super) fn start_scheduler(&mut self, out: &mut Vec<Output<S>>) {
        let Some(interval) = self.interval() else { return };
        let pause = self.plan.checkpoints.min_pause;
        // A restarted job should not wait another whole interval; many fresh ones should not trigger in step.
        let to = if self.scheduler.started_before { pause } else { interval.max(pause) };
        self.scheduler.started_before = true;
        out.push(Output::Arm { timer: Timer::Trigger(self.attempt), from: pause, to });
    }

    /// The attempt is over: nothing is triggered any more, and what waits fails.
    pub(super) fn stop_scheduler(&mut self, reason: FailureReason, out: &mut Vec<Output<S>>) {
        self.scheduler.refused = false;
        for Request { kind, .. } in core::mem::take(&mut self.scheduler.queue) {
            out.push(Output::Aborted { checkpoint: None, kind, reason });
        }
    }

    /// Between two periodic checkpoints as things are now; `None`: there are none.
    fn interval(&self) -> Option<Duration> {
        let usual = self.plan.checkpoints.interval?;
        match self.plan.checkpoints.interval_during_backlog {
            Some(during) if !self.behind.is_empty() => Some(during).filter(|during| !during.is_zero()),
            Some(_) | None => Some(usual),
        }
    }

    /// A source is behind, or has caught up. Checkpoints that become more frequent begin to be so at once.
    pub(super) fn backlog(&mut self, attempt: AttemptId, task: TaskId, behind: bool, out: &mut Vec<Output<S>>) {
        if attempt != self.attempt_of(task) || !self.plan.sources.contains(&task) {
            out.push(Output::Ignored("no source of this attempt"));
            return;
        }
        let news = if behind { self.behind.insert(task) } else { self.behind.remove(&task) };
        if !news || self.job != Job::Running || self.is_stopping() {
            return;
        }
        if let Some(after) = self.interval() {
            out.push(Output::ArmSooner { timer: Timer::Trigger(self.attempt), after });
        }
    }

    pub(super) fn trigger_due(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        if attempt == self.attempt && self.job == Job::Running && self.is_stopping() {
            out.push(Output::Ignored("the job is being stopped"));
        } else if attempt == self.attempt && self.job == Job::Running {
            if self.plan.checkpoints.interval.is_none() {
                // Without periodic ones only a final checkpoint that failed is tried again.
                self.end_of_input(out);
            }
            self.trigger_periodic(out);
        } else {
            out.push(Output::Ignored("that attempt does not run"));
        }
    }

    fn trigger_periodic(&mut self, out: &mut Vec<Output<S>>) {
        // While a backlog switches them off, the tick that was set before still counts; none follows it.
        if self.plan.checkpoints.interval.is_some() {
            if let Some(interval) = self.interval() {
                out.push(Output::Arm { timer: Timer::Trigger(self.attempt), from: interval, to: interval });
            }
            // Unlike Flink, ticks do not pile up behind a slow checkpoint, to run back to back once it is done: one that
            // waits already is the next one.
            if self.scheduler.queue.iter().any(|request| request.kind == Kind::Periodic) {
                out.push(Output::Ignored("a periodic checkpoint waits already"));
            } else {
                self.request(Kind::Periodic, String::new(), out);
            }
        }
    }

    pub(super) fn min_pause_over(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if self.scheduler.pausing != Some(checkpoint) {
            out.push(Output::Ignored("a later pause counts"));
            return;
        }
        self.scheduler.pausing = None;
        if core::mem::take(&mut self.scheduler.refused) && self.job == Job::Running {
            self.trigger_periodic(out);
        }
    }

    pub(super) fn request(&mut self, kind: Kind, target: String, out: &mut Vec<Output<S>>) {
        if self.job != Job::Running {
            out.push(Output::Aborted { checkpoint: None, kind, reason: FailureReason::NotAllRequiredTasksRunning });
            return;
        }
        if self.is_stopping() {
            out.push(Output::Aborted { checkpoint: None, kind, reason: FailureReason::Stopping });
            return;
        }
        if let Some(Request { kind, .. }) = self.scheduler.enqueue(kind, target) {
            out.push(Output::Aborted { checkpoint: None, kind, reason: FailureReason::TooManyRequests });
        }
        if self.is_stopping() {
            self.nothing_else_is_begun(out);
        }
    }

    /// Drops what waits and is neither a savepoint nor a stop, and forgets what was to be triggered after a pause.
    pub(super) fn refuse_ordinary(&mut self, out: &mut Vec<Output<S>>) {
        self.scheduler.refused = false;
        let (kept, refused) = core::mem::take(&mut self.scheduler.queue).into_iter().partition(|request| request.kind.is_savepoint());
        self.scheduler.queue = kept;
        let refused: BTreeSet<Request> = refused;
        for Request { kind, .. } in refused {
            out.push(Output::Aborted { checkpoint: None, kind, reason: FailureReason::CoordinatorSuspend });
        }
    }

    /// The request to stop that waits.
    pub(super) fn stop_waits(&self) -> bool {
        self.scheduler.queue.iter().any(|request| request.kind.stops())
    }

    /// Begins what may begin now. Called after every input, as any may have made room.
    pub(super) fn admit(&mut self, out: &mut Vec<Output<S>>) {
        let most = self.plan.checkpoints.max_concurrent as usize;
        while let Some(first) = self.scheduler.queue.first().cloned() {
            assert!(self.job == Job::Running, "requests wait only while the job runs");
            // Where barriers overtake, none of another checkpoint may come in between (Flink: a savepoint is forced only if unaligned is off).
            let forced = first.kind.is_savepoint() && !self.plan.checkpoints.unaligned;
            let crowded = if first.kind.stops() { !self.pending.is_empty() } else { self.pending.len() >= most && !forced };
            if self.on_their_way() > 0 || crowded || self.cleaning.len() > most {
                return;
            }
            if first.kind == Kind::Periodic && self.scheduler.pausing.is_some() {
                self.scheduler.queue.remove(&first);
                self.scheduler.refused = true;
                let reason = FailureReason::MinimumTimeBetweenCheckpoints;
                out.push(Output::Aborted { checkpoint: None, kind: first.kind, reason });
                out.push(Output::Disarm(Timer::Trigger(self.attempt)));
                continue;
            }
            if self.last_used >= self.ledger.durable.reserved {
                self.reserve_numbers();
                return;
            }
            self.scheduler.queue.remove(&first);
            self.begin(first, out);
        }
    }
}
