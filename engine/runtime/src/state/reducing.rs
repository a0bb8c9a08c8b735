//! One value per key, into which the next ones are folded.

use super::backend::grouped::{paged_snapshot, restore_into};
use super::backend::{StateKind, StateTable, StateValue, TableSnapshot};
use super::key::{Key, StateKey};
use super::paged::PagedTable;
use cofferdam_protocol::stored::{Reader, StoredError};

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
pub struct ReducingState<K, T, R> {
    table: PagedTable<K, T>,
    reduce: R,
}

impl<K, T, R: Default> Default for ReducingState<K, T, R> {
    fn default() -> Self {
        Self { table: PagedTable::default(), reduce: R::default() }
    }
}

impl<K: StateKey, T: StateValue, R: Reduce<T>> ReducingState<K, T, R> {
    /// Empty.
    #[must_use]
    pub fn new(reduce: R) -> Self {
        Self { table: PagedTable::default(), reduce }
    }

    /// Folds a value in. The first one is taken as it is.
    #[inline]
    pub fn add(&mut self, key: &Key<'_, K>, next: T) {
        let mut next = Some(next);
        let current = self.table.entry_or_insert_with(key, || next.take().expect("made at most once"));
        if let Some(next) = next {
            self.reduce.reduce(current, next);
        }
    }

    /// What the values so far reduce to.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &Key<'_, K>) -> Option<&T> {
        self.table.get(key)
    }

    /// Forgets the values so far.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }
}

impl<K: StateKey, T: StateValue, R: Reduce<T> + Send> StateTable<K> for ReducingState<K, T, R> {
    fn kind(&self) -> StateKind {
        StateKind::Reducing
    }
    fn snapshot(&mut self) -> Box<dyn TableSnapshot> {
        paged_snapshot(StateKind::Reducing, &mut self.table, T::write)
    }
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        restore_into(&mut self.table, &key, input, T::read)
    }
    fn clear_all(&mut self) {
        self.table.clear();
    }
    fn entry_count(&self) -> usize {
        self.table.len()
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
