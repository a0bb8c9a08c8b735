//! Attempts only grow, and a worker never runs a task in two at once: what an old attempt does must not reach a new one. Tasks run in
//! different attempts only where some were started beside others.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::{AttemptId, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The newest attempt, as deployed and as started on each node.
#[derive(Default)]
pub struct OneLiveAttempt {
    deployed: AttemptId,
    started: BTreeMap<NodeIndex, AttemptId>,
    /// Of the tasks that were started beside others, or stopped.
    beside: BTreeMap<(NodeIndex, TaskId), Option<AttemptId>>,
}

impl OneLiveAttempt {
    fn current(&self, node: NodeIndex, task: TaskId) -> Option<AttemptId> {
        let started = Some(self.started.get(&node).copied().unwrap_or_default());
        self.beside.get(&(node, task)).copied().unwrap_or(started)
    }
}

impl Invariant for OneLiveAttempt {
    fn name(&self) -> &'static str {
        "one-live-attempt"
    }

    fn event(&mut self, _: Duration, node: NodeIndex, event: &Event) -> Result<(), String> {
        let Some(attempt) = event.attempt else { return Ok(()) };
        match (event.moment, event.actor) {
            (Moment::Deploying, _) => {
                if attempt <= self.deployed {
                    return Err(format!("{attempt} is deployed after {}", self.deployed));
                }
                self.deployed = attempt;
            }
            (Moment::JobRunning | Moment::AckReceived, _) if attempt > self.deployed => {
                return Err(format!("{attempt} runs, but only {} was deployed", self.deployed));
            }
            (Moment::TasksStarting, _) => {
                let before = self.started.insert(node, attempt).unwrap_or_default();
                if attempt <= before {
                    return Err(format!("{node} starts tasks of {attempt} after those of {before}"));
                }
                self.beside.retain(|(on, _), _| *on != node);
            }
            (Moment::TaskStarting, _) => {
                let Detail::Task(task) = event.detail else { return Err("a task starts, and nobody says which".into()) };
                let current = self.current(node, task).unwrap_or_default();
                if attempt <= current {
                    return Err(format!("{node} starts {task} of {attempt} after that of {current}"));
                }
                self.beside.insert((node, task), Some(attempt));
            }
            (Moment::TaskStopped, _) => {
                if let Detail::Task(task) = event.detail {
                    self.beside.insert((node, task), None);
                }
            }
            (Moment::Batch | Moment::SnapshotTaken | Moment::TaskRunning, Actor::Task(task)) => match self.current(node, task) {
                Some(current) if attempt == current => {}
                Some(current) => return Err(format!("{task} of {attempt} is at work on {node}, which runs {current}")),
                None => return Err(format!("{task} of {attempt} is at work on {node}, where it has stopped")),
            },
            _ => {}
        }
        Ok(())
    }
}
