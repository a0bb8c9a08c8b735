//! A list per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::AnyTable;
use super::ttl::{Cell, Elements, Expiring, Forever, Kept, Lifetime, Ttl};
use std::sync::Arc;

/// A list per key (Flink: `ListState`). An empty list is no entry.
#[derive(Debug)]
pub struct ListState<K, T: StateValue, L: Lifetime = Forever> {
    pub(super) kept: Kept<K, Arc<L::Elements<T>>, L>,
}

impl<K, T: StateValue> Default for ListState<K, T> {
    fn default() -> Self {
        Self { kept: Kept::new(Forever) }
    }
}

impl<K: StateKey, T: StateValue> ListState<K, T> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty, and each element expires by itself.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> ListState<K, T, Expiring> {
        ListState { kept: Kept::new(Expiring::new(ttl)) }
    }
}

impl<K: StateKey, T: StateValue, L: Lifetime> ListState<K, T, L> {
    /// Appends an element.
    #[inline]
    pub fn push(&mut self, key: &Key<'_, K>, element: T) {
        self.kept.sweep();
        let (now_ms, deadline_ms) = (self.kept.lifetime.now_ms(), self.kept.lifetime.deadline_ms());
        let list = Arc::make_mut(self.kept.table.entry_or_insert_with(key, Arc::default));
        // A list that nobody reads must not grow for ever.
        if L::EXPIRES && list.first_ms() <= deadline_ms {
            list.trim(deadline_ms);
        }
        list.push(element, now_ms);
    }

    /// The elements.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> &[T] {
        self.kept.look(key, self.kept.lifetime.counts_reads());
        self.kept.table.get(key).map_or(&[], |list| list.as_slice())
    }

    /// Sets the elements.
    pub fn replace(&mut self, key: &Key<'_, K>, elements: Vec<T>) {
        if elements.is_empty() {
            self.kept.table.remove(key);
        } else {
            self.kept.table.set(key, Arc::new(Elements::at(elements, self.kept.lifetime.now_ms())));
        }
    }

    /// Removes all elements.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.kept.table.remove(key);
    }
}

impl<K: StateKey, T: StateValue> ListState<K, T> {
    /// All lists that are in memory, in an order of no meaning: all there are, unless the operator has a store behind its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[T])> {
        self.kept.iter_memory().map(|(key, list)| (key, list.as_slice()))
    }
}

impl<K: StateKey, T: StateValue, L: Lifetime> StateTable<K> for ListState<K, T, L> {
    fn kind(&self) -> StateKind {
        StateKind::List
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
    use super::super::table::Table;
    use super::*;

    #[test]
    fn an_empty_list_is_no_entry() {
        let mut list = ListState::<u64, u64>::new();
        let key = &Key::new(&1);
        list.push(key, 1);
        list.push(key, 2);
        assert_eq!(list.get(key), &[1, 2]);
        list.replace(key, Vec::new());
        assert_eq!(list.table().entry_count(), 0);
        assert!(list.get(key).is_empty());
    }

    #[test]
    fn a_push_after_a_snapshot_copies_one_list_only() {
        let mut list = ListState::<u64, u64>::new();
        list.push(&Key::new(&1), 1);
        list.push(&Key::new(&2), 2);
        let Table::Memory(table, _) = &mut list.kept.table else { unreachable!("no store was attached") };
        let snapshot = table.snapshot();
        list.push(&Key::new(&1), 3);
        for (key, then) in snapshot.iter() {
            let now = list.kept.table.get(&Key::new(key)).expect("both are there");
            assert_eq!(Arc::ptr_eq(then, now), *key == 2);
            assert_eq!(then.len(), 1);
        }
    }
}
