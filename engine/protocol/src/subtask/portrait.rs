//! What a subtask looks like from outside: for people all that matters of it, for a testbed's count of what was met its shape.

use super::finishing::Finishing;
use super::{Barriers, Subtask};
use crate::ids::{ChannelIndex, CheckpointId};
use alloc::vec::Vec;
use core::fmt;

/// A subtask without its numbers: two that are the same in it differ in ids only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outline {
    /// Where its barriers come from, and what it does with them.
    pub barriers: &'static str,
    /// By channel, whether it is held back.
    pub held: Vec<bool>,
    /// Whether barriers are being collected.
    pub collecting: bool,
    /// Whether the cut is made and logs are not whole.
    pub logging: bool,
    /// Whether the newest checkpoint that it knows is committed.
    pub committed_newest: bool,
    /// Whether a barrier that has left may become urgent.
    pub waiting: bool,
    /// How many checkpoints were aborted ahead of their barrier, up to 3.
    pub aborted: usize,
    /// How many are being written, up to 3.
    pub writing: usize,
    /// How far it is with its end.
    pub end: &'static str,
}

impl Subtask {
    fn held(&self) -> impl Iterator<Item = ChannelIndex> + '_ {
        (0..self.channels).map(ChannelIndex).filter(|channel| self.holds(*channel))
    }

    fn kind(&self) -> &'static str {
        match &self.barriers {
            Barriers::Triggered { .. } => "source",
            Barriers::Aligned(_) => "aligned",
            Barriers::Overtaking(_) => "overtaking",
            Barriers::Tracked(_) => "tracked",
        }
    }

    /// Its shape.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline {
            barriers: self.kind(),
            held: (0..self.channels).map(|channel| self.holds(ChannelIndex(channel))).collect(),
            collecting: self.collecting().is_some(),
            logging: self.logging().is_some(),
            committed_newest: self.committed == self.newest(),
            waiting: self.waiting.is_some(),
            aborted: self.aborted.len().min(3),
            writing: self.writing.len().min(3),
            end: self.end(),
        }
    }

    fn end(&self) -> &'static str {
        match &self.finishing {
            Finishing { over: true, .. } => "finished",
            Finishing { last_state: Some(_), .. } => "cut-behind-its-end",
            Finishing { drained: Some(_), .. } => "drained",
            Finishing { drained: None, .. } => "reading",
        }
    }
}

/// One line.
impl fmt::Display for Subtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        let known = [("newest", Some(self.newest())), ("committed", Some(self.committed))];
        let going_on = [("collecting", self.collecting()), ("logging", self.logging()), ("may-hasten", self.waiting)];
        for (name, checkpoint) in known.into_iter().chain(going_on) {
            if let Some(checkpoint) = checkpoint.filter(|checkpoint| *checkpoint != CheckpointId::NONE) {
                write!(f, " {name} {checkpoint}")?;
            }
        }
        let sets = [("writing", &self.writing), ("aborted-early", &self.aborted)];
        for (name, set) in sets.into_iter().filter(|(_, set)| !set.is_empty()) {
            write!(f, " {name}")?;
            set.iter().try_for_each(|checkpoint| write!(f, " {checkpoint}"))?;
        }
        if self.finishing.drained.is_some() {
            write!(f, " {}", self.end())?;
        }
        let mut held = self.held().peekable();
        if held.peek().is_some() {
            f.write_str(" holds")?;
            held.try_for_each(|channel| write!(f, " {channel}"))?;
        }
        Ok(())
    }
}
