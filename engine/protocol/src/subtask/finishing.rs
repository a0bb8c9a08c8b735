//! The end of a subtask while others go on (FLIP-147, `StreamTask.afterInvoke`).
//!
//! ```text
//! reads --all input processed--> drained --first cut behind that--> waits for it, or a later one, to be complete
//!       --complete, all its channels ended, nothing being written, what waited for it published--> finish
//! ```
//!
//! What a channel carries before its end is processed like any other. The end itself stands for every barrier that has not come: nobody is
//! left to send one. A subtask whose channels have all ended hears of a checkpoint from the coordinator, as sources do; what is still ahead
//! of some end is processed before the cut, or overtaken by it.
//!
//! Nobody leaves before those that it hears from. So whoever has finished has only such before it as have, and what a checkpoint says of a
//! finished subtask is true of all the ways that lead to it.

use super::{Barriers, Output, Subtask};
use crate::barrier::Effect;
use crate::ids::{ChannelIndex, CheckpointId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a subtask does once all its input is processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It takes part in checkpoints until the job is over.
    #[default]
    Stays,
    /// It goes when a checkpoint that was cut behind its end is complete.
    Leaves,
    /// As above, when all that waited for that checkpoint is published as well.
    LeavesWhenPublished,
}

/// How far a subtask is with its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Finishing {
    /// Once all input is processed.
    pub(super) drained: Option<Ending>,
    /// The first checkpoint that was cut behind that.
    pub(super) last_state: Option<CheckpointId>,
    /// The newest of which everything is published.
    published: CheckpointId,
    /// It has left.
    pub(super) over: bool,
}

impl Subtask {
    /// Whether it has finished and left: nothing is heard any more.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.finishing.over
    }

    /// All input is processed and flushed: from here on its state does not change.
    pub(super) fn drained(&mut self, ending: Ending, out: &mut Vec<Output>) {
        if self.finishing.drained.is_some() {
            out.push(Output::Ignored("it was drained before"));
        } else {
            self.finishing.drained = Some(ending);
        }
    }

    /// A cut was made.
    pub(super) fn cut_behind_the_end(&mut self, checkpoint: CheckpointId) {
        if self.finishing.drained.is_some() {
            self.finishing.last_state.get_or_insert(checkpoint);
        }
    }

    pub(super) fn published(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if checkpoint > self.finishing.published {
            self.finishing.published = checkpoint;
        } else {
            out.push(Output::Ignored("this or a later one is published"));
        }
    }

    /// Called after every input, as any may have been the last that it waited for.
    pub(super) fn leave_if_possible(&mut self, out: &mut Vec<Output>) {
        let Finishing { drained: Some(ending), last_state: Some(last), published, over: false } = self.finishing else { return };
        let done = match ending {
            Ending::Stays => false,
            Ending::Leaves => self.committed >= last,
            Ending::LeavesWhenPublished => self.committed >= last && published >= last,
        };
        // Why not while something is written: whoever waits for it would wait for somebody who is gone.
        if done && self.has_ended() && self.writing.is_empty() && self.suspended.is_none() {
            self.finishing.over = true;
            out.push(Output::Finish);
        }
    }

    /// Whether nothing comes on any of its channels any more.
    fn has_ended(&self) -> bool {
        match &self.barriers {
            Barriers::Triggered { .. } => true,
            Barriers::Aligned(aligner) => aligner.has_ended(),
            Barriers::Overtaking(overtaker) => overtaker.has_ended(),
            Barriers::Tracked(tracker) => tracker.has_ended(),
        }
    }

    /// Whether no barrier can come any more that has not arrived.
    fn hears_of_no_barrier(&self) -> bool {
        match &self.barriers {
            Barriers::Overtaking(overtaker) => overtaker.ends_announced(),
            Barriers::Triggered { .. } | Barriers::Aligned(_) | Barriers::Tracked(_) => self.has_ended(),
        }
    }

    /// The end of a channel has arrived in its queue.
    pub(super) fn end_announced(&mut self, channel: ChannelIndex, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        match &mut self.barriers {
            Barriers::Overtaking(overtaker) if channel.0 < self.channels => overtaker.end_announced(channel, &mut effects),
            Barriers::Triggered { .. } | Barriers::Aligned(_) | Barriers::Overtaking(_) | Barriers::Tracked(_) => {
                effects.push(Effect::Ignored("there is no such channel, or nothing overtakes here"));
            }
        }
        self.perform(effects, out);
        self.take_up_triggers(out);
    }

    /// All that came on a channel is processed.
    pub(super) fn ended(&mut self, channel: ChannelIndex, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        match &mut self.barriers {
            Barriers::Aligned(aligner) if channel.0 < self.channels => aligner.ended(channel, &mut effects),
            Barriers::Overtaking(overtaker) if channel.0 < self.channels => overtaker.ended(channel, &mut effects),
            Barriers::Tracked(tracker) if channel.0 < self.channels => tracker.ended(channel, &mut effects),
            Barriers::Triggered { .. } | Barriers::Aligned(_) | Barriers::Overtaking(_) | Barriers::Tracked(_) => {
                effects.push(Effect::Ignored("there is no such channel"));
            }
        }
        self.perform(effects, out);
        self.take_up_triggers(out);
    }

    /// The coordinator asks a subtask with channels: nobody is left that it could hear of the checkpoint from.
    pub(super) fn triggered_behind_its_channels(&mut self, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Output>) {
        if checkpoint <= self.newest() {
            out.push(Output::Ignored("this or a later one was triggered"));
            return;
        }
        self.triggers.insert(checkpoint, urgent);
        self.take_up_triggers(out);
    }

    /// Why not at once: barriers of earlier checkpoints may be on their way, ahead of the ends of their channels.
    fn take_up_triggers(&mut self, out: &mut Vec<Output>) {
        if self.triggers.is_empty() || !self.hears_of_no_barrier() {
            return;
        }
        for (checkpoint, urgent) in core::mem::take(&mut self.triggers) {
            if self.aborted.contains(&checkpoint) {
                self.cancel(checkpoint, out);
                continue;
            }
            let mut effects = Vec::new();
            match &mut self.barriers {
                Barriers::Triggered { .. } => {}
                Barriers::Aligned(aligner) => aligner.triggered(checkpoint, &mut effects),
                Barriers::Overtaking(overtaker) => overtaker.triggered(checkpoint, urgent, &mut effects),
                Barriers::Tracked(tracker) => tracker.triggered(checkpoint, &mut effects),
            }
            self.forget_passed();
            self.perform(effects, out);
        }
    }

    pub(super) fn check_finishing(&self) {
        let Finishing { drained, last_state, over, .. } = &self.finishing;
        assert!(last_state.is_none() || drained.is_some(), "{last_state:?} was cut behind an end that has not come");
        // Why: it would hear of nothing, and be waited for.
        assert!(!over || (self.writing.is_empty() && self.has_ended()), "whoever leaves has nothing left to do");
        let idle = self.triggers.is_empty() || !self.hears_of_no_barrier();
        assert!(idle, "what the coordinator asks for is done once no barrier can come");
    }
}

/// Checkpoints that the coordinator has asked for, and whether their barriers overtake.
pub(super) type Triggers = BTreeMap<CheckpointId, bool>;
