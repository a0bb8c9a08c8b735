//! What a subtask does with barriers, per mode: hold channels back (`aligned`), or only count (`tracker`).
//!
//! A checkpoint that was aborted before its first barrier needs no case of its own: its barrier is taken for the marker
//! that it will not come.

mod aligned;
mod tracker;

pub use aligned::Aligner;
pub use tracker::Tracker;

use crate::ids::{ChannelIndex, CheckpointId};

/// What a barrier or a marker brought about, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read nothing more from this channel.
    Hold(ChannelIndex),
    /// Every channel has delivered its barrier: now is the cut.
    Complete(CheckpointId),
    /// Read from all channels again.
    ReleaseAll,
    /// Given up for a newer one.
    Abandoned(CheckpointId),
    /// It will not come to a cut here.
    Cancelled(CheckpointId),
    /// It came too late to matter.
    Ignored(&'static str),
}
