//! A periodic checkpoint does not begin sooner than min-pause after the last completed one. Failures do not move this.

use super::Invariant;
use crate::scenario::CheckpointSpec;
use crate::slack::Slack;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use std::time::Duration;

/// When the last one completed.
pub struct MinPause {
    pause: Duration,
    completed: Option<(Actor, Duration)>,
    drained: u32,
    slack: Slack,
}

impl MinPause {
    /// By the scenario's options.
    #[must_use]
    pub fn new(checkpoints: &CheckpointSpec) -> Self {
        Self { pause: Duration::from_millis(checkpoints.min_pause_ms), completed: None, drained: 0, slack: Slack::default() }
    }

    /// Where timers are less exact.
    #[must_use]
    pub(crate) fn allowing(self, slack: Slack) -> Self {
        Self { slack, ..self }
    }
}

impl Invariant for MinPause {
    fn name(&self) -> &'static str {
        "min-pause"
    }

    fn event(&mut self, at: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match event.moment {
            Moment::CheckpointCompleted => self.completed = Some((event.actor, at)),
            // The final checkpoint is not periodic: once tasks drain it may come at any time.
            Moment::TaskDrained => self.drained += 1,
            Moment::Deploying => self.drained = 0,
            Moment::CheckpointTriggered if self.drained == 0 => {
                let Some((by, completed)) = self.completed.filter(|(by, _)| *by == event.actor) else { return Ok(()) };
                let waited = at.saturating_sub(completed);
                if waited + self.slack.on(self.pause) < self.pause {
                    let checkpoint = event.checkpoint.unwrap_or_default();
                    return Err(format!(
                        "{by} triggers {checkpoint} {waited:?} after the last completed one, min-pause is {:?}",
                        self.pause
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
