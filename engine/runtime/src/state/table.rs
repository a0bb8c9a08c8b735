//! What every kind of keyed state keeps its entries in: all in memory, or hot in memory and the rest in a cold store.
//!
//! Which one is decided when the operator is opened; a record pays one branch for it that always goes the same way.
//!
//! ```text
//! Memory   PagedTable                          a snapshot shares its pages
//! Tiered   delta -> frozen deltas -> store     a snapshot takes the delta away, whatever its size
//! ```
//!
//! In a tiered table an entry is looked for in the delta, then in the frozen deltas from the newest on, then in the store, and
//! what is found is kept in the delta, so that each key costs one search there per checkpoint. A frozen delta that has been
//! applied to the store is let go of at a later freeze: the newest ones stay as a cache, within a bound. Without that a task which
//! has fallen so far behind that it meets a part of its keys per checkpoint pays the store for nearly every record, and stays behind.

use super::backend::grouped::{paged_snapshot, restore_into};
use super::backend::{StateKind, TableSnapshot};
use super::cold::{Change, ColdError, ColdStore, ColumnIndex};
use super::key::{Key, StateKey};
use super::paged::PagedTable;
use super::ttl::{Clock, Expiry};
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use cofferdam_protocol::stored::{Reader, StoredError, Written};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How the values of a state are written and read.
pub struct Codec<V> {
    /// As stored.
    pub write: fn(&V, &mut Vec<u8>),
    /// The opposite.
    pub read: fn(&mut Reader<'_>) -> Result<V, StoredError>,
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Codec<V> {}

/// The first error of a store, kept until the task looks. Why not a `Result` per access: user code would have to handle what it
/// cannot, and the task fails before anything that follows from a wrong answer leaves it.
#[derive(Clone, Debug, Default)]
pub struct FirstError(Arc<Mutex<Option<ColdError>>>);

impl FirstError {
    /// Keeps the first.
    pub fn keep(&self, error: ColdError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// What went wrong, if anything did.
    ///
    /// # Errors
    /// The first error.
    pub fn check(&self) -> Result<(), ColdError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

/// What a state is told to keep its entries in.
#[derive(Clone)]
pub struct Cold {
    /// The operator's store.
    pub store: Arc<dyn ColdStore>,
    /// This state's part of it.
    pub column: ColumnIndex,
    /// For the key group of a key.
    pub max: MaxParallelism,
    /// Where errors go.
    pub errors: FirstError,
}

/// The changes of one state between two freezes.
pub trait FrozenChanges: Send + Sync {
    /// Encoded, by ascending key.
    fn changes(&self) -> Vec<Change>;
    /// They are in the store: the next freeze may let go of them.
    fn applied(&self);
}

/// A table of whatever types, as snapshots and restores see it.
pub trait AnyTable<K>: Send {
    /// Its entries as they are now. Only for a table in memory.
    fn snapshot(&mut self, kind: StateKind) -> Box<dyn TableSnapshot>;
    /// The changes since the last freeze; `None` for a table in memory.
    fn freeze(&mut self) -> Option<Arc<dyn FrozenChanges>>;
    /// Keeps entries in a store from now on. Whatever was there is forgotten.
    fn attach(&mut self, cold: Cold);
    /// Reads the value of `key` and takes it in.
    ///
    /// # Errors
    /// The bytes are wrong, or the key is there already.
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError>;
    /// Reads every entry of the store as it was written, by another program, and writes it anew.
    ///
    /// # Errors
    /// The store cannot be read or written.
    fn migrate(&mut self, written: Written) -> Result<(), ColdError>;
    /// Removes all entries that are in memory.
    fn clear_all(&mut self);
    /// How many entries are in memory.
    fn entry_count(&self) -> usize;
    /// About how much memory the entries take that were changed or read since the last freeze; 0 for a table in memory.
    fn hot_bytes(&self) -> usize;
    /// The clock to go by, where anything expires.
    fn set_clock(&mut self, clock: &Clock) {
        let _ = clock;
    }
    /// How late it is by that clock, in milliseconds.
    fn now_ms(&self) -> i64 {
        0
    }
    /// What a store may leave out now; `None` where nothing expires.
    fn expiry(&self) -> Option<Expiry> {
        None
    }
}

/// See the [module](self).
pub enum Table<K, V> {
    /// All entries are in memory.
    Memory(PagedTable<K, V>, Codec<V>),
    /// What was used lately is.
    Tiered(Box<Tiered<K, V>>),
}

/// An entry of a delta. Without a value it stands for "there is none".
#[derive(Clone, Debug)]
struct Hot<V> {
    value: Option<V>,
    /// Whether the store does not know.
    changed: bool,
}

/// Hot entries before a cold store.
pub struct Tiered<K, V> {
    delta: PagedTable<K, Hot<V>>,
    /// Oldest first.
    frozen: Vec<Arc<Frozen<K, V>>>,
    codec: Codec<V>,
    cold: Cold,
}

struct Frozen<K, V> {
    entries: PagedTable<K, Hot<V>>,
    codec: Codec<V>,
    column: ColumnIndex,
    max: MaxParallelism,
    applied: AtomicBool,
}

/// Entries of an older type that are read before they are written anew.
const MIGRATED_AT_ONCE: usize = 1024;

/// So many frozen deltas stay after they have been applied. Each is one more search for a key that is in none.
const WARM_TABLES: usize = 4;
/// And so many bytes of them, of one state.
const WARM_BYTES: usize = 32 << 20;

/// Besides the entry itself: its place in the table, and what its value points to.
const ENTRY_OVERHEAD_BYTES: usize = 40;

const fn entry_bytes<K, V>() -> usize {
    size_of::<(K, Hot<V>)>() + ENTRY_OVERHEAD_BYTES
}

/// The key of an entry in a store.
pub fn cold_key<K: StateKey>(key: &K, group: KeyGroup, out: &mut Vec<u8>) {
    out.extend_from_slice(&group.0.to_be_bytes());
    key.write(out);
}

/// The keys of a range of key groups: from the first up to, not including, the second.
#[must_use]
pub fn cold_range(groups: KeyGroupRange) -> (Vec<u8>, Option<Vec<u8>>) {
    let end = groups.last.0.checked_add(1).map(|next| next.to_be_bytes().to_vec());
    (groups.first.0.to_be_bytes().to_vec(), end)
}

impl<K, V> Table<K, V> {
    /// Empty, in memory.
    pub fn new(codec: Codec<V>) -> Self {
        Self::Memory(PagedTable::default(), codec)
    }
}

impl<K: StateKey, V: Clone + Send + Sync + 'static> Table<K, V> {
    /// The value of a key.
    #[inline]
    pub fn get(&mut self, key: &Key<'_, K>) -> Option<&V> {
        match self {
            Self::Memory(table, _) => table.get(key),
            Self::Tiered(tiered) => tiered.entry(key).value.as_ref(),
        }
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: &Key<'_, K>) -> Option<&mut V> {
        match self {
            Self::Memory(table, _) => table.get_mut(key),
            Self::Tiered(tiered) => {
                let entry = tiered.entry(key);
                entry.changed |= entry.value.is_some();
                entry.value.as_mut()
            }
        }
    }

    /// The value of a key, made first if there is none.
    #[inline]
    pub fn entry_or_insert_with(&mut self, key: &Key<'_, K>, make: impl FnOnce() -> V) -> &mut V {
        match self {
            Self::Memory(table, _) => table.entry_or_insert_with(key, make),
            Self::Tiered(tiered) => {
                let entry = tiered.entry(key);
                entry.changed = true;
                entry.value.get_or_insert_with(make)
            }
        }
    }

    /// Sets the value of a key. The one before is not looked for.
    #[inline]
    pub fn set(&mut self, key: &Key<'_, K>, value: V) {
        match self {
            Self::Memory(table, _) => {
                table.insert(key, value);
            }
            Self::Tiered(tiered) => {
                let entry = tiered.delta.entry_or_insert_with(key, || Hot { value: None, changed: true });
                *entry = Hot { value: Some(value), changed: true };
            }
        }
    }

    /// Removes a key. The value before is not looked for.
    pub fn remove(&mut self, key: &Key<'_, K>) {
        match self {
            Self::Memory(table, _) => {
                table.remove(key);
            }
            Self::Tiered(tiered) => {
                let entry = tiered.delta.entry_or_insert_with(key, || Hot { value: None, changed: true });
                *entry = Hot { value: None, changed: true };
            }
        }
    }

    /// Every entry, of the store too, in an order of no meaning.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn for_each(&mut self, mut visit: impl FnMut(&K, &V)) -> Result<(), ColdError> {
        match self {
            Self::Memory(table, _) => table.iter().for_each(|(key, value)| visit(key, value)),
            Self::Tiered(tiered) => {
                let everything = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(u16::MAX) };
                let (from, to) = cold_range(everything);
                for entry in tiered.cold.store.clone().scan(tiered.cold.column, &from, to.as_deref()) {
                    let (key, value) = entry?;
                    let (key, value) = tiered.decode(&key, &value, Written::default())?;
                    if tiered.in_memory(&Key::new(&key)).is_none() {
                        visit(&key, &value);
                    }
                }
                for (index, frozen) in tiered.frozen.iter().enumerate() {
                    let newer = |key: &K| {
                        let key = &Key::new(key);
                        tiered.delta.get(key).is_some() || tiered.frozen[index + 1..].iter().any(|later| later.entries.get(key).is_some())
                    };
                    let entries = frozen.entries.iter().filter(|(key, _)| !newer(key));
                    entries.filter_map(|(key, hot)| Some((key, hot.value.as_ref()?))).for_each(|(key, value)| visit(key, value));
                }
                tiered.delta.iter().filter_map(|(key, hot)| Some((key, hot.value.as_ref()?))).for_each(|(key, value)| visit(key, value));
            }
        }
        Ok(())
    }

    /// Of a table in memory, in an order of no meaning; of a tiered one what is hot and not in the store yet.
    pub fn iter_memory(&self) -> impl Iterator<Item = (&K, &V)> {
        let (memory, tiered) = match self {
            Self::Memory(table, _) => (Some(table.iter()), None),
            Self::Tiered(tiered) => (None, Some(tiered.delta.iter())),
        };
        let hot = tiered.into_iter().flatten().filter_map(|(key, hot)| Some((key, hot.value.as_ref()?)));
        memory.into_iter().flatten().chain(hot)
    }
}

impl<K: StateKey, V: Clone + Send + Sync + 'static> Tiered<K, V> {
    /// The entry of a key in the delta, fetched first if it is not there. One search where it is.
    #[inline]
    fn entry(&mut self, key: &Key<'_, K>) -> &mut Hot<V> {
        let (frozen, codec, cold) = (&self.frozen, &self.codec, &self.cold);
        self.delta.entry_or_insert_with(key, || fetch(frozen, codec, cold, key))
    }

    /// Of frozen deltas that the store has: the oldest ones. Younger ones hide what older ones say, so none goes before an older.
    fn let_go(&mut self) {
        let bytes = |frozen: &Frozen<K, V>| frozen.entries.len() * entry_bytes::<K, V>();
        let (mut warm, mut warm_bytes) = (self.frozen.len(), self.frozen.iter().map(|frozen| bytes(frozen)).sum::<usize>());
        let mut gone = 0;
        for frozen in &self.frozen {
            if !frozen.applied.load(Ordering::Acquire) || (warm <= WARM_TABLES && warm_bytes <= WARM_BYTES) {
                break;
            }
            (warm, warm_bytes, gone) = (warm - 1, warm_bytes - bytes(frozen), gone + 1);
        }
        self.frozen.drain(..gone);
    }

    fn in_memory(&self, key: &Key<'_, K>) -> Option<&Hot<V>> {
        self.delta.get(key).or_else(|| self.frozen.iter().rev().find_map(|frozen| frozen.entries.get(key)))
    }

    fn decode(&self, key: &[u8], value: &[u8], written: Written) -> Result<(K, V), ColdError> {
        let entry = decode_key(key).and_then(|key| Ok((key, decode_value(&self.codec, value, written)?)));
        entry.map_err(|error| ColdError { backend: "store", operation: "read an entry", cause: error.to_string() })
    }
}

fn decode_key<K: StateKey>(bytes: &[u8]) -> Result<K, StoredError> {
    let mut input = Reader::new(bytes, 0);
    input.take(2, "a key group")?;
    let key = K::read(&mut input)?;
    input.finish("a key")?;
    Ok(key)
}

fn decode_value<V>(codec: &Codec<V>, bytes: &[u8], written: Written) -> Result<V, StoredError> {
    let mut input = Reader::new(bytes, 0).written(written);
    let value = (codec.read)(&mut input)?;
    input.finish("a value")?;
    Ok(value)
}

#[cold]
#[inline(never)]
fn fetch<K: StateKey, V: Clone>(frozen: &[Arc<Frozen<K, V>>], codec: &Codec<V>, cold: &Cold, key: &Key<'_, K>) -> Hot<V> {
    if let Some(hot) = frozen.iter().rev().find_map(|frozen| frozen.entries.get(key)) {
        return Hot { value: hot.value.clone(), changed: false };
    }
    let (mut stored, mut bytes) = (Vec::new(), Vec::new());
    cold_key(key.key, cold.max.group_of(key.hash), &mut stored);
    let found = cold.store.get(cold.column, &stored, &mut bytes).and_then(|found| {
        let wrong = |error: StoredError| ColdError { backend: "store", operation: "read a value", cause: error.to_string() };
        found.then(|| decode_value(codec, &bytes, Written::default()).map_err(wrong)).transpose()
    });
    let value = found.unwrap_or_else(|error| {
        cold.errors.keep(error);
        None
    });
    Hot { value, changed: false }
}

impl<K: StateKey, V: Clone + Send + Sync + 'static> FrozenChanges for Frozen<K, V> {
    fn changes(&self) -> Vec<Change> {
        let encode = |(key, hot): (&K, &Hot<V>)| {
            let mut stored = Vec::new();
            cold_key(key, self.max.group_of(key.hash64()), &mut stored);
            let value = hot.value.as_ref().map(|value| {
                let mut bytes = Vec::new();
                (self.codec.write)(value, &mut bytes);
                bytes
            });
            Change { column: self.column, key: stored, value }
        };
        let mut changes: Vec<Change> = self.entries.iter().filter(|(_, hot)| hot.changed).map(encode).collect();
        changes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    fn applied(&self) {
        self.applied.store(true, Ordering::Release);
    }
}

impl<K: StateKey, V: Clone + Send + Sync + 'static> AnyTable<K> for Table<K, V> {
    fn snapshot(&mut self, kind: StateKind) -> Box<dyn TableSnapshot> {
        match self {
            Self::Memory(table, codec) => paged_snapshot(kind, table, codec.write),
            Self::Tiered(_) => unreachable!("a table with a store is frozen instead"),
        }
    }

    fn freeze(&mut self) -> Option<Arc<dyn FrozenChanges>> {
        match self {
            Self::Memory(..) => None,
            Self::Tiered(tiered) => {
                tiered.let_go();
                let entries = std::mem::take(&mut tiered.delta);
                let (column, max) = (tiered.cold.column, tiered.cold.max);
                let frozen = Arc::new(Frozen { entries, codec: tiered.codec, column, max, applied: AtomicBool::new(false) });
                tiered.frozen.push(frozen.clone());
                Some(frozen)
            }
        }
    }

    fn attach(&mut self, cold: Cold) {
        let codec = match self {
            Self::Memory(_, codec) => *codec,
            Self::Tiered(tiered) => tiered.codec,
        };
        *self = Self::Tiered(Box::new(Tiered { delta: PagedTable::default(), frozen: Vec::new(), codec, cold }));
    }

    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        match self {
            Self::Memory(table, codec) => restore_into(table, &key, input, codec.read),
            Self::Tiered(tiered) => {
                let value = (tiered.codec.read)(input)?;
                tiered.delta.insert(&Key::new(&key), Hot { value: Some(value), changed: true });
                Ok(())
            }
        }
    }

    /// Goes to the store in pieces: all of it may be larger than memory. The scan shows what was there when it began.
    fn migrate(&mut self, written: Written) -> Result<(), ColdError> {
        let Self::Tiered(tiered) = self else { return Ok(()) };
        let (start, end) = cold_range(KeyGroupRange { first: KeyGroup(0), last: KeyGroup(u16::MAX) });
        let (store, column) = (tiered.cold.store.clone(), tiered.cold.column);
        let mut entries = store.scan(column, &start, end.as_deref());
        loop {
            let mut piece = Vec::new();
            for entry in entries.by_ref().take(MIGRATED_AT_ONCE) {
                let (key, value) = entry?;
                let (_, value) = tiered.decode(&key, &value, written)?;
                let mut bytes = Vec::new();
                (tiered.codec.write)(&value, &mut bytes);
                piece.push(Change { column, key, value: Some(bytes) });
            }
            if piece.is_empty() {
                return Ok(());
            }
            store.apply(&mut piece.into_iter())?;
        }
    }

    fn clear_all(&mut self) {
        match self {
            Self::Memory(table, _) => table.clear(),
            Self::Tiered(tiered) => {
                tiered.delta.clear();
                tiered.frozen.clear();
            }
        }
    }

    fn entry_count(&self) -> usize {
        match self {
            Self::Memory(table, _) => table.len(),
            Self::Tiered(tiered) => tiered.delta.len(),
        }
    }

    fn hot_bytes(&self) -> usize {
        match self {
            Self::Memory(..) => 0,
            Self::Tiered(tiered) => tiered.delta.len() * entry_bytes::<K, V>(),
        }
    }
}

impl<K, V> std::fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(table, _) => write!(f, "{} entries", table.len()),
            Self::Tiered(tiered) => write!(f, "{} hot entries", tiered.delta.len()),
        }
    }
}
