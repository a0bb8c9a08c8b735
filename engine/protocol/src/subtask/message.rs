//! What a subtask is told, what it wants done, and what it begins from.

use super::finishing::Ending;
use crate::coordinator::FailureReason;
use crate::ids::{ChannelIndex, CheckpointId};
use crate::settings::Mode;
use alloc::collections::BTreeSet;
use core::fmt;

/// What happens to a subtask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Told by the coordinator itself to begin: a source, or a subtask that hears from nobody any more.
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
    /// A channel's end has arrived in its queue. What is ahead of it has not been processed.
    EndAnnounced {
        /// Which.
        channel: ChannelIndex,
    },
    /// A channel's end has been reached: whoever sent on it has finished. It stands for every barrier that has not come. It need not have
    /// been announced.
    Ended {
        /// Which.
        channel: ChannelIndex,
    },
    /// All input is processed and flushed.
    Drained(Ending),
    /// All that waited for this checkpoint, or for one before it, is published.
    Published(CheckpointId),
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
    /// It has finished: its channels end here, and it is gone. Nothing is heard any more.
    Finish,
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
            Self::Finish => f.write_str("finish"),
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
