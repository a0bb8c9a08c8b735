//! Counts barriers and holds nothing back (Flink: `CheckpointBarrierTracker`): at least once.

use super::Effect;
use crate::ids::{ChannelIndex, CheckpointId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// How many checkpoints are followed at once.
const MOST_TRACKED: usize = 50;

/// Follows several checkpoints at once; the cut is where the last barrier arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracker {
    channels: u32,
    /// The newest checkpoint that a barrier or marker was about.
    newest: CheckpointId,
    /// The channels that have delivered the barrier; `None` once the checkpoint is cancelled.
    tracked: BTreeMap<CheckpointId, Option<BTreeSet<ChannelIndex>>>,
    /// Nothing comes on these any more: they count as having delivered each barrier.
    ended: BTreeSet<ChannelIndex>,
}

impl Tracker {
    /// For a subtask with so many channels, at least one.
    #[must_use]
    pub fn new(channels: u32) -> Self {
        assert!(channels > 0, "a subtask without channels has nothing to track");
        Self { channels, newest: CheckpointId::NONE, tracked: BTreeMap::new(), ended: BTreeSet::new() }
    }

    /// The newest checkpoint that a barrier or marker was about.
    #[must_use]
    pub fn newest(&self) -> CheckpointId {
        self.newest
    }

    /// Whether barriers of this checkpoint are being collected.
    #[must_use]
    pub fn collects(&self, checkpoint: CheckpointId) -> bool {
        matches!(self.tracked.get(&checkpoint), Some(Some(_)))
    }

    /// The newest checkpoint whose barriers are being collected.
    #[must_use]
    pub fn collecting(&self) -> Option<CheckpointId> {
        self.tracked.iter().rev().find(|(_, arrived)| arrived.is_some()).map(|(&checkpoint, _)| checkpoint)
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
        if checkpoint > self.newest {
            self.follow(checkpoint, Some(BTreeSet::new()));
        }
        match self.tracked.get_mut(&checkpoint) {
            None => out.push(Effect::Ignored("a later checkpoint is complete, or this one is over")),
            Some(None) => out.push(Effect::Ignored("the checkpoint is cancelled")),
            Some(Some(arrived)) => {
                if !arrived.insert(channel) {
                    out.push(Effect::Ignored("the channel has delivered this barrier"));
                } else if arrived.union(&self.ended).count() == self.channels as usize {
                    self.tracked.retain(|&other, _| other > checkpoint);
                    out.push(Effect::Complete(checkpoint));
                }
            }
        }
    }

    /// The barrier of this checkpoint will not come, on some channel or at all.
    pub fn cancelled(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if checkpoint > self.newest {
            self.follow(checkpoint, None);
            out.push(Effect::Cancelled(checkpoint));
            return;
        }
        match self.tracked.get_mut(&checkpoint) {
            Some(arrived @ Some(_)) => {
                *arrived = None;
                out.push(Effect::Cancelled(checkpoint));
            }
            Some(None) | None => out.push(Effect::Ignored("the checkpoint is over here")),
        }
    }

    /// Everything that came on the channel is processed, and nothing follows.
    pub fn ended(&mut self, channel: ChannelIndex, out: &mut Vec<Effect>) {
        if !self.ended.insert(channel) {
            out.push(Effect::Ignored("the channel has ended"));
            return;
        }
        let all = self.channels as usize;
        let whole = |arrived: &Option<BTreeSet<ChannelIndex>>| arrived.as_ref().is_some_and(|it| it.union(&self.ended).count() == all);
        let complete: Vec<CheckpointId> = self.tracked.iter().filter(|(_, it)| whole(it)).map(|(&checkpoint, _)| checkpoint).collect();
        if let Some(&newest) = complete.last() {
            self.tracked.retain(|&other, _| other > newest);
        }
        out.extend(complete.into_iter().map(Effect::Complete));
    }

    /// Told of a checkpoint when no channel can tell of one any more.
    pub fn triggered(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if checkpoint <= self.newest {
            out.push(Effect::Ignored("a later checkpoint is complete, or this one is over"));
        } else {
            self.newest = checkpoint;
            self.tracked.clear();
            out.push(Effect::Complete(checkpoint));
        }
    }

    fn follow(&mut self, checkpoint: CheckpointId, arrived: Option<BTreeSet<ChannelIndex>>) {
        self.newest = checkpoint;
        self.tracked.insert(checkpoint, arrived);
        if self.tracked.len() > MOST_TRACKED {
            self.tracked.pop_first();
        }
    }

    pub(crate) fn check(&self) {
        assert!(self.tracked.len() <= MOST_TRACKED, "no more than {MOST_TRACKED} checkpoints are followed");
        for (checkpoint, arrived) in &self.tracked {
            assert!(*checkpoint <= self.newest, "nothing newer than the newest is followed");
            let open = arrived.as_ref().is_none_or(|arrived| arrived.union(&self.ended).count() < self.channels as usize);
            assert!(open, "{checkpoint} misses a barrier, or it would be over");
        }
    }
}
