//! What can happen next.

use crate::bounds::Bound;
use crate::queue::Element;
use crate::state::{Contact, Notice, Question, Reign, Running, State, Value};
use crate::turn::Setup;
use crate::world::{Overtaking, MOST_WORKERS};
use cofferdam_protocol::coordinator::Status;
use cofferdam_protocol::{ChannelIndex, CheckpointId, Timer};
use std::fmt;

/// What becomes of something durable that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is durable, and said to be; or somebody else's is in its place, and the writer is told so.
    Answered,
    /// It is durable, and the answer is lost.
    Happened,
    /// It never happens, and the answer is an error.
    Lost,
}

/// One thing that can happen. Workers and tasks go by their numbers, coordinators by 0 (leads) and 1 (replaced without knowing it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A source reads a record and sends it on.
    Read(usize, usize),
    /// A task takes what is first in a channel.
    Take(usize, usize, usize),
    /// A barrier arrives in a channel's queue, where it may overtake.
    Announce(usize, usize, usize),
    /// A task takes what was in flight in the checkpoint that it began from.
    Recover(usize, usize),
    /// A task's timer says that a checkpoint has become old.
    TimeOut(usize, usize),
    /// A task hears what it was told first.
    Hear(usize, usize),
    /// It hears it, and will hear it again.
    HearTwice(usize, usize),
    /// It never hears it.
    Miss(usize, usize),
    /// The asynchronous part of a snapshot is durable.
    Written(usize, usize, CheckpointId),
    /// It has failed.
    WriteFails(usize, usize, CheckpointId),
    /// A task writes its store anew.
    Compact(usize, usize),
    /// A source has come to the end of its log.
    Drain(usize, usize),
    /// A sink makes a transaction visible, or what is left of it in the other place goes.
    Publish(usize, usize),
    /// It cannot.
    PublishFails(usize, usize),
    /// The coordinator hears what a worker has reported first.
    Report(usize),
    /// It hears it, and will hear it again.
    ReportTwice(usize),
    /// It hears what the worker's life before has reported, and at last that it is over.
    ReportBefore(usize),
    /// A worker hears that it is to stop its tasks.
    Stop(usize),
    /// A worker crashes; what it has reported may still arrive, or not.
    Crash(usize, bool),
    /// A worker registers with the coordinator: anew, or for the first time since it crashed. Its old tasks are gone.
    Join(usize),
    /// A timer fires.
    Fire(usize, Timer),
    /// Something becomes of the journal entry under way.
    Journal(usize, Outcome),
    /// A question is answered: well, or with a failure though it has happened, or with one because it has not.
    Answer(usize, usize, Outcome),
    /// Another coordinator takes over; the old one may live on.
    TakeOver(bool),
    /// The entry of a dead coordinator arrives, or never will.
    Stray(bool),
    /// Nothing can happen, though it should.
    Stuck,
    /// Nothing can happen, and something is left over.
    Quiet,
}

impl Action {
    /// Which budget it uses up.
    #[must_use]
    pub fn uses_up(&self, state: &State) -> Option<Bound> {
        match self {
            Self::HearTwice(..) | Self::ReportTwice(_) => Some(Bound::Repeats),
            Self::Miss(..) => Some(Bound::Losses),
            Self::WriteFails(..) | Self::PublishFails(..) | Self::Answer(_, _, Outcome::Lost) => Some(Bound::Failures),
            Self::Compact(..) => Some(Bound::Compactions),
            Self::Crash(..) => Some(Bound::Crashes),
            Self::Journal(_, Outcome::Happened | Outcome::Lost) | Self::Answer(_, _, Outcome::Happened) => Some(Bound::Ambiguous),
            // Somebody has to.
            Self::TakeOver(_) => state.reigns[0].is_some().then_some(Bound::Takeovers),
            Self::Fire(_, timer) => budget_of(timer).filter(|bound| state.left(*bound) > 0),
            Self::Announce(..) | Self::Recover(..) | Self::TimeOut(..) => None,
            Self::Read(..) | Self::Take(..) | Self::Hear(..) | Self::Written(..) | Self::Report(_) | Self::ReportBefore(_) => None,
            Self::Drain(..) | Self::Publish(..) | Self::Stop(_) | Self::Join(_) => None,
            Self::Journal(_, Outcome::Answered) | Self::Answer(_, _, Outcome::Answered) => None,
            Self::Stray(_) | Self::Stuck | Self::Quiet => None,
        }
    }
}

/// Which budget a timer's firing uses up.
fn budget_of(timer: &Timer) -> Option<Bound> {
    match timer {
        Timer::Trigger(_) => Some(Bound::Checkpoints),
        Timer::CheckpointDeadline(_) | Timer::DeployDeadline(_) | Timer::StopDeadline(_) => Some(Bound::Expiries),
        Timer::WorkerSilent(..) => Some(Bound::Silences),
        Timer::MinPause(_) | Timer::Restart(_) | Timer::BackoffReset(_) | Timer::FailureForgotten(_) | Timer::JournalRetry => None,
    }
}

impl Setup {
    /// Everything that can happen next, in an order that only depends on the state.
    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for worker in 0..MOST_WORKERS {
            for task in 0..self.layout.tasks.len() {
                if let Some(running) = &state.tasks[worker][task] {
                    self.of_task(state, worker, task, running, actions);
                }
            }
            self.of_worker(state, worker, actions);
        }
        for (index, reign) in state.reigns.iter().enumerate() {
            if let Some(reign) = reign {
                self.of_reign(state, index, reign, actions);
            }
        }
        if state.storage.stray.is_some() {
            actions.extend([Action::Stray(true), Action::Stray(false)]);
        }
        match &state.reigns[0] {
            None => actions.push(Action::TakeOver(false)),
            Some(_) if state.left(Bound::Takeovers) > 0 && state.storage.stray.is_none() => {
                actions.push(Action::TakeOver(false));
                if state.reigns[1].is_none() {
                    actions.push(Action::TakeOver(true));
                }
            }
            Some(_) => {}
        }
        if actions.is_empty() {
            self.when_quiet(state, actions);
        }
    }

    fn of_task(&self, state: &State, worker: usize, task: usize, running: &Running, actions: &mut Vec<Action>) {
        if running.holding.as_ref().is_some_and(|holding| !holding.due.is_empty()) {
            actions.push(Action::Publish(worker, task));
            if running.is_open() && state.left(Bound::Failures) > 0 {
                actions.push(Action::PublishFails(worker, task));
            }
        }
        if !running.is_open() {
            return;
        }
        if let Value::Position(position) = running.value {
            if position < self.records && self.has_room(state, running, task, position) {
                actions.push(Action::Read(worker, task));
            } else if position == self.records && self.world.transactional && !running.drained {
                actions.push(Action::Drain(worker, task));
            }
        }
        let overtaking = self.world.overtaking != Overtaking::Never;
        for channel in 0..self.layout.tasks[task].channels {
            if matches!(running.next_to_arrive(channel as usize), Some(Element::Barrier(_) | Element::Urgent(_))) && overtaking {
                actions.push(Action::Announce(worker, task, channel as usize));
            }
            if running.holds(ChannelIndex(channel)) || !running.recovered.is_empty() {
                continue;
            }
            let channel = channel as usize;
            match running.inputs[channel].first().filter(|_| !overtaking || running.arrived[channel] > 0) {
                Some(Element::Record(record)) if !self.has_room(state, running, task, self.position(record)) => {}
                Some(_) => actions.push(Action::Take(worker, task, channel)),
                None => {}
            }
        }
        if let Some(Element::Record(record)) = running.recovered.first() {
            if self.has_room(state, running, task, self.position(record)) {
                actions.push(Action::Recover(worker, task));
            }
        }
        if running.timer.is_some() {
            actions.push(Action::TimeOut(worker, task));
        }
        if let Some(notice) = running.notices.first() {
            actions.push(Action::Hear(worker, task));
            match notice {
                Notice::Trigger(_) => {}
                Notice::Completed(_) | Notice::Aborted(..) => {
                    if state.left(Bound::Losses) > 0 && !is_committing(state) {
                        actions.push(Action::Miss(worker, task));
                    }
                    if state.left(Bound::Repeats) > 0 {
                        actions.push(Action::HearTwice(worker, task));
                    }
                }
            }
        }
        for (checkpoint, _) in &running.writing {
            if running.logging.is_none_or(|(logged, _)| logged != *checkpoint) {
                actions.push(Action::Written(worker, task, *checkpoint));
            }
            if state.left(Bound::Failures) > 0 {
                actions.push(Action::WriteFails(worker, task, *checkpoint));
            }
        }
        if state.left(Bound::Compactions) > 0 && running.store.values().any(Option::is_some) {
            actions.push(Action::Compact(worker, task));
        }
    }

    fn of_worker(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let Some(line) = &state.lines[worker] else { return };
        if !line.reports.is_empty() {
            actions.push(Action::Report(worker));
            if state.left(Bound::Repeats) > 0 {
                actions.push(Action::ReportTwice(worker));
            }
        }
        if line.before.is_some() {
            actions.push(Action::ReportBefore(worker));
        }
        if line.stop.is_some() {
            actions.push(Action::Stop(worker));
        }
        match line.contact {
            Contact::Connected | Contact::CutOff => {
                if state.left(Bound::Crashes) > 0 && line.before.is_none() {
                    actions.push(Action::Crash(worker, true));
                    if !line.reports.is_empty() {
                        actions.push(Action::Crash(worker, false));
                    }
                }
            }
            Contact::Down => {}
        }
        if line.contact != Contact::Connected && state.reigns[0].is_some() {
            actions.push(Action::Join(worker));
        }
    }

    fn of_reign(&self, state: &State, index: usize, reign: &Reign, actions: &mut Vec<Action>) {
        for &timer in &reign.timers {
            let possible = match budget_of(&timer) {
                Some(bound) => state.left(bound) > 0,
                None => true,
            };
            let meaningful = match timer {
                // Of one that is not connected any more the loss is noticed otherwise.
                Timer::WorkerSilent(id, incarnation) => index == 0 && is_connected(self, state, id, incarnation),
                _ => true,
            };
            if possible && meaningful {
                actions.push(Action::Fire(index, timer));
            }
        }
        if reign.writing.is_some() {
            actions.push(Action::Journal(index, Outcome::Answered));
            if state.left(Bound::Ambiguous) > 0 {
                actions.extend([Action::Journal(index, Outcome::Happened), Action::Journal(index, Outcome::Lost)]);
            }
        }
        for (at, question) in reign.questions.iter().enumerate() {
            actions.push(Action::Answer(index, at, Outcome::Answered));
            let (can_fail, can_be_doubtful) = match question {
                Question::Location(_) => (true, false),
                Question::Metadata(..) => (true, true),
                Question::Listing(_) => (false, false),
            };
            if can_fail && state.left(Bound::Failures) > 0 {
                actions.push(Action::Answer(index, at, Outcome::Lost));
            }
            if can_be_doubtful && state.left(Bound::Ambiguous) > 0 {
                actions.push(Action::Answer(index, at, Outcome::Happened));
            }
        }
    }

    /// Time passes: what was only waited for runs out, whatever the budget. After that all must be done.
    fn when_quiet(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, reign) in state.reigns.iter().enumerate() {
            for &timer in reign.iter().flat_map(|reign| &reign.timers) {
                let runs_out = match timer {
                    Timer::CheckpointDeadline(_) | Timer::DeployDeadline(_) | Timer::StopDeadline(_) => true,
                    Timer::WorkerSilent(id, incarnation) => index == 0 && !is_connected(self, state, id, incarnation),
                    // The end of the job waits for a checkpoint.
                    Timer::Trigger(_) => self.world.transactional,
                    _ => false,
                };
                if runs_out {
                    actions.push(Action::Fire(index, timer));
                }
            }
        }
        if actions.is_empty() {
            if !self.all_is_processed(state) {
                actions.push(Action::Stuck);
            } else if self.something_is_left(state).is_some() {
                actions.push(Action::Quiet);
            }
        }
    }

    /// A record's position in its source.
    pub(crate) fn position(&self, record: u8) -> u8 {
        record % crate::tally::SECOND_PATH % self.records
    }

    /// Whether the record at this position fits into the channels that it goes into.
    fn has_room(&self, state: &State, running: &Running, task: usize, position: u8) -> bool {
        self.layout.tasks[task].outputs.iter().all(|ends| {
            let (receiver, channel) = ends[usize::from(position) % ends.len()];
            // One that is gone is found out by sending.
            // Where barriers overtake, what has arrived has left the sender.
            state
                .running(running.attempt, receiver)
                .is_none_or(|receiver| receiver.inputs[channel].behind(receiver.arrived[channel].into()).records() < self.capacity)
        })
    }
}

/// Then somebody waits for what comes of a notice: a connection loses none without breaking.
fn is_committing(state: &State) -> bool {
    matches!(state.reigns[0].as_ref().and_then(|reign| reign.machine.status()), Some(Status::Committing(_)))
}

fn is_connected(setup: &Setup, state: &State, id: cofferdam_protocol::WorkerId, incarnation: cofferdam_protocol::Incarnation) -> bool {
    (0..MOST_WORKERS).any(|worker| {
        let line = state.lines[worker].as_ref();
        setup.worker_id(worker) == id && line.is_some_and(|line| line.contact == Contact::Connected && line.incarnation == incarnation)
    })
}

impl fmt::Display for Action {
    /// Stable: failure files name actions so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(worker, task) => write!(f, "w{worker} t{task} read"),
            Self::Take(worker, task, channel) => write!(f, "w{worker} t{task} take ch{channel}"),
            Self::Announce(worker, task, channel) => write!(f, "w{worker} t{task} announce ch{channel}"),
            Self::Recover(worker, task) => write!(f, "w{worker} t{task} recover"),
            Self::TimeOut(worker, task) => write!(f, "w{worker} t{task} time-out"),
            Self::Hear(worker, task) => write!(f, "w{worker} t{task} hear"),
            Self::HearTwice(worker, task) => write!(f, "w{worker} t{task} hear-twice"),
            Self::Miss(worker, task) => write!(f, "w{worker} t{task} miss"),
            Self::Written(worker, task, checkpoint) => write!(f, "w{worker} t{task} written {checkpoint}"),
            Self::WriteFails(worker, task, checkpoint) => write!(f, "w{worker} t{task} write-fails {checkpoint}"),
            Self::Compact(worker, task) => write!(f, "w{worker} t{task} compact"),
            Self::Drain(worker, task) => write!(f, "w{worker} t{task} drain"),
            Self::Publish(worker, task) => write!(f, "w{worker} t{task} publish"),
            Self::PublishFails(worker, task) => write!(f, "w{worker} t{task} publish-fails"),
            Self::Report(worker) => write!(f, "w{worker} report"),
            Self::ReportTwice(worker) => write!(f, "w{worker} report-twice"),
            Self::ReportBefore(worker) => write!(f, "w{worker} report-before"),
            Self::Stop(worker) => write!(f, "w{worker} stop"),
            Self::Crash(worker, true) => write!(f, "w{worker} crash"),
            Self::Crash(worker, false) => write!(f, "w{worker} crash-unheard"),
            Self::Join(worker) => write!(f, "w{worker} join"),
            Self::Fire(reign, timer) => write!(f, "coord{reign} fire {timer}"),
            Self::Journal(reign, Outcome::Answered) => write!(f, "coord{reign} journal answered"),
            Self::Journal(reign, Outcome::Happened) => write!(f, "coord{reign} journal unknown-happened"),
            Self::Journal(reign, Outcome::Lost) => write!(f, "coord{reign} journal unknown-lost"),
            Self::Answer(reign, question, Outcome::Answered) => write!(f, "coord{reign} answer q{question}"),
            Self::Answer(reign, question, Outcome::Lost) => write!(f, "coord{reign} answer-failure q{question}"),
            Self::Answer(reign, question, Outcome::Happened) => write!(f, "coord{reign} answer-unknown q{question}"),
            Self::TakeOver(false) => f.write_str("take-over"),
            Self::TakeOver(true) => f.write_str("take-over old-lives-on"),
            Self::Stray(true) => f.write_str("stray-entry arrives"),
            Self::Stray(false) => f.write_str("stray-entry lost"),
            Self::Stuck => f.write_str("stuck"),
            Self::Quiet => f.write_str("quiet"),
        }
    }
}
