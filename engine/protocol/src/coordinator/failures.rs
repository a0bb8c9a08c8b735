//! Which failed checkpoint counts against the job, and which failed attempt is followed by another.

use super::lifecycle::{Job, Verdict};
use super::pending::By;
use super::{Coordinator, Ended, FailureKind, FailureReason, Output};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::settings::RestartStrategy;
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Consecutive counted failures (Flink: `CheckpointFailureManager`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct FailureTally {
    /// Those since the last success; a set, so that each counts once.
    failed: BTreeSet<CheckpointId>,
    last_success: CheckpointId,
}

impl FailureTally {
    pub(super) fn succeeded(&mut self, checkpoint: CheckpointId) {
        if checkpoint > self.last_success {
            self.last_success = checkpoint;
            self.failed.clear();
        }
    }

    /// Whether the failures have become too many; if so, counting begins anew.
    fn failed(&mut self, checkpoint: CheckpointId, tolerable: u32) -> bool {
        if checkpoint < self.last_success {
            return false;
        }
        self.failed.insert(checkpoint);
        let too_many = self.failed.len() > tolerable as usize;
        if too_many {
            self.failed.clear();
        }
        too_many
    }
}

/// What the restart strategy remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Backoff {
    /// Fixed delay: restarts so far.
    restarts: u32,
    /// Exponential delay: the delay before the latest restart.
    delay: Option<Duration>,
    /// Failure rate: failed attempts that still count.
    recent: BTreeSet<AttemptId>,
}

/// How long to wait before a restart: evenly from the closed range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delay {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Backoff {
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.recent.remove(&attempt);
    }

    pub(super) fn reset(&mut self) {
        self.delay = None;
    }

    /// The attempt has failed. `None`: no further one.
    fn failed(&mut self, attempt: AttemptId, strategy: &RestartStrategy) -> Option<Delay> {
        match *strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                let again = self.restarts < attempts;
                self.restarts = self.restarts.saturating_add(1);
                again.then_some(Delay { from: delay, to: delay })
            }
            RestartStrategy::ExponentialDelay { initial, max, growth_percent, jitter_percent, reset_after: _ } => {
                let grown = |delay: Duration| delay.checked_mul(growth_percent).map_or(max, |delay| delay / 100);
                let delay = self.delay.map_or(initial, grown).min(max);
                self.delay = Some(delay);
                let jitter = delay.checked_mul(jitter_percent).map_or(delay, |jitter| jitter / 100);
                Some(Delay { from: delay.saturating_sub(jitter), to: delay.saturating_add(jitter).min(max) })
            }
            RestartStrategy::FailureRate { failures, interval: _, delay } => {
                self.recent.insert(attempt);
                (self.recent.len() <= failures as usize).then_some(Delay { from: delay, to: delay })
            }
        }
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// Counts a failed checkpoint if it counts, and fails the attempt when there were too many in a row.
    /// Of savepoints only what a task says counts.
    pub(super) fn count_failure(
        &mut self,
        checkpoint: CheckpointId,
        reason: FailureReason,
        savepoint: bool,
        by: By,
        out: &mut Vec<Output<S>>,
    ) {
        if !reason.counted() || (savepoint && by != By::Task) {
            return;
        }
        let tolerable = self.plan.checkpoints.tolerable_failures;
        if self.tally.failed(checkpoint, tolerable) {
            let cause = format!("more than {tolerable} checkpoints in a row failed, {checkpoint} as the last: {reason}");
            self.fail_attempt(cause, out);
        }
    }

    pub(super) fn task_failed(&mut self, attempt: AttemptId, task: TaskId, cause: &str, kind: FailureKind, out: &mut Vec<Output<S>>) {
        if attempt == self.attempt_of(task) {
            self.tasks_failed(&[task].into(), format!("task {task} failed: {cause}"), kind, out);
        } else {
            out.push(Output::Ignored("a later attempt counts"));
        }
    }

    /// What it was to be restored from cannot be taken: an older checkpoint would bring back what was committed since.
    pub(super) fn restore_failed(&mut self, attempt: AttemptId, cause: String, kind: FailureKind, out: &mut Vec<Output<S>>) {
        if attempt == self.attempt {
            let deploying = matches!(self.job, Job::Deploying { .. });
            let failed = if deploying { self.latest_deployed() } else { BTreeSet::new() };
            self.tasks_failed(&failed, cause, kind, out);
        } else {
            out.push(Output::Ignored("a later attempt counts"));
        }
    }

    /// All tasks have failed together; the restart strategy decides whether there is another attempt.
    pub(super) fn fail_attempt(&mut self, cause: String, out: &mut Vec<Output<S>>) {
        if self.is_live(self.attempt) {
            self.tasks_failed(&BTreeSet::new(), cause, FailureKind::Recoverable, out);
        }
    }

    /// Some tasks have failed, or all where none is named. Failures of what is down already are the same failure, unless a later one says
    /// that no attempt can do better.
    pub(super) fn tasks_failed(&mut self, failed: &BTreeSet<TaskId>, cause: String, kind: FailureKind, out: &mut Vec<Output<S>>) {
        let for_good = kind == FailureKind::NonRecoverable;
        let hits_others = self.is_down_in_part() && failed.iter().any(|task| self.placement.contains_key(task));
        match &mut self.job {
            Job::Deploying { .. } | Job::Running | Job::Committing { .. } => self.fail_as_decided(failed, cause, for_good, out),
            Job::Failing { .. } | Job::Restarting | Job::Waiting { .. } if hits_others => {
                self.fail_as_decided(failed, cause, for_good, out)
            }
            Job::Failing { .. } if for_good && !self.placement.is_empty() => self.fail(cause, Verdict::Over, out),
            Job::Failing { cause: known, verdict, .. } if for_good => {
                *known = cause;
                *verdict = Verdict::Over;
            }
            Job::Stopping(_) => self.stop_is_broken(cause, out),
            Job::Restarting | Job::Waiting { .. } if for_good => self.end(Ended::Failed(cause), out),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Failing { .. } | Job::Restarting => {
                out.push(Output::Ignored("the attempt does not run"));
            }
            Job::Ending | Job::Ended | Job::SteppedDown => out.push(Output::Ignored("the attempt does not run")),
        }
    }

    /// The restart strategy is asked about each failure of something that has gone on so far.
    fn fail_as_decided(&mut self, failed: &BTreeSet<TaskId>, cause: String, for_good: bool, out: &mut Vec<Output<S>>) {
        let next = self.next_delay(out).filter(|_| !for_good);
        let verdict = next.map_or(Verdict::Over, Verdict::Again);
        match self.regions_around(failed).filter(|_| verdict != Verdict::Over) {
            Some(stops) => self.fail_in_part(stops, cause, verdict, out),
            None => self.fail(cause, verdict, out),
        }
    }

    /// Asks the restart strategy about the attempt that has just failed.
    fn next_delay(&mut self, out: &mut Vec<Output<S>>) -> Option<Delay> {
        let delay = self.backoff.failed(self.attempt, &self.plan.restart);
        match self.plan.restart {
            RestartStrategy::FailureRate { interval, .. } => {
                out.push(Output::Arm { timer: Timer::FailureForgotten(self.attempt), from: interval, to: interval });
            }
            RestartStrategy::None | RestartStrategy::FixedDelay { .. } | RestartStrategy::ExponentialDelay { .. } => {}
        }
        delay
    }

    /// The attempt runs: from here on its time without a failure counts.
    pub(super) fn arm_backoff_reset(&mut self, out: &mut Vec<Output<S>>) {
        match self.plan.restart {
            RestartStrategy::ExponentialDelay { reset_after, .. } => {
                out.push(Output::Arm { timer: Timer::BackoffReset(self.attempt), from: reset_after, to: reset_after });
            }
            RestartStrategy::None | RestartStrategy::FixedDelay { .. } | RestartStrategy::FailureRate { .. } => {}
        }
    }
}
