//! An accumulator per key: what goes in, what is kept and what comes out are three types.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::AnyTable;
use super::ttl::{Expiring, Forever, Kept, Lifetime, Ttl};

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
pub struct AggregatingState<K, A: Aggregate, L: Lifetime = Forever> {
    kept: Kept<K, L::Timed<A::Accumulator>, L>,
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
        Self { kept: Kept::new(Forever), aggregate }
    }

    /// Empty, and what the values of a key aggregate to expires as a whole.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> AggregatingState<K, A, Expiring> {
        AggregatingState { kept: Kept::new(Expiring::new(ttl)), aggregate: self.aggregate }
    }
}

impl<K: StateKey, A: Aggregate, L: Lifetime> AggregatingState<K, A, L> {
    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, key: &Key<'_, K>, value: A::In) {
        self.aggregate.add(self.kept.entry(key, A::Accumulator::default), value);
    }

    /// What the values so far amount to, if there were any.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<A::Out> {
        self.kept.value(key).map(|accumulator| self.aggregate.get(accumulator))
    }

    /// Forgets the values so far.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.kept.table.remove(key);
    }
}

impl<K: StateKey, A: Aggregate + Send, L: Lifetime> StateTable<K> for AggregatingState<K, A, L> {
    fn kind(&self) -> StateKind {
        StateKind::Aggregating
    }
    fn value_type(&self) -> ValueType {
        ValueType::of::<A::Accumulator, L>()
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.kept
    }
}
