//! Stores to test, what is in them, and the way of a checkpoint into another store.

use cofferdam_engine::state::cold::{
    Change, ColdBackend, ColdCheckpoint, ColdError, ColdFile, ColdPart, ColdPlace, ColdStore, ColumnIndex, LoadedFile,
};
use cofferdam_protocol::{KeyGroup, KeyGroupRange};
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode, RocksDbSettings};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

/// What is in each column.
pub type Columns = Vec<BTreeMap<Vec<u8>, Vec<u8>>>;

pub const EXPLICIT: RocksDbMode = RocksDbMode::Explicit { compact_every: NonZeroU32::new(3).expect("not 0") };

pub fn backend(folder: &Path, mode: RocksDbMode) -> RocksDbBackend {
    let settings = RocksDbSettings { folder: folder.to_owned(), memory_budget_bytes: 8 << 20, hot_bytes: 1 << 20, mode };
    RocksDbBackend::new(settings).expect("there is room on the disk")
}

pub fn groups(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(first), last: KeyGroup(last) }
}

pub fn place(name: &str, columns: u16, groups: KeyGroupRange) -> ColdPlace {
    ColdPlace { name: name.to_owned(), columns, groups, expiring: Default::default() }
}

pub fn key(group: u16, name: &str) -> Vec<u8> {
    [&group.to_be_bytes(), name.as_bytes()].concat()
}

pub fn put(column: u16, key: &[u8], value: &str) -> Change {
    Change { column: ColumnIndex(column), key: key.to_vec(), value: Some(value.as_bytes().to_vec()) }
}

pub fn apply(store: &dyn ColdStore, changes: &[Change]) {
    store.apply(&mut changes.iter().cloned()).expect("the disk takes it");
}

/// The same changes for the model.
pub fn apply_to(model: &mut Columns, changes: &[Change]) {
    for Change { column, key, value } in changes {
        let column = &mut model[usize::from(column.0)];
        match value {
            Some(value) => drop(column.insert(key.clone(), value.clone())),
            None => drop(column.remove(key)),
        }
    }
}

/// Everything, by scans and again key by key.
pub fn contents(store: &dyn ColdStore, columns: u16) -> Result<Columns, ColdError> {
    let scan = |column| store.scan(ColumnIndex(column), &[], None).collect::<Result<BTreeMap<_, _>, _>>();
    let all = (0..columns).map(scan).collect::<Result<Columns, _>>()?;
    for (column, entries) in (0..).map(ColumnIndex).zip(&all) {
        for (key, value) in entries {
            let mut found = Vec::new();
            assert!(store.get(column, key, &mut found)?, "a key that was scanned is there");
            assert_eq!(&found, value);
        }
    }
    Ok(all)
}

pub fn names(checkpoint: &ColdCheckpoint) -> Vec<String> {
    checkpoint.files.iter().map(|file| file.name.clone()).collect()
}

pub fn bytes(file: &ColdFile) -> Vec<u8> {
    let size = usize::try_from(file.size_bytes).expect("fits into memory");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        let count = file.content.read_at(bytes.len() as u64, &mut buffer).expect("readable while it is held");
        bytes.extend_from_slice(&buffer[..count]);
        if count == 0 {
            assert_eq!(bytes.len(), size);
            return bytes;
        }
    }
}

/// What storage keeps of a checkpoint: name, whether shared, bytes.
pub type Kept = Vec<(String, bool, Vec<u8>)>;

pub fn keep(checkpoint: &ColdCheckpoint) -> Kept {
    checkpoint.files.iter().map(|file| (file.name.clone(), file.shared, bytes(file))).collect()
}

/// Fetches the files of a former store.
pub fn fetch(backend: &RocksDbBackend, place: &ColdPlace, part: usize, kept: &Kept) -> Result<Vec<LoadedFile>, ColdError> {
    kept.iter()
        .map(|(name, shared, bytes)| {
            let mut sink = backend.sink(place, part, name)?;
            for piece in bytes.chunks(700) {
                sink.append(piece)?;
            }
            Ok(LoadedFile { name: name.clone(), shared: *shared, content: sink.finish()? })
        })
        .collect()
}

/// A former store that had as many columns as the new one, in their order.
pub fn part(groups: KeyGroupRange, held: KeyGroupRange, columns: u16, files: Vec<LoadedFile>) -> ColdPart {
    let columns_then = (0..columns).map(|column| Some(ColumnIndex(column))).collect();
    ColdPart { groups, held, columns: columns_then, column_count: columns, files }
}
