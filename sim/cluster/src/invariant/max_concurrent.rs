//! No more checkpoints are pending at once than max-concurrent allows.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is pending under the present coordinator.
pub struct MaxConcurrent {
    limit: usize,
    coordinator: Option<Actor>,
    pending: BTreeSet<CheckpointId>,
}

impl MaxConcurrent {
    /// By the scenario's options.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit: limit as usize, coordinator: None, pending: BTreeSet::new() }
    }
}

impl Invariant for MaxConcurrent {
    fn name(&self) -> &'static str {
        "max-concurrent"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.checkpoint) {
            (Moment::CheckpointTriggered, Some(checkpoint)) => {
                if self.coordinator != Some(event.actor) {
                    self.pending.clear();
                    self.coordinator = Some(event.actor);
                }
                self.pending.insert(checkpoint);
                if self.pending.len() > self.limit {
                    let pending: Vec<String> = self.pending.iter().map(ToString::to_string).collect();
                    return Err(format!("{} are pending at once, {} may be", pending.join(", "), self.limit));
                }
            }
            (Moment::CheckpointCompleted | Moment::CheckpointAborted, Some(checkpoint)) => {
                self.pending.remove(&checkpoint);
            }
            _ => {}
        }
        Ok(())
    }
}
