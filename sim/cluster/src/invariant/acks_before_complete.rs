//! A checkpoint is complete only after every subtask's part was durable, as the subtasks themselves saw it, in one attempt. Those that
//! had finished by then, or before the attempt began, have none.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who has been durable.
pub struct AcksBeforeComplete {
    tasks: BTreeSet<TaskId>,
    durable: BTreeMap<CheckpointId, BTreeMap<AttemptId, BTreeSet<TaskId>>>,
    finished: BTreeMap<AttemptId, BTreeSet<TaskId>>,
}

impl AcksBeforeComplete {
    /// `tasks` are all subtasks of the job.
    #[must_use]
    pub fn new(tasks: BTreeSet<TaskId>) -> Self {
        Self { tasks, durable: BTreeMap::new(), finished: BTreeMap::new() }
    }
}

impl Invariant for AcksBeforeComplete {
    fn name(&self) -> &'static str {
        "acks-before-complete"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        let gone = match (event.moment, event.actor, &event.detail) {
            (Moment::TaskFinished, Actor::Task(task), _) => Some(task),
            (Moment::FinishedBefore, _, Detail::Task(task)) => Some(*task),
            _ => None,
        };
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
                let by_attempt = self.durable.get(&checkpoint);
                let nobody = BTreeSet::new();
                let whole = |(attempt, durable): (&AttemptId, &BTreeSet<TaskId>)| {
                    let finished = self.finished.get(attempt).unwrap_or(&nobody);
                    durable.union(finished).copied().collect::<BTreeSet<_>>() == self.tasks
                };
                let all_gone = self.finished.values().any(|finished| *finished == self.tasks);
                if all_gone || by_attempt.is_some_and(|attempts| attempts.iter().any(whole)) {
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
