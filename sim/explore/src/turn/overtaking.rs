//! Where barriers overtake: what arrives and what waits for room, logs, timers, and what was in flight in the checkpoint before.
//!
//! What has been sent is in one queue, of which so much has arrived at the receiver; the rest waits there for room, unless an urgent
//! barrier stands behind it. Records and markers arrive as soon as they can; a barrier may take its time, since somebody hears of it.

use super::Turn;
use crate::kept::Kept;
use crate::properties::{Promise, Situation};
use crate::queue::Element;
use crate::state::Running;
use crate::world::Overtaking;
use cofferdam_protocol::subtask::Input;
use cofferdam_protocol::{ChannelIndex, CheckpointId};

impl Running {
    /// What is first of that which has not arrived.
    #[must_use]
    pub fn next_to_arrive(&self, channel: usize) -> Option<Element> {
        self.inputs[channel].behind(self.arrived[channel].into()).first()
    }

    /// Whether a record has room, or need not wait for any.
    fn lets_in(&self, channel: usize, capacity: u32) -> bool {
        let (queue, arrived) = (self.inputs[channel], self.arrived[channel].into());
        queue.up_to(arrived).records() < capacity || queue.behind(arrived).iter().any(|element| matches!(element, Element::Urgent(_)))
    }

    fn logs(&self, channel: usize) -> Option<CheckpointId> {
        self.logging.filter(|(_, channels)| channels >> channel & 1 == 1).map(|(checkpoint, _)| checkpoint)
    }

    /// Adds a record to the part that is being written.
    fn add_to_log(&mut self, checkpoint: CheckpointId, record: Element) {
        if let Some((_, part)) = self.writing.iter_mut().find(|(other, _)| *other == checkpoint) {
            part.in_flight.push(record);
        }
    }
}

impl Turn<'_> {
    fn overtaking(&self) -> bool {
        self.setup.world.overtaking != Overtaking::Never
    }

    /// Whatever can arrive without anybody hearing of it does.
    pub(super) fn settle(&mut self, worker: usize, task: usize, channel: usize) {
        let (overtaking, capacity) = (self.overtaking(), self.setup.capacity);
        let Some(running) = self.running(worker, task).filter(|_| overtaking) else { return };
        while let Some(element) = running.next_to_arrive(channel) {
            match element {
                Element::Record(_) if running.lets_in(channel, capacity) => {
                    if let Some(checkpoint) = running.logs(channel) {
                        running.add_to_log(checkpoint, element);
                    }
                }
                Element::Cancel(_) | Element::End | Element::Gone => {}
                Element::Record(_) | Element::Barrier(_) | Element::Urgent(_) => return,
            }
            running.arrived[channel] += 1;
        }
    }

    /// One element fewer has arrived.
    pub(super) fn made_room(&mut self, worker: usize, task: usize, channel: usize) {
        let overtaking = self.overtaking();
        if let Some(running) = self.running(worker, task).filter(|_| overtaking) {
            running.arrived[channel] -= 1;
            self.settle(worker, task, channel);
        }
    }

    /// A barrier arrives in a channel's queue.
    pub(super) fn announce(&mut self, worker: usize, task: usize, channel: usize) {
        let Some(running) = self.running(worker, task) else { return };
        let (checkpoint, urgent) = match running.next_to_arrive(channel) {
            Some(Element::Barrier(checkpoint)) => (checkpoint, false),
            Some(Element::Urgent(checkpoint)) => (checkpoint, true),
            Some(Element::Record(_) | Element::Cancel(_) | Element::End | Element::Gone) | None => return,
        };
        running.arrived[channel] += 1;
        if let Some((_, channels)) = running.logging.as_mut().filter(|(logged, _)| *logged == checkpoint) {
            *channels &= !(1 << channel);
        }
        let what = if urgent { "urgent-announced" } else { "barrier-announced" };
        self.tell_of_task((worker, task), Some(checkpoint), what, || ChannelIndex(channel as u32).to_string());
        self.step_task(worker, task, Input::Announced { channel: ChannelIndex(channel as u32), checkpoint, urgent });
        self.settle(worker, task, channel);
    }

    /// A task takes in what was in flight in the checkpoint that it began from.
    pub(super) fn recover(&mut self, worker: usize, task: usize) {
        match self.running(worker, task).and_then(|running| running.recovered.pop()) {
            Some(Element::Record(record)) => self.take_in(worker, task, record),
            Some(Element::Barrier(_) | Element::Urgent(_) | Element::Cancel(_) | Element::End | Element::Gone) => {
                unreachable!("only records are logged")
            }
            None => {}
        }
    }

    pub(super) fn arm(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        if let Some(running) = self.running(worker, task) {
            running.timer = Some(checkpoint);
        }
    }

    pub(super) fn time_out(&mut self, worker: usize, task: usize) {
        let Some(running) = self.running(worker, task) else { return };
        let Some(checkpoint) = running.timer.take() else { return };
        if running.machine.collecting() == Some(checkpoint) && running.held == 0 {
            self.mark(Situation::OldBeforeReached);
        }
        self.tell_of_task((worker, task), Some(checkpoint), "timed-out", String::new);
        self.step_task(worker, task, Input::TimedOut(checkpoint));
    }

    /// The cut was made as if aligned.
    pub(super) fn mark_in_time(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        let channels = self.setup.layout.tasks[task].channels;
        if self.running(worker, task).is_some_and(|running| channels > 0 && running.timer == Some(checkpoint)) {
            self.mark(Situation::AlignedInTime);
        }
    }

    /// The part that is written has what the queues hold ahead of the barrier, and gets what arrives until it does.
    pub(super) fn log(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        self.mark(Situation::Overtaken);
        let layout = &self.setup.layout.tasks[task];
        let (channels, forced) = (layout.channels, &layout.forced);
        let Some(running) = self.running(worker, task) else { return };
        let (before, aligned) = (running.logging, forced.iter().copied().find(|channel| !running.holds(*channel)));
        let (mut open, recovering) = (0, !running.recovered.is_empty());
        let mut logged: Vec<Element> = running.recovered.iter().collect();
        for channel in (0..channels).filter(|channel| !running.holds(ChannelIndex(*channel))) {
            let at = channel as usize;
            let is_barrier = |element: &Element| *element == Element::Barrier(checkpoint) || *element == Element::Urgent(checkpoint);
            let arrived = running.inputs[at].up_to(running.arrived[at].into());
            logged
                .extend(arrived.iter().take_while(|element| !is_barrier(element)).filter(|element| matches!(element, Element::Record(_))));
            if !arrived.iter().any(|element| is_barrier(&element)) {
                open |= 1 << channel;
            }
        }
        running.logging = Some((checkpoint, open));
        for record in &logged {
            running.add_to_log(checkpoint, *record);
        }
        if recovering {
            self.mark(Situation::LoggedAgain);
        }
        if let Some(channel) = aligned {
            let witness = format!("{checkpoint} has what is in flight on {channel}, which no other subtask could take");
            self.breaks(Promise::ConsistentCut, witness);
        }
        if let Some((other, _)) = before {
            self.breaks(Promise::ConsistentCut, format!("{checkpoint} is logged while {other} still is"));
        }
        self.tell_of_task((worker, task), Some(checkpoint), "overtaken", || format!("{logged:?}"));
    }

    pub(super) fn stop_logging(&mut self, worker: usize, task: usize, checkpoint: CheckpointId, what: &'static str) {
        if let Some(running) = self.running(worker, task) {
            running.logging = None;
        }
        self.tell_of_task((worker, task), Some(checkpoint), what, String::new);
    }

    /// What of the barrier has not arrived yet becomes urgent.
    pub(super) fn hasten(&mut self, worker: usize, task: usize, checkpoint: CheckpointId) {
        let Some(attempt) = self.state.tasks[worker][task].as_ref().map(|running| running.attempt) else { return };
        self.tell_of_task((worker, task), Some(checkpoint), "hastened", String::new);
        let setup = self.setup;
        for &(receiver, channel) in setup.layout.tasks[task].outputs.iter().flatten() {
            let Some(there) = self.state.whereabouts(attempt, receiver) else { continue };
            let Some(running) = self.state.tasks[there][receiver].as_mut().map(Kept::change) else { continue };
            let before = running.inputs[channel];
            running.inputs[channel].hasten(checkpoint, running.arrived[channel].into());
            if running.inputs[channel] != before {
                self.mark(Situation::Hastened);
                self.settle(there, receiver, channel);
            }
        }
    }

    /// Whether something of what was in flight is still unread on this worker.
    pub(super) fn is_recovering(&self, worker: usize) -> bool {
        self.state.tasks[worker].iter().flatten().any(|running| !running.recovered.is_empty())
    }
}
