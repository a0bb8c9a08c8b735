//! What a subtask does with barriers, per mode: hold channels back (`aligned`), or only count (`tracker`), or hold them back until what
//! is in flight had better become part of the checkpoint (`unaligned`).
//!
//! A checkpoint that was aborted before its first barrier needs no case of its own: its barrier is taken for the marker
//! that it will not come.

mod aligned;
mod tracker;
mod unaligned;

pub use aligned::Aligner;
pub use tracker::Tracker;
pub use unaligned::Overtaker;

use crate::ids::{ChannelIndex, CheckpointId};

/// What a barrier or a marker brought about, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read nothing more from this channel.
    Hold(ChannelIndex),
    /// Every channel has delivered its barrier: now is the cut.
    Complete(CheckpointId),
    /// Now is the cut, though barriers are missing: what is ahead of them becomes part of the checkpoint.
    Overtake(CheckpointId),
    /// Read from all channels again.
    ReleaseAll,
    /// Where nothing becomes too old without being noticed: it has begun.
    Arm(CheckpointId),
    /// All channels have delivered what belongs to the logs.
    LogsComplete(CheckpointId),
    /// The logs will not be needed.
    DropLogs(CheckpointId),
    /// The cut was made as if aligned, and yet it is urgent.
    Hasten(CheckpointId),
    /// Given up for a newer one.
    Abandoned(CheckpointId),
    /// It will not come to a cut here.
    Cancelled(CheckpointId),
    /// It came too late to matter.
    Ignored(&'static str),
}
