//! Files of a checkpoint that failed or is not retained any more are deleted while the job runs: the sweep at its end must find
//! nothing that the coordinator could have known of. (What is left on disk after that sweep is judged by the run itself.)

use super::Invariant;
use crate::scenario::CheckpointSpec;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Event, Moment};
use cofferdam_protocol::CheckpointId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An answer of the storage may be waited for that long before files are deleted: a mount times out after 5 seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the present coordinator has to delete.
pub struct NoUnreferencedFiles {
    retained: usize,
    coordinator: Option<Actor>,
    triggered: BTreeMap<CheckpointId, Duration>,
    /// Savepoints that have no folder yet, as the journal has to name them first, and whether they have failed meanwhile.
    unlocated: BTreeMap<CheckpointId, bool>,
    completed: BTreeSet<CheckpointId>,
    /// When the newest completed one began: since then the storage has worked.
    healthy_since: Duration,
    /// Nothing needs these, since when.
    due: BTreeMap<CheckpointId, Duration>,
}

impl NoUnreferencedFiles {
    /// By the scenario's options.
    #[must_use]
    pub fn new(checkpoints: &CheckpointSpec) -> Self {
        let retained = checkpoints.retained.max(1) as usize;
        let (triggered, due) = (BTreeMap::new(), BTreeMap::new());
        let (unlocated, completed) = (BTreeMap::new(), BTreeSet::new());
        Self { retained, coordinator: None, triggered, unlocated, completed, healthy_since: Duration::ZERO, due }
    }

    fn overdue(&self, at: Duration) -> Result<(), String> {
        let late = |since: Duration| since < self.healthy_since && at.saturating_sub(since) > PATIENCE;
        match self.due.iter().find(|(_, since)| late(**since)) {
            Some((checkpoint, since)) => Err(format!("{checkpoint} is of no use since {since:?}, and nobody deletes its files")),
            None => Ok(()),
        }
    }
}

impl Invariant for NoUnreferencedFiles {
    fn name(&self) -> &'static str {
        "no-unreferenced-files"
    }

    fn event(&mut self, at: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        if !matches!(event.actor, Actor::Coordinator(_)) {
            return Ok(());
        }
        if self.coordinator != Some(event.actor) {
            // A new coordinator sweeps whatever its predecessors left.
            self.coordinator = Some(event.actor);
            self.triggered.clear();
            self.unlocated.clear();
            self.completed.clear();
            self.healthy_since = Duration::ZERO;
            self.due.clear();
        }
        match (event.moment, event.checkpoint) {
            (Moment::CheckpointTriggered, Some(checkpoint)) => {
                self.triggered.insert(checkpoint, at);
                self.overdue(at)
            }
            (Moment::JobEnded, _) => self.overdue(at),
            (Moment::CheckpointCompleted, Some(checkpoint)) => {
                self.healthy_since = self.triggered.get(&checkpoint).copied().unwrap_or_default().max(self.healthy_since);
                self.completed.insert(checkpoint);
                while self.completed.len() > self.retained {
                    let subsumed = self.completed.pop_first();
                    self.due.extend(subsumed.map(|subsumed| (subsumed, at)));
                }
                Ok(())
            }
            (Moment::SavepointTriggered, Some(checkpoint)) => {
                self.unlocated.insert(checkpoint, false);
                Ok(())
            }
            (Moment::LocationReady, Some(checkpoint)) => {
                if self.unlocated.remove(&checkpoint) == Some(true) {
                    self.due.insert(checkpoint, at);
                }
                Ok(())
            }
            (Moment::CheckpointAborted, Some(checkpoint)) => {
                match self.unlocated.get_mut(&checkpoint) {
                    Some(failed) => *failed = true,
                    None => {
                        self.due.insert(checkpoint, at);
                    }
                }
                Ok(())
            }
            (Moment::Discarding, Some(checkpoint)) => {
                self.due.remove(&checkpoint);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
