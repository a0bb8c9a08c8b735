//! No checkpoint waits for acknowledgements longer than its timeout, which runs from its trigger.

use super::Invariant;
use crate::scenario::CheckpointSpec;
use crate::slack::Slack;
use crate::world::{NodeIndex, WorldEvent};
use cofferdam_engine::observe::{Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;
use std::time::Duration;

/// When each pending one began.
pub struct Timeout {
    timeout: Duration,
    coordinator: NodeIndex,
    pending: BTreeMap<CheckpointId, Duration>,
    slack: Slack,
}

impl Timeout {
    /// By the scenario's options.
    #[must_use]
    pub fn new(checkpoints: &CheckpointSpec, coordinator: NodeIndex) -> Self {
        let timeout = Duration::from_millis(checkpoints.timeout_ms);
        Self { timeout, coordinator, pending: BTreeMap::new(), slack: Slack::default() }
    }

    /// Where timers are less exact.
    #[must_use]
    pub(crate) fn allowing(self, slack: Slack) -> Self {
        Self { slack, ..self }
    }
}

impl Invariant for Timeout {
    fn name(&self) -> &'static str {
        "timeout"
    }

    fn event(&mut self, at: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.checkpoint) {
            (Moment::CheckpointTriggered, Some(checkpoint)) => {
                self.pending.insert(checkpoint, at);
            }
            (Moment::AllAcked | Moment::CheckpointAborted | Moment::CheckpointCompleted, Some(checkpoint)) => {
                self.pending.remove(&checkpoint);
            }
            _ => {}
        }
        let limit = self.timeout + self.slack.on(self.timeout);
        match self.pending.iter().find(|(_, since)| at.saturating_sub(**since) > limit) {
            Some((checkpoint, since)) => {
                Err(format!("{checkpoint} has been pending for {:?}, its timeout is {:?}", at.saturating_sub(*since), self.timeout))
            }
            None => Ok(()),
        }
    }

    fn world(&mut self, _: Duration, event: &WorldEvent) {
        // A coordinator that is not there, or stands still, cannot keep time.
        match event {
            WorldEvent::Crashed(node, _) | WorldEvent::Paused(node) | WorldEvent::Exited(node) if *node == self.coordinator => {
                self.pending.clear()
            }
            _ => {}
        }
    }
}
