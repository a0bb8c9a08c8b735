//! Records, barriers, and what subtask machines want done.

use super::Turn;
use crate::kept::Kept;
use crate::properties::{Promise, Situation};
use crate::queue::{Element, Queue};
use crate::state::{Closed, Contact, Notice, Part, Report, Running, Store, Value};
use crate::story::Actor;
use crate::tally::SECOND_PATH;
use crate::topology::MOST_CHANNELS;
use crate::world::Overtaking;
use cofferdam_protocol::subtask::{Input, Output, Participant, Subtask};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, Machine};
use std::sync::Arc;

impl Turn<'_> {
    /// A task begins, with what was its own in a checkpoint.
    pub(super) fn start_task(&mut self, worker: usize, task: usize, attempt: AttemptId, part: Option<&Part>, open: &[Closed]) {
        let layout = &self.setup.layout.tasks[task];
        let value = match (part, layout.source) {
            (Some(part), _) => part.value,
            (None, Some(_)) => Value::Position(0),
            (None, None) => Value::Taken(crate::tally::Tally::default()),
        };
        let files = part.and_then(|part| part.files.as_ref());
        let store: Store = files.iter().flat_map(|files| files.iter()).map(|(number, path)| (*number, Some(path.clone()))).collect();
        let next_file = store.keys().last().map_or(0, |last| last + 1);
        let recovered = part.map(|part| part.in_flight).unwrap_or_default();
        if !recovered.is_empty() {
            self.mark(Situation::RecoveredInFlight);
        }
        let overtaking = (self.setup.world.overtaking != Overtaking::Never).then(|| layout.forced.clone());
        let running = Running {
            attempt,
            machine: Subtask::new(Participant { mode: self.setup.world.mode, channels: layout.channels, overtaking }),
            inputs: [Default::default(); MOST_CHANNELS],
            arrived: [0; MOST_CHANNELS],
            recovered,
            held: 0,
            logging: None,
            timer: None,
            notices: Vec::new(),
            value,
            writing: Vec::new(),
            store,
            next_file,
            ended: 0,
            drained: false,
            holding: None,
        };
        self.state.tasks[worker][task] = Some(Kept::new(running));
        if self.setup.world.transactional && layout.sink.is_some() {
            self.begin_holding(worker, task, attempt, open);
        }
    }

    pub(super) fn running(&mut self, worker: usize, task: usize) -> Option<&mut Running> {
        self.state.tasks[worker][task].as_mut().map(Kept::change)
    }

    fn actor(&self, worker: usize, task: usize) -> (Actor, Option<AttemptId>) {
        let attempt = self.state.tasks[worker][task].as_ref().map(|running| running.attempt);
        (Actor::Task(self.setup.worker_id(worker), self.setup.layout.tasks[task].id), attempt)
    }

    pub(super) fn tell_of_task(
        &mut self,
        at: (usize, usize),
        checkpoint: Option<CheckpointId>,
        what: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if self.lines.is_some() {
            let (actor, attempt) = self.actor(at.0, at.1);
            self.tell(actor, attempt, checkpoint, what, detail);
        }
    }

    pub(super) fn read(&mut self, worker: usize, task: usize) {
        let source = self.setup.layout.tasks[task].source.expect("only sources read");
        let records = self.setup.records;
        let Some(running) = self.running(worker, task) else { return };
        let Value::Position(position) = running.value else { unreachable!("a source has a position") };
        running.value = Value::Position(position + 1);
        let record = source * records + position;
        self.tell_of_task((worker, task), None, "read", || format!("r{record}"));
        self.emit(worker, task, record);
    }

    /// Sends a record on, each edge to the receiver of its position.
    fn emit(&mut self, worker: usize, task: usize, record: u8) {
        let position = usize::from(self.setup.position(record));
        let setup = self.setup;
        for ends in &setup.layout.tasks[task].outputs {
            self.send(worker, task, ends[position % ends.len()], Element::Record(record));
        }
    }

    pub(super) fn broadcast(&mut self, worker: usize, task: usize, element: Element) {
        let setup = self.setup;
        for &end in setup.layout.tasks[task].outputs.iter().flatten() {
            self.send(worker, task, end, element);
        }
    }

    /// A task that cannot send fails.
    fn send(&mut self, worker: usize, task: usize, (receiver, channel): (usize, usize), element: Element) {
        let Some(running) = &self.state.tasks[worker][task] else { return };
        let attempt = running.attempt;
        match self.state.whereabouts(attempt, receiver) {
            Some(there) => {
                let running = self.running(there, receiver).expect("it is there");
                running.inputs[channel].push(element);
                self.settle(there, receiver, channel);
            }
            None => {
                self.tell_of_task((worker, task), None, "task-failed", || "its receiver is gone".into());
                self.state.tasks[worker][task] = None;
                self.report_to_coordinator(worker, Report::Failed(attempt, self.setup.layout.tasks[task].id));
            }
        }
    }

    pub(super) fn report_to_coordinator(&mut self, worker: usize, report: Report) {
        if let Some(line) = self.state.lines[worker].as_mut().filter(|line| line.contact == Contact::Connected) {
            line.change().reports.push(report);
        }
    }

    pub(super) fn take(&mut self, worker: usize, task: usize, channel: usize) {
        let Some(element) = self.running(worker, task).and_then(|running| running.inputs[channel].pop()) else { return };
        self.made_room(worker, task, channel);
        let channel = ChannelIndex(channel as u32);
        match element {
            Element::Record(record) => self.take_in(worker, task, record),
            Element::Barrier(checkpoint) | Element::Urgent(checkpoint) => {
                self.tell_of_task((worker, task), Some(checkpoint), "barrier-arrived", || channel.to_string());
                self.step_task(worker, task, Input::Barrier { channel, checkpoint });
            }
            Element::Cancel(checkpoint) => {
                self.tell_of_task((worker, task), Some(checkpoint), "marker-arrived", || channel.to_string());
                self.step_task(worker, task, Input::Cancelled { channel, checkpoint });
            }
            Element::End => self.end_of(worker, task, channel),
            Element::Gone => {
                self.tell_of_task((worker, task), None, "channel-ended", || channel.to_string());
                self.step_task(worker, task, Input::Ended { channel });
            }
        }
    }

    pub(super) fn take_in(&mut self, worker: usize, task: usize, record: u8) {
        let Some(running) = self.running(worker, task) else { return };
        let Value::Taken(tally) = &mut running.value else { unreachable!("a source has no channels") };
        tally.add(record);
        let (tally, attempt) = (*tally, running.attempt);
        self.tell_of_task((worker, task), None, "took-record", || format!("r{record}"));
        let layout = &self.setup.layout.tasks[task];
        if let Some(holding) = self.running(worker, task).and_then(|running| running.holding.as_mut()) {
            holding.rows.add(record);
        } else if let Some(sink) = layout.sink {
            if attempt < self.state.storage.attempt {
                self.mark(Situation::ZombieWrites);
            }
            let rows = &mut self.state.output[sink];
            if attempt >= rows.attempt {
                (rows.attempt, rows.taken) = (attempt, tally);
            }
        }
        let on_its_path = record % SECOND_PATH + layout.mark;
        self.emit(worker, task, on_its_path);
    }

    /// `once`: what is heard is not heard again.
    pub(super) fn hear(&mut self, worker: usize, task: usize, once: bool) {
        let Some(running) = self.running(worker, task) else { return };
        let notice = if once { running.notices.remove(0) } else { running.notices[0] };
        let newest = running.machine.newest();
        let (collecting, logging) = (running.machine.collecting(), running.machine.logging());
        let channels = self.setup.layout.tasks[task].channels;
        if !once {
            self.mark(Situation::Repeated);
        }
        match notice {
            Notice::Trigger(checkpoint) => {
                self.tell_of_task((worker, task), Some(checkpoint), "triggered", String::new);
                let urgent = self.setup.world.overtaking == Overtaking::AtOnce;
                self.step_task(worker, task, Input::Triggered { checkpoint, urgent });
            }
            Notice::Completed(checkpoint) => {
                self.tell_of_task((worker, task), Some(checkpoint), "told-complete", String::new);
                self.step_task(worker, task, Input::Completed(checkpoint));
            }
            Notice::Aborted(checkpoint, latest_completed) => {
                if channels > 0 && checkpoint > newest {
                    self.mark(Situation::AbortBeforeBarrier);
                }
                if collecting == Some(checkpoint) {
                    self.mark(Situation::AbortWhileAligning);
                }
                if logging == Some(checkpoint) {
                    self.mark(Situation::AbortWhileLogging);
                }
                self.tell_of_task((worker, task), Some(checkpoint), "told-aborted", String::new);
                self.step_task(worker, task, Input::Aborted { checkpoint, latest_completed });
            }
        }
    }

    pub(super) fn miss(&mut self, worker: usize, task: usize) {
        self.mark(Situation::NoticeLost);
        if let Some(running) = self.running(worker, task) {
            let notice = running.notices.remove(0);
            self.tell_of_task((worker, task), None, "notice-lost", || format!("{notice:?}"));
        }
    }

    pub(super) fn written(&mut self, worker: usize, task: usize, checkpoint: CheckpointId, well: bool) {
        if well {
            self.tell_of_task((worker, task), Some(checkpoint), "snapshot-durable", String::new);
            self.stage(worker, task, checkpoint);
            self.step_task(worker, task, Input::Durable(checkpoint));
        } else {
            self.mark(Situation::WriteFailed);
            self.tell_of_task((worker, task), Some(checkpoint), "snapshot-failed", String::new);
            self.step_task(worker, task, Input::WriteFailed(checkpoint));
        }
    }

    /// All files of the store become one new one; what was uploaded is not needed any more.
    pub(super) fn compact(&mut self, worker: usize, task: usize) {
        let Some(running) = self.running(worker, task) else { return };
        running.store = Store::from([(running.next_file, None)]);
        running.next_file += 1;
        self.tell_of_task((worker, task), None, "store-compacted", String::new);
    }

    pub(super) fn step_task(&mut self, worker: usize, task: usize, input: Input) {
        let mut outputs = Vec::new();
        let stepped = self.guarded(|state| {
            if let Some(running) = &mut state.tasks[worker][task] {
                running.change().machine.step(input, &mut outputs);
            }
        });
        if !stepped {
            return;
        }
        let (mut durable, mut overtakes) = (None, None);
        for output in outputs {
            match output {
                Output::Hold(channel) => {
                    self.mark(Situation::ChannelHeld);
                    self.tell_of_task((worker, task), None, "channel-held", || channel.to_string());
                    if let Some(running) = self.running(worker, task) {
                        running.held |= 1 << channel.0;
                    }
                }
                Output::ReleaseAll => {
                    self.tell_of_task((worker, task), None, "channels-released", String::new);
                    if let Some(running) = self.running(worker, task) {
                        running.held = 0;
                    }
                }
                Output::Forward(checkpoint) => {
                    self.tell_of_task((worker, task), Some(checkpoint), "barrier-forwarded", String::new);
                    let urgent = overtakes == Some(checkpoint);
                    self.broadcast(worker, task, if urgent { Element::Urgent(checkpoint) } else { Element::Barrier(checkpoint) });
                }
                Output::ForwardCancel(checkpoint) => {
                    self.tell_of_task((worker, task), Some(checkpoint), "marker-forwarded", String::new);
                    self.broadcast(worker, task, Element::Cancel(checkpoint));
                }
                Output::Snapshot(checkpoint) => {
                    self.snapshot(worker, task, checkpoint);
                    if overtakes == Some(checkpoint) {
                        self.log(worker, task, checkpoint);
                    } else {
                        self.mark_in_time(worker, task, checkpoint);
                        durable = Some(checkpoint);
                    }
                }
                Output::Acknowledge(checkpoint) => self.acknowledge(worker, task, checkpoint),
                Output::Decline(checkpoint, reason) => {
                    if reason == cofferdam_protocol::coordinator::FailureReason::DeclinedSubsumed {
                        self.mark(Situation::AbandonedForNewer);
                    }
                    self.tell_of_task((worker, task), Some(checkpoint), "declined", || reason.to_string());
                    let id = self.setup.layout.tasks[task].id;
                    if let Some(running) = self.running(worker, task) {
                        running.writing.retain(|(other, _)| *other != checkpoint);
                        let attempt = running.attempt;
                        self.report_to_coordinator(worker, Report::Declined(attempt, checkpoint, id, reason));
                    }
                }
                Output::Commit(checkpoint) => {
                    self.tell_of_task((worker, task), Some(checkpoint), "committed", String::new);
                    if self.state.storage.ever >> checkpoint.0 & 1 == 0 {
                        self.breaks(Promise::ToldAfterDurable, format!("{checkpoint} is committed, and the journal has never named it"));
                    }
                    self.commit(worker, task, checkpoint);
                }
                Output::Forget(checkpoint) => {
                    self.mark(Situation::AbortWhileWriting);
                    self.tell_of_task((worker, task), Some(checkpoint), "snapshot-forgotten", String::new);
                    if let Some(running) = self.running(worker, task) {
                        running.writing.retain(|(other, _)| *other != checkpoint);
                    }
                }
                Output::Arm(checkpoint) => self.arm(worker, task, checkpoint),
                Output::Overtake(checkpoint) => overtakes = Some(checkpoint),
                Output::LogsComplete(checkpoint) => {
                    self.stop_logging(worker, task, checkpoint, "logs-complete");
                    durable = Some(checkpoint);
                }
                Output::DropLogs(checkpoint) => self.stop_logging(worker, task, checkpoint, "logs-dropped"),
                Output::Hasten(checkpoint) => self.hasten(worker, task, checkpoint),
                // No world is stopped with a savepoint.
                Output::EndInput(_) | Output::Suspend(_) | Output::Resume(_) => {}
                Output::Finish => self.leave_at_the_end(worker, task),
                Output::Ignored(why) => self.tell_of_task((worker, task), None, "ignored", || why.into()),
            }
        }
        if let Some(checkpoint) = durable.filter(|_| !self.setup.world.slow.snapshot) {
            self.stage(worker, task, checkpoint);
            self.step_task(worker, task, Input::Durable(checkpoint));
        }
    }

    /// The synchronous part. A store gets a file with what is new, and each file is uploaded once.
    fn snapshot(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        let open = self.close(worker, task, checkpoint);
        let stores = self.setup.world.stores && self.setup.layout.tasks[task].source.is_none();
        let id = self.setup.layout.tasks[task].id;
        let Some(running) = self.running(worker, task) else { return };
        let (attempt, value) = (running.attempt, running.value);
        let (mut files, mut uploaded) = (None, Vec::new());
        if stores {
            running.store.insert(running.next_file, None);
            running.next_file += 1;
            for (number, path) in &mut running.store {
                if path.is_none() {
                    let new: Arc<str> = format!("e{}-{attempt}-{id}-{number}", attempt.epoch.0).into();
                    uploaded.push(new.clone());
                    *path = Some(new);
                }
            }
            let named = running.store.iter().filter_map(|(number, path)| Some((*number, path.clone()?)));
            files = Some(Arc::new(named.collect::<Vec<_>>()));
        }
        running.writing.push((checkpoint, Part { attempt, value, files, in_flight: Queue::default(), open }));
        for path in uploaded {
            self.state.storage.change().shared.insert(path);
        }
        self.tell_of_task((worker, task), Some(checkpoint), "snapshot-taken", || format!("{value:?}"));
    }

    fn acknowledge(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        let id = self.setup.layout.tasks[task].id;
        let Some(running) = self.running(worker, task) else { return };
        let Some(at) = running.writing.iter().position(|(other, _)| *other == checkpoint) else { return };
        let (_, part) = running.writing.remove(at);
        self.tell_of_task((worker, task), Some(checkpoint), "acknowledged", String::new);
        self.report_to_coordinator(worker, Report::Acknowledged(checkpoint, id, part));
    }
}
