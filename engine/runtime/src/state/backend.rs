//! Between an operator's states and a checkpoint: states are visited by name, and a visited one is a table that can be
//! snapshotted and restored entry by entry. Dynamic calls are fine here: no record passes.

pub(crate) mod grouped;
pub mod hashmap;
pub mod restore;

use super::cold::ColdError;
use super::schema::{Typed, ValueType};
use super::table::AnyTable;
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::MaxParallelism;
use cofferdam_protocol::stored::Stored;
use core::fmt;
use std::collections::BTreeSet;

/// What can be kept in state. Everything that fits is.
pub trait StateValue: Stored + Typed + Clone + Send + Sync + 'static {}
impl<T: Stored + Typed + Clone + Send + Sync + 'static> StateValue for T {}

/// What a state is, as stored: the numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StateKind {
    /// [`ValueState`](super::ValueState).
    Value = 1,
    /// [`ListState`](super::ListState).
    List = 2,
    /// [`MapState`](super::MapState).
    Map = 3,
    /// [`ReducingState`](super::ReducingState).
    Reducing = 4,
    /// [`AggregatingState`](super::AggregatingState).
    Aggregating = 5,
    /// [`Timers`](super::Timers), of either kind of time.
    Timers = 6,
    /// [`BroadcastState`](super::BroadcastState), which is operator state.
    Broadcast = 7,
}

impl StateKind {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Value, Self::List, Self::Map, Self::Reducing, Self::Aggregating, Self::Timers, Self::Broadcast];

    /// The stored number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind with that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::Timers => "timers",
            Self::Broadcast => "broadcast",
        })
    }
}

/// One state of one operator, of whatever value type.
pub trait StateTable<K>: Send {
    /// What it is.
    fn kind(&self) -> StateKind;
    /// The type of what is kept under a key.
    fn value_type(&self) -> ValueType;
    /// What its entries are in.
    fn table(&mut self) -> &mut dyn AnyTable<K>;
    /// Makes what else it keeps in memory from its entries, after they have come with a store.
    ///
    /// # Errors
    /// The store cannot be read.
    fn rebuild(&mut self) -> Result<(), ColdError> {
        Ok(())
    }
}

/// The entries of one state at the time of a snapshot.
pub trait TableSnapshot: Send + Sync + 'static {
    /// What it is.
    fn kind(&self) -> StateKind;
    /// How many keys have an entry.
    fn entry_count(&self) -> usize;
    /// The entries by key group. Sorts references, copies nothing.
    fn by_group(&self, max: MaxParallelism) -> Box<dyn GroupedEntries + Send + '_>;
}

/// Entries, key group by key group.
pub trait GroupedEntries {
    /// Goes to the next key group that has entries.
    fn next_group(&mut self) -> Option<KeyGroup>;
    /// Appends the next entry of this key group, in order of the keys. False if there is none.
    fn write_next(&mut self, out: &mut Vec<u8>) -> bool;
}

/// Is shown each state of an operator, by name.
pub trait StateVisitor<K> {
    /// One state. Names are unique within an operator and stay for as long as there are snapshots.
    fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<K>);
}

/// Two states of one operator have one name. Rename one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two states have the name {name}")]
pub struct DuplicateState {
    /// Which.
    pub name: &'static str,
}

/// The names and kinds of an operator's states, for a check when it is built: a snapshot insists on unique names.
///
/// # Errors
/// A name stands twice.
pub fn declared_states<K>(states: impl FnOnce(&mut dyn StateVisitor<K>)) -> Result<Vec<(&'static str, StateKind)>, DuplicateState> {
    struct Declared(Vec<(&'static str, StateKind)>);
    impl<K> StateVisitor<K> for Declared {
        fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<K>) {
            self.0.push((name, table.kind()));
        }
    }
    let mut declared = Declared(Vec::new());
    states(&mut declared);
    let mut seen = BTreeSet::new();
    match declared.0.iter().find(|(name, _)| !seen.insert(*name)) {
        Some((name, _)) => Err(DuplicateState { name }),
        None => Ok(declared.0),
    }
}

/// Empties all of an operator's states, as before a restore into one that has run.
pub fn clear_all<K>(states: impl FnOnce(&mut dyn StateVisitor<K>)) {
    struct Clear;
    impl<K> StateVisitor<K> for Clear {
        fn visit(&mut self, _: &'static str, table: &mut dyn StateTable<K>) {
            table.table().clear_all();
        }
    }
    states(&mut Clear);
}

/// How many entries an operator's states have together.
#[must_use]
pub fn entry_count<K>(states: impl FnOnce(&mut dyn StateVisitor<K>)) -> u64 {
    struct Count(u64);
    impl<K> StateVisitor<K> for Count {
        fn visit(&mut self, _: &'static str, table: &mut dyn StateTable<K>) {
            self.0 += table.table().entry_count() as u64;
        }
    }
    let mut count = Count(0);
    states(&mut count);
    count.0
}

#[cfg(test)]
mod tests;
