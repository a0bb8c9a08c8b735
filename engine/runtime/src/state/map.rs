//! A map per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::Typed;
use super::table::{AnyTable, Codec, Table};
use cofferdam_protocol::snapshot::TypeVersion;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An ordered map per key (Flink: `MapState`). An empty map is no entry.
#[derive(Debug)]
pub struct MapState<K, UK, UV> {
    /// Why an `Arc`: a write after a snapshot copies the page, and that must not copy 448 large maps.
    table: Table<K, Arc<BTreeMap<UK, UV>>>,
}

impl<K, UK: StateValue + Ord, UV: StateValue> Default for MapState<K, UK, UV> {
    fn default() -> Self {
        Self { table: Table::new(Codec { write: write_map, read: read_map }) }
    }
}

impl<K: StateKey, UK: StateValue + Ord, UV: StateValue> MapState<K, UK, UV> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key's inner key.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>, inner: &UK) -> Option<&UV> {
        self.table.get(key)?.get(inner)
    }

    /// Sets a value and returns the one before.
    #[inline]
    pub fn insert(&mut self, key: &Key<'_, K>, inner: UK, value: UV) -> Option<UV> {
        Arc::make_mut(self.table.entry_or_insert_with(key, Arc::default)).insert(inner, value)
    }

    /// Changes a value in place, starting from the default if there is none, and returns what `change` returns.
    #[inline]
    pub fn update<R>(&mut self, key: &Key<'_, K>, inner: UK, change: impl FnOnce(&mut UV) -> R) -> R
    where
        UV: Default,
    {
        change(Arc::make_mut(self.table.entry_or_insert_with(key, Arc::default)).entry(inner).or_default())
    }

    /// Removes a value and returns it.
    pub fn remove(&mut self, key: &Key<'_, K>, inner: &UK) -> Option<UV> {
        // Looks first: a key that is not there copies nothing.
        self.table.get(key)?.get(inner)?;
        let map = Arc::make_mut(self.table.get_mut(key)?);
        let removed = map.remove(inner);
        if map.is_empty() {
            self.table.remove(key);
        }
        removed
    }

    /// The key's map, in order of the inner keys.
    pub fn iter(&mut self, key: &Key<'_, K>) -> impl Iterator<Item = (&UK, &UV)> {
        self.table.get(key).into_iter().flat_map(|map| map.iter())
    }

    /// Whether the key has nothing.
    pub fn is_empty(&mut self, key: &Key<'_, K>) -> bool {
        self.table.get(key).is_none()
    }

    /// Removes the key's map.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.table.remove(key);
    }
}

impl<K: StateKey, UK: StateValue + Ord, UV: StateValue> StateTable<K> for MapState<K, UK, UV> {
    fn kind(&self) -> StateKind {
        StateKind::Map
    }
    fn value_type(&self) -> TypeVersion {
        <(UK, UV)>::type_version()
    }
    fn oldest_readable(&self) -> u32 {
        <(UK, UV)>::OLDEST_READABLE
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.table
    }
}

fn write_map<UK: Stored, UV: Stored>(map: &Arc<BTreeMap<UK, UV>>, out: &mut Vec<u8>) {
    u32::try_from(map.len()).expect("a single map stays below 4 G entries").write(out);
    for (inner, value) in map.iter() {
        inner.write(out);
        value.write(out);
    }
}

fn read_map<UK: Stored + Ord, UV: Stored>(input: &mut Reader<'_>) -> Result<Arc<BTreeMap<UK, UV>>, StoredError> {
    let offset = input.offset();
    let count = u32::read(input)?;
    if count == 0 {
        return Err(StoredError::Invalid { offset, what: "an empty map is never stored".into() });
    }
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let offset = input.offset();
        let inner = UK::read(input)?;
        // Also what ends the loop where keys take no bytes.
        if map.last_key_value().is_some_and(|(last, _)| *last >= inner) {
            return Err(StoredError::Invalid { offset, what: "the keys of a map do not ascend".into() });
        }
        map.insert(inner, UV::read(input)?);
    }
    Ok(Arc::new(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_gets_empty_is_no_entry() {
        let mut map = MapState::<u64, u64, u64>::new();
        let key = &Key::new(&1);
        assert_eq!(map.insert(key, 7, 70), None);
        map.update(key, 5, |value| *value += 50);
        assert!(map.iter(key).eq([(&5, &50), (&7, &70)]));
        assert_eq!(map.remove(key, &7), Some(70));
        assert_eq!(map.remove(key, &7), None);
        assert_eq!(map.remove(key, &5), Some(50));
        assert!(map.is_empty(key));
        assert_eq!(map.table().entry_count(), 0);
    }
}
