//! A list per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::table::{AnyTable, Codec, Table};
use cofferdam_protocol::snapshot::TypeVersion;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use std::sync::Arc;

/// A list per key (Flink: `ListState`). An empty list is no entry.
#[derive(Debug)]
pub struct ListState<K, T> {
    /// Why an `Arc`: a write after a snapshot copies the page, and that must not copy 448 long lists.
    table: Table<K, Arc<Vec<T>>>,
}

impl<K, T: StateValue> Default for ListState<K, T> {
    fn default() -> Self {
        Self { table: Table::new(Codec { write: |list, out| list.write(out), read: read_list }) }
    }
}

impl<K: StateKey, T: StateValue> ListState<K, T> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an element.
    #[inline]
    pub fn push(&mut self, key: &Key<'_, K>, element: T) {
        Arc::make_mut(self.table.entry_or_insert_with(key, Arc::default)).push(element);
    }

    /// The elements.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> &[T] {
        self.table.get(key).map_or(&[], |list| list.as_slice())
    }

    /// Sets the elements.
    pub fn replace(&mut self, key: &Key<'_, K>, elements: Vec<T>) {
        if elements.is_empty() {
            self.table.remove(key);
        } else {
            self.table.set(key, Arc::new(elements));
        }
    }

    /// Removes all elements.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }

    /// All lists that are in memory, in an order of no meaning: all there are, unless the operator has a store behind its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[T])> {
        self.table.iter_memory().map(|(key, list)| (key, list.as_slice()))
    }
}

impl<K: StateKey, T: StateValue> StateTable<K> for ListState<K, T> {
    fn kind(&self) -> StateKind {
        StateKind::List
    }
    fn value_type(&self) -> TypeVersion {
        T::type_version()
    }
    fn oldest_readable(&self) -> u32 {
        T::OLDEST_READABLE
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.table
    }
}

/// Grows as elements are really there: the count alone allocates nothing.
fn read_list<T: Stored>(input: &mut Reader<'_>) -> Result<Arc<Vec<T>>, StoredError> {
    let offset = input.offset();
    let count = u32::read(input)?;
    if count == 0 {
        return Err(StoredError::Invalid { offset, what: "an empty list is never stored".into() });
    }
    if size_of::<T>() > 0 && count as usize > input.remaining() {
        return Err(StoredError::Invalid { offset, what: format!("{count} elements of a list cannot fit") });
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(T::read(input)?);
    }
    Ok(Arc::new(list))
}

#[cfg(test)]
mod tests {
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
        let Table::Memory(table, _) = &mut list.table else { unreachable!("no store was attached") };
        let snapshot = table.snapshot();
        list.push(&Key::new(&1), 3);
        for (key, then) in snapshot.iter() {
            let now = list.table.get(&Key::new(key)).expect("both are there");
            assert_eq!(Arc::ptr_eq(then, now), *key == 2);
            assert_eq!(then.len(), 1);
        }
    }
}
