//! One value per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::table::{AnyTable, Codec, Table};
use cofferdam_protocol::snapshot::TypeVersion;

/// One value per key (Flink: `ValueState`). A page of up to 448 values is cloned at its first change after a snapshot, so a
/// value should be cheap to clone.
#[derive(Debug)]
pub struct ValueState<K, V> {
    table: Table<K, V>,
}

impl<K, V: StateValue> Default for ValueState<K, V> {
    fn default() -> Self {
        Self { table: Table::new(Codec { write: V::write, read: V::read }) }
    }
}

impl<K: StateKey, V: StateValue> ValueState<K, V> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<&V> {
        self.table.get(key)
    }

    /// The value, if there is one, to be changed in place.
    #[inline]
    pub fn get_mut(&mut self, key: &Key<'_, K>) -> Option<&mut V> {
        self.table.get_mut(key)
    }

    /// Sets the value.
    #[inline]
    pub fn set(&mut self, key: &Key<'_, K>, value: V) {
        self.table.set(key, value);
    }

    /// Changes the value in place, starting from the default if there is none. One search, and what `change` returns.
    #[inline]
    pub fn update<R>(&mut self, key: &Key<'_, K>, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        change(self.table.entry_or_insert_with(key, V::default))
    }

    /// Removes the value.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }

    /// All that are in memory, in an order of no meaning: all there are, unless the operator has a store behind its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.table.iter_memory()
    }
}

impl<K: StateKey, V: StateValue> StateTable<K> for ValueState<K, V> {
    fn kind(&self) -> StateKind {
        StateKind::Value
    }
    fn value_type(&self) -> TypeVersion {
        V::type_version()
    }
    fn oldest_readable(&self) -> u32 {
        V::OLDEST_READABLE
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_starts_from_the_default() {
        let mut sum = ValueState::<u64, u64>::new();
        let key = &Key::new(&1);
        assert_eq!(sum.update(key, |sum| *sum + 1), 1);
        assert_eq!(sum.get(key), Some(&0));
        sum.update(key, |sum| *sum += 5);
        assert_eq!(sum.get(key), Some(&5));
        sum.clear(key);
        assert_eq!(sum.get(key), None);
    }
}
