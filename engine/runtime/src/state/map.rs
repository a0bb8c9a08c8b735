//! A map per key.

use super::backend::{StateKind, StateTable, StateValue};
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::AnyTable;
use super::ttl::{Cell, Expiring, Forever, Head, Kept, Lifetime, Timed, Ttl};
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The map of one key.
type Entries<UK, UV> = Arc<BTreeMap<UK, UV>>;

/// An ordered map per key (Flink: `MapState`). An empty map is no entry.
#[derive(Debug)]
pub struct MapState<K, UK: StateValue + Ord, UV: StateValue, L: Lifetime = Forever> {
    kept: Kept<K, Entries<UK, L::Timed<UV>>, L>,
}

impl<K, UK: StateValue + Ord, UV: StateValue> Default for MapState<K, UK, UV> {
    fn default() -> Self {
        Self { kept: Kept::new(Forever) }
    }
}

impl<K: StateKey, UK: StateValue + Ord, UV: StateValue> MapState<K, UK, UV> {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty, and each entry of a map expires by itself.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> MapState<K, UK, UV, Expiring> {
        MapState { kept: Kept::new(Expiring::new(ttl)) }
    }
}

impl<K: StateKey, UK: StateValue + Ord, UV: StateValue, L: Lifetime> MapState<K, UK, UV, L> {
    /// The value of a key's inner key.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>, inner: &UK) -> Option<&UV> {
        if L::EXPIRES {
            self.kept.look(key, false);
            if self.kept.lifetime.counts_reads() && self.kept.table.get(key)?.contains_key(inner) {
                let now_ms = self.kept.lifetime.now_ms();
                Arc::make_mut(self.kept.table.get_mut(key)?).get_mut(inner)?.touch(now_ms);
            }
        }
        self.kept.table.get(key)?.get(inner).map(Timed::value)
    }

    /// Sets a value and returns the one before.
    #[inline]
    pub fn insert(&mut self, key: &Key<'_, K>, inner: UK, value: UV) -> Option<UV> {
        self.kept.look(key, false);
        let now_ms = self.kept.lifetime.now_ms();
        let map = Arc::make_mut(self.kept.table.entry_or_insert_with(key, Arc::default));
        map.insert(inner, Timed::at(value, now_ms)).map(Timed::into_value)
    }

    /// Changes a value in place, starting from the default if there is none, and returns what `change` returns.
    #[inline]
    pub fn update<R>(&mut self, key: &Key<'_, K>, inner: UK, change: impl FnOnce(&mut UV) -> R) -> R
    where
        UV: Default,
    {
        self.kept.look(key, false);
        let now_ms = self.kept.lifetime.now_ms();
        let map = Arc::make_mut(self.kept.table.entry_or_insert_with(key, Arc::default));
        let timed = map.entry(inner).or_insert_with(|| Timed::at(UV::default(), now_ms));
        timed.touch(now_ms);
        change(timed.value_mut())
    }

    /// Removes a value and returns it.
    pub fn remove(&mut self, key: &Key<'_, K>, inner: &UK) -> Option<UV> {
        self.kept.look(key, false);
        // Looks first: a key that is not there copies nothing.
        self.kept.table.get(key)?.get(inner)?;
        let map = Arc::make_mut(self.kept.table.get_mut(key)?);
        let removed = map.remove(inner);
        if map.is_empty() {
            self.kept.table.remove(key);
        }
        removed.map(Timed::into_value)
    }

    /// The key's map, in order of the inner keys.
    pub fn iter(&mut self, key: &Key<'_, K>) -> impl Iterator<Item = (&UK, &UV)> {
        self.kept.look(key, self.kept.lifetime.counts_reads());
        self.kept.table.get(key).into_iter().flat_map(|map| map.iter().map(|(inner, value)| (inner, value.value())))
    }

    /// Whether the key has nothing.
    pub fn is_empty(&mut self, key: &Key<'_, K>) -> bool {
        self.kept.look(key, false);
        self.kept.table.get(key).is_none()
    }

    /// Removes the key's map.
    pub fn clear(&mut self, key: &Key<'_, K>) {
        self.kept.table.remove(key);
    }
}

impl<K: StateKey, UK: StateValue + Ord, UV: StateValue, L: Lifetime> StateTable<K> for MapState<K, UK, UV, L> {
    fn kind(&self) -> StateKind {
        StateKind::Map
    }
    fn value_type(&self) -> ValueType {
        ValueType::of_pair::<UK, UV, L>()
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        &mut self.kept
    }
}

impl<UK: StateValue + Ord, C: Cell> Cell for BTreeMap<UK, C> {
    const STAMPED: bool = C::STAMPED;
    fn newest_ms(&self) -> i64 {
        // Of what never expires any one will do.
        let some = if C::STAMPED { self.len() } else { 1 };
        self.values().take(some).map(C::newest_ms).max().unwrap_or(i64::MIN)
    }
    fn oldest_ms(&self) -> i64 {
        let some = if C::STAMPED { self.len() } else { 1 };
        self.values().take(some).map(C::oldest_ms).min().unwrap_or(i64::MAX)
    }
    fn trim(&mut self, deadline_ms: i64) {
        self.retain(|_, value| value.newest_ms() > deadline_ms);
    }
    fn touch(&mut self, now_ms: i64) {
        self.values_mut().for_each(|value| value.touch(now_ms));
    }
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>) {
        Head::write::<Self>(self.newest_ms(), out);
        let alive = || self.iter().filter(|(_, value)| value.newest_ms() > deadline_ms);
        let count = if C::STAMPED { alive().count() } else { self.len() };
        u32::try_from(count).expect("a single map stays below 4 G entries").write(out);
        for (inner, value) in alive() {
            inner.write(out);
            value.write(deadline_ms, out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let head = Head::read::<Self>(input)?;
        let offset = input.offset();
        let count = u32::read(input)?;
        if count == 0 {
            return Err(StoredError::Invalid { offset, what: "an empty map is never stored".into() });
        }
        let mut map = Self::new();
        for _ in 0..count {
            let offset = input.offset();
            let inner = input.at_present::<UK>()?;
            // Also what ends the loop where keys take no bytes.
            if map.last_key_value().is_some_and(|(last, _)| *last >= inner) {
                return Err(StoredError::Invalid { offset, what: "the keys of a map do not ascend".into() });
            }
            map.insert(inner, C::read(input)?);
        }
        head.check(map.newest_ms())?;
        Ok(map)
    }
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
