//! A checkpoint is complete only after every subtask's part was durable, as the subtasks themselves saw it, in one attempt, or each in
//! the attempt that it was started in last by the coordinator that says so.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who has been durable.
pub struct AcksBeforeComplete {
    tasks: BTreeSet<TaskId>,
    durable: BTreeMap<CheckpointId, BTreeMap<AttemptId, BTreeSet<TaskId>>>,
    /// By each coordinator.
    started: BTreeMap<Epoch, BTreeMap<TaskId, AttemptId>>,
}

impl AcksBeforeComplete {
    /// `tasks` are all subtasks of the job.
    #[must_use]
    pub fn new(tasks: BTreeSet<TaskId>) -> Self {
        Self { tasks, durable: BTreeMap::new(), started: BTreeMap::new() }
    }

    /// Where regions were restarted, tasks that run together are of several attempts.
    fn each_in_its_own(&self, by: Actor, durable: &BTreeMap<AttemptId, BTreeSet<TaskId>>) -> bool {
        let Actor::Coordinator(epoch) = by else { return false };
        let Some(started) = self.started.get(&epoch) else { return false };
        let part = |task: &TaskId| started.get(task).and_then(|attempt| durable.get(attempt)).is_some_and(|durable| durable.contains(task));
        self.tasks.iter().all(part)
    }
}

impl Invariant for AcksBeforeComplete {
    fn name(&self) -> &'static str {
        "acks-before-complete"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        if let (Moment::RestoreStarted, Actor::Task(task), Some(attempt)) = (event.moment, event.actor, event.attempt) {
            let last = self.started.entry(attempt.epoch).or_default().entry(task).or_insert(attempt);
            *last = attempt.max(*last);
        }
        let Some(checkpoint) = event.checkpoint else { return Ok(()) };
        match (event.moment, event.actor, event.attempt) {
            (Moment::SnapshotDurable, Actor::Task(task), Some(attempt)) => {
                self.durable.entry(checkpoint).or_default().entry(attempt).or_default().insert(task);
                Ok(())
            }
            (Moment::AllAcked | Moment::CheckpointCompleted, ..) => {
                let by_attempt = self.durable.get(&checkpoint);
                let in_one = |attempts: &BTreeMap<AttemptId, BTreeSet<TaskId>>| attempts.values().any(|durable| *durable == self.tasks);
                if by_attempt.is_some_and(|attempts| in_one(attempts) || self.each_in_its_own(event.actor, attempts)) {
                    return Ok(());
                }
                let durable: BTreeSet<TaskId> = by_attempt.into_iter().flat_map(BTreeMap::values).flatten().copied().collect();
                let missing = self.tasks.difference(&durable).next();
                let missing = missing.map_or("tasks of one attempt".to_owned(), ToString::to_string);
                Err(format!("{checkpoint} is {} without a durable part of {missing}", event.moment))
            }
            _ => Ok(()),
        }
    }
}
