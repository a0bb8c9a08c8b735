//! A checkpoint number is never used twice, whatever crashes: files of an aborted checkpoint would be taken for another's.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::time::Duration;

/// Numbers only grow.
#[derive(Default)]
pub struct IdsUnique {
    newest: CheckpointId,
}

impl Invariant for IdsUnique {
    fn name(&self) -> &'static str {
        "ids-unique"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        let (Moment::CheckpointTriggered, Some(checkpoint)) = (event.moment, event.checkpoint) else { return Ok(()) };
        if checkpoint <= self.newest {
            return Err(format!("{checkpoint} is triggered by {}, the newest number so far is {}", event.actor, self.newest));
        }
        self.newest = checkpoint;
        Ok(())
    }
}
