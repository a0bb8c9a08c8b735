//! The key space in slices, so that keyed state can move between subtasks (Flink: `KeyGroupRangeAssignment`).

use crate::ids::{KeyGroup, SubtaskIndex};
use core::fmt;
use serde::{Deserialize, Serialize};

/// How many key groups a job has, which bounds its parallelism for good. 1 to 32768.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MaxParallelism(u16);

/// Not between 1 and 32768. Choose one that is; it cannot be changed once there is state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("max parallelism is {0}, it must be between 1 and {max}", max = MaxParallelism::LIMIT)]
pub struct BadMaxParallelism(pub u32);

impl MaxParallelism {
    /// The largest.
    pub const LIMIT: u32 = 32768;

    /// Checks the range.
    ///
    /// # Errors
    /// Outside 1 to 32768.
    pub fn new(count: u32) -> Result<Self, BadMaxParallelism> {
        match u16::try_from(count) {
            Ok(small @ 1..) if count <= Self::LIMIT => Ok(Self(small)),
            Ok(_) | Err(_) => Err(BadMaxParallelism(count)),
        }
    }

    /// Flink's choice where the user made none: `min(max(roundUpToPow2(1.5 p), 128), 32768)`.
    #[must_use]
    pub fn default_for(parallelism: u32) -> Self {
        let wanted = (u64::from(parallelism) * 3).div_ceil(2).next_power_of_two().clamp(128, u64::from(Self::LIMIT));
        Self(u16::try_from(wanted).expect("clamped to 32768"))
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// The key group of a key, by the key's 64-bit hash. Uses the upper half: the lower one is for hash tables.
    #[must_use]
    #[inline]
    pub fn group_of(self, hash: u64) -> KeyGroup {
        // `as` truncates by intent: the upper 32 bits.
        #[allow(clippy::cast_possible_truncation)]
        KeyGroup(((hash >> 32) as u32 % u32::from(self.0)) as u16)
    }

    /// Who owns a key group: `group * p / max`.
    #[must_use]
    #[inline]
    pub fn owner(self, group: KeyGroup, parallelism: u32) -> SubtaskIndex {
        SubtaskIndex(u32::from(group.0) * parallelism / u32::from(self.0))
    }

    /// What a subtask owns, empty (`None`) only where parallelism exceeds the number of groups.
    #[must_use]
    pub fn range_of(self, subtask: SubtaskIndex, parallelism: u32) -> Option<KeyGroupRange> {
        let max = u64::from(self.0);
        let (index, parallelism) = (u64::from(subtask.0), u64::from(parallelism));
        let first = (index * max).div_ceil(parallelism);
        let end = ((index + 1) * max).div_ceil(parallelism);
        let narrow = |group: u64| KeyGroup(u16::try_from(group).expect("below max parallelism, which fits"));
        (first < end).then(|| KeyGroupRange { first: narrow(first), last: narrow(end - 1) })
    }
}

impl fmt::Display for MaxParallelism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Consecutive key groups, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// The lowest.
    pub first: KeyGroup,
    /// The highest.
    pub last: KeyGroup,
}

impl KeyGroupRange {
    /// Whether the group is one of them.
    #[must_use]
    pub fn contains(self, group: KeyGroup) -> bool {
        self.first <= group && group <= self.last
    }

    /// What both have.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests;
