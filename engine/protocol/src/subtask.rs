//! One participant of the protocol: what a subtask does with barriers, triggers, and what it is told of checkpoints.
//!
//! Lives here: which snapshots are being written, which checkpoint was committed, which one was aborted ahead of its barrier, whose barrier
//! may become urgent after it has left.
//! How a subtask leaves while others go on: `finishing`.
//! Never here: which channel is held back and why (`barrier`), records, state.

mod finishing;
mod message;
mod portrait;

pub use finishing::Ending;
pub use message::{Input, Output, Participant};
pub use portrait::Outline;

use crate::barrier::{Aligner, Effect, Overtaker, Tracker};
use crate::coordinator::FailureReason;
use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use finishing::{Finishing, Triggers};

/// How many checkpoints are remembered that were aborted ahead of their barrier.
const MOST_ABORTED: usize = 16;

/// Where a subtask's barriers come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Barriers {
    /// It is told to inject them.
    Triggered {
        /// The newest that it was told about.
        newest: CheckpointId,
        /// Whether they may overtake.
        overtaking: bool,
    },
    /// Exactly once.
    Aligned(Aligner),
    /// Exactly once, and what is in flight may become part of a checkpoint.
    Overtaking(Overtaker),
    /// At least once.
    Tracked(Tracker),
}

/// One subtask as the protocol sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subtask {
    channels: u32,
    barriers: Barriers,
    /// The newest whose barrier has left as if aligned and may become urgent yet. Only where barriers overtake.
    waiting: Option<CheckpointId>,
    /// Aborted before their first barrier came.
    aborted: BTreeSet<CheckpointId>,
    /// Asynchronous parts under way.
    writing: BTreeSet<CheckpointId>,
    /// The newest that it was told to be complete.
    committed: CheckpointId,
    /// The savepoint that the job is to stop with, until its cut, and whether the input ends there.
    stops: Option<(CheckpointId, bool)>,
    /// The one whose cut was the last thing that happened here.
    suspended: Option<CheckpointId>,
    /// Asked for by the coordinator, of a subtask with channels, and not begun yet.
    triggers: Triggers,
    finishing: Finishing,
}

impl Machine for Subtask {
    type Input = Input;
    type Output = Output;
    type Durable = Participant;

    /// A subtask begins anew with each attempt; what it restores is none of the protocol's.
    fn recover(participant: Participant, _out: &mut Vec<Output>) -> Self {
        Self::new(participant)
    }

    /// Total: every input is legal in every state. What can no longer matter comes out as `Ignored`.
    fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        if self.finishing.over {
            out.push(Output::Ignored("it has finished"));
            return;
        }
        match input {
            Input::Triggered { checkpoint, urgent } => self.triggered(checkpoint, urgent, out),
            Input::Stops { checkpoint, drain } => self.stops(checkpoint, drain, out),
            Input::Announced { channel, checkpoint, urgent } => self.announced(channel, checkpoint, urgent, out),
            Input::TimedOut(checkpoint) => self.timed_out(checkpoint, out),
            Input::Barrier { channel, checkpoint } => self.barrier(channel, checkpoint, out),
            Input::Cancelled { channel, checkpoint } => self.cancelled(channel, checkpoint, out),
            Input::EndAnnounced { channel } => self.end_announced(channel, out),
            Input::Ended { channel } => self.ended(channel, out),
            Input::Drained(ending) => self.drained(ending, out),
            Input::Published(checkpoint) => self.published(checkpoint, out),
            Input::Durable(checkpoint) => self.durable(checkpoint, out),
            Input::WriteFailed(checkpoint) => self.write_failed(checkpoint, out),
            Input::Completed(checkpoint) => {
                if !self.commit(checkpoint, out) {
                    out.push(Output::Ignored("this or a later one is committed"));
                }
            }
            Input::Aborted { checkpoint, latest_completed } => self.aborted(checkpoint, latest_completed, out),
        }
        self.leave_if_possible(out);
        self.check();
    }
}

impl Subtask {
    /// A subtask that has heard of no checkpoint yet.
    #[must_use]
    pub fn new(Participant { mode, channels, overtaking }: Participant) -> Self {
        let barriers = match (mode, overtaking) {
            (Mode::ExactlyOnce, overtaking) if channels == 0 => {
                Barriers::Triggered { newest: CheckpointId::NONE, overtaking: overtaking.is_some() }
            }
            (Mode::AtLeastOnce, _) if channels == 0 => Barriers::Triggered { newest: CheckpointId::NONE, overtaking: false },
            (Mode::ExactlyOnce, None) => Barriers::Aligned(Aligner::new(channels)),
            (Mode::ExactlyOnce, Some(forced)) => Barriers::Overtaking(Overtaker::new(channels, forced)),
            (Mode::AtLeastOnce, _) => Barriers::Tracked(Tracker::new(channels)),
        };
        let (aborted, writing) = (BTreeSet::new(), BTreeSet::new());
        Self {
            channels,
            barriers,
            waiting: None,
            aborted,
            writing,
            committed: CheckpointId::NONE,
            stops: None,
            suspended: None,
            triggers: Triggers::new(),
            finishing: Finishing::default(),
        }
    }

    /// The newest checkpoint that a trigger, announcement, barrier or marker was about.
    #[must_use]
    pub fn newest(&self) -> CheckpointId {
        match &self.barriers {
            Barriers::Triggered { newest, .. } => *newest,
            Barriers::Aligned(aligner) => aligner.newest(),
            Barriers::Overtaking(overtaker) => overtaker.newest(),
            Barriers::Tracked(tracker) => tracker.newest(),
        }
    }

    /// The newest checkpoint whose barriers are being collected.
    #[must_use]
    pub fn collecting(&self) -> Option<CheckpointId> {
        match &self.barriers {
            Barriers::Triggered { .. } => None,
            Barriers::Aligned(aligner) => aligner.collecting(),
            Barriers::Overtaking(overtaker) => overtaker.collecting(),
            Barriers::Tracked(tracker) => tracker.collecting(),
        }
    }

    /// The checkpoint whose cut is made and whose logs are not whole yet.
    #[must_use]
    pub fn logging(&self) -> Option<CheckpointId> {
        match &self.barriers {
            Barriers::Overtaking(overtaker) => overtaker.logging(),
            Barriers::Triggered { .. } | Barriers::Aligned(_) | Barriers::Tracked(_) => None,
        }
    }

    /// Whether this channel is held back.
    #[must_use]
    pub fn holds(&self, channel: ChannelIndex) -> bool {
        match &self.barriers {
            Barriers::Aligned(aligner) => aligner.held().contains(&channel),
            Barriers::Overtaking(overtaker) => overtaker.holds(channel),
            Barriers::Triggered { .. } | Barriers::Tracked(_) => false,
        }
    }

    /// The asynchronous parts under way.
    #[must_use]
    pub fn writing(&self) -> &BTreeSet<CheckpointId> {
        &self.writing
    }

    /// The newest checkpoint that it was told to be complete; [`CheckpointId::NONE`] if none.
    #[must_use]
    pub fn committed(&self) -> CheckpointId {
        self.committed
    }

    /// The savepoint for which nothing is processed any more.
    #[must_use]
    pub fn suspended(&self) -> Option<CheckpointId> {
        self.suspended
    }

    fn stops(&mut self, checkpoint: CheckpointId, drain: bool, out: &mut Vec<Output>) {
        let passed = checkpoint < self.newest() || self.writing.contains(&checkpoint) || self.suspended.is_some();
        if passed {
            out.push(Output::Ignored("its barrier has passed, or nothing is processed any more"));
        } else {
            self.stops = Some((checkpoint, drain));
        }
    }

    fn triggered(&mut self, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Output>) {
        let Barriers::Triggered { newest, overtaking } = &mut self.barriers else {
            self.triggered_behind_its_channels(checkpoint, urgent, out);
            return;
        };
        if checkpoint <= *newest {
            out.push(Output::Ignored("this or a later one was triggered"));
            return;
        }
        *newest = checkpoint;
        let overtaking = *overtaking;
        let skip = self.aborted.contains(&checkpoint);
        self.forget_passed();
        if !skip && self.stops == Some((checkpoint, true)) {
            out.push(Output::EndInput(checkpoint));
        }
        let effects = match (skip, overtaking, urgent) {
            (true, _, _) => alloc::vec![Effect::Cancelled(checkpoint)],
            (false, false, _) => alloc::vec![Effect::Complete(checkpoint)],
            (false, true, false) => alloc::vec![Effect::Arm(checkpoint), Effect::Complete(checkpoint)],
            (false, true, true) => alloc::vec![Effect::Complete(checkpoint), Effect::Hasten(checkpoint)],
        };
        self.perform(effects, out);
    }

    fn announced(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Output>) {
        if self.aborted.contains(&checkpoint) {
            self.cancelled(channel, checkpoint, out);
            return;
        }
        if channel.0 >= self.channels {
            out.push(Output::Ignored("there is no such channel"));
            return;
        }
        let Barriers::Overtaking(overtaker) = &mut self.barriers else {
            out.push(Output::Ignored("barriers do not overtake here"));
            return;
        };
        let mut effects = Vec::new();
        overtaker.announced(channel, checkpoint, urgent, &mut effects);
        self.forget_passed();
        self.perform(effects, out);
    }

    fn timed_out(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        let (mut effects, mut changed) = (Vec::new(), false);
        if let Barriers::Overtaking(overtaker) = &mut self.barriers {
            changed = overtaker.timed_out(checkpoint, &mut effects);
        }
        if !changed && self.waiting == Some(checkpoint) {
            effects.push(Effect::Hasten(checkpoint));
        } else if !changed {
            effects.push(Effect::Ignored("it overtakes already, or it is over"));
        }
        self.perform(effects, out);
    }

    fn barrier(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if self.aborted.contains(&checkpoint) {
            self.cancelled(channel, checkpoint, out);
            return;
        }
        if channel.0 >= self.channels {
            out.push(Output::Ignored("there is no such channel"));
            return;
        }
        let mut effects = Vec::new();
        match &mut self.barriers {
            Barriers::Triggered { .. } => {}
            Barriers::Aligned(aligner) => aligner.barrier(channel, checkpoint, &mut effects),
            Barriers::Overtaking(overtaker) => overtaker.barrier(channel, checkpoint, &mut effects),
            Barriers::Tracked(tracker) => tracker.barrier(channel, checkpoint, &mut effects),
        }
        self.forget_passed();
        self.perform(effects, out);
    }

    fn cancelled(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if channel.0 >= self.channels {
            out.push(Output::Ignored("there is no such channel"));
            return;
        }
        self.cancel(checkpoint, out);
    }

    fn cancel(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        match &mut self.barriers {
            Barriers::Triggered { .. } => {}
            Barriers::Aligned(aligner) => aligner.cancelled(checkpoint, &mut effects),
            Barriers::Overtaking(overtaker) => overtaker.cancelled(checkpoint, &mut effects),
            Barriers::Tracked(tracker) => tracker.cancelled(checkpoint, &mut effects),
        }
        self.forget_passed();
        self.perform(effects, out);
    }

    /// Aborted ones matter only until their barrier comes, and one that waits only until the next.
    fn forget_passed(&mut self) {
        let newest = self.newest();
        self.aborted.retain(|&aborted| aborted > newest);
        self.waiting = self.waiting.filter(|waiting| *waiting == newest);
        self.stops = self.stops.filter(|(stops, _)| *stops >= newest);
        self.triggers.retain(|&triggered, _| triggered > newest);
    }

    /// What has become of it is known: hurry changes nothing.
    fn settle(&mut self, checkpoint: CheckpointId) {
        self.waiting = self.waiting.filter(|waiting| *waiting > checkpoint);
    }

    fn overtakes(&self) -> bool {
        match &self.barriers {
            Barriers::Triggered { overtaking, .. } => *overtaking,
            Barriers::Overtaking(_) => true,
            Barriers::Aligned(_) | Barriers::Tracked(_) => false,
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, out: &mut Vec<Output>) {
        for effect in effects {
            match effect {
                Effect::Hold(channel) => out.push(Output::Hold(channel)),
                Effect::ReleaseAll => out.push(Output::ReleaseAll),
                Effect::Arm(checkpoint) => out.push(Output::Arm(checkpoint)),
                Effect::Complete(checkpoint) => {
                    self.waiting = self.overtakes().then_some(checkpoint);
                    self.cut(checkpoint, out);
                }
                Effect::Overtake(checkpoint) => {
                    out.push(Output::Overtake(checkpoint));
                    self.cut(checkpoint, out);
                }
                Effect::LogsComplete(checkpoint) => out.push(Output::LogsComplete(checkpoint)),
                Effect::DropLogs(checkpoint) => out.push(Output::DropLogs(checkpoint)),
                Effect::Hasten(checkpoint) => {
                    self.waiting = None;
                    out.push(Output::Hasten(checkpoint));
                }
                Effect::Abandoned(checkpoint) => {
                    out.push(Output::Decline(checkpoint, FailureReason::DeclinedSubsumed));
                    if !self.writing.remove(&checkpoint) {
                        out.push(Output::ForwardCancel(checkpoint));
                    }
                }
                Effect::Cancelled(checkpoint) => {
                    // Behind its cut the barrier has left: those downstream hear of the abort from whoever brought it about.
                    let begun = self.writing.remove(&checkpoint);
                    out.push(if begun { Output::Forget(checkpoint) } else { Output::ForwardCancel(checkpoint) });
                }
                Effect::Ignored(why) => out.push(Output::Ignored(why)),
            }
        }
    }

    /// The barrier first: it must not wait for the snapshot. No record is read in between.
    fn cut(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        self.writing.insert(checkpoint);
        self.cut_behind_the_end(checkpoint);
        out.extend([Output::Forward(checkpoint), Output::Snapshot(checkpoint)]);
        if self.stops.is_some_and(|(stops, _)| stops == checkpoint) {
            (self.stops, self.suspended) = (None, Some(checkpoint));
            out.push(Output::Suspend(checkpoint));
        }
    }

    fn durable(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if self.logging() == Some(checkpoint) {
            out.push(Output::Ignored("its logs are not whole"));
        } else if self.writing.remove(&checkpoint) {
            out.push(Output::Acknowledge(checkpoint));
        } else {
            out.push(Output::Ignored("it is not being written any more"));
        }
    }

    fn write_failed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if !self.writing.remove(&checkpoint) {
            out.push(Output::Ignored("it is not being written any more"));
            return;
        }
        self.settle(checkpoint);
        self.stop_logging(checkpoint, out);
        out.push(Output::Decline(checkpoint, FailureReason::AsyncException));
    }

    fn stop_logging(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        match &mut self.barriers {
            Barriers::Overtaking(overtaker) if overtaker.logging() == Some(checkpoint) => overtaker.stop_logging(&mut effects),
            Barriers::Triggered { .. } | Barriers::Aligned(_) | Barriers::Overtaking(_) | Barriers::Tracked(_) => {}
        }
        self.perform(effects, out);
    }

    /// Whether there was something to commit. Parts under way stay: they may belong to a savepoint, or to a later one.
    fn commit(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) -> bool {
        let news = checkpoint > self.committed;
        if news {
            self.committed = checkpoint;
            self.settle(checkpoint);
            out.push(Output::Commit(checkpoint));
        }
        news
    }

    fn aborted(&mut self, checkpoint: CheckpointId, latest_completed: Option<CheckpointId>, out: &mut Vec<Output>) {
        if let Some(completed) = latest_completed {
            self.commit(completed, out);
        }
        if self.waiting == Some(checkpoint) {
            self.waiting = None;
        }
        self.triggers.remove(&checkpoint);
        if self.suspended.take_if(|suspended| *suspended == checkpoint).is_some() {
            out.push(Output::Resume(checkpoint));
        }
        if self.collects(checkpoint) {
            self.cancel(checkpoint, out);
        } else if self.writing.remove(&checkpoint) {
            self.stop_logging(checkpoint, out);
            out.push(Output::Forget(checkpoint));
        } else if checkpoint > self.newest() {
            self.aborted.insert(checkpoint);
            if self.aborted.len() > MOST_ABORTED {
                self.aborted.pop_first();
            }
        } else {
            out.push(Output::Ignored("the checkpoint is over here"));
        }
    }

    fn collects(&self, checkpoint: CheckpointId) -> bool {
        match &self.barriers {
            Barriers::Triggered { .. } => false,
            Barriers::Aligned(aligner) => aligner.collecting() == Some(checkpoint),
            Barriers::Overtaking(overtaker) => overtaker.collecting() == Some(checkpoint),
            Barriers::Tracked(tracker) => tracker.collects(checkpoint),
        }
    }

    /// What is true between any two steps.
    fn check(&self) {
        let newest = self.newest();
        match &self.barriers {
            Barriers::Triggered { .. } => {}
            Barriers::Aligned(aligner) => aligner.check(),
            Barriers::Overtaking(overtaker) => overtaker.check(),
            Barriers::Tracked(tracker) => tracker.check(),
        }
        assert!(self.aborted.len() <= MOST_ABORTED, "no more than {MOST_ABORTED} aborted ones are remembered");
        for aborted in &self.aborted {
            assert!(*aborted > newest, "{aborted} is remembered though its barrier has passed");
        }
        if let Some(logging) = self.logging() {
            assert!(self.writing.contains(&logging), "{logging} is logged though nobody writes it");
        }
        if let Some(waiting) = self.waiting {
            assert!(waiting == newest && self.overtakes(), "{waiting} is not the newest, or nothing overtakes here");
        }
        if let Some(suspended) = self.suspended {
            assert!(suspended <= newest, "{suspended} has suspended everything though its barrier has not come");
        }
        for writing in &self.writing {
            assert!(*writing <= newest, "{writing} is written though its barrier has not come");
            assert!(!self.collects(*writing), "{writing} is written though barriers are missing");
        }
        self.check_finishing();
    }
}
