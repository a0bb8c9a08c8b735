//! One store: a database with a column family per state.

use crate::backend::RocksDbMode;
use crate::checkpoint;
use crate::expiry::Deadlines;
use crate::failure::cannot;
use crate::options::{without_log, OptionsOfStores};
use crate::place::PlaceFolder;
use cofferdam_engine::state::cold::{Change, ColdCheckpoint, ColdError, ColdPlace, ColdStore, ColumnIndex, Entry};
use rocksdb::{ColumnFamily, DBRawIterator, FlushOptions, Options, ReadOptions, WriteBatch, WriteOptions, DB};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

/// How large a batch of changes gets before it is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// The store of one subtask.
pub struct RocksDbStore {
    // Closed before its folder is removed: fields are dropped in this order.
    database: DB,
    /// The names of the column families: states by number, since states have no other name here.
    columns: Vec<String>,
    reading: ReadOptions,
    writing: WriteOptions,
    options: OptionsOfStores,
    deadlines: Deadlines,
    /// How many checkpoints this store has taken.
    checkpoints: AtomicU64,
    folder: PlaceFolder,
}

impl RocksDbStore {
    /// An empty store in an empty folder.
    pub fn create(options: &OptionsOfStores, folder: PlaceFolder, place: &ColdPlace) -> Result<Self, ColdError> {
        let (columns, deadlines) = (place.columns, Deadlines::of(place));
        let mut database_options = options.database()?;
        database_options.create_if_missing(true);
        database_options.create_missing_column_families(true);
        let with_filter = |column| {
            let mut family = options.column(column);
            deadlines.filter(column, &mut family);
            family
        };
        let families = families(columns, with_filter, options);
        let database = DB::open_cf_with_opts(&database_options, folder.database(), families).map_err(cannot("create a database"))?;
        Ok(Self::over(options, folder, database, columns, deadlines))
    }

    /// A store over a database that is open, with these columns.
    pub fn over(options: &OptionsOfStores, folder: PlaceFolder, database: DB, columns: u16, deadlines: Deadlines) -> Self {
        Self {
            database,
            columns: (0..columns).map(|column| column_name(ColumnIndex(column))).collect(),
            reading: ReadOptions::default(),
            writing: without_log(),
            options: options.clone(),
            deadlines,
            checkpoints: AtomicU64::new(0),
            folder,
        }
    }

    /// Lets background compactions begin, in a store whose database was opened without.
    pub fn begin_compactions(&self) -> Result<(), ColdError> {
        match self.options.settings().mode {
            RocksDbMode::Automatic => self.families().try_for_each(|family| {
                let begin = [("disable_auto_compactions", "false")];
                self.database.set_options_cf(family, &begin).map_err(cannot("begin compactions"))
            }),
            RocksDbMode::Explicit { .. } => Ok(()),
        }
    }

    pub fn database(&self) -> &DB {
        &self.database
    }

    pub fn folder(&self) -> &PlaceFolder {
        &self.folder
    }

    fn family(&self, column: ColumnIndex) -> &ColumnFamily {
        let name = self.columns.get(usize::from(column.0)).expect("callers know how many columns they asked for");
        self.database.cf_handle(name).expect("it was opened with all of its columns")
    }

    fn families(&self) -> impl Iterator<Item = &ColumnFamily> {
        self.columns.iter().map(|name| self.database.cf_handle(name).expect("it was opened with all of its columns"))
    }

    /// Makes tables of what is in memory, and waits for that.
    fn write_buffers(&self) -> Result<(), ColdError> {
        let families: Vec<&ColumnFamily> = self.families().collect();
        self.database.flush_cfs_opt(&families, &FlushOptions::default()).map_err(cannot("write its buffers"))
    }

    /// In explicit mode: writes what is in memory, and merges the tables where it is time, before the checkpoint `n`.
    fn settle(&self, n: u64, compact_every: u64) -> Result<(), ColdError> {
        self.write_buffers()?;
        if (n + 1).is_multiple_of(compact_every) {
            for family in self.families() {
                self.database.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
            }
        }
        Ok(())
    }
}

impl ColdStore for RocksDbStore {
    fn get(&self, column: ColumnIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ColdError> {
        let found = self.database.get_pinned_cf_opt(self.family(column), key, &self.reading).map_err(cannot("read a key"))?;
        if let Some(bytes) = &found {
            value.extend_from_slice(bytes);
        }
        Ok(found.is_some())
    }

    fn apply(&self, changes: &mut dyn Iterator<Item = Change>) -> Result<(), ColdError> {
        let write = |batch: WriteBatch| {
            self.database.write_opt(batch, &self.writing).map_err(cannot("write changes"))?;
            if self.options.buffers_are_full() {
                self.write_buffers()?;
            }
            Ok(())
        };
        let mut batch = WriteBatch::default();
        let mut current: Option<(ColumnIndex, &ColumnFamily)> = None;
        for Change { column, key, value } in changes {
            let family = match current {
                Some((same, family)) if same == column => family,
                Some(_) | None => self.family(column),
            };
            current = Some((column, family));
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
            if batch.size_in_bytes() >= BATCH_BYTES {
                write(mem::take(&mut batch))?;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        write(batch)
    }

    fn scan<'a>(&'a self, column: ColumnIndex, from: &[u8], to: Option<&[u8]>) -> Box<dyn Iterator<Item = Entry> + Send + 'a> {
        Box::new(Scan::new(&self.database, self.family(column), from, to))
    }

    fn expire(&self, column: ColumnIndex, deadline_ms: i64) {
        self.deadlines.set(column, deadline_ms);
    }

    fn checkpoint(&self) -> Result<ColdCheckpoint, ColdError> {
        let n = self.checkpoints.fetch_add(1, Ordering::Relaxed);
        match self.options.settings().mode {
            // Taking the checkpoint writes what is in memory.
            RocksDbMode::Automatic => {}
            RocksDbMode::Explicit { compact_every } => self.settle(n, u64::from(compact_every.get()))?,
        }
        checkpoint::take(&self.database, self.folder.checkpoint(n))
    }
}

/// The name of a state's column family. Stored in checkpoints: frozen.
pub fn column_name(column: ColumnIndex) -> String {
    column.0.to_string()
}

/// All column families of a database with so many states, with their options.
pub fn families(columns: u16, of: impl Fn(ColumnIndex) -> Options, options: &OptionsOfStores) -> Vec<(String, Options)> {
    let unused = ("default".to_owned(), options.default_column());
    std::iter::once(unused).chain((0..columns).map(ColumnIndex).map(|column| (column_name(column), of(column)))).collect()
}

/// The entries of a range, as they were when the scan began: the iterator keeps tables and buffers of that moment.
pub struct Scan<'a> {
    /// `None` once it has failed or come to its end.
    iterator: Option<DBRawIterator<'a>>,
}

impl<'a> Scan<'a> {
    pub fn new(database: &'a DB, family: &ColumnFamily, from: &[u8], to: Option<&[u8]>) -> Self {
        let mut reading = ReadOptions::default();
        if let Some(to) = to {
            reading.set_iterate_upper_bound(to);
        }
        let mut iterator = database.raw_iterator_cf_opt(family, reading);
        iterator.seek(from);
        Self { iterator: Some(iterator) }
    }

    /// Hands all that is left to `take`, without copies.
    pub fn each(mut self, mut take: impl FnMut(&[u8], &[u8]) -> Result<(), ColdError>) -> Result<(), ColdError> {
        let Some(iterator) = &mut self.iterator else { return Ok(()) };
        while let Some((key, value)) = iterator.item() {
            take(key, value)?;
            iterator.next();
        }
        iterator.status().map_err(cannot("scan"))
    }
}

impl Iterator for Scan<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let iterator = self.iterator.as_mut()?;
        if let Some((key, value)) = iterator.item() {
            let entry = (key.to_vec(), value.to_vec());
            iterator.next();
            return Some(Ok(entry));
        }
        let ended = iterator.status().map_err(cannot("scan"));
        self.iterator = None;
        ended.err().map(Err)
    }
}
