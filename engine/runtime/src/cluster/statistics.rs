//! Figures about checkpoints, as Flink's `CheckpointStatsTracker` keeps them. They die with the coordinator.

use crate::local::RestoredBytes;
use crate::task::SnapshotStatistics;
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::{CheckpointId, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many finished checkpoints are remembered in detail.
pub const HISTORY: usize = 100;

/// One subtask's part of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubtaskStatistics {
    /// From trigger to the arrival of the acknowledgement.
    pub end_to_end: Duration,
    /// What the subtask measured.
    pub snapshot: SnapshotStatistics,
}

/// How a checkpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Still going.
    InProgress,
    /// Durable and stored, this long after its trigger.
    Completed(Duration),
    /// Not, and why.
    Failed(FailureReason),
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointStatistics {
    /// On the coordinator's clock.
    pub triggered_at: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Its parts so far.
    pub subtasks: BTreeMap<TaskId, SubtaskStatistics>,
}

impl CheckpointStatistics {
    /// Of all parts so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.subtasks.values().map(|subtask| subtask.snapshot.size_bytes).sum()
    }
}

/// All of them. `triggered = completed + failed + in progress` at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// How many were begun, or refused before they had a number.
    pub total: u64,
    /// How many completed.
    pub completed: u64,
    /// How many failed, with or without a number.
    pub failed: u64,
    /// How often a job was deployed from a checkpoint.
    pub restored: u64,
    /// How long the last restore took, from the deployment until all tasks ran.
    pub last_restore: Option<Duration>,
    #[serde(skip)]
    restoring_since: Option<Duration>,
    /// With local recovery: what subtasks were restored from.
    pub restored_from: RestoredFrom,
    /// By reason.
    pub failures: BTreeMap<FailureReason, u64>,
    /// The newest ones in detail.
    pub checkpoints: BTreeMap<CheckpointId, CheckpointStatistics>,
}

/// Where subtasks with keyed state had it from when they were restored. Counted where there are local copies only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredFrom {
    /// How many subtasks, all of it on their worker's disk.
    pub subtasks_local: u64,
    /// How many subtasks, some or all of it from the checkpoint.
    pub subtasks_remote: u64,
    /// Read on workers' disks.
    pub bytes_local: u64,
    /// Read where the checkpoint is.
    pub bytes_remote: u64,
}

impl RestoredFrom {
    /// Over two coordinators.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            subtasks_local: self.subtasks_local + other.subtasks_local,
            subtasks_remote: self.subtasks_remote + other.subtasks_remote,
            bytes_local: self.bytes_local + other.bytes_local,
            bytes_remote: self.bytes_remote + other.bytes_remote,
        }
    }
}

impl Statistics {
    /// A subtask was restored.
    pub fn restored_subtask(&mut self, from: RestoredBytes) {
        let known = &mut self.restored_from;
        match from.remote {
            Some(_) => known.subtasks_remote += 1,
            None => known.subtasks_local += 1,
        }
        known.bytes_local += from.local.unwrap_or(0);
        known.bytes_remote += from.remote.unwrap_or(0);
    }

    /// The job is deployed, from a checkpoint or not.
    pub fn deployed(&mut self, from_checkpoint: bool, now: Duration) {
        self.restored += u64::from(from_checkpoint);
        self.restoring_since = from_checkpoint.then_some(now);
    }

    /// All its tasks run.
    pub fn running(&mut self, now: Duration) {
        if let Some(since) = self.restoring_since.take() {
            self.last_restore = Some(now.saturating_sub(since));
        }
    }

    /// A checkpoint has begun.
    pub fn triggered(&mut self, checkpoint: CheckpointId, now: Duration) {
        self.total += 1;
        let fresh = CheckpointStatistics { triggered_at: now, outcome: Outcome::InProgress, subtasks: BTreeMap::new() };
        self.checkpoints.insert(checkpoint, fresh);
        while self.checkpoints.len() > HISTORY {
            self.checkpoints.pop_first();
        }
    }

    /// A subtask has acknowledged.
    pub fn acknowledged(&mut self, checkpoint: CheckpointId, task: TaskId, snapshot: SnapshotStatistics, now: Duration) {
        if let Some(known) = self.checkpoints.get_mut(&checkpoint) {
            let end_to_end = now.saturating_sub(known.triggered_at);
            known.subtasks.entry(task).or_insert(SubtaskStatistics { end_to_end, snapshot });
        }
    }

    /// A checkpoint is complete.
    pub fn completed(&mut self, checkpoint: CheckpointId, now: Duration) {
        self.completed += 1;
        if let Some(known) = self.checkpoints.get_mut(&checkpoint) {
            known.outcome = Outcome::Completed(now.saturating_sub(known.triggered_at));
        }
    }

    /// A checkpoint failed, or a request for one was refused.
    pub fn failed(&mut self, checkpoint: Option<CheckpointId>, reason: FailureReason) {
        self.failed += 1;
        *self.failures.entry(reason).or_default() += 1;
        match checkpoint {
            None => self.total += 1,
            Some(checkpoint) => {
                if let Some(known) = self.checkpoints.get_mut(&checkpoint) {
                    known.outcome = Outcome::Failed(reason);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_lasts_until_all_tasks_run() {
        let (mut statistics, second) = (Statistics::default(), Duration::from_secs(1));
        statistics.deployed(false, second);
        statistics.running(second * 2);
        assert_eq!((statistics.restored, statistics.last_restore), (0, None), "there was nothing to restore");
        statistics.deployed(true, second * 3);
        // That one has failed.
        statistics.deployed(true, second * 5);
        statistics.running(second * 6);
        assert_eq!((statistics.restored, statistics.last_restore), (2, Some(second)));
    }

    #[test]
    fn the_total_is_the_sum_of_completed_failed_and_in_progress() {
        let mut statistics = Statistics::default();
        statistics.triggered(CheckpointId(1), Duration::ZERO);
        statistics.triggered(CheckpointId(2), Duration::ZERO);
        statistics.triggered(CheckpointId(3), Duration::ZERO);
        statistics.completed(CheckpointId(1), Duration::from_secs(1));
        statistics.failed(Some(CheckpointId(2)), FailureReason::Expired);
        statistics.failed(None, FailureReason::MinimumTimeBetweenCheckpoints);
        let in_progress = statistics.checkpoints.values().filter(|known| known.outcome == Outcome::InProgress).count() as u64;
        assert_eq!(statistics.total, statistics.completed + statistics.failed + in_progress);
    }
}
