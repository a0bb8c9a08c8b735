//! One value per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::AnyTable;
use super::ttl::{Expiring, Forever, Kept, Lifetime, Timed, Ttl};

/// One value per key (Flink: `ValueState`). A page of up to 448 values is cloned at its first change after a snapshot, so a
/// value should be cheap to clone.
#[derive(Debug)]
pub struct ValueState<K, V: StateValue, L: Lifetime = Forever> {
    kept: Kept<K, L::Timed<V>, L>,
}

impl<K, V: StateValue> Default for ValueState<K, V> {
    fn default() -> Self {
        Self { kept: Kept::new(Forever) }
    }
}

impl<K: StateKey, V: StateValue> ValueState<K, V> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty, and each value expires.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> ValueState<K, V, Expiring> {
        ValueState { kept: Kept::new(Expiring::new(ttl)) }
    }
}

impl<K: StateKey, V: StateValue, L: Lifetime> ValueState<K, V, L> {
    /// The value, if there is one.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<&V> {
        self.kept.value(key)
    }

    /// The value, if there is one, to be changed in place.
    #[inline]
    pub fn get_mut(&mut self, key: &Key<'_, K>) -> Option<&mut V> {
        self.kept.look(key, true);
        self.kept.table.get_mut(key).map(Timed::value_mut)
    }

    /// Sets the value.
    #[inline]
    pub fn set(&mut self, key: &Key<'_, K>, value: V) {
        self.kept.sweep();
        self.kept.table.set(key, Timed::at(value, self.kept.lifetime.now_ms()));
    }

    /// Changes the value in place, starting from the default if there is none. One search, and what `change` returns.
    #[inline]
    pub fn update<R>(&mut self, key: &Key<'_, K>, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        change(self.kept.entry(key, V::default))
    }

    /// Removes the value.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.kept.table.remove(key);
    }

    /// All that are in memory, in an order of no meaning: all there are, unless the operator has a store behind its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter_memory().map(|(key, cell)| (key, cell.value()))
    }
}

impl<K: StateKey, V: StateValue, L: Lifetime> StateTable<K> for ValueState<K, V, L> {
    fn kind(&self) -> StateKind {
        StateKind::Value
    }
    fn value_type(&self) -> ValueType {
        ValueType::of::<V, L>()
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.kept
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
