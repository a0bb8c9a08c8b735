//! Local copies of state: the one that a restart would be tried from stays, and those that nobody will ask for go while the job runs.
//! (That nothing is left when it is over is judged by the run itself, from the disks.)

use super::Invariant;
use crate::world::{NodeIndex, WorldEvent};
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::{CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From the end of a checkpoint's use until its copies are gone: notices take their way, and disks are slow.
const PATIENCE: Duration = Duration::from_secs(5);

type Place = (NodeIndex, TaskId, CheckpointId);

/// Which copies there are.
#[derive(Default)]
pub struct LocalCopiesPruned {
    /// Since when nobody needs it.
    copies: BTreeMap<Place, Option<Duration>>,
    /// Not what it should be, or never finished: to go at any time.
    broken: BTreeSet<Place>,
    running: BTreeMap<TaskId, NodeIndex>,
    completed: CheckpointId,
    ended: bool,
}

impl LocalCopiesPruned {
    fn useless(&mut self, at: Duration, which: impl Fn(&Place) -> bool) {
        for (_, since) in self.copies.iter_mut().filter(|(place, _)| which(place)) {
            since.get_or_insert(at);
        }
    }

    /// A subtask that writes a copy has heard of what was before, and its disk works.
    fn overdue(&self, at: Duration, node: NodeIndex, task: TaskId) -> Result<(), String> {
        let late = |since: &Option<Duration>| since.is_some_and(|since| at.saturating_sub(since) > PATIENCE);
        match self.copies.iter().find(|((on, of, _), since)| (*on, *of) == (node, task) && late(since)) {
            Some(((.., checkpoint), _)) => Err(format!("{node} keeps a copy of {task} of {checkpoint}, which has long been of no use")),
            None => Ok(()),
        }
    }

    fn deleted(&mut self, place: Place) -> Result<(), String> {
        let (node, task, checkpoint) = place;
        // One that was never made, because its disk was slower than the checkpoint, is nothing that a restart could begin from.
        let was_broken = self.broken.remove(&place);
        let was_whole = self.copies.remove(&place).is_some() && !was_broken;
        if checkpoint == self.completed && self.running.get(&task) == Some(&node) && was_whole && !self.ended {
            return Err(format!("{node} deletes its copy of {task} of {checkpoint}, which a restart would begin from"));
        }
        Ok(())
    }
}

impl Invariant for LocalCopiesPruned {
    fn name(&self) -> &'static str {
        "local-copies-pruned"
    }

    fn event(&mut self, at: Duration, node: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.actor, event.checkpoint) {
            (Moment::LocalCopyWritten, Actor::Task(task), Some(checkpoint)) => {
                self.copies.insert((node, task, checkpoint), None);
                self.overdue(at, node, task)
            }
            (Moment::LocalCopyFailed | Moment::LocalCopyUnusable, Actor::Task(task), Some(checkpoint)) => {
                self.broken.insert((node, task, checkpoint));
                Ok(())
            }
            (Moment::LocalCopyDeleted, _, Some(checkpoint)) => match event.detail {
                Detail::Task(task) => self.deleted((node, task, checkpoint)),
                _ => Err("a copy is deleted, and nobody says whose".into()),
            },
            (Moment::TaskRunning, Actor::Task(task), _) => {
                self.running.insert(task, node);
                Ok(())
            }
            // Where only some are deployed, those are named when they start; a worker without its coordinator runs none.
            (Moment::TaskStarting | Moment::TaskStopped, ..) => {
                if let Detail::Task(task) = event.detail {
                    self.running.remove(&task);
                }
                Ok(())
            }
            (Moment::CoordinatorLost, ..) => {
                self.running.retain(|_, on| *on != node);
                Ok(())
            }
            (Moment::Deploying, _, from) => {
                if event.detail == Detail::None {
                    self.running.clear();
                }
                self.useless(at, |(.., checkpoint)| Some(*checkpoint) != from);
                Ok(())
            }
            (Moment::CheckpointCompleted, _, Some(checkpoint)) => {
                self.completed = checkpoint.max(self.completed);
                self.useless(at, |(.., older)| *older < checkpoint);
                Ok(())
            }
            (Moment::CheckpointAborted, _, Some(checkpoint)) => {
                self.useless(at, |(.., aborted)| *aborted == checkpoint);
                Ok(())
            }
            // A job that has stopped is not restarted.
            (Moment::JobEnded | Moment::JobStopping, ..) => {
                self.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn world(&mut self, _: Duration, event: &WorldEvent) {
        match event {
            WorldEvent::Wiped(lost) => self.copies.retain(|(node, ..), _| node != lost),
            // What was being deleted may be gone without a word, or stay until the next deployment.
            WorldEvent::Crashed(down, _) | WorldEvent::DiskFailed { node: down, .. } => {
                self.copies.retain(|(node, ..), since| node != down || since.is_none());
                if let WorldEvent::Crashed(..) = event {
                    self.running.retain(|_, on| on != down);
                }
            }
            _ => {}
        }
    }
}
