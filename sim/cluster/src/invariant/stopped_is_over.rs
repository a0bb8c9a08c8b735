//! Behind the barrier of the savepoint that a job stops with, no task takes a record in, unless the savepoint is given up; and a job of
//! which the journal says that it has stopped is never deployed again, and has no other end.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::coordinator::Ended;
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who has stopped.
#[derive(Default)]
pub struct StoppedIsOver {
    suspended: BTreeMap<(AttemptId, TaskId), CheckpointId>,
    /// The attempt that was the last.
    stopped: Option<AttemptId>,
}

impl Invariant for StoppedIsOver {
    fn name(&self) -> &'static str {
        "stopped-is-over"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.actor, event.attempt, event.checkpoint) {
            (Moment::TaskSuspended, Actor::Task(task), Some(attempt), Some(checkpoint)) => {
                self.suspended.insert((attempt, task), checkpoint);
            }
            (Moment::TaskResumed, Actor::Task(task), Some(attempt), _) => {
                self.suspended.remove(&(attempt, task));
            }
            (Moment::Batch, Actor::Task(task), Some(attempt), _) => {
                if let Some(checkpoint) = self.suspended.get(&(attempt, task)) {
                    return Err(format!(
                        "{task} of {attempt} takes records in behind the barrier of {checkpoint}, with which the job stops"
                    ));
                }
            }
            (Moment::JobStopping, _, Some(attempt), _) => self.stopped = Some(attempt),
            (Moment::Deploying, _, Some(attempt), _) => {
                if let Some(stopped) = self.stopped.filter(|stopped| *stopped < attempt) {
                    return Err(format!("{attempt} is deployed, and the job has stopped in {stopped}"));
                }
            }
            (Moment::JobEnded, Actor::Coordinator(epoch), ..) => match &event.detail {
                Detail::Ended(Ended::Stopped(_)) => {
                    self.stopped.get_or_insert(AttemptId { epoch, number: 0 });
                }
                other => {
                    if let Some(stopped) = self.stopped {
                        return Err(format!("the job ends as {other}, and has stopped in {stopped}"));
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }
}
