//! Workers, deployment, failure, restart, end.

use super::failures::Delay;
use super::journal::Change;
use super::pending::Stage;
use super::stopping::Stopping;
use super::{ClaimMode, Coordinator, Ended, FailureKind, FailureReason, Journal, Output, Status};
use crate::ids::{AttemptId, CheckpointId, Incarnation, TaskId, WorkerId};
use crate::settings::RestartStrategy;
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A worker that is believed alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    incarnation: Incarnation,
    slots: u32,
}

/// What the job does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    /// The epoch is not durable yet.
    TakingOver { cancelled: bool },
    /// For slots, or for certainty about the newest restore point. `said`: how many slots people know to be missing.
    Waiting { said: Option<u32> },
    /// Some tasks do not run yet.
    Deploying { starting: BTreeSet<TaskId> },
    /// All tasks run.
    Running,
    /// The final checkpoint is complete; these tasks have not published what waited for it.
    Committing { checkpoint: CheckpointId, missing: BTreeSet<TaskId> },
    /// The journal is told, or says, that the job has stopped with a savepoint: there is no way back.
    Stopping(Stopping),
    /// Some workers have not stopped their tasks yet.
    Failing { cause: String, verdict: Verdict, stopping: BTreeSet<WorkerId> },
    /// The delay runs.
    Restarting,
    /// The last journal entry is not durable yet.
    Ending,
    /// It is over.
    Ended,
    /// Another coordinator has taken over.
    SteppedDown,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    Again(Delay),
    Over,
}

impl<S: Acknowledged> Coordinator<S> {
    pub(super) fn taken_over(&mut self, old_reserved: CheckpointId, out: &mut Vec<Output<S>>) {
        let Job::TakingOver { cancelled } = self.job else { unreachable!("a coordinator takes over once") };
        self.sweep(old_reserved, out);
        let Journal { completed, origin, discarding, .. } = &self.ledger.durable;
        if let Some(origin) = origin {
            self.last_used = self.last_used.max(origin.checkpoint);
        }
        let origin = origin.clone().filter(|origin| origin.claim == ClaimMode::Claim).or(discarding.clone());
        out.push(Output::ListShared { checkpoints: completed.clone(), origin });
        self.clean_up_after_others(out);
        self.job = Job::Waiting { said: None };
        if let Some(ended) = self.ledger.durable.ended.clone() {
            self.job = Job::Ended;
            self.set_status(Status::Ended(ended), out);
        } else if cancelled {
            self.end(Ended::Cancelled, out);
        }
    }

    pub(super) fn worker_joined(&mut self, worker: WorkerId, incarnation: Incarnation, slots: u32, out: &mut Vec<Output<S>>) {
        let known = self.workers.get(&worker).map(|known| known.incarnation);
        if known.is_some_and(|known| known > incarnation) {
            out.push(Output::Ignored("a later life of the worker has joined"));
            return;
        }
        if let Some(earlier) = known.filter(|&known| known < incarnation) {
            self.worker_lost(worker, earlier, "replaced", out);
        }
        self.workers.insert(worker, Worker { incarnation, slots });
        self.heartbeat(worker, incarnation, out);
        if self.job == Job::Ended {
            // Whoever was cut off when the job ended may still run its tasks.
            out.push(Output::Stop { attempt: self.attempt });
        }
    }

    pub(super) fn heartbeat(&mut self, worker: WorkerId, incarnation: Incarnation, out: &mut Vec<Output<S>>) {
        if self.lives(worker, incarnation) {
            let timeout = self.plan.heartbeat_timeout;
            out.push(Output::Arm { timer: Timer::WorkerSilent(worker, incarnation), from: timeout, to: timeout });
        } else {
            out.push(Output::Ignored("that life of the worker is over"));
        }
    }

    fn lives(&self, worker: WorkerId, incarnation: Incarnation) -> bool {
        self.workers.get(&worker).is_some_and(|known| known.incarnation == incarnation)
    }

    pub(super) fn worker_lost(&mut self, worker: WorkerId, incarnation: Incarnation, how: &str, out: &mut Vec<Output<S>>) {
        if !self.lives(worker, incarnation) {
            out.push(Output::Ignored("that life of the worker is over"));
            return;
        }
        self.workers.remove(&worker);
        out.push(Output::Disarm(Timer::WorkerSilent(worker, incarnation)));
        let lost = self.tasks_on(worker);
        match &self.job {
            Job::Deploying { .. } | Job::Running | Job::Committing { .. } | Job::Failing { .. } | Job::Waiting { .. } | Job::Restarting => {
                if !lost.is_empty() {
                    self.tasks_failed(&lost, format!("worker {worker} {how}"), FailureKind::Recoverable, out);
                }
            }
            Job::Stopping(_) => {
                if !lost.is_empty() {
                    self.stop_is_broken(format!("worker {worker} {how}"), out);
                }
            }
            Job::TakingOver { .. } | Job::Ending | Job::Ended | Job::SteppedDown => {}
        }
        if let Job::Failing { stopping, .. } = &mut self.job {
            if stopping.remove(&worker) && stopping.is_empty() {
                self.all_stopped(out);
            }
        }
    }

    /// Slots in the order in which they are used: round after round over the workers, so that the job spreads.
    pub(super) fn slots(&self) -> Vec<WorkerId> {
        let rounds = self.workers.values().map(|worker| worker.slots).max().unwrap_or(0);
        let round = |round: u32| self.workers.iter().filter(move |(_, worker)| worker.slots > round).map(|(&id, _)| id);
        (0..rounds).flat_map(round).collect()
    }

    /// The slot of each subtask index. Where workers keep copies of state, each has the worker that it had before, as far as that has
    /// slots (Flink: `StateLocalitySlotAssigner`); what is left goes in order.
    fn seats(&self, mut free: Vec<WorkerId>) -> Vec<WorkerId> {
        if !self.plan.local_recovery {
            return free;
        }
        let mut seats = alloc::vec![None; self.slots_needed()];
        for (task, worker) in &self.previous {
            let seat = &mut seats[task.subtask.0 as usize];
            if seat.is_none() {
                if let Some(at) = free.iter().position(|slot| slot == worker) {
                    *seat = Some(free.remove(at));
                }
            }
        }
        let mut rest = free.into_iter();
        let seated = seats.into_iter().map(|seat| seat.or_else(|| rest.next()));
        seated.map(|seat| seat.expect("there are as many slots as are needed")).collect()
    }

    /// One slot holds one subtask of every vertex.
    fn slots_needed(&self) -> usize {
        self.plan.tasks.iter().map(|task| task.subtask.0 as usize + 1).max().expect("a job has tasks")
    }

    /// Called after every input, as any may have brought the missing slot or the missing certainty.
    pub(super) fn deploy_if_possible(&mut self, out: &mut Vec<Output<S>>) {
        let Job::Waiting { said } = self.job else { return };
        if self.is_down_in_part() {
            self.deploy_the_rest_if_possible(said, out);
            return;
        }
        let slots = self.slots();
        let missing = self.slots_needed().saturating_sub(slots.len());
        if missing > 0 {
            self.wait_for_slots(missing, said, out);
        } else if self.restore_point_is_certain() {
            self.deploy(&self.seats(slots), out);
        }
    }

    fn deploy(&mut self, slots: &[WorkerId], out: &mut Vec<Output<S>>) {
        // Why: what it restores from must be what any later coordinator would restore from.
        assert!(self.pending.is_empty(), "no checkpoint of an earlier attempt is open when the next one begins");
        let place = |&task: &TaskId| (task, slots[task.subtask.0 as usize]);
        self.placement = self.plan.tasks.iter().map(place).collect();
        self.previous.clone_from(&self.placement);
        self.older = BTreeMap::new();
        (self.drained, self.finished) = (BTreeSet::new(), BTreeSet::new());
        self.behind = BTreeSet::new();
        self.begin_attempt(self.placement.clone(), out);
    }

    pub(super) fn begin_attempt(&mut self, placement: BTreeMap<TaskId, WorkerId>, out: &mut Vec<Output<S>>) {
        self.attempt = self.attempt.next();
        self.job = Job::Deploying { starting: placement.keys().copied().collect() };
        let (attempt, restore) = (self.attempt, self.restore_point());
        // The deadline runs from when the tasks are told: before, what they begin from is read, which may take as long as it takes.
        out.push(Output::Deploy { attempt, restore, placement });
        self.set_status(Status::Deploying(attempt), out);
    }

    fn arm_deploy_deadline(&self, out: &mut Vec<Output<S>>) {
        let timeout = self.plan.deploy_timeout;
        out.push(Output::Arm { timer: Timer::DeployDeadline(self.attempt), from: timeout, to: timeout });
    }

    pub(super) fn is_live(&self, attempt: AttemptId) -> bool {
        let live = match self.job {
            Job::Deploying { .. } | Job::Running | Job::Committing { .. } => true,
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Failing { .. } | Job::Restarting => false,
            Job::Stopping(_) | Job::Ending | Job::Ended | Job::SteppedDown => false,
        };
        live && attempt == self.attempt
    }

    pub(super) fn tasks_told(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        match &self.job {
            Job::Deploying { .. } if attempt == self.attempt => self.arm_deploy_deadline(out),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Failing { .. } => {
                out.push(Output::Ignored("that attempt is not being deployed"));
            }
            Job::Committing { .. } | Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("that attempt is not being deployed"));
            }
        }
    }

    pub(super) fn task_running(&mut self, attempt: AttemptId, task: TaskId, out: &mut Vec<Output<S>>) {
        match &mut self.job {
            Job::Deploying { starting } if attempt == self.attempt && starting.contains(&task) => {
                starting.remove(&task);
                if starting.is_empty() {
                    self.all_run(out);
                }
            }
            Job::Deploying { .. } | Job::Running => out.push(Output::Ignored("the task is not being started")),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Failing { .. } | Job::Restarting | Job::Ending => {
                out.push(Output::Ignored("the attempt is not being deployed"));
            }
            Job::Committing { .. } | Job::Stopping(_) | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("the attempt is not being deployed"));
            }
        }
    }

    pub(super) fn task_restoring(&mut self, attempt: AttemptId, task: TaskId, out: &mut Vec<Output<S>>) {
        match &self.job {
            Job::Deploying { starting } if attempt == self.attempt && starting.contains(&task) => self.arm_deploy_deadline(out),
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Failing { .. } => {
                out.push(Output::Ignored("the task is not being started"));
            }
            Job::Committing { .. } | Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("the task is not being started"));
            }
        }
    }

    pub(super) fn all_run(&mut self, out: &mut Vec<Output<S>>) {
        self.job = Job::Running;
        out.push(Output::Disarm(Timer::DeployDeadline(self.attempt)));
        self.set_status(Status::Running(self.attempt), out);
        self.arm_backoff_reset(out);
        self.start_scheduler(out);
        self.end_of_input(out);
    }

    pub(super) fn task_drained(&mut self, attempt: AttemptId, task: TaskId, out: &mut Vec<Output<S>>) {
        let news = self.goes_on(attempt, task) && self.drained.insert(task);
        if news {
            self.drained_for_the_stop(out);
            self.end_of_input(out);
        } else {
            out.push(Output::Ignored("the attempt does not run, or the task was drained before"));
        }
    }

    /// Once all tasks are drained: the final checkpoint, or the end at once where there are no checkpoints.
    pub(super) fn end_of_input(&mut self, out: &mut Vec<Output<S>>) {
        if self.job != Job::Running || self.drained != self.plan.tasks || self.is_stopping() {
            return;
        }
        if self.finished == self.plan.tasks {
            // Each has had a complete checkpoint behind its end, and has published what waited for that.
            self.end(Ended::Finished, out);
        } else if self.takes_a_final_checkpoint() {
            self.request(super::Kind::Requested, String::new(), out);
        } else {
            self.end(Ended::Finished, out);
        }
    }

    /// Also without periodic ones, where something waits for a checkpoint to be published.
    fn takes_a_final_checkpoint(&self) -> bool {
        self.plan.checkpoints.interval.is_some() || !self.plan.committers.is_empty()
    }

    pub(super) fn deploy_expired(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        match &self.job {
            Job::Deploying { starting } if attempt == self.attempt => {
                let first = starting.first().expect("a deployment waits for some task");
                let cause = format!("{} tasks did not start in time, {first} among them", starting.len());
                let starting = starting.clone();
                self.tasks_failed(&starting, cause, FailureKind::Recoverable, out);
            }
            Job::Deploying { .. } | Job::Running | Job::TakingOver { .. } | Job::Waiting { .. } | Job::Failing { .. } => {
                out.push(Output::Ignored("that attempt is not being deployed"));
            }
            Job::Committing { .. } | Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("that attempt is not being deployed"));
            }
        }
    }

    /// All of it stops; what follows was decided.
    pub(super) fn fail(&mut self, cause: String, verdict: Verdict, out: &mut Vec<Output<S>>) {
        let placement = core::mem::take(&mut self.placement);
        self.older = BTreeMap::new();
        let mut stopping = self.still_stopping();
        stopping.extend(placement.into_values().filter(|worker| self.workers.contains_key(worker)));
        self.stop_attempt(Output::Stop { attempt: self.attempt }, stopping, cause, verdict, out);
    }

    /// What is to stop is told so, and waited for.
    pub(super) fn stop_attempt(
        &mut self,
        stop: Output<S>,
        stopping: BTreeSet<WorkerId>,
        cause: String,
        verdict: Verdict,
        out: &mut Vec<Output<S>>,
    ) {
        let (attempt, nobody_left) = (self.attempt, stopping.is_empty());
        let reason = if self.placement.is_empty() { FailureReason::TaskFailure } else { FailureReason::FailoverRegion };
        self.leave_for(Job::Failing { cause: cause.clone(), verdict, stopping }, out);
        self.stop_scheduler(FailureReason::CoordinatorSuspend, out);
        self.abort_all(reason, out);
        self.set_status(Status::Failing { attempt, cause }, out);
        out.push(stop);
        if nobody_left {
            self.all_stopped(out);
        } else {
            let timeout = self.plan.stop_timeout;
            out.push(Output::Arm { timer: Timer::StopDeadline(attempt), from: timeout, to: timeout });
        }
    }

    pub(super) fn worker_stopped(&mut self, attempt: AttemptId, worker: WorkerId, out: &mut Vec<Output<S>>) {
        match &mut self.job {
            Job::Failing { stopping, .. } if attempt == self.attempt && stopping.contains(&worker) => {
                stopping.remove(&worker);
                if stopping.is_empty() {
                    self.all_stopped(out);
                }
            }
            Job::Failing { .. } | Job::TakingOver { .. } | Job::Waiting { .. } | Job::Deploying { .. } | Job::Running => {
                out.push(Output::Ignored("nobody waits for it to stop"));
            }
            Job::Committing { .. } | Job::Stopping(_) | Job::Restarting | Job::Ending | Job::Ended | Job::SteppedDown => {
                out.push(Output::Ignored("nobody waits for it to stop"));
            }
        }
    }

    pub(super) fn stop_expired(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        if matches!(self.job, Job::Failing { .. }) && attempt == self.attempt {
            // Whoever still runs is fenced by its attempt.
            self.all_stopped(out);
        } else {
            out.push(Output::Ignored("nobody waits for this attempt to stop"));
        }
    }

    fn all_stopped(&mut self, out: &mut Vec<Output<S>>) {
        let Job::Failing { cause, verdict, .. } = &mut self.job else { unreachable!("only a failed attempt is waited for") };
        let (cause, verdict) = (core::mem::take(cause), *verdict);
        match verdict {
            Verdict::Over => self.end(Ended::Failed(cause), out),
            Verdict::Again(Delay { from, to }) => {
                self.leave_for(Job::Restarting, out);
                out.push(Output::Arm { timer: Timer::Restart(self.attempt), from, to });
                self.set_status(Status::Restarting { after: self.attempt }, out);
            }
        }
    }

    pub(super) fn restart_due(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        if self.job == Job::Restarting && attempt == self.attempt {
            self.job = Job::Waiting { said: None };
        } else {
            out.push(Output::Ignored("no restart is due"));
        }
    }

    pub(super) fn ran_long_enough(&mut self, attempt: AttemptId, out: &mut Vec<Output<S>>) {
        if self.job == Job::Running && attempt == self.attempt {
            self.backoff.reset();
        } else {
            out.push(Output::Ignored("that attempt does not run"));
        }
    }

    pub(super) fn cancel(&mut self, out: &mut Vec<Output<S>>) {
        match &mut self.job {
            Job::TakingOver { cancelled } => *cancelled = true,
            Job::Waiting { .. } | Job::Deploying { .. } | Job::Running | Job::Committing { .. } | Job::Failing { .. } | Job::Restarting => {
                self.end(Ended::Cancelled, out);
            }
            Job::Stopping(_) => out.push(Output::Ignored("the job is being stopped")),
            Job::Ending | Job::Ended | Job::SteppedDown => out.push(Output::Ignored("the job is over")),
        }
    }

    /// The job is to be over: first the journal says so, then tasks stop and files go.
    pub(super) fn end(&mut self, ended: Ended, out: &mut Vec<Output<S>>) {
        self.leave_for(Job::Ending, out);
        self.stop_scheduler(FailureReason::CoordinatorShutdown, out);
        self.abort_all(FailureReason::CoordinatorShutdown, out);
        if let Some(checkpoint) = self.scheduler.pausing.take() {
            out.push(Output::Disarm(Timer::MinPause(checkpoint)));
        }
        self.ledger.wanted.push_back(Change::End(ended));
    }

    /// What only the phase that is left waited for is not waited for any more.
    pub(super) fn leave_for(&mut self, next: Job, out: &mut Vec<Output<S>>) {
        let attempt = self.attempt;
        match core::mem::replace(&mut self.job, next) {
            Job::TakingOver { .. } | Job::Waiting { .. } | Job::Committing { .. } => {}
            Job::Deploying { .. } => out.push(Output::Disarm(Timer::DeployDeadline(attempt))),
            Job::Running => {
                if self.takes_a_final_checkpoint() {
                    out.push(Output::Disarm(Timer::Trigger(attempt)));
                }
                match self.plan.restart {
                    RestartStrategy::ExponentialDelay { .. } => out.push(Output::Disarm(Timer::BackoffReset(attempt))),
                    RestartStrategy::None | RestartStrategy::FixedDelay { .. } | RestartStrategy::FailureRate { .. } => {}
                }
            }
            Job::Failing { .. } => out.push(Output::Disarm(Timer::StopDeadline(attempt))),
            Job::Restarting => out.push(Output::Disarm(Timer::Restart(attempt))),
            Job::Stopping(_) | Job::Ending | Job::Ended | Job::SteppedDown => unreachable!("a job ends once"),
        }
    }

    pub(super) fn end_durable(&mut self, ended: Ended, unneeded: BTreeSet<CheckpointId>, out: &mut Vec<Output<S>>) {
        self.job = Job::Ended;
        self.placement = BTreeMap::new();
        self.older = BTreeMap::new();
        if self.attempt.number > 0 {
            out.push(Output::Stop { attempt: self.attempt });
        }
        self.discard_all(unneeded, out);
        self.sweep(self.ledger.durable.reserved, out);
        let kept = &self.ledger.durable;
        if kept.completed.is_empty() && kept.origin.is_none() {
            // Nobody needs any: the job's own are swept, and what a claimed snapshot has brought goes with that.
            self.shared.release_below(None);
        }
        if let Some(newest) = kept.completed.last().copied().or(kept.origin.as_ref().map(|origin| origin.checkpoint)) {
            self.shared.forget_after(newest);
        }
        self.sweep_shared(None, out);
        self.forget_origin(out);
        self.set_status(Status::Ended(ended), out);
    }

    pub(super) fn check_job(&self) {
        let over = self.ledger.durable.ended.is_some();
        let taking_over = matches!(self.job, Job::TakingOver { .. });
        // Why: a takeover would deploy what is over, or never deploy what is not.
        let stopping = matches!(self.job, Job::Stopping(_));
        assert!(over == (self.job == Job::Ended) || taking_over || stopping, "the job is over exactly when the journal says so");
        let only_storing = self.pending.values().all(|pending| pending.stage == Stage::Storing);
        assert!(only_storing || self.job == Job::Running || stopping, "checkpoints are open only while all tasks run");
        assert!(self.drained.is_subset(&self.plan.tasks), "only tasks of the job are drained");
        if self.is_live(self.attempt) {
            let lost = self.needed_and_lost();
            assert!(lost.is_none(), "a live attempt has no task on a lost worker, but on {lost:?}");
            assert!(self.placement.keys().eq(self.plan.tasks.iter()), "a live attempt has a place for every task");
        }
        if let Job::Failing { stopping, .. } = &self.job {
            assert!(!stopping.is_empty(), "a failed attempt waits for somebody");
        }
        if let Job::Committing { checkpoint, missing } = &self.job {
            assert!(!missing.is_empty() && missing.is_subset(&self.plan.committers), "the end waits for somebody who publishes");
            // Why: what is published then could not be restored to.
            assert_eq!(self.ledger.durable.completed.last(), Some(checkpoint), "the final checkpoint is the newest restore point");
        }
    }
}
