//! RocksDB in a simulation: the real one, on the real machine, with nothing of its own showing.
//!
//! It writes tables and merges them only when a checkpoint asks, and is waited for; so which files there are follows from the
//! history alone. What does not, or may not in the next version: identities and times inside of files, their sizes, and the scratch
//! folder's name. Nothing in the simulation looks into a file but the reader that it is for. Sizes show in events, and decide how
//! long a file takes on a slow link and where a write is torn: so each file is given to the engine with its length before it and
//! zeros behind it, up to a multiple of [`SIZE_BYTES`]. Messages have the folder's name taken out. Databases are opened outside of
//! virtual time: see [`outside`].

use super::outside::outside;
use super::scratch::Folder;
use cofferdam_engine::state::cold::{
    Change, ColdBackend, ColdCheckpoint, ColdContent, ColdError, ColdFile, ColdPart, ColdPlace, ColdStore, ColumnIndex, Entry, LoadSink,
    Loaded, LoadedFile,
};
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode, RocksDbSettings};
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Sizes are multiples of it. Larger than nearly all files of a scenario, so that they are all the same.
const SIZE_BYTES: u64 = 16 << 10;
/// Before the content.
const LENGTH_BYTES: usize = size_of::<u64>();
/// Often enough that a story sees it.
const MODE: RocksDbMode = RocksDbMode::Explicit { compact_every: NonZeroU32::new(4).expect("not 0") };
const MEMORY_BYTES: usize = 4 << 20;

/// RocksDB of one life of a worker's process.
pub(super) struct Neutral {
    backend: Arc<RocksDbBackend>,
    folder: Arc<Folder>,
}

impl Neutral {
    /// In a folder that is its own.
    ///
    /// # Panics
    /// If there is no room in it.
    pub(super) fn new(folder: Arc<Folder>, hot_bytes: usize) -> Self {
        let path = folder.path().to_owned();
        let settings = RocksDbSettings { folder: path, memory_budget_bytes: MEMORY_BYTES, hot_bytes, mode: MODE };
        let backend = RocksDbBackend::new(settings).expect("the scratch folder is empty");
        Self { backend: Arc::new(backend), folder }
    }

    fn hide(&self, error: ColdError) -> ColdError {
        hide(&self.folder, error)
    }
}

fn hide(folder: &Folder, error: ColdError) -> ColdError {
    ColdError { cause: folder.hidden_in(&error.cause), ..error }
}

impl ColdBackend for Neutral {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn create(&self, place: &ColdPlace) -> Result<Arc<dyn ColdStore>, ColdError> {
        let (backend, columns, place) = (self.backend.clone(), place.columns, place.clone());
        let store = outside(move || backend.create(&place)).map_err(|error| self.hide(error))?;
        Ok(Arc::new(NeutralStore { store, columns, folder: self.folder.clone() }))
    }

    fn sink(&self, place: &ColdPlace, part: usize, name: &str) -> Result<Box<dyn LoadSink>, ColdError> {
        let sink = self.backend.sink(place, part, name).map_err(|error| self.hide(error))?;
        Ok(Box::new(Stripping { sink, length: Vec::new(), left: None, folder: self.folder.clone() }))
    }

    fn restore(&self, place: &ColdPlace, mut parts: Vec<ColdPart>) -> Result<(Arc<dyn ColdStore>, bool), ColdError> {
        for file in parts.iter_mut().flat_map(|part| &mut part.files) {
            // What came by way of a sink is stripped already.
            let LoadedFile { name, content: Loaded::Bytes(bytes), .. } = file else { continue };
            *bytes = stripped(bytes).map_err(|cause| damaged(name, &cause))?.to_vec();
        }
        let (backend, columns, place) = (self.backend.clone(), place.columns, place.clone());
        let (store, whole) = outside(move || backend.restore(&place, parts)).map_err(|error| self.hide(error))?;
        Ok((Arc::new(NeutralStore { store, columns, folder: self.folder.clone() }), whole))
    }

    fn hot_bytes(&self) -> usize {
        self.backend.hot_bytes()
    }
}

fn damaged(name: &str, cause: &str) -> ColdError {
    ColdError { backend: "rocksdb", operation: "take a file in", cause: format!("{name}: {cause}") }
}

/// What was padded.
fn stripped(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Err("it has no length".into()) };
    let length = u64::from_le_bytes(*length);
    usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| format!("it has fewer than {length} bytes"))
}

struct NeutralStore {
    // Closed before its folder goes: fields are dropped in this order.
    store: Arc<dyn ColdStore>,
    columns: u16,
    folder: Arc<Folder>,
}

impl ColdStore for NeutralStore {
    fn get(&self, column: ColumnIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ColdError> {
        self.store.get(column, key, value).map_err(|error| hide(&self.folder, error))
    }

    fn apply(&self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), ColdError> {
        self.store.apply(changes).map_err(|error| hide(&self.folder, error))
    }

    fn scan<'a>(&'a self, column: ColumnIndex, from: &[u8], to: Option<&[u8]>) -> Box<dyn Iterator<Item = Entry> + Send + 'a> {
        Box::new(self.store.scan(column, from, to).map(|entry| entry.map_err(|error| hide(&self.folder, error))))
    }

    /// Counted, which costs little here: the oracle wants to know after each restore.
    fn entry_count(&self) -> Option<u64> {
        Some((0..self.columns).map(|column| self.store.scan(ColumnIndex(column), &[], None).count() as u64).sum())
    }

    fn checkpoint(&self) -> Result<ColdCheckpoint, ColdError> {
        let ColdCheckpoint { files, hold } = self.store.checkpoint().map_err(|error| hide(&self.folder, error))?;
        let padded = |file: ColdFile| {
            let length = file.size_bytes;
            let size_bytes = (length + LENGTH_BYTES as u64).next_multiple_of(SIZE_BYTES);
            ColdFile { size_bytes, content: Arc::new(Padded { content: file.content, length, size_bytes }), ..file }
        };
        Ok(ColdCheckpoint { files: files.into_iter().map(padded).collect(), hold: Arc::new((hold, self.folder.clone())) })
    }
}

/// Length, content, zeros.
struct Padded {
    content: Arc<dyn ColdContent>,
    length: u64,
    size_bytes: u64,
}

impl ColdContent for Padded {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        buffer.fill(0);
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut filled = 0;
        if let Some(rest) = self.length.to_le_bytes().get(begin..) {
            filled = rest.len().min(count);
            buffer[..filled].copy_from_slice(&rest[..filled]);
        }
        while filled < count {
            match self.content.read_at(offset + filled as u64 - LENGTH_BYTES as u64, &mut buffer[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(count)
    }
}

/// Takes a padded file in, and passes on what is in it.
struct Stripping {
    sink: Box<dyn LoadSink>,
    length: Vec<u8>,
    /// How much of the content is still to come, once that is known.
    left: Option<u64>,
    folder: Arc<Folder>,
}

impl LoadSink for Stripping {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ColdError> {
        let (head, rest) = bytes.split_at(bytes.len().min(LENGTH_BYTES - self.length.len()));
        self.length.extend_from_slice(head);
        let Ok(length) = <[u8; LENGTH_BYTES]>::try_from(self.length.as_slice()) else { return Ok(()) };
        let left = self.left.get_or_insert(u64::from_le_bytes(length));
        let content = &rest[..rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
        *left -= content.len() as u64;
        self.sink.append(content).map_err(|error| hide(&self.folder, error))
    }

    fn finish(self: Box<Self>) -> Result<Loaded, ColdError> {
        if self.left != Some(0) {
            let cause = "a file has fewer bytes than it says".to_owned();
            return Err(ColdError { backend: "rocksdb", operation: "take a file in", cause });
        }
        self.sink.finish().map_err(|error| hide(&self.folder, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the pieces in which it is read.
    #[test]
    fn what_is_padded_has_a_round_size_and_comes_back() {
        for length in [0_usize, 1, 7, 8, 100, 16376, 16377, 40_000] {
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let size_bytes = (length as u64 + 8).next_multiple_of(SIZE_BYTES);
            let padded = Padded { content: Arc::new(content.clone()), length: length as u64, size_bytes };
            for piece in [1, 3, 8, 1000, 1 << 20] {
                let (mut whole, mut buffer) = (Vec::new(), vec![1; piece]);
                loop {
                    let count = padded.read_at(whole.len() as u64, &mut buffer).expect("it is in memory");
                    if count == 0 {
                        break;
                    }
                    whole.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(whole.len() as u64, size_bytes);
                assert_eq!(stripped(&whole), Ok(content.as_slice()), "{length} bytes in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_was_cut_short_is_refused() {
        assert!(stripped(&[1, 0, 0]).is_err());
        assert!(stripped(&[4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).is_err());
        assert!(stripped(&[u8::MAX; 12]).is_err());
    }

    /// Files of very different sizes look the same.
    #[test]
    fn the_engine_sees_nothing_of_what_the_bytes_are() {
        use cofferdam_protocol::{KeyGroup, KeyGroupRange};
        let place = ColdPlace {
            name: "place".into(),
            columns: 1,
            groups: KeyGroupRange { first: KeyGroup(0), last: KeyGroup(9) },
            expiring: Default::default(),
        };
        let seen = |value: &dyn Fn(u32) -> u8| {
            let scratch = super::super::scratch::Scratch::new();
            let backend = Neutral::new(scratch.of_a_life(), 0);
            let store = backend.create(&place).expect("there is room");
            let mut checkpoints = Vec::new();
            for round in 0..6_u32 {
                let change = |n: u32| {
                    let bytes = (0..100).map(|byte| value(n * 1000 + byte + round)).collect();
                    Change { column: ColumnIndex(0), key: [&[0, 0][..], &n.to_be_bytes()].concat(), value: Some(bytes) }
                };
                store.apply(&mut (0..100).map(change)).expect("there is room");
                let checkpoint = store.checkpoint().expect("there is room");
                checkpoints.push(checkpoint.files.iter().map(|file| (file.name.clone(), file.shared, file.size_bytes)).collect::<Vec<_>>());
            }
            checkpoints
        };
        let (plain, random) = (seen(&|_| 7), seen(&|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8));
        assert_eq!(plain, random);
        assert!(plain.iter().flatten().all(|(_, _, size_bytes)| *size_bytes == SIZE_BYTES), "{plain:?}");
    }
}
