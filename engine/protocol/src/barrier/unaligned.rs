//! Barriers that overtake, at once or once they have become too old (Flink: `SingleCheckpointBarrierHandler`, alternating:
//! `AlternatingWaitingForFirstBarrier`, `AlternatingCollectingBarriers`, `AlternatingCollectingBarriersUnaligned`).
//!
//! Lives here: which barriers have arrived in a channel's queue (*announced*), which have been come to (*reached*), when the cut is, and
//! which channels still have to deliver what belongs to the logs.
//! Never here: records, logs, clocks, sockets.
//!
//! ```text
//! Over -------announced or reached c---------> Aligning c
//! Aligning c --all channels reached----------> Over         (complete c, as if aligned)
//! Aligning c --urgent, all forced reached----> Logging c    (overtake c)   --last barrier announced--> Over   (logs complete)
//! Aligning c --c+k---------------------------> Aligning c+k (abandoned c)
//! Logging c ---c+k---------------------------> Aligning c+k (drop logs of c, abandoned c)
//! either ------marker, abort-----------------> Over         (cancelled c)
//! ```
//!
//! A channel whose barrier was reached before the cut is held until then, as everywhere. At the cut all are read again: what comes behind
//! a barrier that was reached is behind the cut anyway, and of a channel that was not reached all that stands before its barrier is logged.
//! So each record before a barrier is in the state or in a log, and none behind it is in either.
//!
//! The end of a channel is announced and reached as barriers are, and stands for all that have not come.

use super::Effect;
use crate::ids::{ChannelIndex, CheckpointId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Aligns as long as a checkpoint is not urgent; then cuts as soon as the channels that stay aligned have delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Overtaker {
    channels: u32,
    /// Channels of which nothing may be logged: what is in flight there could not be spread over other subtasks.
    forced: BTreeSet<ChannelIndex>,
    /// The newest checkpoint that an announcement, barrier or marker was about.
    newest: CheckpointId,
    phase: Phase,
    /// Channels in whose queue the end is, or was.
    ending: BTreeSet<ChannelIndex>,
    /// Those whose end was reached.
    ended: BTreeSet<ChannelIndex>,
}

/// Where `newest` stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Nothing has begun, or it is over.
    Over,
    /// Before the cut.
    Aligning {
        /// Channels in whose queue the barrier is, or was.
        announced: BTreeSet<ChannelIndex>,
        /// Those of which all before it is processed: they are held.
        reached: BTreeSet<ChannelIndex>,
        /// Whether it may overtake.
        urgent: bool,
    },
    /// Behind the cut.
    Logging {
        /// Channels whose barrier has not arrived yet.
        missing: BTreeSet<ChannelIndex>,
    },
}

impl Overtaker {
    /// For a subtask with so many channels, at least one, of which the `forced` ones stay aligned.
    #[must_use]
    pub fn new(channels: u32, forced: BTreeSet<ChannelIndex>) -> Self {
        assert!(channels > 0, "a subtask without channels has nothing to overtake");
        assert!(forced.iter().all(|channel| channel.0 < channels), "only channels of this subtask stay aligned: {forced:?}");
        let (ending, ended) = (BTreeSet::new(), BTreeSet::new());
        Self { channels, forced, newest: CheckpointId::NONE, phase: Phase::Over, ending, ended }
    }

    /// The newest checkpoint that an announcement, barrier or marker was about.
    #[must_use]
    pub fn newest(&self) -> CheckpointId {
        self.newest
    }

    /// The checkpoint whose cut is still to come.
    #[must_use]
    pub fn collecting(&self) -> Option<CheckpointId> {
        matches!(self.phase, Phase::Aligning { .. }).then_some(self.newest)
    }

    /// The checkpoint whose logs are not whole yet.
    #[must_use]
    pub fn logging(&self) -> Option<CheckpointId> {
        matches!(self.phase, Phase::Logging { .. }).then_some(self.newest)
    }

    /// Whether this channel is held back.
    #[must_use]
    pub fn holds(&self, channel: ChannelIndex) -> bool {
        match &self.phase {
            Phase::Aligning { reached, .. } => reached.contains(&channel) && !self.ended.contains(&channel),
            Phase::Over | Phase::Logging { .. } => false,
        }
    }

    /// Whether nothing comes on any channel.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.len() == self.channels as usize
    }

    /// Whether no barrier can arrive any more.
    #[must_use]
    pub fn ends_announced(&self) -> bool {
        self.ending.len() == self.channels as usize
    }

    /// A barrier has arrived in the channel's queue; data may be ahead of it.
    pub fn announced(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Effect>) {
        if self.ending.contains(&channel) {
            out.push(Effect::Ignored("the channel has ended"));
            return;
        }
        if !self.turn_to(checkpoint, urgent, out) {
            return;
        }
        match &mut self.phase {
            Phase::Over => unreachable!("{checkpoint} counts"),
            Phase::Aligning { announced, urgent: already, .. } => {
                let (news, more) = (announced.insert(channel), urgent && !*already);
                if !news && !more {
                    out.push(Effect::Ignored("the channel has announced this barrier"));
                }
                *already |= urgent;
                self.cut(0, out);
            }
            Phase::Logging { .. } => self.arrived(channel, out),
        }
    }

    /// A barrier has been reached: everything before it is processed.
    pub fn barrier(&mut self, channel: ChannelIndex, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if self.ended.contains(&channel) {
            out.push(Effect::Ignored("the channel has ended"));
            return;
        }
        if !self.turn_to(checkpoint, false, out) {
            return;
        }
        match &mut self.phase {
            Phase::Over => unreachable!("{checkpoint} counts"),
            Phase::Aligning { announced, reached, .. } => {
                announced.insert(channel);
                if !reached.insert(channel) {
                    out.push(Effect::Ignored("the channel has delivered this barrier"));
                } else if reached.len() < self.channels as usize {
                    out.push(Effect::Hold(channel));
                }
                self.cut(1, out);
            }
            Phase::Logging { .. } => self.arrived(channel, out),
        }
    }

    /// The end of a channel has arrived in its queue; data may be ahead of it.
    pub fn end_announced(&mut self, channel: ChannelIndex, out: &mut Vec<Effect>) {
        if !self.ending.insert(channel) {
            out.push(Effect::Ignored("the channel's end was announced"));
            return;
        }
        match &mut self.phase {
            Phase::Over => {}
            Phase::Aligning { announced, .. } => {
                announced.insert(channel);
            }
            Phase::Logging { missing } if missing.contains(&channel) => self.arrived(channel, out),
            Phase::Logging { .. } => {}
        }
    }

    /// Everything that came on the channel is processed, and nothing follows.
    pub fn ended(&mut self, channel: ChannelIndex, out: &mut Vec<Effect>) {
        if self.holds(channel) {
            out.push(Effect::Ignored("the channel is held"));
            return;
        }
        if !self.ended.insert(channel) {
            out.push(Effect::Ignored("the channel has ended"));
            return;
        }
        if !self.ending.contains(&channel) {
            self.end_announced(channel, out);
        }
        if let Phase::Aligning { reached, .. } = &mut self.phase {
            reached.insert(channel);
            self.cut(0, out);
        }
    }

    /// Told of a checkpoint when no channel can tell of one any more.
    pub fn triggered(&mut self, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Effect>) {
        if self.turn_to(checkpoint, urgent, out) {
            self.cut(0, out);
        }
    }

    /// The checkpoint has become too old to go on waiting. Whether that changed anything.
    pub fn timed_out(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) -> bool {
        match &mut self.phase {
            Phase::Aligning { urgent, .. } if checkpoint == self.newest && !*urgent => {
                *urgent = true;
                self.cut(0, out);
                true
            }
            Phase::Over | Phase::Aligning { .. } | Phase::Logging { .. } => false,
        }
    }

    /// The barrier of this checkpoint will not come, on some channel or at all.
    pub fn cancelled(&mut self, checkpoint: CheckpointId, out: &mut Vec<Effect>) {
        if self.has_passed(checkpoint) {
            out.push(Effect::Ignored("a later checkpoint counts, or this one is over"));
            return;
        }
        if checkpoint > self.newest {
            self.abandon(out);
            self.newest = checkpoint;
        } else {
            self.end(out);
        }
        out.push(Effect::Cancelled(checkpoint));
    }

    /// The logs will not be needed.
    pub fn stop_logging(&mut self, out: &mut Vec<Effect>) {
        if self.logging().is_some() {
            self.end(out);
        }
    }

    fn has_passed(&self, checkpoint: CheckpointId) -> bool {
        checkpoint < self.newest || (checkpoint == self.newest && self.phase == Phase::Over)
    }

    /// Whether this checkpoint counts. One that is newer takes the place of what is under way.
    fn turn_to(&mut self, checkpoint: CheckpointId, urgent: bool, out: &mut Vec<Effect>) -> bool {
        if self.has_passed(checkpoint) {
            out.push(Effect::Ignored("a later checkpoint counts, or this one is over"));
            return false;
        }
        if checkpoint > self.newest {
            self.abandon(out);
            self.newest = checkpoint;
            self.phase = Phase::Aligning { announced: self.ending.clone(), reached: self.ended.clone(), urgent };
            if !urgent {
                out.push(Effect::Arm(checkpoint));
            }
        }
        true
    }

    /// Makes the cut if it is time. `last`: how many channels have delivered just now, and are not held.
    fn cut(&mut self, last: usize, out: &mut Vec<Effect>) {
        let Phase::Aligning { announced, reached, urgent } = &self.phase else { return };
        let (checkpoint, held, urgent) = (self.newest, reached.difference(&self.ended).count(), *urgent);
        // The last barrier never overtakes: there is nothing left to wait for.
        if reached.len() == self.channels as usize {
            self.phase = Phase::Over;
            out.push(Effect::Complete(checkpoint));
            if held > last {
                out.push(Effect::ReleaseAll);
            }
            if urgent {
                // Those behind must not wait for it longer than this subtask would have.
                out.push(Effect::Hasten(checkpoint));
            }
        } else if urgent && self.forced.is_subset(reached) {
            let missing: BTreeSet<_> = (0..self.channels).map(ChannelIndex).filter(|channel| !announced.contains(channel)).collect();
            let whole = missing.is_empty();
            self.phase = if whole { Phase::Over } else { Phase::Logging { missing } };
            out.push(Effect::Overtake(checkpoint));
            if held > 0 {
                out.push(Effect::ReleaseAll);
            }
            if whole {
                out.push(Effect::LogsComplete(checkpoint));
            }
        }
    }

    /// Behind the cut: a channel's log is whole as soon as the barrier is in its queue.
    fn arrived(&mut self, channel: ChannelIndex, out: &mut Vec<Effect>) {
        let Phase::Logging { missing } = &mut self.phase else { return };
        if !missing.remove(&channel) {
            out.push(Effect::Ignored("the cut was made before"));
        } else if missing.is_empty() {
            self.phase = Phase::Over;
            out.push(Effect::LogsComplete(self.newest));
        }
    }

    fn abandon(&mut self, out: &mut Vec<Effect>) {
        if self.phase != Phase::Over {
            self.end(out);
            out.push(Effect::Abandoned(self.newest));
        }
    }

    /// Whatever is under way is over.
    fn end(&mut self, out: &mut Vec<Effect>) {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => {}
            Phase::Aligning { reached, .. } => {
                if !reached.is_subset(&self.ended) {
                    out.push(Effect::ReleaseAll);
                }
            }
            Phase::Logging { .. } => out.push(Effect::DropLogs(self.newest)),
        }
    }

    pub(crate) fn check(&self) {
        match &self.phase {
            Phase::Over => {}
            Phase::Aligning { announced, reached, urgent } => {
                assert!(!announced.is_empty(), "{} is collected though no barrier has come", self.newest);
                assert!(reached.is_subset(announced), "a barrier of {} was reached before it had arrived", self.newest);
                // Why: nothing would ever be read again.
                assert!(reached.len() < self.channels as usize, "a channel is open, or the alignment would be over");
                // Why: nothing would call for the cut any more.
                assert!(!*urgent || !self.forced.is_subset(reached), "{} is urgent, and nothing has to be waited for", self.newest);
            }
            // Why: nothing would end the logs any more.
            Phase::Logging { missing } => assert!(!missing.is_empty(), "the logs of {} are whole, or they would be over", self.newest),
        }
    }
}
