//! How large a world is, and how much may go wrong in it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is bounded. Those that are used up are part of a state; with them run out all numbers that only grow: checkpoints, attempts,
/// epochs, lives of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// Periodic triggers.
    Checkpoints,
    /// Crashes of workers.
    Crashes,
    /// Takeovers by another coordinator.
    Takeovers,
    /// Journal writes whose answer is lost: they may have happened or not.
    Ambiguous,
    /// Timeouts of checkpoints, deployments and stops while something else could still happen.
    Expiries,
    /// Workers that are given up as silent though they live.
    Silences,
    /// Notices of completion and abort that get lost.
    Losses,
    /// Notices and reports that arrive twice.
    Repeats,
    /// Snapshots and metadata that cannot be written.
    Failures,
    /// Rewritings of a task's store, after which it does not need its old files.
    Compactions,
    /// Records in each source's log.
    Records,
    /// Records that fit into a channel.
    Capacity,
    /// Checkpoints that may be pending at once (`max-concurrent`).
    Concurrent,
    /// Completed checkpoints that are retained.
    Retained,
    /// Failed checkpoints in a row that the job survives.
    Tolerable,
    /// Steps from the beginning; 0: as many as there are.
    Depth,
}

impl Bound {
    /// All, in order: those that are used up come first.
    pub const ALL: [Self; 16] = [
        Self::Checkpoints,
        Self::Crashes,
        Self::Takeovers,
        Self::Ambiguous,
        Self::Expiries,
        Self::Silences,
        Self::Losses,
        Self::Repeats,
        Self::Failures,
        Self::Compactions,
        Self::Records,
        Self::Capacity,
        Self::Concurrent,
        Self::Retained,
        Self::Tolerable,
        Self::Depth,
    ];
    /// How many are used up.
    pub const USED_UP: usize = 10;

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::Crashes => "crashes",
            Self::Takeovers => "takeovers",
            Self::Ambiguous => "ambiguous",
            Self::Expiries => "expiries",
            Self::Silences => "silences",
            Self::Losses => "losses",
            Self::Repeats => "repeats",
            Self::Failures => "failures",
            Self::Compactions => "compactions",
            Self::Records => "records",
            Self::Capacity => "capacity",
            Self::Concurrent => "concurrent",
            Self::Retained => "retained",
            Self::Tolerable => "tolerable",
            Self::Depth => "depth",
        }
    }

    /// The least and the most that it can be.
    #[must_use]
    pub fn range(self) -> (u32, u32) {
        match self {
            // Numbers of checkpoints stay below 64, and each takeover skips up to eight.
            Self::Checkpoints => (0, 8),
            Self::Takeovers => (0, 4),
            Self::Crashes | Self::Ambiguous | Self::Expiries | Self::Silences => (0, 4),
            Self::Losses | Self::Repeats | Self::Failures | Self::Compactions => (0, 4),
            Self::Records => (0, 7),
            Self::Capacity => (1, 6),
            Self::Concurrent | Self::Retained => (1, 3),
            Self::Tolerable => (0, 100),
            Self::Depth => (0, 10_000),
        }
    }
}

/// A value for each bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
pub struct Bounds([u32; Bound::ALL.len()]);

/// A bound that cannot be. Correct the named one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// There is none of that name.
    #[error("no bound is called {name:?}; there are {}", names())]
    Unknown {
        /// What was given.
        name: String,
    },
    /// Too small or too large.
    #[error("the bound {name} is {value}, but it can be from {least} to {most}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What was given.
        value: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
}

fn names() -> String {
    Bound::ALL.map(Bound::name).join(", ")
}

impl Default for Bounds {
    /// One checkpoint at a time, one retained, nothing goes wrong.
    fn default() -> Self {
        let mut bounds = Self([0; Bound::ALL.len()]);
        for (bound, value) in
            [(Bound::Records, 1), (Bound::Capacity, 2), (Bound::Concurrent, 1), (Bound::Retained, 1), (Bound::Tolerable, 100)]
        {
            bounds.0[bound as usize] = value;
        }
        bounds
    }
}

impl Bounds {
    /// What it is.
    #[must_use]
    pub fn get(&self, bound: Bound) -> u32 {
        self.0[bound as usize]
    }

    /// The same with another value for one of them.
    #[must_use]
    pub fn with(mut self, bound: Bound, value: u32) -> Self {
        self.0[bound as usize] = value;
        self
    }

    /// Sets one by its name.
    ///
    /// # Errors
    /// There is none of that name, or the value is out of its range.
    pub fn set(&mut self, name: &str, value: u32) -> Result<(), BoundError> {
        let bound = Bound::ALL.into_iter().find(|bound| bound.name() == name);
        let bound = bound.ok_or_else(|| BoundError::Unknown { name: name.into() })?;
        let (least, most) = bound.range();
        if !(least..=most).contains(&value) {
            return Err(BoundError::OutOfRange { name: bound.name(), value, least, most });
        }
        self.0[bound as usize] = value;
        Ok(())
    }

    /// Those that are used up, in order.
    #[must_use]
    pub fn budgets(&self) -> [u8; Bound::USED_UP] {
        std::array::from_fn(|at| self.0[at].try_into().expect("a budget is small"))
    }

    /// All with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Bound, u32)> + '_ {
        Bound::ALL.into_iter().map(|bound| (bound, self.get(bound)))
    }
}

impl TryFrom<BTreeMap<String, u32>> for Bounds {
    type Error = BoundError;

    fn try_from(values: BTreeMap<String, u32>) -> Result<Self, BoundError> {
        let mut bounds = Self::default();
        values.iter().try_for_each(|(name, value)| bounds.set(name, *value))?;
        Ok(bounds)
    }
}

impl From<Bounds> for BTreeMap<String, u32> {
    fn from(bounds: Bounds) -> Self {
        bounds.iter().map(|(bound, value)| (bound.name().to_owned(), value)).collect()
    }
}
