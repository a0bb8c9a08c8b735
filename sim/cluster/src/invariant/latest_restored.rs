//! A deployment begins from the newest completed checkpoint; at most from a newer one that is durable but was not announced.

use super::Invariant;
use crate::scenario::StorageKind;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is complete, and what may be.
pub struct LatestRestored {
    storage: StorageKind,
    completed: CheckpointId,
    durable: BTreeSet<CheckpointId>,
}

impl LatestRestored {
    /// By the scenario's storage: one in memory dies with its coordinator.
    #[must_use]
    pub fn new(storage: StorageKind) -> Self {
        Self { storage, completed: CheckpointId::NONE, durable: BTreeSet::new() }
    }

    /// The job begins from a snapshot of another one.
    #[must_use]
    pub fn beginning_from(self, origin: Option<CheckpointId>) -> Self {
        Self { completed: origin.unwrap_or(CheckpointId::NONE), ..self }
    }
}

impl Invariant for LatestRestored {
    fn name(&self) -> &'static str {
        "latest-restored"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.checkpoint) {
            (Moment::TookOver, _) if self.storage == StorageKind::Memory => {
                self.completed = CheckpointId::NONE;
                self.durable.clear();
            }
            (Moment::CheckpointCompleted, Some(checkpoint)) => self.completed = self.completed.max(checkpoint),
            (Moment::MetadataDurable, Some(checkpoint)) => {
                self.durable.insert(checkpoint);
            }
            (Moment::Deploying, from) => {
                let from = from.unwrap_or(CheckpointId::NONE);
                if from < self.completed {
                    return Err(format!("the job is restored from {from}, {} is complete", self.completed));
                }
                if from > self.completed && !self.durable.contains(&from) {
                    return Err(format!("the job is restored from {from}, whose metadata was never durable"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
