//! Some regions of the job restart while the others go on (Flink: `RestartPipelinedRegionFailoverStrategy`).
//!
//! ```text
//! all run --a task fails--> its regions stop --delay--> they are deployed again as the next attempt --all run--> checkpoints go on
//!                                ^                                      |
//!                                +----- another task fails, of whatever region: what is down and its regions, together
//! ```
//!
//! The job has the phases that it has when all of it restarts, but what goes on keeps its place, its attempt and what it has said. A task
//! that has no place is down. Once none has one, the job restarts as a whole, and of the whole a restart is nothing special.
//!
//! Each task is of the attempt that it was deployed in, and a region as a whole: so both ends of a channel are of one attempt, what an
//! earlier life of a task says is told from what the next one does, and so are the files that they write. Everybody begins a checkpoint
//! together, and none begins while some region is down. What is ahead of the newest checkpoint stays so: nothing connects it with what goes
//! back.
//!
//! Whoever has finished keeps its place, as if it went on: it is down when its region is, and begins then as the checkpoint has it, which
//! may be before its end.
//!
//! What concerns all is left to a restart of all: coordinator-side parts of operators, which have nothing that goes back for some of
//! their tasks; tasks that have given out what they held for a savepoint that will not be; too many failed checkpoints.

use super::lifecycle::{Job, Verdict};
use super::pending::Stage;
use super::{Coordinator, Output, Status};
use crate::ids::{AttemptId, SubtaskIndex, TaskId, WorkerId};
use crate::snapshot::Acknowledged;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

impl<S> Coordinator<S> {
    /// The attempt that a task was deployed in. Of one that is down, the latest.
    pub fn attempt_of(&self, task: TaskId) -> AttemptId {
        self.older.get(&task).copied().unwrap_or(self.attempt)
    }

    /// Whether some regions are down and others go on.
    pub(super) fn is_down_in_part(&self) -> bool {
        match self.job {
            Job::Waiting { .. } | Job::Failing { .. } | Job::Restarting => !self.placement.is_empty(),
            Job::TakingOver { .. } | Job::Deploying { .. } | Job::Running | Job::Committing { .. } => false,
            Job::Stopping(_) | Job::Ending | Job::Ended | Job::SteppedDown => false,
        }
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// Whether the task is in its place, and this is the life of it that is meant.
    pub(super) fn goes_on(&self, attempt: AttemptId, task: TaskId) -> bool {
        let live = match self.job {
            Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Committing { .. } => true,
            Job::Failing { .. } | Job::Restarting => true,
            Job::TakingOver { .. } | Job::Stopping(_) | Job::Ending | Job::Ended | Job::SteppedDown => false,
        };
        live && self.placement.contains_key(&task) && attempt == self.attempt_of(task)
    }

    /// The tasks that the latest deployment was of.
    pub(super) fn latest_deployed(&self) -> BTreeSet<TaskId> {
        self.placement.keys().filter(|task| !self.older.contains_key(task)).copied().collect()
    }

    /// What is in its place on a worker, and has not finished: of the rest nothing is there that could be lost.
    pub(super) fn tasks_on(&self, worker: WorkerId) -> BTreeSet<TaskId> {
        self.placement.iter().filter(|(task, used)| **used == worker && !self.finished.contains(task)).map(|(&task, _)| task).collect()
    }

    /// A worker that is not there, and has tasks that are to be.
    pub(super) fn needed_and_lost(&self) -> Option<WorkerId> {
        self.placement.values().copied().find(|worker| !self.workers.contains_key(worker) && !self.tasks_on(*worker).is_empty())
    }

    /// Of what is in its place, what stops when these fail, if others go on. `None`: all of it.
    pub(super) fn regions_around(&self, failed: &BTreeSet<TaskId>) -> Option<BTreeSet<TaskId>> {
        // Why: what has given out all that it holds cannot go on.
        let drained = self.pending.values().any(|pending| pending.kind.drains() && pending.stage >= Stage::Collecting);
        if drained || failed.is_empty() {
            return None;
        }
        // Why those that start as well: the next deployment waits for its own tasks only.
        let starting = match &self.job {
            Job::Deploying { starting } => starting.clone(),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Running | Job::Committing { .. } | Job::Failing { .. } => BTreeSet::new(),
            Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => BTreeSet::new(),
        };
        let mut stops = self.plan.regions.around(&failed.union(&starting).copied().collect())?;
        stops.retain(|task| self.placement.contains_key(task));
        (stops.len() < self.placement.len()).then_some(stops)
    }

    /// These tasks stop, and others go on; what follows was decided.
    pub(super) fn fail_in_part(&mut self, stops: BTreeSet<TaskId>, cause: String, verdict: Verdict, out: &mut Vec<Output<S>>) {
        let attempt = self.attempt;
        let mut stopping = self.still_stopping();
        for task in &stops {
            let worker = self.placement.remove(task).expect("only what is in its place stops");
            stopping.extend(Some(worker).filter(|worker| self.workers.contains_key(worker)));
            self.older.remove(task);
            self.drained.remove(task);
            self.finished.remove(task);
            self.behind.remove(task);
        }
        self.stop_attempt(Output::StopTasks { attempt, tasks: stops }, stopping, cause, verdict, out);
    }

    /// The workers that are waited for already.
    pub(super) fn still_stopping(&self) -> BTreeSet<WorkerId> {
        match &self.job {
            Job::Failing { stopping, .. } => stopping.clone(),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Committing { .. } => BTreeSet::new(),
            Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => BTreeSet::new(),
        }
    }

    /// A place for each task that is down: that of its index, if the worker is still there, or one that nobody has. Or how many are missing.
    fn places(&self) -> Result<BTreeMap<TaskId, WorkerId>, usize> {
        let mut free = self.slots();
        let mut seats: BTreeMap<SubtaskIndex, WorkerId> = BTreeMap::new();
        // Why only those: whoever has finished needs no slot, and may have been on a worker that is lost.
        for (task, &worker) in self.placement.iter().filter(|(task, _)| !self.finished.contains(task)) {
            let taken = free.iter().position(|&slot| slot == worker);
            if let (None, Some(at)) = (seats.insert(task.subtask, worker), taken) {
                free.remove(at);
            }
        }
        let down: Vec<TaskId> = self.plan.tasks.iter().filter(|task| !self.placement.contains_key(task)).copied().collect();
        for task in &down {
            let before = self.previous.get(task).and_then(|worker| free.iter().position(|slot| slot == worker));
            if let (Some(at), false) = (before, seats.contains_key(&task.subtask)) {
                seats.insert(task.subtask, free.remove(at));
            }
        }
        let unseated: BTreeSet<SubtaskIndex> = down.iter().map(|task| task.subtask).filter(|index| !seats.contains_key(index)).collect();
        let missing = unseated.len().saturating_sub(free.len());
        if missing > 0 {
            return Err(missing);
        }
        seats.extend(unseated.into_iter().zip(free));
        Ok(down.into_iter().map(|task| (task, seats[&task.subtask])).collect())
    }

    /// As for the whole job: once there are slots, and it is certain what a restart begins from.
    pub(super) fn deploy_the_rest_if_possible(&mut self, said: Option<u32>, out: &mut Vec<Output<S>>) {
        match self.places() {
            Err(missing) => self.wait_for_slots(missing, said, out),
            Ok(places) if self.restore_point_is_certain() => self.deploy_beside(places, out),
            Ok(_) => {}
        }
    }

    /// What is down starts as the next attempt, beside what goes on.
    fn deploy_beside(&mut self, places: BTreeMap<TaskId, WorkerId>, out: &mut Vec<Output<S>>) {
        // Why: what it restores from must be what any later coordinator would restore from.
        assert!(self.pending.is_empty(), "no checkpoint of an earlier attempt is open when the next one begins");
        let before = self.attempt;
        for &task in self.placement.keys() {
            self.older.entry(task).or_insert(before);
        }
        self.behind.retain(|task| !places.contains_key(task));
        self.placement.extend(&places);
        self.previous.clone_from(&self.placement);
        self.begin_attempt(places, out);
    }

    pub(super) fn check_regions(&self) {
        for (task, attempt) in &self.older {
            assert!(*attempt < self.attempt, "{task} is of {attempt}, which is not before {}", self.attempt);
            assert!(self.placement.contains_key(task), "{task} goes on from {attempt}, and has no place");
        }
        if !self.is_down_in_part() {
            return;
        }
        let lost = self.needed_and_lost();
        assert!(lost.is_none(), "what goes on has no task on a lost worker, but on {lost:?}");
        for region in self.plan.regions.iter() {
            let placed = region.iter().filter(|task| self.placement.contains_key(task)).count();
            // Why: a task would wait for records of one that is not there, or lose what it has sent to it.
            assert!(placed == 0 || placed == region.len(), "a region goes on as a whole, or not at all: {region:?}");
        }
    }

    pub(super) fn wait_for_slots(&mut self, missing: usize, said: Option<u32>, out: &mut Vec<Output<S>>) {
        let slots_missing = u32::try_from(missing).expect("subtasks are counted in 32 bits");
        if said != Some(slots_missing) {
            self.job = Job::Waiting { said: Some(slots_missing) };
            self.set_status(Status::WaitingForWorkers { slots_missing }, out);
        }
    }
}
