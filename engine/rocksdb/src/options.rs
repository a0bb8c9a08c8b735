//! How databases are set up, and what they share.

use crate::backend::{RocksDbMode, RocksDbSettings};
use crate::failure::cannot;
use crate::memory::MemoryUse;
use cofferdam_engine::state::cold::{ColdError, ColumnIndex};
use rocksdb::{BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, LogLevel, Options, WriteBufferManager, WriteOptions};

/// So large that it is never reached.
const NEVER: i32 = 1 << 30;

/// In automatic mode so many sorted runs are merged. More of them: fewer bytes to upload, more disk and longer restores.
const RUNS: i32 = 16;

/// The options of all stores of a worker, which hold their common cache and write buffers.
#[derive(Clone)]
pub struct OptionsOfStores {
    settings: RocksDbSettings,
    cache: Cache,
    /// Not in explicit mode: it writes tables when memory is short.
    buffers: Option<WriteBufferManager>,
}

impl OptionsOfStores {
    /// Divides the budget as Flink does, half of it for writing. Buffers are written when they are at 7/8 of their limit, and
    /// until that is done up to half as much again may have been taken: so their limit is a third of the budget, and the
    /// cache, to which they are charged, is smaller than the budget by a sixth.
    pub fn new(settings: RocksDbSettings) -> Self {
        let budget = settings.memory_budget_bytes;
        let (cache, buffers) = match settings.mode {
            RocksDbMode::Automatic => {
                let cache = Cache::new_lru_cache(budget / 6 * 5);
                let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(budget / 3, false, cache.clone());
                (cache, Some(buffers))
            }
            RocksDbMode::Explicit { .. } => (Cache::new_lru_cache(budget), None),
        };
        Self { settings, cache, buffers }
    }

    pub fn settings(&self) -> &RocksDbSettings {
        &self.settings
    }

    /// Whether there is so much in write buffers that who writes has to wait until its own are written. What is written in the
    /// background may come too late: this is what keeps them below half of the budget.
    pub fn buffers_are_full(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| buffers.get_usage() > self.settings.memory_budget_bytes / 8 * 3)
    }

    /// What all stores take now.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            budget_bytes: self.settings.memory_budget_bytes,
            cache_bytes: self.cache.get_usage(),
            pinned_bytes: self.cache.get_pinned_usage(),
            buffer_bytes: self.buffers.as_ref().map(WriteBufferManager::get_usage),
        }
    }

    /// What concerns a database as a whole.
    pub fn database(&self) -> Result<Options, ColdError> {
        // Options for which there is no method. A close without the first would write what no checkpoint asked for. The second
        // costs as much as all the rest of opening a small database. The third is the host's name otherwise: it is in each table,
        // and its length would be in their sizes.
        let text = "avoid_flush_during_shutdown=true;allow_fallocate=false;db_host_id=cofferdam";
        let mut options = Options::default().get_options_from_string(text).map_err(cannot("set options"))?;
        options.set_manifest_preallocation_size(4096);
        options.set_log_level(LogLevel::Fatal);
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        // All tables are opened with the database, so that a missing one is found then.
        options.set_max_open_files(-1);
        match (self.settings.mode, &self.buffers) {
            (RocksDbMode::Automatic, Some(buffers)) => options.set_write_buffer_manager(buffers),
            (RocksDbMode::Automatic, None) | (RocksDbMode::Explicit { .. }, _) => {
                options.set_max_background_jobs(1);
                options.set_max_subcompactions(1);
            }
        }
        Ok(options)
    }

    /// What concerns the tables of one state, but for the filter of one that expires.
    pub fn column(&self, _column: ColumnIndex) -> Options {
        let mut options = self.tables();
        match self.settings.mode {
            RocksDbMode::Automatic => {
                // Every merge makes files that the next checkpoint uploads. By levels a tenth that has changed soon has the rest
                // written anew; runs of like size, and many of them, are merged seldom. Filters keep reads from most runs.
                options.set_compaction_style(DBCompactionStyle::Universal);
                options.set_level_zero_file_num_compaction_trigger(RUNS);
                options.set_level_zero_slowdown_writes_trigger(3 * RUNS);
                options.set_level_zero_stop_writes_trigger(4 * RUNS);
            }
            RocksDbMode::Explicit { .. } => {
                options.set_disable_auto_compactions(true);
                options.set_write_buffer_size(1 << 30);
                options.set_max_write_buffer_number(4);
                options.set_level_zero_file_num_compaction_trigger(NEVER);
                options.set_level_zero_slowdown_writes_trigger(NEVER);
                options.set_level_zero_stop_writes_trigger(NEVER);
                options.set_soft_pending_compaction_bytes_limit(0);
                options.set_hard_pending_compaction_bytes_limit(0);
            }
        }
        options
    }

    /// The column that every database has and that we do not use.
    pub fn default_column(&self) -> Options {
        self.tables()
    }

    fn tables(&self) -> Options {
        let mut options = Options::default();
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&self.cache);
        tables.set_bloom_filter(10.0, false);
        // Else there is no bound to the memory: one index and filter per table, however many.
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_block_based_table_factory(&tables);
        options.set_compression_type(DBCompressionType::Lz4);
        // A worker has a buffer per state and subtask, and the manager counts whole blocks of each.
        options.set_arena_block_size(64 << 10);
        options
    }
}

/// How stores write: without a log, because checkpoints are what lasts.
pub fn without_log() -> WriteOptions {
    let mut writing = WriteOptions::default();
    writing.disable_wal(true);
    // Changes come in the order of their keys.
    writing.set_memtable_insert_hint_per_batch(true);
    writing
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocksdb::{Error, DB};
    use std::num::NonZeroU32;

    fn database_in(folder: &std::path::Path) -> Result<DB, Error> {
        let mode = RocksDbMode::Explicit { compact_every: NonZeroU32::MIN };
        let settings = RocksDbSettings { folder: folder.to_owned(), memory_budget_bytes: 1 << 20, hot_bytes: 0, mode };
        let mut options = OptionsOfStores::new(settings).database().expect("these options exist");
        options.create_if_missing(true);
        DB::open(&options, folder)
    }

    /// Else a kill in a simulation, which runs destructors, would keep what a power cut loses.
    #[test]
    fn a_close_writes_nothing() -> Result<(), Error> {
        let folder = tempfile::tempdir().expect("there is room");
        let database = database_in(folder.path())?;
        database.put_opt("flushed", "1", &without_log())?;
        database.flush()?;
        database.put_opt("not flushed", "1", &without_log())?;
        drop(database);
        let database = database_in(folder.path())?;
        assert!(database.get("flushed")?.is_some());
        assert!(database.get("not flushed")?.is_none());
        Ok(())
    }
}
