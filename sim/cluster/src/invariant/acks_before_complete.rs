//! A checkpoint is complete only after every subtask's part was durable, as the subtasks themselves saw it, in one attempt.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who has been durable.
pub struct AcksBeforeComplete {
    tasks: BTreeSet<TaskId>,
    durable: BTreeMap<CheckpointId, BTreeMap<AttemptId, BTreeSet<TaskId>>>,
}

impl AcksBeforeComplete {
    /// `tasks` are all subtasks of the job.
    #[must_use]
    pub fn new(tasks: BTreeSet<TaskId>) -> Self {
        Self { tasks, durable: BTreeMap::new() }
    }
}

impl Invariant for AcksBeforeComplete {
    fn name(&self) -> &'static str {
        "acks-before-complete"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        let Some(checkpoint) = event.checkpoint else { return Ok(()) };
        match (event.moment, event.actor, event.attempt) {
            (Moment::SnapshotDurable, Actor::Task(task), Some(attempt)) => {
                self.durable.entry(checkpoint).or_default().entry(attempt).or_default().insert(task);
                Ok(())
            }
            (Moment::AllAcked | Moment::CheckpointCompleted, ..) => {
                let by_attempt = self.durable.get(&checkpoint);
                if by_attempt.is_some_and(|attempts| attempts.values().any(|durable| *durable == self.tasks)) {
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
