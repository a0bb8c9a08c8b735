//! A cold store of sorted runs in memory: the shape of an LSM tree (immutable files plus a manifest) without its I/O.
//!
//! What changed between two checkpoints becomes one run per state, uploaded once and shared by all checkpoints until a
//! compaction merges it away. So incremental checkpoints of state that fits into memory need nothing else, and a simulation
//! goes through all the motions of a large store in a few microseconds, the same way each time.
//!
//! A run file (little-endian):
//!
//! ```text
//! magic    "CFDRUN1\0"
//! column   u16
//! count    u32
//! entries  key: u32 length, bytes; then 0 for a deletion, or 1 and the value: u32 length, bytes    ascending by key
//! ```
//!
//! The manifest is text: a line `column name...` per state, its runs from the oldest to the newest. Compaction is by count alone:
//! more than [`RUNS_MAX`] runs of a state become one.

use super::cold::{
    is_expired, Change, ColdBackend, ColdCheckpoint, ColdError, ColdFile, ColdPart, ColdPlace, ColdStore, ColumnIndex, Entry, LoadSink,
    Loaded, LoadedFile,
};
use super::table::cold_range;
use cofferdam_protocol::stored::{read_bytes, write_bytes, Reader, Stored, StoredError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name in metadata.
pub const NAME: &str = "sorted-runs";
/// A state with more runs gets them merged at its next checkpoint.
pub const RUNS_MAX: usize = 4;

const MAGIC: &[u8; 8] = b"CFDRUN1\0";
const MANIFEST: &str = "MANIFEST";

/// Makes such stores.
#[derive(Clone, Copy, Debug)]
pub struct SortedRuns {
    hot_bytes: usize,
}

impl SortedRuns {
    /// Changes beyond so many bytes are moved into the store before the next checkpoint.
    #[must_use]
    pub fn new(hot_bytes: usize) -> Self {
        Self { hot_bytes }
    }
}

impl Default for SortedRuns {
    fn default() -> Self {
        Self::new(256 << 20)
    }
}

fn error(operation: &'static str, cause: impl ToString) -> ColdError {
    ColdError { backend: NAME, operation, cause: cause.to_string() }
}

/// Keys and values; `None` is a deletion that hides older runs.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Clone)]
struct Run {
    name: String,
    rows: Arc<Rows>,
    /// As uploaded.
    bytes: Arc<Vec<u8>>,
}

impl Run {
    fn new(name: String, column: usize, rows: Rows) -> Self {
        let mut bytes = MAGIC.to_vec();
        u16::try_from(column).expect("columns are counted in 16 bits").write(&mut bytes);
        u32::try_from(rows.len()).expect("a run stays below 4 G entries").write(&mut bytes);
        for (key, value) in &rows {
            write_bytes(key, &mut bytes);
            value.is_some().write(&mut bytes);
            if let Some(value) = value {
                write_bytes(value, &mut bytes);
            }
        }
        Self { name, rows: Arc::new(rows), bytes: Arc::new(bytes) }
    }

    fn read(name: &str, bytes: Vec<u8>) -> Result<(usize, Self), StoredError> {
        let mut input = Reader::new(&bytes, 0);
        if input.take(MAGIC.len(), "the magic of a run")? != MAGIC {
            return Err(StoredError::Invalid { offset: 0, what: "this is not a sorted run".into() });
        }
        let column = usize::from(u16::read(&mut input)?);
        let count = input.count(5, "entries of a run")?;
        let mut rows = Rows::new();
        for _ in 0..count {
            let offset = input.offset();
            let key = read_bytes(&mut input, "a key")?.to_vec();
            if rows.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(StoredError::Invalid { offset, what: "the keys of a run do not ascend".into() });
            }
            let value = if bool::read(&mut input)? { Some(read_bytes(&mut input, "a value")?.to_vec()) } else { None };
            rows.insert(key, value);
        }
        input.finish("a sorted run")?;
        Ok((column, Self { name: name.into(), rows: Arc::new(rows), bytes: Arc::new(bytes) }))
    }
}

#[derive(Clone, Default)]
struct Column {
    fresh: Rows,
    /// Oldest first.
    runs: Vec<Run>,
    /// What was last accessed then or before need not be merged.
    deadline_ms: Option<i64>,
}

impl Column {
    fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        let newest = self.fresh.get(key).or_else(|| self.runs.iter().rev().find_map(|run| run.rows.get(key)));
        newest.and_then(Option::as_ref)
    }

    /// All that is there, newer over older.
    fn merged(&self) -> Rows {
        let mut merged = Rows::new();
        for rows in self.runs.iter().map(|run| run.rows.as_ref()).chain([&self.fresh]) {
            merged.extend(rows.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        merged.retain(|_, value| value.is_some());
        merged
    }
}

struct State {
    columns: Vec<Column>,
    next_run: u64,
}

/// See the [module](self).
pub struct RunStore {
    state: Mutex<State>,
}

impl RunStore {
    fn new(columns: Vec<Column>, next_run: u64) -> Self {
        Self { state: Mutex::new(State { columns, next_run }) }
    }

    /// What is guarded is valid at every step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ColdStore for RunStore {
    fn get(&self, column: ColumnIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ColdError> {
        let state = self.lock();
        let found = state.columns[usize::from(column.0)].get(key);
        if let Some(found) = found {
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    fn apply(&self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), ColdError> {
        let mut state = self.lock();
        for Change { column, key, value } in changes {
            state.columns[usize::from(column.0)].fresh.insert(key, value);
        }
        Ok(())
    }

    fn scan<'a>(&'a self, column: ColumnIndex, from: &[u8], to: Option<&[u8]>) -> Box<dyn Iterator<Item = Entry> + Send + 'a> {
        let rows = self.lock().columns[usize::from(column.0)].merged();
        let (from, to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let within = rows.into_iter().filter(move |(key, _)| *key >= from && to.as_ref().is_none_or(|to| key < to));
        Box::new(within.filter_map(|(key, value)| Some(Ok((key, value?)))))
    }

    fn entry_count(&self) -> Option<u64> {
        Some(self.lock().columns.iter().map(|column| column.merged().len() as u64).sum())
    }

    fn expire(&self, column: ColumnIndex, deadline_ms: i64) {
        self.lock().columns[usize::from(column.0)].deadline_ms = Some(deadline_ms);
    }

    fn checkpoint(&self) -> Result<ColdCheckpoint, ColdError> {
        let mut state = self.lock();
        let State { columns, next_run } = &mut *state;
        let mut named = |index: usize, rows: Rows| {
            *next_run += 1;
            Run::new(format!("{:06}.run", *next_run), index, rows)
        };
        for (index, column) in columns.iter_mut().enumerate() {
            if column.runs.len() >= RUNS_MAX && !column.fresh.is_empty() {
                let mut merged = column.merged();
                // All runs become one, so nothing older can come to light.
                if let Some(deadline_ms) = column.deadline_ms {
                    merged.retain(|_, value| !value.as_ref().is_some_and(|value| is_expired(value, deadline_ms)));
                }
                *column = Column { fresh: Rows::new(), runs: vec![named(index, merged)], deadline_ms: column.deadline_ms };
            } else if !column.fresh.is_empty() {
                let rows = std::mem::take(&mut column.fresh);
                column.runs.push(named(index, rows));
            }
        }
        let mut manifest = String::new();
        let mut files = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let names: Vec<&str> = column.runs.iter().map(|run| run.name.as_str()).collect();
            manifest.push_str(&format!("{index} {}\n", names.join(" ")));
            for run in &column.runs {
                let size_bytes = run.bytes.len() as u64;
                files.push(ColdFile { name: run.name.clone(), shared: true, size_bytes, content: run.bytes.clone() });
            }
        }
        let manifest = manifest.into_bytes();
        let size_bytes = manifest.len() as u64;
        files.push(ColdFile { name: MANIFEST.into(), shared: false, size_bytes, content: Arc::new(manifest) });
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(ColdCheckpoint { files, hold: Arc::new(()) })
    }
}

struct Bytes(Vec<u8>);

impl LoadSink for Bytes {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ColdError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Loaded, ColdError> {
        Ok(Loaded::Bytes(self.0))
    }
}

/// The runs of each column, as the manifest has them.
fn read_part(part: ColdPart) -> Result<Vec<Column>, ColdError> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for LoadedFile { name, content, .. } in part.files {
        let bytes = match content {
            Loaded::Bytes(bytes) => bytes,
            Loaded::Path(path) => std::fs::read(&path).map_err(|cause| error("read a fetched file", cause))?,
        };
        files.insert(name, bytes);
    }
    let manifest = files.remove(MANIFEST).ok_or_else(|| error("restore", "the manifest is missing"))?;
    let manifest = String::from_utf8(manifest).map_err(|_| error("restore", "the manifest is not UTF-8"))?;
    let mut columns = vec![Column::default(); usize::from(part.column_count)];
    for (index, line) in manifest.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let wanted = words.next().and_then(|word| word.parse::<usize>().ok()).filter(|column| *column == index);
        let Some(column) = wanted.and_then(|column| columns.get_mut(column)) else {
            return Err(error("restore", format!("line {} of the manifest is not that of a column", index + 1)));
        };
        for name in words {
            let bytes = files.remove(name).ok_or_else(|| error("restore", format!("{name} is missing")))?;
            let (of, run) = Run::read(name, bytes).map_err(|cause| error("restore", format!("{name}: {cause}")))?;
            if of != index {
                return Err(error("restore", format!("{name} is of column {of}, not {index}")));
            }
            column.runs.push(run);
        }
    }
    Ok(columns)
}

fn number_of(run: &Run) -> u64 {
    run.name.strip_suffix(".run").and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl ColdBackend for SortedRuns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn create(&self, place: &ColdPlace) -> Result<Arc<dyn ColdStore>, ColdError> {
        Ok(Arc::new(RunStore::new(vec![Column::default(); usize::from(place.columns)], 0)))
    }

    fn sink(&self, _: &ColdPlace, _: usize, _: &str) -> Result<Box<dyn LoadSink>, ColdError> {
        Ok(Box::new(Bytes(Vec::new())))
    }

    fn restore(&self, place: &ColdPlace, mut parts: Vec<ColdPart>) -> Result<(Arc<dyn ColdStore>, bool), ColdError> {
        let same = |part: &ColdPart| {
            let columns = (0..place.columns).map(|column| Some(ColumnIndex(column)));
            part.groups == part.held
                && part.groups == place.groups
                && part.column_count == place.columns
                && columns.eq(part.columns.iter().copied())
        };
        if parts.len() == 1 && parts.iter().all(same) {
            let columns = read_part(parts.remove(0))?;
            let next_run = columns.iter().flat_map(|column| &column.runs).map(number_of).max().unwrap_or(0);
            return Ok((Arc::new(RunStore::new(columns, next_run)), true));
        }
        let mut columns = vec![Column::default(); usize::from(place.columns)];
        for part in parts {
            let (from, to) = cold_range(part.groups);
            let wanted = part.columns.clone();
            let old = read_part(part)?;
            for (column, source) in columns.iter_mut().zip(wanted) {
                let Some(source) = source.and_then(|source| old.get(usize::from(source.0))) else { continue };
                let within = |key: &Vec<u8>| *key >= from && to.as_ref().is_none_or(|to| key < to);
                column.fresh.extend(source.merged().into_iter().filter(|(key, _)| within(key)));
            }
        }
        Ok((Arc::new(RunStore::new(columns, 0)), false))
    }

    fn hot_bytes(&self) -> usize {
        self.hot_bytes
    }
}

#[cfg(test)]
mod tests;
