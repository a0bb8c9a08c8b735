//! A checkpoint is complete only after every subtask's part was durable, as the subtasks themselves saw it, in one attempt, or each in
//! the attempt that it was started in last by the coordinator that says so. Those that had finished in it by then, or before it began,
//! have none.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who has been durable.
pub struct AcksBeforeComplete {
    tasks: BTreeSet<TaskId>,
    durable: BTreeMap<CheckpointId, BTreeMap<AttemptId, BTreeSet<TaskId>>>,
    finished: BTreeMap<AttemptId, BTreeSet<TaskId>>,
    /// By each coordinator.
    started: BTreeMap<Epoch, BTreeMap<TaskId, AttemptId>>,
}

impl AcksBeforeComplete {
    /// `tasks` are all subtasks of the job.
    #[must_use]
    pub fn new(tasks: BTreeSet<TaskId>) -> Self {
        Self { tasks, durable: BTreeMap::new(), finished: BTreeMap::new(), started: BTreeMap::new() }
    }

    fn has_part(&self, task: TaskId, attempt: AttemptId, durable: &BTreeMap<AttemptId, BTreeSet<TaskId>>) -> bool {
        [durable, &self.finished].into_iter().any(|by_attempt| by_attempt.get(&attempt).is_some_and(|tasks| tasks.contains(&task)))
    }

    fn in_one(&self, durable: &BTreeMap<AttemptId, BTreeSet<TaskId>>) -> bool {
        let whole = |attempt: &AttemptId| self.tasks.iter().all(|task| self.has_part(*task, *attempt, durable));
        durable.keys().chain(self.finished.keys()).any(whole)
    }

    /// Where regions were restarted, tasks that run together are of several attempts.
    fn each_in_its_own(&self, by: Actor, durable: &BTreeMap<AttemptId, BTreeSet<TaskId>>) -> bool {
        let Actor::Coordinator(epoch) = by else { return false };
        let Some(started) = self.started.get(&epoch) else { return false };
        let part = |task: &TaskId| started.get(task).is_some_and(|attempt| self.has_part(*task, *attempt, durable));
        self.tasks.iter().all(part)
    }
}

impl Invariant for AcksBeforeComplete {
    fn name(&self) -> &'static str {
        "acks-before-complete"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        let (begins, gone) = match (event.moment, event.actor, &event.detail) {
            (Moment::RestoreStarted, Actor::Task(task), _) => (Some(task), None),
            (Moment::FinishedBefore, _, Detail::Task(task)) => (Some(*task), Some(*task)),
            (Moment::TaskFinished, Actor::Task(task), _) => (None, Some(task)),
            _ => (None, None),
        };
        if let (Some(task), Some(attempt)) = (begins, event.attempt) {
            let last = self.started.entry(attempt.epoch).or_default().entry(task).or_insert(attempt);
            *last = attempt.max(*last);
        }
        if let (Some(task), Some(attempt)) = (gone, event.attempt) {
            self.finished.entry(attempt).or_default().insert(task);
        }
        let Some(checkpoint) = event.checkpoint else { return Ok(()) };
        match (event.moment, event.actor, event.attempt) {
            (Moment::SnapshotDurable, Actor::Task(task), Some(attempt)) => {
                self.durable.entry(checkpoint).or_default().entry(attempt).or_default().insert(task);
                Ok(())
            }
            (Moment::AllAcked | Moment::CheckpointCompleted, ..) => {
                let by_attempt = self.durable.get(&checkpoint).cloned().unwrap_or_default();
                if self.in_one(&by_attempt) || self.each_in_its_own(event.actor, &by_attempt) {
                    return Ok(());
                }
                let durable: BTreeSet<TaskId> = by_attempt.values().flatten().copied().collect();
                let missing = self.tasks.difference(&durable).next();
                let missing = missing.map_or("tasks of one attempt".to_owned(), ToString::to_string);
                Err(format!("{checkpoint} is {} without a durable part of {missing}", event.moment))
            }
            _ => Ok(()),
        }
    }
}
