//! An accumulator per key: what goes in, what is kept and what comes out are three types.

use super::backend::grouped::{paged_snapshot, restore_into};
use super::backend::{StateKind, StateTable, StateValue, TableSnapshot};
use super::key::{Key, StateKey};
use super::paged::PagedTable;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};

/// How values are aggregated (Flink: `AggregateFunction`).
pub trait Aggregate {
    /// What goes in.
    type In;
    /// What is kept. Its default is that of no values.
    type Accumulator: StateValue + Default;
    /// What comes out.
    type Out;
    /// Takes a value in.
    fn add(&self, accumulator: &mut Self::Accumulator, value: Self::In);
    /// What the values so far amount to.
    fn get(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// What the values of a key aggregate to (Flink: `AggregatingState`).
#[derive(Debug)]
pub struct AggregatingState<K, A: Aggregate> {
    table: PagedTable<K, A::Accumulator>,
    aggregate: A,
}

impl<K, A: Aggregate + Default> Default for AggregatingState<K, A> {
    fn default() -> Self {
        Self { table: PagedTable::default(), aggregate: A::default() }
    }
}

impl<K: StateKey, A: Aggregate> AggregatingState<K, A> {
    /// Empty.
    #[must_use]
    pub fn new(aggregate: A) -> Self {
        Self { table: PagedTable::default(), aggregate }
    }

    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, key: &Key<'_, K>, value: A::In) {
        self.aggregate.add(self.table.entry_or_insert_with(key, A::Accumulator::default), value);
    }

    /// What the values so far amount to, if there were any.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &Key<'_, K>) -> Option<A::Out> {
        self.table.get(key).map(|accumulator| self.aggregate.get(accumulator))
    }

    /// Forgets the values so far.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }
}

impl<K: StateKey, A: Aggregate + Send> StateTable<K> for AggregatingState<K, A> {
    fn kind(&self) -> StateKind {
        StateKind::Aggregating
    }
    fn snapshot(&mut self) -> Box<dyn TableSnapshot> {
        paged_snapshot(StateKind::Aggregating, &mut self.table, A::Accumulator::write)
    }
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        restore_into(&mut self.table, &key, input, A::Accumulator::read)
    }
    fn clear_all(&mut self) {
        self.table.clear();
    }
    fn entry_count(&self) -> usize {
        self.table.len()
    }
}
