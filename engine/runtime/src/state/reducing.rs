//! One value per key, into which the next ones are folded.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::AnyTable;
use super::ttl::{Expiring, Forever, Kept, Lifetime, Ttl};

/// How two values become one (Flink: `ReduceFunction`). Any `Fn(&mut T, T)` is one.
pub trait Reduce<T> {
    /// Folds `next` into `current`.
    fn reduce(&self, current: &mut T, next: T);
}

impl<T, F: Fn(&mut T, T)> Reduce<T> for F {
    #[inline]
    fn reduce(&self, current: &mut T, next: T) {
        self(current, next);
    }
}

/// What the values of a key reduce to (Flink: `ReducingState`).
#[derive(Debug)]
pub struct ReducingState<K, T: StateValue, R, L: Lifetime = Forever> {
    kept: Kept<K, L::Timed<T>, L>,
    reduce: R,
}

impl<K, T: StateValue, R: Default> Default for ReducingState<K, T, R> {
    fn default() -> Self {
        Self { kept: Kept::new(Forever), reduce: R::default() }
    }
}

impl<K: StateKey, T: StateValue, R: Reduce<T>> ReducingState<K, T, R> {
    /// Empty.
    #[must_use]
    pub fn new(reduce: R) -> Self {
        Self { kept: Kept::new(Forever), reduce }
    }

    /// Empty, and what the values of a key reduce to expires as a whole.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> ReducingState<K, T, R, Expiring> {
        ReducingState { kept: Kept::new(Expiring::new(ttl)), reduce: self.reduce }
    }
}

impl<K: StateKey, T: StateValue, R: Reduce<T>, L: Lifetime> ReducingState<K, T, R, L> {
    /// Folds a value in. The first one is taken as it is.
    #[inline]
    pub fn add(&mut self, key: &Key<'_, K>, next: T) {
        let mut next = Some(next);
        let current = self.kept.entry(key, || next.take().expect("made at most once"));
        if let Some(next) = next {
            self.reduce.reduce(current, next);
        }
    }

    /// What the values so far reduce to.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<&T> {
        self.kept.value(key)
    }

    /// Forgets the values so far.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.kept.table.remove(key);
    }
}

impl<K: StateKey, T: StateValue, R: Reduce<T> + Send, L: Lifetime> StateTable<K> for ReducingState<K, T, R, L> {
    fn kind(&self) -> StateKind {
        StateKind::Reducing
    }
    fn value_type(&self) -> ValueType {
        ValueType::of::<T, L>()
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_taken_as_it_is() {
        let mut product = ReducingState::new(|product: &mut u64, next: u64| *product *= next);
        let key = &Key::new(&1_u64);
        assert_eq!(product.get(key), None);
        product.add(key, 3);
        assert_eq!(product.get(key), Some(&3));
        product.add(key, 4);
        assert_eq!(product.get(key), Some(&12));
        product.clear(key);
        assert_eq!(product.get(key), None);
    }
}
