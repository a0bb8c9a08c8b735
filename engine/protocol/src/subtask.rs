//! One participant of the protocol: what a subtask does with barriers, triggers, and what it is told of checkpoints.
//!
//! Lives here: which snapshots are being written, which checkpoint was committed, which one was aborted ahead of its barrier.
//! Never here: which channel is held back and why (`barrier`), records, state.

use crate::barrier::{Aligner, Effect, Tracker};
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
    Triggered(CheckpointId),
    /// A barrier has arrived.
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
    /// The asynchronous part is durable.
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
    /// The input came too late to matter.
    Ignored(&'static str),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(channel) => write!(f, "hold {channel}"),
            Self::ReleaseAll => f.write_str("release-all"),
            Self::Forward(checkpoint) => write!(f, "forward {checkpoint}"),
            Self::ForwardCancel(checkpoint) => write!(f, "forward-cancel {checkpoint}"),
            Self::Snapshot(checkpoint) => write!(f, "snapshot {checkpoint}"),
            Self::Acknowledge(checkpoint) => write!(f, "acknowledge {checkpoint}"),
            Self::Decline(checkpoint, reason) => write!(f, "decline {checkpoint} {reason}"),
            Self::Commit(checkpoint) => write!(f, "commit {checkpoint}"),
            Self::Forget(checkpoint) => write!(f, "forget {checkpoint}"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

/// Where a subtask's barriers come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Barriers {
    /// It is told to inject them; this is the newest that it was told about.
    Triggered(CheckpointId),
    /// Exactly once.
    Aligned(Aligner),
    /// At least once.
    Tracked(Tracker),
}

/// One subtask as the protocol sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subtask {
    channels: u32,
    barriers: Barriers,
    /// Aborted before their first barrier came.
    aborted: BTreeSet<CheckpointId>,
    /// Asynchronous parts under way.
    writing: BTreeSet<CheckpointId>,
    /// The newest that it was told to be complete.
    committed: CheckpointId,
}

impl Machine for Subtask {
    type Input = Input;
    type Output = Output;
    type Durable = (Mode, u32);

    /// A subtask begins anew with each attempt; what it restores is none of the protocol's.
    fn recover((mode, channels): (Mode, u32), _out: &mut Vec<Output>) -> Self {
        Self::new(mode, channels)
    }

    /// Total: every input is legal in every state. What can no longer matter comes out as `Ignored`.
    fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Triggered(checkpoint) => self.triggered(checkpoint, out),
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
    /// A subtask with so many input channels; one without is a source.
    #[must_use]
    pub fn new(mode: Mode, channels: u32) -> Self {
        let barriers = match mode {
            Mode::ExactlyOnce | Mode::AtLeastOnce if channels == 0 => Barriers::Triggered(CheckpointId::NONE),
            Mode::ExactlyOnce => Barriers::Aligned(Aligner::new(channels)),
            Mode::AtLeastOnce => Barriers::Tracked(Tracker::new(channels)),
        };
        Self { channels, barriers, aborted: BTreeSet::new(), writing: BTreeSet::new(), committed: CheckpointId::NONE }
    }

    /// The newest checkpoint that a trigger, barrier or marker was about.
    #[must_use]
    pub fn newest(&self) -> CheckpointId {
        match &self.barriers {
            Barriers::Triggered(newest) => *newest,
            Barriers::Aligned(aligner) => aligner.newest(),
            Barriers::Tracked(tracker) => tracker.newest(),
        }
    }

    /// The newest checkpoint whose barriers are being collected.
    #[must_use]
    pub fn collecting(&self) -> Option<CheckpointId> {
        match &self.barriers {
            Barriers::Triggered(_) => None,
            Barriers::Aligned(aligner) => aligner.collecting(),
            Barriers::Tracked(tracker) => tracker.collecting(),
        }
    }

    /// Whether this channel is held back.
    #[must_use]
    pub fn holds(&self, channel: ChannelIndex) -> bool {
        match &self.barriers {
            Barriers::Aligned(aligner) => aligner.held().contains(&channel),
            Barriers::Triggered(_) | Barriers::Tracked(_) => false,
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

    fn triggered(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        match &mut self.barriers {
            Barriers::Triggered(newest) => {
                if checkpoint <= *newest {
                    out.push(Output::Ignored("this or a later one was triggered"));
                    return;
                }
                *newest = checkpoint;
                let skip = self.aborted.contains(&checkpoint);
                self.forget_passed();
                let effect = if skip { Effect::Cancelled(checkpoint) } else { Effect::Complete(checkpoint) };
                self.perform(alloc::vec![effect], out);
            }
            Barriers::Aligned(_) | Barriers::Tracked(_) => out.push(Output::Ignored("only sources are triggered")),
        }
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
            Barriers::Triggered(_) => {}
            Barriers::Aligned(aligner) => aligner.barrier(channel, checkpoint, &mut effects),
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
            Barriers::Triggered(_) => {}
            Barriers::Aligned(aligner) => aligner.cancelled(checkpoint, &mut effects),
            Barriers::Tracked(tracker) => tracker.cancelled(checkpoint, &mut effects),
        }
        self.forget_passed();
        self.perform(effects, out);
    }

    /// Aborted ones matter only until their barrier comes.
    fn forget_passed(&mut self) {
        let newest = self.newest();
        self.aborted.retain(|&aborted| aborted > newest);
    }

    fn perform(&mut self, effects: Vec<Effect>, out: &mut Vec<Output>) {
        for effect in effects {
            match effect {
                Effect::Hold(channel) => out.push(Output::Hold(channel)),
                Effect::ReleaseAll => out.push(Output::ReleaseAll),
                Effect::Complete(checkpoint) => {
                    self.writing.insert(checkpoint);
                    // The barrier first: it must not wait for the snapshot. No record is read in between.
                    out.extend([Output::Forward(checkpoint), Output::Snapshot(checkpoint)]);
                }
                Effect::Abandoned(checkpoint) => {
                    out.push(Output::Decline(checkpoint, FailureReason::DeclinedSubsumed));
                    out.push(Output::ForwardCancel(checkpoint));
                }
                Effect::Cancelled(checkpoint) => out.push(Output::ForwardCancel(checkpoint)),
                Effect::Ignored(why) => out.push(Output::Ignored(why)),
            }
        }
    }

    fn durable(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if self.writing.remove(&checkpoint) {
            out.push(Output::Acknowledge(checkpoint));
        } else {
            out.push(Output::Ignored("it is not being written any more"));
        }
    }

    fn write_failed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if self.writing.remove(&checkpoint) {
            out.push(Output::Decline(checkpoint, FailureReason::AsyncException));
        } else {
            out.push(Output::Ignored("it is not being written any more"));
        }
    }

    /// Whether there was something to commit. Parts under way stay: they may belong to a savepoint, or to a later one.
    fn commit(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) -> bool {
        let news = checkpoint > self.committed;
        if news {
            self.committed = checkpoint;
            out.push(Output::Commit(checkpoint));
        }
        news
    }

    fn aborted(&mut self, checkpoint: CheckpointId, latest_completed: Option<CheckpointId>, out: &mut Vec<Output>) {
        if let Some(completed) = latest_completed {
            self.commit(completed, out);
        }
        if self.collects(checkpoint) {
            self.cancel(checkpoint, out);
        } else if self.writing.remove(&checkpoint) {
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
            Barriers::Triggered(_) => false,
            Barriers::Aligned(aligner) => aligner.collecting() == Some(checkpoint),
            Barriers::Tracked(tracker) => tracker.collects(checkpoint),
        }
    }

    /// What is true between any two steps.
    fn check(&self) {
        let newest = self.newest();
        match &self.barriers {
            Barriers::Triggered(_) => {}
            Barriers::Aligned(aligner) => aligner.check(),
            Barriers::Tracked(tracker) => tracker.check(),
        }
        assert!(self.aborted.len() <= MOST_ABORTED, "no more than {MOST_ABORTED} aborted ones are remembered");
        for aborted in &self.aborted {
            assert!(*aborted > newest, "{aborted} is remembered though its barrier has passed");
        }
        for writing in &self.writing {
            assert!(*writing <= newest, "{writing} is written though its barrier has not come");
            assert!(!self.collects(*writing), "{writing} is written though barriers are missing");
        }
    }
}
