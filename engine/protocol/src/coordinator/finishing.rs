//! Tasks that finish while others go on, and what checkpoints are from then on (Flink: `DefaultCheckpointPlanCalculator`).
//!
//! ```text
//! planned:      parts only of tasks that have not finished; those are asked that nobody is left to hear it from
//! one finishes: it has given its part before, or none is waited for; whoever heard of the checkpoint from it alone is asked instead
//! published:    who had finished is a fact of the checkpoint, and closed: before whoever has finished everybody has
//! ```
//!
//! Finished is what a task of the attempt has said, or what the attempt began from says. One that fails, is cancelled, or is on a worker
//! that is lost has said nothing: it is waited for until the attempt fails (FLINK-40482).

use super::lifecycle::Job;
use super::pending::Stage;
use super::{ClaimMode, Coordinator, Ended, Output};
use crate::ids::{AttemptId, CheckpointId, TaskId};
use crate::snapshot::Acknowledged;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl<S: Acknowledged> Coordinator<S> {
    /// The tasks that have finished in the attempt that each was deployed in, or had before it began. None of them is down.
    pub fn finished(&self) -> &BTreeSet<TaskId> {
        &self.finished
    }

    /// What the attempt begins from says so of some of what it deploys: these are not started.
    pub(super) fn finished_before(&mut self, attempt: AttemptId, tasks: BTreeSet<TaskId>, out: &mut Vec<Output<S>>) {
        let deploying = matches!(self.job, Job::Deploying { .. }) && attempt == self.attempt;
        if !deploying || !tasks.is_subset(&self.latest_deployed()) {
            out.push(Output::Ignored("that attempt is not being deployed"));
            return;
        }
        self.drained.extend(&tasks);
        self.finished.extend(&tasks);
        let Job::Deploying { starting } = &mut self.job else { unreachable!("it was looked at just now") };
        starting.retain(|task| !tasks.contains(task));
        if starting.is_empty() {
            self.all_run(out);
        }
    }

    pub(super) fn task_finished(&mut self, attempt: AttemptId, task: TaskId, out: &mut Vec<Output<S>>) {
        let news = self.goes_on(attempt, task) && self.finished.insert(task);
        if !news {
            out.push(Output::Ignored("the attempt does not run, or the task had finished before"));
            return;
        }
        self.drained.insert(task);
        self.behind.remove(&task);
        let open: Vec<CheckpointId> = self.pending.iter().filter(|(_, it)| it.missing.contains(&task)).map(|(&it, _)| it).collect();
        for checkpoint in open {
            self.not_awaited(checkpoint, task, out);
        }
        if let Job::Committing { missing, .. } = &mut self.job {
            // It has published before it left.
            if missing.remove(&task) && missing.is_empty() {
                self.end(Ended::Finished, out);
                return;
            }
        }
        if self.finished == self.plan.tasks {
            self.end_of_input(out);
        }
    }

    /// The task has left before the checkpoint came to it.
    fn not_awaited(&mut self, checkpoint: CheckpointId, task: TaskId, out: &mut Vec<Output<S>>) {
        let pending = self.pending.get_mut(&checkpoint).expect("it is open");
        let asked = tasks_to_ask(&self.plan, &pending.finished);
        pending.missing.remove(&task);
        pending.finished.insert(task);
        let more: BTreeSet<TaskId> = tasks_to_ask(&self.plan, &pending.finished).difference(&asked).copied().collect();
        if pending.stage != Stage::Collecting {
            return;
        }
        if !more.is_empty() {
            self.ask(checkpoint, more, out);
        }
        self.publish_if_whole(checkpoint, out);
    }

    /// Those that hear of the checkpoint from nobody else.
    pub(super) fn ask_first(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let tasks = tasks_to_ask(&self.plan, &self.pending[&checkpoint].finished);
        if !tasks.is_empty() {
            self.ask(checkpoint, tasks, out);
        }
        self.publish_if_whole(checkpoint, out);
    }

    fn ask(&mut self, checkpoint: CheckpointId, tasks: BTreeSet<TaskId>, out: &mut Vec<Output<S>>) {
        let (attempt, kind) = (self.attempt, self.pending[&checkpoint].kind);
        // Until a checkpoint of its own is complete, a job that does not own its origin must not build upon it.
        let unowned = self.ledger.durable.origin.as_ref().is_some_and(|origin| origin.claim == ClaimMode::NoClaim);
        out.push(Output::Trigger { attempt, checkpoint, kind, full: unowned, tasks });
    }

    /// All parts are there; a savepoint that drains waits for more than these.
    pub(super) fn publish_if_whole(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        let pending = &self.pending[&checkpoint];
        if pending.missing.is_empty() && (!pending.kind.drains() || self.drained == self.plan.tasks) {
            self.publish(checkpoint, out);
        }
    }

    /// Those whose output waits for completions, and who have not finished.
    pub(super) fn who_still_commits(&self) -> BTreeSet<TaskId> {
        self.plan.committers.difference(&self.finished).copied().collect()
    }

    pub(super) fn assert_is_closed(&self, checkpoint: CheckpointId, finished: &BTreeSet<TaskId>) {
        for task in finished {
            let open = self.plan.predecessors.get(task).into_iter().flatten().find(|before| !finished.contains(before));
            // Why: what is on its way from there would come to nobody after a restore.
            assert!(open.is_none(), "{checkpoint} says that {task} has finished, and {open:?} before it has not");
        }
    }

    pub(super) fn check_finishing(&self) {
        assert!(self.finished.is_subset(&self.drained), "whoever has finished has given out all");
        if self.is_down_in_part() {
            let down = self.finished.iter().find(|task| !self.placement.contains_key(task));
            // Why: no checkpoint would wait for it, though it goes on from before its end.
            assert!(down.is_none(), "{down:?} is taken for finished, and is to start again");
        }
        for (checkpoint, pending) in &self.pending {
            assert!(pending.missing.is_disjoint(&pending.finished), "{checkpoint} waits for a task that has finished");
            let known = pending.finished.is_subset(&self.finished);
            // Why: a task that only stopped would be left out, with its state and the rest of its input (FLINK-40482).
            assert!(known || self.job != Job::Running, "{checkpoint} takes a task for finished that has not said so");
        }
    }
}

/// Whoever has not finished, and hears from nobody: sources, and tasks behind which all have.
fn tasks_to_ask(plan: &super::Plan, finished: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
    let alone = |task: &&TaskId| match plan.predecessors.get(*task) {
        _ if plan.sources.contains(*task) => true,
        Some(before) => before.is_subset(finished),
        None => false,
    };
    plan.tasks.iter().filter(|task| !finished.contains(*task)).filter(alone).copied().collect()
}
