//! Transactional output: what is closed at a barrier, staged, published when a checkpoint is complete, and deleted if it never was.
//!
//! Publishing is two actions: it can be seen, and then it is not staged any more. Anybody may crash in between, or somebody else may do
//! the same at the same time.

use super::{Setup, Turn};
use crate::properties::{Promise, Situation};
use crate::queue::Element;
use crate::state::{Closed, Holding, Part, Report, Value};
use crate::tally::Tally;
use cofferdam_protocol::committer::{self, Committer};
use cofferdam_protocol::coordinator::{Ended, Status};
use cofferdam_protocol::subtask::{self, Ending};
use cofferdam_protocol::transactions::{Beginning, Input, Output, Share, Staged, Transactions};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, Machine, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Setup {
    /// The records that are before the positions of these parts.
    pub(crate) fn before(&self, parts: &BTreeMap<TaskId, Part>) -> Tally {
        let mut tally = Tally::default();
        for task in &self.layout.tasks {
            // Whoever has no part had finished: it had read everything.
            let value = parts.get(&task.id).map_or(Value::Position(self.records), |part| part.value);
            if let (Some(source), Value::Position(position)) = (task.source, value) {
                (0..position).for_each(|position| tally.add(source * self.records + position));
            }
        }
        tally
    }
}

impl Turn<'_> {
    fn holding(&mut self, worker: usize, task: usize) -> Option<&mut Holding> {
        self.running(worker, task).and_then(|running| running.holding.as_deref_mut())
    }

    /// A sink begins: `open` is what the checkpoint names, of all of them.
    pub(super) fn begin_holding(&mut self, worker: usize, task: usize, attempt: AttemptId, open: &[Closed]) {
        let layout = &self.setup.layout;
        let id = layout.tasks[task].id;
        let parallelism = layout.tasks.iter().filter(|other| other.id.vertex == id.vertex).count() as u32;
        let share = Share { subtask: id.subtask, parallelism, attempt };
        let mut outputs = Vec::new();
        let began = self.guarded(|state| {
            let transactions = Transactions::recover(Beginning { share, restored: open.to_vec() }, &mut outputs);
            let holding = Holding {
                transactions,
                committer: Committer::recover((), &mut Vec::new()),
                rows: Tally::default(),
                closed: 0,
                unstaged: Vec::new(),
                due: Vec::new(),
                visible: false,
                opened: false,
            };
            if let Some(running) = &mut state.tasks[worker][task] {
                running.change().holding = Some(Box::new(holding));
            }
        });
        if began {
            self.do_for_sink(worker, task, outputs);
        }
    }

    fn step_sink(&mut self, worker: usize, task: usize, input: Input<Closed>) {
        let mut outputs = Vec::new();
        let stepped = self.guarded(|state| {
            if let Some(holding) = state.tasks[worker][task].as_mut().and_then(|running| running.change().holding.as_mut()) {
                holding.transactions.step(input, &mut outputs);
            }
        });
        if stepped {
            self.do_for_sink(worker, task, outputs);
        }
    }

    fn do_for_sink(&mut self, worker: usize, task: usize, outputs: Vec<Output<Closed>>) {
        for output in outputs {
            match output {
                Output::Publish(closed) => {
                    if let Some(holding) = self.holding(worker, task) {
                        holding.due.push(closed);
                    }
                }
                Output::ListStaged => {
                    let staged = |closed: &Closed| Staged { name: closed.name.to_string(), maker: closed.maker, attempt: closed.attempt };
                    let found = self.state.storage.staged.values().map(staged).collect();
                    self.step_sink(worker, task, Input::Found(found));
                }
                Output::Delete(name) => {
                    self.mark(Situation::StagedDeleted);
                    self.tell_of_task((worker, task), None, "staged-deleted", || name.clone());
                    self.state.storage.change().staged.remove(name.as_str());
                }
                Output::Opened => self.opened(worker, task),
            }
        }
    }

    /// What is complete can be seen by now: all of what the sink has taken in before its checkpoint.
    fn opened(&mut self, worker: usize, task: usize) {
        let Some(running) = self.running(worker, task) else { return };
        let (attempt, value) = (running.attempt, running.value);
        let Some(holding) = running.holding.as_mut() else { return };
        holding.opened = true;
        self.tell_of_task((worker, task), None, "sink-opened", String::new);
        let Value::Taken(taken) = value else { unreachable!("a sink is no source") };
        if let Some(record) = self.visible().first_missing(taken) {
            self.breaks(Promise::ExactlyOnce, format!("{attempt} begins, and r{record}, which its checkpoint has, cannot be seen"));
        }
    }

    /// All rows that can be seen.
    fn visible(&self) -> Tally {
        self.state.storage.published.values().fold(Tally::default(), |sum, rows| sum.and(*rows))
    }

    /// At the barrier: the rows since the last one are a transaction, and the snapshot names what is open.
    pub(super) fn close(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) -> Option<Arc<Vec<Closed>>> {
        let id = self.setup.layout.tasks[task].id;
        let running = self.running(worker, task)?;
        let attempt = running.attempt;
        let holding = running.holding.as_mut()?;
        let rows = std::mem::take(&mut holding.rows);
        if rows != Tally::default() {
            holding.closed += 1;
            let name = format!("{}-{attempt}-{}", id.subtask, holding.closed).into();
            let transaction = Closed { name, maker: id.subtask.0, attempt, rows };
            holding.unstaged.push(transaction.clone());
            self.step_sink(worker, task, Input::Closed { checkpoint, transaction });
        }
        let holding = self.holding(worker, task)?;
        Some(Arc::new(holding.transactions.open().cloned().collect()))
    }

    /// The asynchronous part of a snapshot is durable: so is what was closed by then.
    pub(super) fn stage(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        let Some(running) = self.running(worker, task) else { return };
        let part = running.writing.iter().find(|(other, _)| *other == checkpoint).and_then(|(_, part)| part.open.clone());
        let (Some(open), Some(holding)) = (part, running.holding.as_mut()) else { return };
        let (durable, rest): (Vec<_>, Vec<_>) = holding.unstaged.drain(..).partition(|closed| open.contains(closed));
        holding.unstaged = rest;
        for closed in durable {
            self.state.storage.change().staged.insert(closed.name.clone(), closed);
        }
    }

    /// A checkpoint is complete.
    pub(super) fn commit(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        if self.holding(worker, task).is_some() {
            self.step_committer(worker, task, committer::Input::Completed(checkpoint));
        }
    }

    fn step_committer(&mut self, worker: usize, task: usize, input: committer::Input) {
        let mut outputs = Vec::new();
        let stepped = self.guarded(|state| {
            if let Some(holding) = state.tasks[worker][task].as_mut().and_then(|running| running.change().holding.as_mut()) {
                holding.committer.step(input, &mut outputs);
            }
        });
        if !stepped {
            return;
        }
        let id = self.setup.layout.tasks[task].id;
        for output in outputs {
            let Some(attempt) = self.running(worker, task).map(|running| running.attempt) else { return };
            match output {
                committer::Output::Commit { checkpoint, .. } => {
                    self.step_sink(worker, task, Input::Completed(checkpoint));
                    if self.holding(worker, task).is_some_and(|holding| holding.due.len() > 1) {
                        self.mark(Situation::CarriedOver);
                    }
                    if self.holding(worker, task).is_some_and(|holding| holding.due.is_empty()) {
                        self.step_committer(worker, task, committer::Input::Done(checkpoint));
                    }
                }
                committer::Output::Report(checkpoint) => {
                    self.tell_of_task((worker, task), Some(checkpoint), "output-committed", String::new);
                    self.report_to_coordinator(worker, Report::Published(attempt, checkpoint, id));
                    if self.setup.world.finishing {
                        self.step_task(worker, task, subtask::Input::Published(checkpoint));
                    }
                }
                committer::Output::GiveUp(checkpoint) => {
                    self.tell_of_task((worker, task), Some(checkpoint), "task-failed", || "it cannot publish".into());
                    self.state.tasks[worker][task] = None;
                    self.report_to_coordinator(worker, Report::Failed(attempt, id));
                }
                committer::Output::Ignored(why) => self.tell_of_task((worker, task), None, "ignored", || why.into()),
            }
        }
    }

    /// The first of what is due can be seen; or it can already, and is not staged any more.
    pub(super) fn publish_next(&mut self, worker: usize, task: usize) {
        let Some(running) = self.running(worker, task) else { return };
        let attempt = running.attempt;
        let Some(holding) = running.holding.as_mut() else { return };
        let closed = holding.due[0].clone();
        if !holding.visible {
            holding.visible = true;
            self.make_visible(worker, task, attempt, &closed);
            return;
        }
        holding.visible = false;
        holding.due.remove(0);
        let opening = !holding.opened;
        self.tell_of_task((worker, task), None, "staged-removed", || closed.name.to_string());
        self.state.storage.change().staged.remove(&closed.name);
        self.step_sink(worker, task, Input::Published(closed));
        let Some(holding) = self.holding(worker, task) else { return };
        if opening && holding.opened {
            self.report_to_coordinator(worker, Report::Running(attempt, self.setup.layout.tasks[task].id));
        } else if let (true, Some(checkpoint)) = (holding.due.is_empty(), holding.committer.running()) {
            self.step_committer(worker, task, committer::Input::Done(checkpoint));
        }
    }

    fn make_visible(&mut self, worker: usize, task: usize, attempt: AttemptId, closed: &Closed) {
        self.tell_of_task((worker, task), None, "published", || format!("{} {:?}", closed.name, closed.rows));
        if self.state.storage.published.contains_key(&closed.name) {
            self.mark(Situation::PublishedBefore);
            return;
        }
        if !self.state.storage.staged.contains_key(&closed.name) {
            let witness = format!("{}, which a complete checkpoint names, is neither staged nor published", closed.name);
            self.breaks(Promise::RetainedFiles, witness);
            return;
        }
        self.mark(Situation::Published);
        if attempt < self.state.storage.attempt {
            self.mark(Situation::PublishedByFenced);
        } else if closed.attempt != attempt {
            self.mark(Situation::PublishedByNext);
        }
        self.state.storage.change().published.insert(closed.name.clone(), closed.rows);
        let (visible, covered) = (self.visible(), self.state.storage.covered);
        if let Some(record) = covered.first_missing(visible.once()) {
            self.breaks(Promise::CommittedOnly, format!("r{record} can be seen, and no completed checkpoint has it"));
        } else if let Some(record) = visible.once().first_missing(visible) {
            self.breaks(Promise::ExactlyOnce, format!("r{record} can be seen twice"));
        }
    }

    pub(super) fn publish_fails(&mut self, worker: usize, task: usize) {
        self.mark(Situation::PublishFailed);
        self.tell_of_task((worker, task), None, "output-commit-failed", String::new);
        let Some(holding) = self.holding(worker, task) else { return };
        holding.due.clear();
        holding.visible = false;
        if let Some(checkpoint) = holding.committer.running() {
            self.step_committer(worker, task, committer::Input::Failed { checkpoint, lasts: false });
        }
    }

    /// A source has come to the end of its log.
    pub(super) fn drain(&mut self, worker: usize, task: usize) {
        self.drained(worker, task);
    }

    /// A channel has come to its end.
    pub(super) fn end_of(&mut self, worker: usize, task: usize, channel: ChannelIndex) {
        let channels = self.setup.layout.tasks[task].channels;
        let Some(running) = self.running(worker, task) else { return };
        running.ended |= 1 << channel.0;
        if running.ended.count_ones() == channels {
            self.drained(worker, task);
        }
    }

    fn drained(&mut self, worker: usize, task: usize) {
        let Some(running) = self.running(worker, task) else { return };
        running.drained = true;
        let attempt = running.attempt;
        self.tell_of_task((worker, task), None, "task-drained", String::new);
        self.broadcast(worker, task, Element::End);
        self.report_to_coordinator(worker, Report::Drained(attempt, self.setup.layout.tasks[task].id));
        if self.setup.world.finishing {
            let ending = if self.holding(worker, task).is_some() { Ending::LeavesWhenPublished } else { Ending::Leaves };
            self.step_task(worker, task, subtask::Input::Drained(ending));
        }
    }

    /// A complete checkpoint has its last state, and all that waited for it is published.
    pub(super) fn leave_at_the_end(&mut self, worker: usize, task: usize) {
        let Some(attempt) = self.running(worker, task).map(|running| running.attempt) else { return };
        self.mark(Situation::TaskFinished);
        self.tell_of_task((worker, task), None, "task-finished", String::new);
        self.broadcast(worker, task, Element::Gone);
        self.state.tasks[worker][task] = None;
        if attempt == self.state.storage.attempt {
            self.state.storage.change().finished |= 1 << task;
        }
        self.report_to_coordinator(worker, Report::Finished(attempt, self.setup.layout.tasks[task].id));
    }

    /// A task begins: on channels of who had finished before nothing comes but that.
    pub(super) fn end_channels_of_finished(&mut self, worker: usize, task: usize) {
        let (setup, finished) = (self.setup, self.state.storage.finished);
        for (_, layout) in setup.layout.tasks.iter().enumerate().filter(|(sender, _)| finished >> sender & 1 == 1) {
            for (_, channel) in layout.outputs.iter().flatten().filter(|(receiver, _)| *receiver == task) {
                self.mark(Situation::BeganWithFinished);
                let Some(running) = self.running(worker, task) else { return };
                [Element::End, Element::Gone].into_iter().for_each(|element| running.inputs[*channel].push(element));
                let sender = layout.id;
                self.tell_of_task((worker, task), None, "began-with-finished", || sender.to_string());
            }
        }
    }

    /// A job that has finished has said everything, once.
    pub(super) fn judge_status(&mut self, status: &Status) {
        match status {
            Status::Committing(_) => self.mark(Situation::Committing),
            Status::Ended(Ended::Finished) => {
                self.mark(Situation::JobFinished);
                let visible = self.visible();
                let mut all = Tally::default();
                (0..self.setup.records * self.setup.layout.sources).for_each(|record| all.add(record));
                if let Some(record) = visible.first_missing(all).filter(|_| self.setup.world.transactional) {
                    self.breaks(Promise::ExactlyOnce, format!("the job has finished, and r{record} cannot be seen"));
                }
            }
            Status::Ended(Ended::Failed(_) | Ended::Cancelled | Ended::Stopped(_))
            | Status::Stopping { .. }
            | Status::WaitingForWorkers { .. }
            | Status::Deploying(_)
            | Status::Running(_)
            | Status::Failing { .. }
            | Status::Restarting { .. } => {}
        }
    }
}
