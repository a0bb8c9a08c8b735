//! A subtask takes a checkpoint for complete only when it is: whatever it commits then cannot be taken back.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is complete.
#[derive(Default)]
pub struct CommittedIsComplete {
    completed: BTreeSet<CheckpointId>,
}

impl Invariant for CommittedIsComplete {
    fn name(&self) -> &'static str {
        "committed-is-complete"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.checkpoint) {
            // A takeover may find one complete that its predecessor did not live to announce: it is then restored from.
            // What a job stops with is complete when the journal says so.
            (Moment::CheckpointCompleted | Moment::JobStopping | Moment::Deploying, Some(checkpoint)) => {
                self.completed.insert(checkpoint);
                Ok(())
            }
            (Moment::Committed, Some(checkpoint)) if !self.completed.contains(&checkpoint) => {
                Err(format!("{} commits {checkpoint}, which is not complete", event.actor))
            }
            _ => Ok(()),
        }
    }
}
