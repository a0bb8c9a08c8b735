//! What the engine knows about checkpoints, in the words and units of a file for people and scripts.
//!
//! The coordinator tells what has changed, the launcher puts it together. The engine's statistics begin anew with each coordinator
//! process; what a dead one has told is kept here, with its number.

use super::progress::Told;
use cofferdam_engine::cluster::statistics::{self, CheckpointStatistics, RestoredFrom, HISTORY};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::CheckpointId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a checkpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Still going.
    InProgress,
    /// Durable, and what a restore begins from.
    Completed,
    /// Not, for a reason.
    Failed,
    /// Its coordinator died before it said.
    CoordinatorDied,
}

/// One subtask's part of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subtask {
    /// Which chain of operators.
    pub vertex: u32,
    /// Which of its subtasks.
    pub subtask: u32,
    /// From the trigger to the arrival of its acknowledgement.
    pub end_to_end_us: u64,
    /// From the trigger to its first barrier, as far as the clocks of two machines can tell.
    pub start_delay_us: u64,
    /// From its first barrier to its last, or until these overtook.
    pub alignment_us: u64,
    /// While it processed no record.
    pub sync_us: u64,
    /// From there until everything was durable.
    pub async_us: u64,
    /// What it wrote.
    pub size_bytes: u64,
    /// Of that, records that barriers had overtaken.
    pub in_flight_bytes: u64,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its number.
    pub checkpoint: u64,
    /// The how-manieth coordinator process took it, from 1. Set by the launcher.
    #[serde(default)]
    pub coordinator: u64,
    /// Milliseconds since 1970, by the clock of the coordinator's machine.
    pub triggered_at_unix_ms: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From trigger to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_to_end_us: Option<u64>,
    /// The longest of all subtasks.
    pub alignment_us_max: u64,
    /// The longest of all subtasks.
    pub sync_us_max: u64,
    /// The longest of all subtasks.
    pub async_us_max: u64,
    /// Of all subtasks together.
    pub size_bytes: u64,
    /// Of that, records that barriers had overtaken.
    pub in_flight_bytes: u64,
    /// Those that have acknowledged.
    pub subtasks: Vec<Subtask>,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// As in traces: words with hyphens.
pub fn name(reason: FailureReason) -> String {
    let mut text = String::new();
    for c in format!("{reason:?}").chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
    }
    text
}

impl Checkpoint {
    /// From what the engine keeps. Its clock stood at zero at `origin_unix_ms`.
    pub fn of(id: CheckpointId, known: &CheckpointStatistics, origin_unix_ms: i64) -> Self {
        let subtask = |(task, part): (&cofferdam_protocol::TaskId, &statistics::SubtaskStatistics)| Subtask {
            vertex: task.vertex.0,
            subtask: task.subtask.0,
            end_to_end_us: micros(part.end_to_end),
            start_delay_us: micros(part.snapshot.start_delay),
            alignment_us: micros(part.snapshot.alignment),
            sync_us: micros(part.snapshot.sync),
            async_us: micros(part.snapshot.asynchronous),
            size_bytes: part.snapshot.size_bytes,
            in_flight_bytes: part.snapshot.in_flight_bytes,
        };
        let subtasks: Vec<Subtask> = known.subtasks.iter().map(subtask).collect();
        let longest = |time: fn(&Subtask) -> u64| subtasks.iter().map(time).max().unwrap_or(0);
        let (outcome, reason, end_to_end_us) = match known.outcome {
            statistics::Outcome::InProgress => (Outcome::InProgress, None, None),
            statistics::Outcome::Completed(after) => (Outcome::Completed, None, Some(micros(after))),
            statistics::Outcome::Failed(reason) => (Outcome::Failed, Some(name(reason)), None),
        };
        Self {
            checkpoint: id.0,
            coordinator: 0,
            triggered_at_unix_ms: origin_unix_ms.saturating_add(i64::try_from(known.triggered_at.as_millis()).unwrap_or(i64::MAX)),
            outcome,
            reason,
            end_to_end_us,
            alignment_us_max: longest(|subtask| subtask.alignment_us),
            sync_us_max: longest(|subtask| subtask.sync_us),
            async_us_max: longest(|subtask| subtask.async_us),
            size_bytes: known.size_bytes(),
            in_flight_bytes: subtasks.iter().map(|subtask| subtask.in_flight_bytes).sum(),
            subtasks,
        }
    }
}

/// What all coordinators have told so far: the newest checkpoints in detail, as many as the engine keeps.
#[derive(Debug)]
pub struct History {
    coordinators: u64,
    checkpoints: BTreeMap<u64, Checkpoint>,
}

impl Default for History {
    fn default() -> Self {
        Self { coordinators: 1, checkpoints: BTreeMap::new() }
    }
}

impl History {
    /// The present coordinator says what has changed.
    pub fn told(&mut self, changed: Vec<Checkpoint>) {
        for checkpoint in changed {
            self.checkpoints.insert(checkpoint.checkpoint, Checkpoint { coordinator: self.coordinators, ..checkpoint });
        }
        while self.checkpoints.len() > HISTORY {
            self.checkpoints.pop_first();
        }
    }

    /// The next one has other checkpoints.
    pub fn coordinator_died(&mut self) {
        self.coordinators += 1;
        for checkpoint in self.checkpoints.values_mut().filter(|checkpoint| checkpoint.outcome == Outcome::InProgress) {
            checkpoint.outcome = Outcome::CoordinatorDied;
        }
    }

    /// The newest ones, oldest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Checkpoint> {
        self.checkpoints.values().skip(self.checkpoints.len().saturating_sub(count))
    }
}

/// The content of the file.
#[derive(Serialize)]
struct Report<'a> {
    /// What the job does, in words.
    status: &'a str,
    /// How many coordinator processes have led the job. What one that died had not told yet is missing below.
    coordinators: u64,
    /// Checkpoints that were begun, or refused before they had a number.
    total: u64,
    completed: u64,
    failed: u64,
    /// Deployments from a checkpoint.
    restored: u64,
    /// How long the last of them took, from the deployment until all tasks ran.
    last_restore_ms: Option<u64>,
    /// What subtasks were restored from, where there are local copies.
    restored_from: RestoredFrom,
    /// Failed ones by reason.
    failures: &'a BTreeMap<String, u64>,
    /// The newest ones, oldest first.
    checkpoints: Vec<&'a Checkpoint>,
}

/// Replaces the file: whoever reads it sees all of the old or all of the new.
///
/// # Errors
/// The file cannot be written; what was there stays.
pub fn write(path: &Path, total: &Told, history: &History) -> io::Result<()> {
    let report = Report {
        status: &total.status,
        coordinators: history.coordinators,
        total: total.total,
        completed: total.completed,
        failed: total.failed,
        restored: total.restored,
        last_restore_ms: total.last_restore_ms,
        restored_from: total.restored_from,
        failures: &total.failures,
        checkpoints: history.newest(HISTORY).collect(),
    };
    let mut text = serde_json::to_string_pretty(&report).expect("text and numbers");
    text.push('\n');
    let mut temporary = OsString::from(path);
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // It may not even be there; the reason to tell is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::cluster::statistics::Statistics;
    use cofferdam_engine::task::SnapshotStatistics;
    use cofferdam_protocol::TaskId;

    fn told() -> Vec<Checkpoint> {
        let ms = Duration::from_millis;
        let mut statistics = Statistics::default();
        statistics.triggered(CheckpointId(4), ms(500));
        let part = |alignment, sync, asynchronous, size_bytes| SnapshotStatistics {
            start_delay: ms(1),
            alignment: ms(alignment),
            sync: ms(sync),
            asynchronous: ms(asynchronous),
            size_bytes,
            in_flight_bytes: size_bytes / 10,
        };
        statistics.acknowledged(CheckpointId(4), TaskId::new(0, 0), part(0, 3, 9, 100), ms(520));
        statistics.acknowledged(CheckpointId(4), TaskId::new(1, 0), part(7, 2, 5, 30), ms(530));
        statistics.completed(CheckpointId(4), ms(540));
        statistics.triggered(CheckpointId(5), ms(600));
        statistics.failed(Some(CheckpointId(5)), FailureReason::DeclinedNotReady);
        statistics.triggered(CheckpointId(6), ms(700));
        statistics.checkpoints.iter().map(|(id, known)| Checkpoint::of(*id, known, 1_000_000)).collect()
    }

    #[test]
    fn a_checkpoint_is_told_with_its_longest_parts_and_its_reason() {
        let told = told();
        let [completed, failed, pending] = &told[..] else { panic!("there are three") };
        assert_eq!((completed.checkpoint, completed.outcome, completed.end_to_end_us), (4, Outcome::Completed, Some(40_000)));
        assert_eq!((completed.alignment_us_max, completed.sync_us_max, completed.async_us_max), (7000, 3000, 9000));
        assert_eq!((completed.size_bytes, completed.triggered_at_unix_ms), (130, 1_000_500));
        assert_eq!((completed.subtasks[1].end_to_end_us, completed.subtasks[1].start_delay_us), (30_000, 1000));
        assert_eq!(completed.in_flight_bytes, 13);
        assert_eq!((failed.outcome, failed.reason.as_deref()), (Outcome::Failed, Some("declined-not-ready")));
        assert_eq!((pending.outcome, pending.end_to_end_us), (Outcome::InProgress, None));
    }

    #[test]
    fn what_a_dead_coordinator_has_told_is_kept() {
        let mut history = History::default();
        history.told(told());
        history.coordinator_died();
        let next = Checkpoint { checkpoint: 9, ..told().remove(0) };
        history.told(vec![next]);
        let found: Vec<(u64, u64, Outcome)> =
            history.newest(10).map(|found| (found.checkpoint, found.coordinator, found.outcome)).collect();
        let expected = [(4, 1, Outcome::Completed), (5, 1, Outcome::Failed), (6, 1, Outcome::CoordinatorDied), (9, 2, Outcome::Completed)];
        assert_eq!(found, expected);
        assert_eq!(history.newest(1).map(|found| found.checkpoint).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn no_more_is_kept_than_the_engine_keeps() {
        let mut history = History::default();
        for number in 1..=HISTORY as u64 + 5 {
            history.told(vec![Checkpoint { checkpoint: number, ..told().remove(0) }]);
        }
        assert_eq!(history.newest(usize::MAX).count(), HISTORY);
        assert_eq!(history.newest(HISTORY).next().map(|oldest| oldest.checkpoint), Some(6));
    }
}
