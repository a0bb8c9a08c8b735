//! An accumulator per key: what goes in, what is kept and what comes out are three types.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::Typed;
use super::table::{AnyTable, Codec, Table};
use cofferdam_protocol::snapshot::TypeVersion;
use cofferdam_protocol::stored::Stored;

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
    table: Table<K, A::Accumulator>,
    aggregate: A,
}

impl<K: StateKey, A: Aggregate + Default> Default for AggregatingState<K, A> {
    fn default() -> Self {
        Self::new(A::default())
    }
}

impl<K: StateKey, A: Aggregate> AggregatingState<K, A> {
    /// Empty.
    #[must_use]
    pub fn new(aggregate: A) -> Self {
        Self { table: Table::new(Codec { write: A::Accumulator::write, read: A::Accumulator::read }), aggregate }
    }

    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, key: &Key<'_, K>, value: A::In) {
        self.aggregate.add(self.table.entry_or_insert_with(key, A::Accumulator::default), value);
    }

    /// What the values so far amount to, if there were any.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<A::Out> {
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
    fn value_type(&self) -> TypeVersion {
        A::Accumulator::type_version()
    }
    fn oldest_readable(&self) -> u32 {
        A::Accumulator::OLDEST_READABLE
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.table
    }
}
