//! A list per key.

use super::backend::grouped::{paged_snapshot, restore_into};
use super::backend::{StateKind, StateTable, StateValue, TableSnapshot};
use super::key::{Key, StateKey};
use super::paged::PagedTable;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use std::sync::Arc;

/// A list per key (Flink: `ListState`). An empty list is no entry.
#[derive(Debug)]
pub struct ListState<K, T> {
    /// Why an `Arc`: a write after a snapshot copies the page, and that must not copy 448 long lists.
    table: PagedTable<K, Arc<Vec<T>>>,
}

impl<K, T> Default for ListState<K, T> {
    fn default() -> Self {
        Self { table: PagedTable::default() }
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
    #[must_use]
    pub fn get(&self, key: &Key<'_, K>) -> &[T] {
        self.table.get(key).map_or(&[], |list| list.as_slice())
    }

    /// Sets the elements.
    pub fn replace(&mut self, key: &Key<'_, K>, elements: Vec<T>) {
        if elements.is_empty() {
            self.table.remove(key);
        } else {
            self.table.insert(key, Arc::new(elements));
        }
    }

    /// Removes all elements.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }

    /// All lists, in an order of no meaning.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[T])> {
        self.table.iter().map(|(key, list)| (key, list.as_slice()))
    }
}

impl<K: StateKey, T: StateValue> StateTable<K> for ListState<K, T> {
    fn kind(&self) -> StateKind {
        StateKind::List
    }
    fn snapshot(&mut self) -> Box<dyn TableSnapshot> {
        paged_snapshot(StateKind::List, &mut self.table, |list: &Arc<Vec<T>>, out| list.write(out))
    }
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        restore_into(&mut self.table, &key, input, read_list)
    }
    fn clear_all(&mut self) {
        self.table.clear();
    }
    fn entry_count(&self) -> usize {
        self.table.len()
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
        assert_eq!(list.entry_count(), 0);
        assert!(list.get(key).is_empty());
    }

    #[test]
    fn a_push_after_a_snapshot_copies_one_list_only() {
        let mut list = ListState::<u64, u64>::new();
        list.push(&Key::new(&1), 1);
        list.push(&Key::new(&2), 2);
        let snapshot = list.table.snapshot();
        list.push(&Key::new(&1), 3);
        for (key, then) in snapshot.iter() {
            let now = list.table.get(&Key::new(key)).expect("both are there");
            assert_eq!(Arc::ptr_eq(then, now), *key == 2);
            assert_eq!(then.len(), 1);
        }
    }
}
