//! What coordinator machines want done.

use super::Turn;
use crate::moves::Outcome;
use crate::properties::{Promise, Situation};
use crate::state::{Contact, Notice, Part, Question};
use crate::story::Actor;
use cofferdam_protocol::coordinator::{FailureReason, Input, Output, RestorePoint, Status};
use cofferdam_protocol::{AttemptId, CheckpointId, Machine, TaskId, Timer, WorkerId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

impl Turn<'_> {
    /// Tells a coordinator something, does what it wants, and tells it at once what takes no time.
    pub(super) fn lead(&mut self, which: usize, input: Input<Part>) {
        let mut answers = VecDeque::from([input]);
        while let Some(input) = answers.pop_front() {
            if self.state.broken.is_some() || self.state.reigns[which].is_none() {
                return;
            }
            let mut outputs = Vec::new();
            let stepped = self.guarded(|state| {
                if let Some(reign) = &mut state.reigns[which] {
                    reign.change().machine.step(input, &mut outputs);
                }
            });
            if stepped {
                self.perform_all(which, outputs, &mut answers);
            }
        }
    }

    pub(super) fn perform_all(&mut self, which: usize, outputs: Vec<Output<Part>>, answers: &mut VecDeque<Input<Part>>) {
        for output in outputs {
            if self.state.broken.is_none() {
                self.do_for(which, output, answers);
            }
        }
    }

    fn actor_of(&self, which: usize) -> Actor {
        Actor::Coordinator(self.state.reigns[which].as_ref().map(|reign| reign.machine.epoch()).unwrap_or_default())
    }

    pub(super) fn tell_of_reign(
        &mut self,
        which: usize,
        attempt: Option<AttemptId>,
        checkpoint: Option<CheckpointId>,
        what: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if self.lines.is_some() {
            let actor = self.actor_of(which);
            self.tell(actor, attempt, checkpoint, what, detail);
        }
    }

    fn ask(&mut self, which: usize, slow: bool, question: Question, answers: &mut VecDeque<Input<Part>>) {
        if slow && !self.calm {
            self.state.reigns[which].as_mut().expect("it asks").change().questions.push(question);
        } else {
            answers.extend(self.answered(which, question, Outcome::Answered));
        }
    }

    pub(super) fn answer(&mut self, which: usize, question: usize, outcome: Outcome) {
        let Some(reign) = &mut self.state.reigns[which] else { return };
        let question = reign.change().questions.remove(question);
        if let Some(answer) = self.answered(which, question, outcome) {
            self.lead(which, answer);
        }
    }

    fn answered(&mut self, which: usize, question: Question, outcome: Outcome) -> Option<Input<Part>> {
        match (question, outcome) {
            (Question::Location(checkpoint), Outcome::Answered) => {
                self.state.storage.change().folders |= 1 << checkpoint.0;
                self.tell_of_reign(which, None, Some(checkpoint), "location-ready", String::new);
                Some(Input::LocationReady(checkpoint))
            }
            (Question::Location(checkpoint), Outcome::Happened | Outcome::Lost) => Some(Input::LocationFailed(checkpoint)),
            (Question::Metadata(checkpoint, parts), Outcome::Answered) => {
                self.tell_of_reign(which, None, Some(checkpoint), "metadata-durable", String::new);
                Some(self.publish(checkpoint, parts))
            }
            (Question::Metadata(checkpoint, parts), Outcome::Happened) => {
                self.mark(Situation::MetadataUnknown);
                self.tell_of_reign(which, None, Some(checkpoint), "metadata-unknown", String::new);
                self.publish(checkpoint, parts);
                Some(Input::MetadataFailed(checkpoint))
            }
            (Question::Metadata(checkpoint, _), Outcome::Lost) => {
                self.mark(Situation::MetadataFailed);
                self.tell_of_reign(which, None, Some(checkpoint), "metadata-failed", String::new);
                Some(Input::MetadataFailed(checkpoint))
            }
            (Question::Listing(checkpoints), _) => Some(Input::SharedListed(self.listed(&checkpoints))),
        }
    }

    pub(super) fn fire(&mut self, which: usize, timer: Timer) {
        let Some(reign) = &mut self.state.reigns[which] else { return };
        reign.change().timers.remove(&timer);
        self.tell_of_reign(which, None, None, "timer-fired", || timer.to_string());
        if let Timer::WorkerSilent(worker, incarnation) = timer {
            self.give_up(worker, incarnation);
        }
        self.lead(which, Input::Fired(timer));
    }

    fn do_for(&mut self, which: usize, output: Output<Part>, answers: &mut VecDeque<Input<Part>>) {
        let slow = self.setup.world.slow;
        match output {
            Output::Arm { timer, .. } | Output::ArmSooner { timer, .. } => match timer {
                // The delay of a restart changes nothing: what could happen in it can happen before or after as well.
                Timer::Restart(_) => answers.push_back(Input::Fired(timer)),
                Timer::BackoffReset(_) | Timer::FailureForgotten(_) => {}
                Timer::Trigger(_)
                | Timer::MinPause(_)
                | Timer::CheckpointDeadline(_)
                | Timer::WorkerSilent(..)
                | Timer::DeployDeadline(_)
                | Timer::StopDeadline(_)
                | Timer::JournalRetry => {
                    if let Some(reign) = self.state.reigns[which].as_mut().filter(|reign| !reign.timers.contains(&timer)) {
                        reign.change().timers.insert(timer);
                    }
                }
            },
            Output::Disarm(timer) => {
                if let Some(reign) = self.state.reigns[which].as_mut().filter(|reign| reign.timers.contains(&timer)) {
                    reign.change().timers.remove(&timer);
                }
            }
            Output::Write(entry) => {
                self.tell_of_reign(which, None, None, "journal-begun", || format!("{entry:?}"));
                self.state.reigns[which].as_mut().expect("it writes").change().writing = Some(entry);
                if !slow.journal || self.calm {
                    answers.extend(self.append(which));
                }
            }
            Output::CreateLocation(checkpoint, _) => self.ask(which, slow.location, Question::Location(checkpoint), answers),
            Output::SnapshotEnumerators(checkpoint) => answers.push_back(Input::EnumeratorsReady(checkpoint)),
            Output::CallHooks(checkpoint) => answers.push_back(Input::HooksReady(checkpoint)),
            Output::Trigger { attempt, checkpoint, tasks, .. } => self.notify(which, attempt, &tasks, Notice::Trigger(checkpoint)),
            Output::WriteMetadata { attempt, checkpoint, snapshots, .. } => {
                self.check_parts(attempt, checkpoint, &snapshots);
                self.ask(which, slow.metadata, Question::Metadata(checkpoint, Arc::new(snapshots)), answers);
            }
            Output::NotifyComplete { attempt, checkpoint } => {
                self.tell_of_reign(which, Some(attempt), Some(checkpoint), "completion-notified", String::new);
                self.check_told(checkpoint);
                self.notify(which, attempt, &BTreeSet::new(), Notice::Completed(checkpoint));
            }
            Output::NotifyAbort { attempt, checkpoint, latest_completed } => {
                latest_completed.into_iter().for_each(|completed| self.check_told(completed));
                self.notify(which, attempt, &BTreeSet::new(), Notice::Aborted(checkpoint, latest_completed));
            }
            Output::Discard(checkpoint) => {
                self.tell_of_reign(which, None, Some(checkpoint), "discarding", String::new);
                self.discard(checkpoint);
                answers.push_back(Input::Discarded(checkpoint));
            }
            Output::DiscardShared(files) => {
                self.tell_of_reign(which, None, None, "shared-released", || format!("{files:?}"));
                self.mark(Situation::SharedReleased);
                self.delete_shared(|file| files.contains(file));
            }
            // No world has an origin, or savepoints, or is stopped with one.
            Output::Stopped { .. } => {}
            Output::DiscardOrigin(_) => answers.push_back(Input::OriginDiscarded),
            Output::ForgetOrigin(_) => answers.push_back(Input::OriginForgotten),
            Output::SettleSavepoint { checkpoint, .. } => answers.push_back(Input::SavepointSettled(checkpoint)),
            Output::ListShared { checkpoints, .. } => self.ask(which, slow.listing, Question::Listing(checkpoints), answers),
            Output::SweepShared { keep, before } => {
                let epoch = |file: &str| file.split('-').next().and_then(|first| first[1..].parse::<u64>().ok());
                let mut swept = false;
                self.delete_shared(|file| {
                    let old = before.is_none_or(|before| epoch(file).is_none_or(|epoch| epoch < before.0));
                    swept |= old && !keep.contains(file);
                    old && !keep.contains(file)
                });
                if swept {
                    self.mark(Situation::SharedSwept);
                }
            }
            Output::DiscardSnapshot { checkpoint, snapshot } => {
                let current = self.state.reigns[which].as_ref().map(|reign| reign.machine.attempt());
                let zombie = current.is_some_and(|current| snapshot.attempt != current);
                self.mark(if zombie { Situation::ZombieAcknowledgement } else { Situation::LateAcknowledgement });
                self.tell_of_reign(which, None, Some(checkpoint), "part-discarded", String::new);
            }
            Output::Sweep { keep, up_to } => self.sweep(&keep, up_to),
            Output::Deploy { attempt, restore, placement } => self.deploy(which, attempt, restore, &placement, answers),
            Output::Stop { attempt } => self.tell_to_stop(which, attempt),
            // No world has regions.
            Output::StopTasks { .. } => {}
            Output::Triggered { checkpoint, .. } => self.begun(which, checkpoint),
            Output::Completed { checkpoint, .. } => self.completed(which, checkpoint),
            Output::Aborted { checkpoint, reason, .. } => {
                match reason {
                    FailureReason::Subsumed => self.mark(Situation::Subsumed),
                    FailureReason::Expired => self.mark(Situation::Expired),
                    _ => {}
                }
                self.tell_of_reign(which, None, checkpoint, "checkpoint-aborted", || reason.to_string());
            }
            Output::Status(status) => {
                self.tell_of_reign(which, None, None, "status", || format!("{status:?}"));
                self.judge_status(&status);
            }
            Output::SteppedDown => {
                self.mark(Situation::Fenced);
                self.tell_of_reign(which, None, None, "stepped-down", String::new);
                self.leave(which);
            }
            Output::Ignored(why) => self.tell_of_reign(which, None, None, "ignored", || why.into()),
        }
    }

    fn begun(&mut self, which: usize, checkpoint: CheckpointId) {
        self.tell_of_reign(which, None, Some(checkpoint), "checkpoint-triggered", String::new);
        let Some(reign) = &self.state.reigns[which] else { return };
        let pending = reign.machine.pending().count();
        let most = self.setup.plan.checkpoints.max_concurrent as usize;
        if pending > 1 {
            self.mark(Situation::TwoPending);
        }
        if pending > most {
            self.breaks(Promise::MaxConcurrent, format!("{checkpoint} begins, and {pending} are pending where {most} may be"));
        }
        // One that was replaced and does not know it yet has reserved its numbers before.
        let (newest, reserved) = (self.state.storage.newest_used, self.state.storage.journal.reserved);
        if which == 0 && checkpoint <= newest {
            self.breaks(Promise::IdsUnique, format!("{checkpoint} begins after {newest}"));
        } else if checkpoint > reserved {
            self.breaks(Promise::IdsUnique, format!("{checkpoint} begins, but only numbers up to {reserved} are durably reserved"));
        } else if checkpoint > newest {
            self.state.storage.change().newest_used = checkpoint;
        }
    }

    /// Tells those of the attempt that the coordinator has a connection to; none named: all of them.
    fn notify(&mut self, which: usize, attempt: AttemptId, named: &BTreeSet<TaskId>, notice: Notice) {
        if which != 0 {
            return;
        }
        for (worker, tasks) in self.state.tasks.iter_mut().enumerate() {
            let connected = self.state.lines[worker].as_ref().is_some_and(|line| line.contact == Contact::Connected);
            for (task, running) in tasks.iter_mut().enumerate() {
                let asked = named.is_empty() || self.setup.layout.tasks.get(task).is_some_and(|task| named.contains(&task.id));
                if let Some(running) = running.as_mut().filter(|running| connected && asked && running.attempt == attempt) {
                    running.change().notices.push(notice);
                }
            }
        }
    }

    fn check_parts(&mut self, attempt: AttemptId, checkpoint: CheckpointId, parts: &BTreeMap<TaskId, Part>) {
        self.tell_of_reign(0, Some(attempt), Some(checkpoint), "all-acked", String::new);
        let finished = self.state.storage.finished;
        let tasks = self.setup.layout.tasks.iter().enumerate();
        let missing = tasks.filter(|(at, _)| finished >> at & 1 == 0).find(|(_, task)| !parts.contains_key(&task.id));
        if let Some((_, task)) = missing {
            self.breaks(Promise::AcksBeforeComplete, format!("{checkpoint} is published without the part of {}", task.id));
        }
        if let Some((task, part)) = parts.iter().find(|(_, part)| part.attempt != attempt) {
            let witness = format!("{checkpoint} of {attempt} is published with what {task} took in {}", part.attempt);
            self.breaks(Promise::OneLiveAttempt, witness);
        }
    }

    fn check_told(&mut self, checkpoint: CheckpointId) {
        if self.state.storage.ever >> checkpoint.0 & 1 == 0 {
            self.breaks(
                Promise::ToldAfterDurable,
                format!("tasks are told that {checkpoint} is complete, and the journal has never named it"),
            );
        } else if self.state.storage.told < checkpoint {
            self.state.storage.change().told = checkpoint;
        }
    }

    fn deploy(
        &mut self,
        which: usize,
        attempt: AttemptId,
        restore: Option<RestorePoint>,
        placement: &BTreeMap<TaskId, WorkerId>,
        answers: &mut VecDeque<Input<Part>>,
    ) {
        let from = restore.as_ref().map(RestorePoint::checkpoint);
        self.tell_of_reign(which, Some(attempt), from, "deploying", String::new);
        let newest = self.state.storage.journal.completed.last().copied();
        let told = Some(self.state.storage.told).filter(|told| *told > CheckpointId::NONE);
        if which == 0 && from != newest {
            self.breaks(Promise::LatestRestored, format!("{attempt} begins from {from:?}, and the newest restore point is {newest:?}"));
        } else if from < told {
            self.breaks(Promise::LatestRestored, format!("{attempt} begins from {from:?} after {told:?} was committed"));
        }
        let before = self.state.storage.attempt;
        if attempt <= before {
            self.breaks(Promise::OneLiveAttempt, format!("{attempt} begins after {before}"));
        }
        let mut parts = None;
        if let Some(from) = from {
            self.mark(Situation::Restored);
            parts = self.state.storage.metadata.get(&from).cloned();
            if parts.is_none() {
                self.breaks(Promise::RetainedFiles, format!("{attempt} is to begin from {from}, which is gone"));
            }
        }
        if self.state.broken.is_some() {
            return;
        }
        let had_finished = |id: &TaskId| parts.as_ref().is_some_and(|parts| !parts.contains_key(id));
        let tasks: BTreeSet<TaskId> = placement.keys().copied().filter(had_finished).collect();
        let storage = self.state.storage.change();
        storage.attempt = attempt;
        storage.finished = tasks.iter().map(|task| 1_u8 << self.setup.task(*task)).sum();
        if !tasks.is_empty() {
            answers.push_back(Input::FinishedBefore { attempt, tasks });
        }
        answers.push_back(Input::Deployed { attempt });
        self.start_attempt(attempt, placement, parts.as_deref(), answers);
    }

    /// The job runs and every record has been processed.
    pub(super) fn is_running(&self, attempt: AttemptId) -> bool {
        self.state.reigns[0].as_ref().is_some_and(|reign| reign.machine.status() == Some(&Status::Running(attempt)))
    }
}
