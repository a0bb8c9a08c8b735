//! Where the job restarts by region, only that goes back which has failed, or exchanges records with what has.

use super::Invariant;
use crate::scenario::{JobKind, Scenario};
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::{AttemptId, FailoverStrategy, SubtaskIndex, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who may go back.
pub struct OthersGoOn {
    /// Empty: whatever it is, all may.
    regions: Vec<BTreeSet<TaskId>>,
    workers: BTreeMap<String, NodeIndex>,
    /// Where each task was started last, and as what.
    started: BTreeMap<TaskId, (NodeIndex, AttemptId)>,
    /// Hit by a failure, since all ran last.
    hit: BTreeSet<TaskId>,
    everything: bool,
}

impl OthersGoOn {
    /// As the scenario's job is connected.
    #[must_use]
    pub fn of(scenario: &Scenario, tasks: &BTreeSet<TaskId>) -> Self {
        // Named again rather than asked of the engine.
        let by_index = scenario.cluster.failover == FailoverStrategy::Region && matches!(scenario.job.kind, JobKind::Lanes | JobKind::Post);
        let region = |task: &TaskId| if task.vertex.0 < 2 { Some(task.subtask) } else { None };
        let mut regions: BTreeMap<Option<SubtaskIndex>, BTreeSet<TaskId>> = BTreeMap::new();
        for task in tasks.iter().filter(|_| by_index) {
            regions.entry(region(task)).or_default().insert(*task);
        }
        Self::new(regions.into_values().collect())
    }

    /// With these regions.
    #[must_use]
    pub fn new(regions: Vec<BTreeSet<TaskId>>) -> Self {
        Self { regions, workers: BTreeMap::new(), started: BTreeMap::new(), hit: BTreeSet::new(), everything: false }
    }

    /// The job says why it fails: over a task, a worker, or something that concerns all.
    fn failing(&mut self, cause: &str) {
        let mut words = cause.split(' ');
        let failed: BTreeSet<TaskId> = match (words.next(), words.next()) {
            (Some("task"), Some(name)) => self.started.keys().filter(|task| task.to_string() == name).copied().collect(),
            (Some("worker"), Some(name)) => {
                let node = self.workers.get(name).copied();
                self.started.iter().filter(|(_, (on, _))| Some(*on) == node).map(|(task, _)| *task).collect()
            }
            _ => {
                self.everything = true;
                return;
            }
        };
        self.hit.extend(self.regions.iter().filter(|region| !region.is_disjoint(&failed)).flatten());
    }
}

impl Invariant for OthersGoOn {
    fn name(&self) -> &'static str {
        "others-go-on"
    }

    fn event(&mut self, _: Duration, node: NodeIndex, event: &Event) -> Result<(), String> {
        if self.regions.len() < 2 {
            return Ok(());
        }
        match (event.moment, event.actor, &event.detail, event.attempt) {
            (Moment::TookOver, ..) => self.everything = true,
            (Moment::TasksStarting | Moment::TaskStarting, Actor::Worker(worker), ..) => {
                self.workers.insert(worker.to_string(), node);
            }
            (Moment::JobFailing, _, Detail::Text(cause), _) => self.failing(cause),
            (Moment::RestoreStarted, Actor::Task(task), _, Some(attempt)) => {
                let before = self.started.insert(task, (node, attempt)).map(|(_, before)| before);
                let hit = self.hit.contains(&task);
                let again = before.filter(|before| before.epoch == attempt.epoch && *before < attempt);
                if let Some(before) = again.filter(|_| !hit && !self.everything) {
                    return Err(format!("{task} of {before} is started again as {attempt}, and nothing in its region has failed"));
                }
            }
            (Moment::JobRunning, ..) => {
                self.hit.clear();
                self.everything = false;
            }
            _ => {}
        }
        Ok(())
    }
}
