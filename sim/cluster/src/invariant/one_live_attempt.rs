//! Attempts only grow, and a worker never runs tasks of two at once: what an old attempt does must not reach a new one.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use cofferdam_protocol::AttemptId;
use std::collections::BTreeMap;
use std::time::Duration;

/// The newest attempt, as deployed and as started on each node.
#[derive(Default)]
pub struct OneLiveAttempt {
    deployed: AttemptId,
    started: BTreeMap<NodeIndex, AttemptId>,
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
            }
            (Moment::Batch | Moment::SnapshotTaken | Moment::TaskRunning, Actor::Task(task)) => {
                let current = self.started.get(&node).copied().unwrap_or_default();
                if attempt != current {
                    return Err(format!("{task} of {attempt} is at work on {node}, which runs {current}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
