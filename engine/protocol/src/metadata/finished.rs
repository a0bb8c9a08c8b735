//! Which subtasks of an operator had finished when a checkpoint was taken (Flink: `FullyFinishedOperatorState`).

use super::{invalid, WITH_FINISHED};
use crate::ids::SubtaskIndex;
use crate::stored::{Reader, Stored, StoredError};
use alloc::collections::BTreeSet;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Whose part is missing because they had finished: they had given out everything, and have no state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Finished {
    /// Nobody.
    #[default]
    Nobody,
    /// These, and not all.
    Some(BTreeSet<SubtaskIndex>),
    /// All of them: so are all at any other parallelism.
    All,
}

impl Finished {
    /// Of these, out of so many.
    #[must_use]
    pub fn of(subtasks: BTreeSet<SubtaskIndex>, parallelism: u32) -> Self {
        match subtasks.len() {
            0 => Self::Nobody,
            count if count >= parallelism as usize => Self::All,
            _ => Self::Some(subtasks),
        }
    }

    /// Whether this one had.
    #[must_use]
    pub fn has(&self, subtask: SubtaskIndex) -> bool {
        match self {
            Self::Nobody => false,
            Self::Some(subtasks) => subtasks.contains(&subtask),
            Self::All => true,
        }
    }

    /// Whether nobody had.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Self::Nobody
    }

    /// The largest of those that are named.
    pub(super) fn last(&self) -> Option<SubtaskIndex> {
        match self {
            Self::Nobody | Self::All => None,
            Self::Some(subtasks) => subtasks.last().copied(),
        }
    }

    /// Whether each is said in one way only.
    pub(super) fn is_canonical(&self, parallelism: u32) -> bool {
        match self {
            Self::Nobody => true,
            Self::Some(subtasks) => !subtasks.is_empty() && subtasks.len() < parallelism as usize,
            Self::All => parallelism > 0,
        }
    }

    pub(super) fn write(&self, version: u16, out: &mut alloc::vec::Vec<u8>) {
        if version < WITH_FINISHED {
            return;
        }
        match self {
            Self::Nobody => NOBODY.write(out),
            Self::Some(subtasks) => {
                SOME.write(out);
                super::write_count(subtasks.len(), out);
                subtasks.iter().for_each(|subtask| subtask.0.write(out));
            }
            Self::All => ALL.write(out),
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        if input.version() < Some(WITH_FINISHED.into()) {
            return Ok(Self::Nobody);
        }
        let offset = input.offset();
        match u8::read(input)? {
            NOBODY => Ok(Self::Nobody),
            ALL => Ok(Self::All),
            SOME => {
                let count = input.count(4, "finished subtasks")?;
                let mut subtasks = BTreeSet::new();
                for _ in 0..count {
                    let offset = input.offset();
                    let subtask = SubtaskIndex(u32::read(input)?);
                    if subtasks.last().is_some_and(|last| *last >= subtask) {
                        return Err(invalid(offset, "finished subtasks are not in order"));
                    }
                    subtasks.insert(subtask);
                }
                Ok(Self::Some(subtasks))
            }
            other => Err(invalid(offset, alloc::format!("{other} does not say who has finished"))),
        }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("none"),
            Self::All => f.write_str("all"),
            Self::Some(subtasks) => {
                let mut names = subtasks.iter();
                names.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
                names.try_for_each(|subtask| write!(f, ", {subtask}"))
            }
        }
    }
}

const NOBODY: u8 = 0;
const SOME: u8 = 1;
const ALL: u8 = 2;
