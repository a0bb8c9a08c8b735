//! Keyed state that is larger than memory, or larger than what changes: an ordered store of bytes behind the hot tables.
//!
//! ```text
//! handle -> delta (changed or read since the last freeze)         memory, typed
//!        -> frozen deltas (being written, or just written)        memory, typed, shared with the snapshot
//!        -> cold store (everything else)                          bytes in immutable files
//! ```
//!
//! Lives here: what a cold store is. Its two kinds: sorted runs in memory, and RocksDB in a crate of its own.
//! Never here: checkpoint storage, who still needs a file (the protocol's `shared_files`).
//!
//! A key in the store is its key group as two big-endian bytes, then the key as `Stored` writes it, so that a range of key
//! groups is a range of keys. A store is written by one flush at a time, in the order of the checkpoints.

use cofferdam_protocol::KeyGroupRange;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// A state of the operator: its place among the states, by name. The same in every subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnIndex(pub u16);

/// The store could not do it. The subtask fails and starts again from the newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: cannot {operation}: {cause}")]
pub struct ColdError {
    /// Which backend.
    pub backend: &'static str,
    /// What was tried, in words.
    pub operation: &'static str,
    /// Why not.
    pub cause: String,
}

/// One change: `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which state.
    pub column: ColumnIndex,
    /// Key group and key.
    pub key: Vec<u8>,
    /// As `Stored` writes it.
    pub value: Option<Vec<u8>>,
}

/// An entry of a scan, or why it ends early.
pub type Entry = Result<(Vec<u8>, Vec<u8>), ColdError>;

/// Whether a value of a column with time-to-live is expired.
#[must_use]
pub fn is_expired(value: &[u8], deadline_ms: i64) -> bool {
    value.first_chunk::<8>().is_some_and(|stamp| i64::from_le_bytes(*stamp) <= deadline_ms)
}

/// An ordered store of bytes, one column per state. Reads see everything that was applied. One writer at a time; it may be on
/// another thread than the reader.
pub trait ColdStore: Send + Sync + 'static {
    /// Appends the value of a key to `value`. False if there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, column: ColumnIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ColdError>;

    /// Takes changes in. They come by ascending column and key, each key once. Durability is not asked for: that is what
    /// checkpoints are for.
    ///
    /// # Errors
    /// The store cannot be written. Some of the changes may be in; applying all of them again is harmless.
    fn apply(&self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), ColdError>;

    /// All entries of a column with keys from `from` up to, not including, `to` (`None`: to the end), ascending, as they are
    /// now: what is applied later does not show.
    fn scan<'a>(&'a self, column: ColumnIndex, from: &[u8], to: Option<&[u8]>) -> Box<dyn Iterator<Item = Entry> + Send + 'a>;

    /// How many entries there are in all columns, if that is known without reading them.
    fn entry_count(&self) -> Option<u64> {
        None
    }

    /// The values of this column begin with the time of their last access (`i64`, little-endian), and those of `deadline_ms` or
    /// before are expired: whenever files are merged from now on, they may be left out. Never goes back on what is gone.
    fn expire(&self, column: ColumnIndex, deadline_ms: i64) {
        let _ = (column, deadline_ms);
    }

    /// All that was applied, as immutable files. Returns fast: hard links, or references.
    ///
    /// # Errors
    /// The store cannot be written.
    fn checkpoint(&self) -> Result<ColdCheckpoint, ColdError>;
}

/// What a store consists of at one moment. Dropping it lets go of what was only kept for it.
pub struct ColdCheckpoint {
    /// All files, by ascending name.
    pub files: Vec<ColdFile>,
    /// Kept as long as the files are needed.
    pub hold: Arc<dyn Send + Sync>,
}

/// One file of a checkpoint.
pub struct ColdFile {
    /// Unique within one life of a store, and stable: a later checkpoint that still has the file has it under this name.
    pub name: String,
    /// Whether it never changes and may be shared with other checkpoints. The others are small, and copied each time.
    pub shared: bool,
    /// How large.
    pub size_bytes: u64,
    /// What is in it.
    pub content: Arc<dyn ColdContent>,
}

/// The bytes of one file.
pub trait ColdContent: Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes at an offset; 0 at and behind the end.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ColdContent for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let count = buffer.len().min(self.len() - begin);
        buffer[..count].copy_from_slice(&self[begin..begin + count]);
        Ok(count)
    }
}

/// Which store is wanted: one per subtask of an operator with keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdPlace {
    /// For people and folder names, unique within a worker process: uid, subtask, attempt.
    pub name: String,
    /// How many states the operator has.
    pub columns: u16,
    /// What the subtask owns.
    pub groups: KeyGroupRange,
    /// The states with time-to-live: see [`ColdStore::expire`].
    pub expiring: BTreeSet<ColumnIndex>,
}

/// One former store that a subtask takes over, whole or in part.
pub struct ColdPart {
    /// What is to be taken: key groups of the subtask that this store has. Others may be in the files and are left out.
    pub groups: KeyGroupRange,
    /// What the store held, in all.
    pub held: KeyGroupRange,
    /// For each state of the operator now: its column in that store; `None` where it had none.
    pub columns: Vec<Option<ColumnIndex>>,
    /// How many columns that store has.
    pub column_count: u16,
    /// Its files, complete, under the names that they had.
    pub files: Vec<LoadedFile>,
}

/// A file of a former store.
pub struct LoadedFile {
    /// As in [`ColdFile::name`].
    pub name: String,
    /// As in [`ColdFile::shared`].
    pub shared: bool,
    /// All of it. Large ones are on the local disk, by way of [`ColdBackend::sink`].
    pub content: Loaded,
}

/// Where a fetched file is.
pub enum Loaded {
    /// In memory.
    Bytes(Vec<u8>),
    /// On the local disk, where [`ColdBackend::sink`] put it. The store may move it away.
    Path(std::path::PathBuf),
}

/// Takes a file in while it is fetched.
pub trait LoadSink: Send {
    /// Appends.
    ///
    /// # Errors
    /// The local disk says no.
    fn append(&mut self, bytes: &[u8]) -> Result<(), ColdError>;
    /// All has come.
    ///
    /// # Errors
    /// The local disk says no.
    fn finish(self: Box<Self>) -> Result<Loaded, ColdError>;
}

/// Makes stores. One value per worker process; what stores share (caches, budgets) is in it.
pub trait ColdBackend: Send + Sync + 'static {
    /// The name in metadata: files of one backend are of no use to another. Frozen.
    fn name(&self) -> &'static str;

    /// An empty store.
    ///
    /// # Errors
    /// The local disk says no.
    fn create(&self, place: &ColdPlace) -> Result<Arc<dyn ColdStore>, ColdError>;

    /// Where a file of a former store goes while it is fetched for a store to be at `place`. `part` counts the former stores.
    ///
    /// # Errors
    /// The local disk says no.
    fn sink(&self, place: &ColdPlace, part: usize, name: &str) -> Result<Box<dyn LoadSink>, ColdError>;

    /// A store with what the parts hold of their `groups`. With one part, all of whose groups are taken and whose columns stay,
    /// the files of the former store keep their names, so that the next checkpoint shares them; the second value says so.
    ///
    /// # Errors
    /// The files are not what they should be, or the local disk says no.
    fn restore(&self, place: &ColdPlace, parts: Vec<ColdPart>) -> Result<(Arc<dyn ColdStore>, bool), ColdError>;

    /// How many bytes of changes a subtask keeps in memory before it writes them to its store without a checkpoint.
    fn hot_bytes(&self) -> usize;
}
