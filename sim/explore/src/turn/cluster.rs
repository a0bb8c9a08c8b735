//! Workers and coordinators that come and go.

use super::{Setup, Turn};
use crate::kept::Kept;
use crate::properties::{Promise, Situation};
use crate::rescaled::{self, ATTEMPT, CHECKPOINT};
use crate::state::{Closed, Contact, Line, Part, Reign, Report, Rows, State, Storage};
use crate::story::Actor;
use crate::tally::Tally;
use crate::topology::MOST_SINKS;
use cofferdam_protocol::coordinator::{Coordinator, FailureKind, Input, Journal, Standing, Status};
use cofferdam_protocol::{AttemptId, CheckpointId, Incarnation, Machine, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

impl State {
    /// Nothing has begun.
    pub(super) fn empty(setup: &Setup) -> Self {
        let storage = Storage {
            journal: Journal::default(),
            writer: 0,
            len: 0,
            stray: None,
            metadata: BTreeMap::new(),
            folders: 0,
            ever: 0,
            shared: BTreeSet::new(),
            staged: BTreeMap::new(),
            published: BTreeMap::new(),
            covered: Tally::default(),
            newest_used: CheckpointId::NONE,
            told: CheckpointId::NONE,
            attempt: AttemptId::default(),
            finished: 0,
        };
        let line = || Line { contact: Contact::Down, incarnation: Incarnation(0), reports: Vec::new(), before: None, stop: None };
        let workers = setup.world.workers as usize;
        Self {
            reigns: [None, None],
            tasks: Default::default(),
            lines: std::array::from_fn(|worker| (worker < workers).then(|| Kept::new(line()))),
            storage: Kept::new(storage),
            output: [Rows::default(); MOST_SINKS],
            left: setup.world.bounds.budgets(),
            broken: None,
        }
    }
}

impl Turn<'_> {
    pub(super) fn begin(&mut self) {
        self.begin_from();
        self.lead_anew(0);
        (0..self.setup.world.workers as usize).for_each(|worker| self.join(worker));
    }

    /// There is a checkpoint already.
    fn begin_from(&mut self) {
        let world = &self.setup.world;
        let Some(rescaled) = &world.rescaled else { return };
        match rescaled::parts(world, rescaled, self.setup.records) {
            Ok(parts) => {
                let storage = self.state.storage.change();
                storage.folders |= 1 << CHECKPOINT.0;
                storage.ever |= 1 << CHECKPOINT.0;
                storage.metadata.insert(CHECKPOINT, Arc::new(parts));
                storage.newest_used = CHECKPOINT;
                let completed = BTreeSet::from([CHECKPOINT]);
                storage.journal = Journal { epoch: ATTEMPT.epoch, reserved: CHECKPOINT, completed, ..Journal::default() };
                storage.attempt = ATTEMPT;
            }
            Err(error) => self.breaks(Promise::LatestRestored, error.to_string()),
        }
    }

    /// A coordinator begins from the journal as it is.
    fn lead_anew(&mut self, number: u8) {
        let standing = Standing { plan: self.setup.plan.clone(), journal: self.state.storage.journal.clone() };
        let known_len = self.state.storage.len;
        let mut outputs = Vec::new();
        let recovered = self.guarded(|state| {
            let machine = Coordinator::<Part>::recover(standing, &mut outputs);
            let reign = Reign { number, machine, timers: BTreeSet::new(), questions: Vec::new(), writing: None, known_len };
            state.reigns[0] = Some(Kept::new(reign));
        });
        if !recovered {
            return;
        }
        let mut answers = VecDeque::new();
        self.perform_all(0, outputs, &mut answers);
        answers.into_iter().for_each(|answer| self.lead(0, answer));
    }

    fn drop_tasks(&mut self, worker: usize) {
        self.state.tasks[worker] = Default::default();
    }

    fn line(&mut self, worker: usize) -> &mut Line {
        self.state.lines[worker].as_mut().expect("there is such a worker").change()
    }

    fn tell_of_worker(&mut self, worker: usize, attempt: Option<AttemptId>, what: &'static str, detail: impl FnOnce() -> String) {
        self.tell(Actor::Worker(self.setup.worker_id(worker)), attempt, None, what, detail);
    }

    pub(super) fn join(&mut self, worker: usize) {
        self.drop_tasks(worker);
        let slots = self.setup.world.slots;
        let line = self.line(worker);
        line.incarnation = line.incarnation.next();
        line.contact = Contact::Connected;
        line.reports.clear();
        line.stop = None;
        let (incarnation, replaces) = (line.incarnation, line.before.is_some());
        if replaces {
            self.mark(Situation::ReplacedWorker);
        }
        self.tell_of_worker(worker, None, "registered", || incarnation.to_string());
        self.lead(0, Input::WorkerJoined { worker: self.setup.worker_id(worker), incarnation, slots });
    }

    pub(super) fn crash(&mut self, worker: usize, keeps_reports: bool) {
        if self.is_recovering(worker) {
            self.mark(Situation::CrashWhileRecovering);
        }
        if matches!(self.state.reigns[0].as_ref().and_then(|reign| reign.machine.status()), Some(Status::Committing(_))) {
            self.mark(Situation::CrashWhileCommitting);
        }
        self.tell_of_worker(worker, None, "crashed", || if keeps_reports { String::new() } else { "its reports are lost".into() });
        self.drop_tasks(worker);
        let line = self.line(worker);
        let reports = std::mem::take(&mut line.reports);
        if line.contact == Contact::Connected {
            line.before = Some((line.incarnation, if keeps_reports { reports } else { Vec::new() }));
        }
        line.contact = Contact::Down;
        line.stop = None;
    }

    /// The coordinator does not listen to this life of the worker any more; the worker does not know it yet.
    pub(super) fn give_up(&mut self, id: WorkerId, incarnation: Incarnation) {
        for worker in 0..self.setup.world.workers as usize {
            if self.setup.worker_id(worker) != id {
                continue;
            }
            let line = self.line(worker);
            if line.incarnation == incarnation && line.contact == Contact::Connected {
                line.contact = Contact::CutOff;
                line.reports.clear();
                line.stop = None;
            }
            if line.before.as_ref().is_some_and(|(before, _)| *before == incarnation) {
                line.before = None;
            }
        }
    }

    /// `once`: what is heard is not heard again.
    pub(super) fn report(&mut self, worker: usize, once: bool) {
        let line = self.line(worker);
        let report = if once { line.reports.remove(0) } else { line.reports[0].clone() };
        if !once {
            self.mark(Situation::Repeated);
        }
        self.reported(worker, report);
    }

    pub(super) fn report_before(&mut self, worker: usize) {
        let Some((incarnation, reports)) = &mut self.line(worker).before else { return };
        if reports.is_empty() {
            let incarnation = *incarnation;
            self.line(worker).before = None;
            self.tell_of_worker(worker, None, "connection-lost", || incarnation.to_string());
            self.lead(0, Input::WorkerLost { worker: self.setup.worker_id(worker), incarnation });
        } else {
            let report = reports.remove(0);
            self.reported(worker, report);
        }
    }

    fn reported(&mut self, worker: usize, report: Report) {
        let input = match report {
            Report::Acknowledged(checkpoint, task, snapshot) => {
                let attempt = snapshot.attempt;
                self.tell_of_reign(0, Some(attempt), Some(checkpoint), "ack-received", || task.to_string());
                Input::Acknowledged { attempt, checkpoint, task, snapshot }
            }
            Report::Declined(attempt, checkpoint, task, reason) => {
                self.tell_of_reign(0, Some(attempt), Some(checkpoint), "decline-received", || task.to_string());
                Input::Declined { attempt, checkpoint, task, reason }
            }
            Report::Failed(attempt, task) => {
                Input::TaskFailed { attempt, task, cause: "its receiver is gone".into(), kind: FailureKind::Recoverable }
            }
            Report::Stopped(attempt) => Input::WorkerStopped { attempt, worker: self.setup.worker_id(worker) },
            Report::Running(attempt, task) => Input::TaskRunning { attempt, task },
            Report::Drained(attempt, task) => {
                self.tell_of_reign(0, Some(attempt), None, "drained-received", || task.to_string());
                Input::TaskDrained { attempt, task }
            }
            Report::Finished(attempt, task) => {
                self.tell_of_reign(0, Some(attempt), None, "finish-received", || task.to_string());
                let waits =
                    |reign: &Reign| reign.machine.pending().any(|(it, _)| reign.machine.missing(it).is_some_and(|it| it.contains(&task)));
                if self.state.reigns[0].as_deref().is_some_and(waits) {
                    self.mark(Situation::FinishedWhilePending);
                }
                Input::TaskFinished { attempt, task }
            }
            Report::Published(attempt, checkpoint, task) => {
                self.tell_of_reign(0, Some(attempt), Some(checkpoint), "published-received", || task.to_string());
                Input::Committed { attempt, checkpoint, task }
            }
        };
        self.lead(0, input);
    }

    pub(super) fn tell_to_stop(&mut self, which: usize, attempt: AttemptId) {
        if which != 0 {
            return;
        }
        for worker in 0..self.setup.world.workers as usize {
            if self.state.lines[worker].as_ref().is_some_and(|line| line.contact == Contact::Connected) {
                self.line(worker).stop = Some(attempt);
            }
        }
    }

    pub(super) fn stop(&mut self, worker: usize) {
        let Some(attempt) = self.line(worker).stop.take() else { return };
        self.drop_tasks(worker);
        self.tell_of_worker(worker, Some(attempt), "tasks-stopped", String::new);
        self.line(worker).reports.push(Report::Stopped(attempt));
    }

    /// Workers hear of a deployment behind everything they were told before, and their tasks run at once.
    pub(super) fn start_attempt(
        &mut self,
        attempt: AttemptId,
        placement: &BTreeMap<TaskId, WorkerId>,
        parts: Option<&BTreeMap<TaskId, Part>>,
        answers: &mut VecDeque<Input<Part>>,
    ) {
        // Every sink knows all that is open.
        let open: Vec<Closed> =
            parts.iter().flat_map(|parts| parts.values()).flat_map(|part| &part.open).flat_map(|open| open.iter().cloned()).collect();
        for worker in 0..self.setup.world.workers as usize {
            let id = self.setup.worker_id(worker);
            let connected = self.state.lines[worker].as_ref().is_some_and(|line| line.contact == Contact::Connected);
            if !connected || !placement.values().any(|used| *used == id) {
                continue;
            }
            self.stop(worker);
            self.drop_tasks(worker);
            self.tell_of_worker(worker, Some(attempt), "tasks-starting", String::new);
            for task in placement.iter().filter(|(_, used)| **used == id).map(|(task, _)| *task) {
                let part = parts.and_then(|parts| parts.get(&task));
                let at = self.setup.task(task);
                if self.state.storage.finished >> at & 1 == 1 {
                    continue;
                }
                self.start_task(worker, at, attempt, part, &open);
                self.end_channels_of_finished(worker, at);
                if self.running(worker, at).is_some_and(|running| running.is_open()) {
                    answers.push_back(Input::TaskRunning { attempt, task });
                }
            }
        }
    }

    pub(super) fn take_over(&mut self, lives_on: bool) {
        self.mark(Situation::TookOver);
        let old = self.state.reigns[0].take();
        let number = old.as_ref().map_or(0, |old| old.number).max(self.state.reigns[1].as_ref().map_or(0, |old| old.number));
        let number = number.max(self.state.storage.writer) + 1;
        self.cut_off_all();
        if let Some(mut old) = old {
            if lives_on {
                self.state.reigns[1] = Some(old);
            } else if let Some(entry) = old.change().writing.take() {
                self.state.storage.change().stray = Some((entry, old.known_len, old.number));
            }
        }
        if self.state.reigns[0].is_none() && self.newest_is_news() {
            self.mark(Situation::InheritedUnknown);
        }
        self.lead_anew(number);
        self.tell_of_reign(0, None, None, "took-over", String::new);
        if lives_on {
            self.lose_all_workers(1);
        }
    }

    /// Whether the newest restore point is one of which nobody was told.
    fn newest_is_news(&self) -> bool {
        self.state.storage.journal.completed.last().is_some_and(|newest| *newest > self.state.storage.told)
    }

    /// One that was replaced hears nothing of any worker any more.
    fn lose_all_workers(&mut self, which: usize) {
        for worker in 0..self.setup.world.workers as usize {
            let incarnation = self.state.lines[worker].as_ref().map(|line| line.incarnation).unwrap_or_default();
            self.lead(which, Input::WorkerLost { worker: self.setup.worker_id(worker), incarnation });
        }
    }

    /// A coordinator's process ends.
    pub(super) fn leave(&mut self, which: usize) {
        self.state.reigns[which] = None;
        if which == 0 {
            self.cut_off_all();
        }
    }

    /// The coordinator's end of every connection is gone.
    fn cut_off_all(&mut self) {
        for worker in 0..self.setup.world.workers as usize {
            let line = self.line(worker);
            if line.contact == Contact::Connected {
                line.contact = Contact::CutOff;
            }
            line.reports.clear();
            (line.before, line.stop) = (None, None);
        }
    }
}
