//! Barrier alignment for one subtask (Flink: `SingleCheckpointBarrierHandler`, aligned).
//!
//! Lives here: which channels are held back, and which barrier is being collected.
//! Never here: records, snapshots, clocks, sockets.
//!
//! ```text
//! Flowing --first barrier c--> Holding c --last barrier c--> Flowing     (complete c)
//!                              Holding c --barrier c+k----> Holding c+k  (abandoned c)
//!                              Holding c --marker, abort--> Flowing      (cancelled c)
//! ```
//!
//! A channel that has ended counts as one that has delivered each barrier.

use super::Effect;
use crate::ids::{ChannelIndex, CheckpointId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Holds a channel that has delivered its barrier until all have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aligner {
    channels: u32,
    /// The newest checkpoint that a barrier or marker was about.
    newest: CheckpointId,
    /// The channels that have delivered the barrier of `newest`; empty if it is not being collected.
    held: BTreeSet<ChannelIndex>,
    /// Nothing comes on these any more.
    ended: BTreeSet<ChannelIndex>,
}

impl Aligner {
    /// For a subtask with so many channels, at least one.
    #[must_use]
    pub fn new(channels: u32) -> Self {
        assert!(channels > 0, "a subtask without channels has nothing to align");
        Self { channels, newest: CheckpointId::NONE, held: BTreeSet::new(), ended: BTreeSet::new() }
    }

    /// The newest checkpoint that a barrier or marker was about.
    #[must_use]
    pub fn newest(&self) -> CheckpointId {
        self.newest
    }

    /// The channels that are held back.
    #[must_use]
    pub fn held(&self) -> &BTreeSet<ChannelIndex> {
        &self.held
    }

    /// The checkpoint whose barriers are being collected.
    #[must_use]
    pub fn collecting(&self) -> Option<CheckpointId> {
        (!self.held.is_empty()).then_some(self.newest)
    }

    /// Whether nothing comes on any channel.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.len() == self.channels as usize
    }

    /// A barrier has arrived.
    pub fn barrier(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if self.ended.contains(&channel) {
            out.push(Effect::Ignored("the channel has ended"));
            return;
        }
        if checkpoint < self.newest || (checkpoint == self.newest && self.held.is_empty()) {
            out.push(Effect::Ignored("a later checkpoint counts, or this one is over"));
            return;
        }
        if checkpoint > self.newest {
            self.abandon(out);
            self.newest = checkpoint;
        }
        if !self.held.insert(channel) {
            out.push(Effect::Ignored("the channel has delivered this barrier"));
        } else if self.is_whole() {
            self.complete(out);
        } else {
            out.push(Effect::Hold(channel));
        }
    }

    /// Everything that came on the channel is processed, and nothing follows.
    pub fn ended(&mut self, channel: ChannelIndex, out: &mut Vec<Effect>) {
        if self.held.contains(&channel) {
            out.push(Effect::Ignored("the channel is held"));
        } else if !self.ended.insert(channel) {
            out.push(Effect::Ignored("the channel has ended"));
        } else if self.collecting().is_some() && self.is_whole() {
            self.complete(out);
        }
    }

    /// Told of a checkpoint when no channel can tell of one any more.
    pub fn triggered(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if checkpoint <= self.newest {
            out.push(Effect::Ignored("a later checkpoint counts, or this one is over"));
        } else {
            self.newest = checkpoint;
            out.push(Effect::Complete(checkpoint));
        }
    }

    fn is_whole(&self) -> bool {
        self.held.union(&self.ended).count() == self.channels as usize
    }

    fn complete(&mut self, out: &mut Vec<Effect>) {
        self.held.clear();
        out.extend([Effect::Complete(self.newest), Effect::ReleaseAll]);
    }

    /// The barrier of this checkpoint will not come, on some channel or at all.
    pub fn cancelled(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if checkpoint < self.newest || (checkpoint == self.newest && self.held.is_empty()) {
            out.push(Effect::Ignored("a later checkpoint counts, or this one is over"));
            return;
        }
        if checkpoint > self.newest {
            self.abandon(out);
            self.newest = checkpoint;
        } else {
            self.held.clear();
            out.push(Effect::ReleaseAll);
        }
        out.push(Effect::Cancelled(checkpoint));
    }

    fn abandon(&mut self, out: &mut Vec<Effect>) {
        if let Some(older) = self.collecting() {
            self.held.clear();
            out.extend([Effect::ReleaseAll, Effect::Abandoned(older)]);
        }
    }

    pub(crate) fn check(&self) {
        // Why: nothing would ever be read again.
        assert!(self.held.is_empty() || !self.is_whole(), "a channel is open, or the alignment would be over");
    }
}
