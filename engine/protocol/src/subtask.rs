//! One participant of the protocol: what a subtask does with barriers, triggers, and what it is told of checkpoints.
//!
//! Lives here: which snapshots are being written, which checkpoint was committed, which one was aborted ahead of its barrier, whose barrier
//! may become urgent after it has left.
//! Never here: which channel is held back and why (`barrier`), records, state.

mod portrait;

pub use portrait::Outline;

use crate::barrier::{Aligner, Effect, Overtaker, Tracker};
use crate::coordinator::FailureReason;
use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

/// How many checkpoints are remembered that were aborted ahead of their barrier.
const MOST_ABORTED: usize = 16;

/// What happens to a subtask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A source is told to inject a barrier.
    Triggered {
        /// Of which checkpoint.
        checkpoint: CheckpointId,
        /// Whether it overtakes from the beginning: an aligned timeout of zero, and no savepoint.
        urgent: bool,
    },
    /// This checkpoint is the savepoint that the job stops with: said before its trigger and before each of its barriers.
    Stops {
        /// Which.
        checkpoint: CheckpointId,
        /// Whether the input ends at its barrier.
        drain: bool,
    },
    /// A barrier has arrived in a channel's queue. What is ahead of it has not been processed.
    Announced {
        /// On which channel.
        channel: ChannelIndex,
        /// Of which checkpoint.
        checkpoint: CheckpointId,
        /// Whether it overtakes.
        urgent: bool,
    },
    /// The timer of [`Output::Arm`] has fired. May be late.
    TimedOut(CheckpointId),
    /// A barrier has been reached: what was ahead of it is processed. It need not have been announced.
    Barrier {
        /// On which channel.
        channel: ChannelIndex,
        /// Of which checkpoint.
        checkpoint: CheckpointId,
    },
    /// A marker says that the barrier of this checkpoint will not come (Flink: `CancelCheckpointMarker`).
    Cancelled {
        /// On which channel.
        channel: ChannelIndex,
        /// Of which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The asynchronous part is durable, logs included: not before [`Output::LogsComplete`].
    Durable(CheckpointId),
    /// The asynchronous part failed.
    WriteFailed(CheckpointId),
    /// The coordinator says: complete. May be late, lost or repeated; it stands for all earlier ones too.
    Completed(CheckpointId),
    /// The coordinator says: will not complete.
    Aborted {
        /// The one that failed.
        checkpoint: CheckpointId,
        /// The newest complete one: a subtask that missed the notice commits it first.
        latest_completed: Option<CheckpointId>,
    },
}

/// What the subtask is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Read nothing more from this channel.
    Hold(ChannelIndex),
    /// Read from all channels again.
    ReleaseAll,
    /// Start the timer that says when the checkpoint is so old that its barriers overtake, counted from its trigger. Those of savepoints
    /// never do: for them there is nothing to start.
    Arm(CheckpointId),
    /// The cut comes now, before all barriers were reached: the barrier that is forwarded next is urgent, and each channel whose barrier was
    /// not reached is logged: what it holds ahead of the barrier, and what arrives until the barrier does.
    Overtake(CheckpointId),
    /// All logs are whole: write them. The asynchronous part is durable when they are.
    LogsComplete(CheckpointId),
    /// The logs are not needed any more, and will not be whole.
    DropLogs(CheckpointId),
    /// The barrier has left from here without being urgent, and now is: what of it still waits in the output queues becomes so.
    Hasten(CheckpointId),
    /// Send the barrier behind everything that was emitted.
    Forward(CheckpointId),
    /// Send the marker that the barrier will not come.
    ForwardCancel(CheckpointId),
    /// Take the synchronous part now, before another record, and start the asynchronous one.
    Snapshot(CheckpointId),
    /// Tell the coordinator that all is durable.
    Acknowledge(CheckpointId),
    /// Tell the coordinator that it will not be.
    Decline(CheckpointId, FailureReason),
    /// Everything up to and with this checkpoint is complete.
    Commit(CheckpointId),
    /// Give up the asynchronous part, and delete what it wrote.
    Forget(CheckpointId),
    /// The input of a source ends here, as far as it has come: what follows from that comes before the barrier that is forwarded next.
    EndInput(CheckpointId),
    /// Process nothing more, neither records nor timers: the job stops with this savepoint. What was taken in now, and published by
    /// whatever way, would be taken in again by the job that goes on from there.
    Suspend(CheckpointId),
    /// The job goes on after all.
    Resume(CheckpointId),
    /// The input came too late to matter.
    Ignored(&'static str),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(channel) => write!(f, "hold {channel}"),
            Self::ReleaseAll => f.write_str("release-all"),
            Self::Arm(checkpoint) => write!(f, "arm {checkpoint}"),
            Self::Overtake(checkpoint) => write!(f, "overtake {checkpoint}"),
            Self::LogsComplete(checkpoint) => write!(f, "logs-complete {checkpoint}"),
            Self::DropLogs(checkpoint) => write!(f, "drop-logs {checkpoint}"),
            Self::Hasten(checkpoint) => write!(f, "hasten {checkpoint}"),
            Self::Forward(checkpoint) => write!(f, "forward {checkpoint}"),
            Self::ForwardCancel(checkpoint) => write!(f, "forward-cancel {checkpoint}"),
            Self::Snapshot(checkpoint) => write!(f, "snapshot {checkpoint}"),
            Self::Acknowledge(checkpoint) => write!(f, "acknowledge {checkpoint}"),
            Self::Decline(checkpoint, reason) => write!(f, "decline {checkpoint} {reason}"),
            Self::Commit(checkpoint) => write!(f, "commit {checkpoint}"),
            Self::Forget(checkpoint) => write!(f, "forget {checkpoint}"),
            Self::EndInput(checkpoint) => write!(f, "end-input {checkpoint}"),
            Self::Suspend(checkpoint) => write!(f, "suspend {checkpoint}"),
            Self::Resume(checkpoint) => write!(f, "resume {checkpoint}"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

/// What a subtask is to the protocol: all that it begins from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Participant {
    /// What its checkpoints promise.
    pub mode: Mode,
    /// How many input channels it has; one without is a source.
    pub channels: u32,
    /// `None`: barriers never overtake. Otherwise the channels that stay aligned also when they do, since what is in flight there cannot be
    /// spread over other subtasks (Flink: `CheckpointOptions.AlignmentType.FORCED_ALIGNED`). Without effect at least once.
    pub overtaking: Option<BTreeSet<ChannelIndex>>,
}

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
        match input {
            Input::Triggered { checkpoint, urgent } => self.triggered(checkpoint, urgent, out),
            Input::Stops { checkpoint, drain } => self.stops(checkpoint, drain, out),
            Input::Announced { channel, checkpoint, urgent } => self.announced(channel, checkpoint, urgent, out),
            Input::TimedOut(checkpoint) => self.timed_out(checkpoint, out),
            Input::Barrier { channel, checkpoint } => self.barrier(channel, checkpoint, out),
            Input::Cancelled { channel, checkpoint } => self.cancelled(channel, checkpoint, out),
            Input::Durable(checkpoint) => self.durable(checkpoint, out),
            Input::WriteFailed(checkpoint) => self.write_failed(checkpoint, out),
            Input::Completed(checkpoint) => {
                if !self.commit(checkpoint, out) {
                    out.push(Output::Ignored("this or a later one is committed"));
                }
            }
            Input::Aborted { checkpoint, latest_completed } => self.aborted(checkpoint, latest_completed, out),
        }
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
        Self { channels, barriers, waiting: None, aborted, writing, committed: CheckpointId::NONE, stops: None, suspended: None }
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
            out.push(Output::Ignored("only sources are triggered"));
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
    }
}
