//! Makes stores, and holds what they share.

use crate::failure::BACKEND;
use crate::memory::MemoryUse;
use crate::options::OptionsOfStores;
use crate::place::PlaceFolder;
use crate::restore;
use crate::sink::FileSink;
use crate::store::RocksDbStore;
use cofferdam_engine::state::cold::{ColdBackend, ColdError, ColdPart, ColdPlace, ColdStore, LoadSink};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

/// How the stores of a worker behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksDbSettings {
    /// On a local disk, and of this worker alone. The stores are below a folder `rocksdb` in it; what a former process left
    /// there is removed.
    pub folder: PathBuf,
    /// What the caches and, in automatic mode, the write buffers of all stores may take together.
    pub memory_budget_bytes: usize,
    /// How many bytes of changes a subtask keeps in memory before it writes them to its store without a checkpoint.
    pub hot_bytes: usize,
    /// Who decides when to write and to compact.
    pub mode: RocksDbMode,
}

/// Who decides when a store writes its tables and merges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RocksDbMode {
    /// RocksDB, in the background, by sizes. For real use.
    Automatic,
    /// Only checkpoints: each writes a table per changed column and waits for it. The same history then gives the same files
    /// of the same sizes. Changes since the last checkpoint are kept in memory, however many.
    Explicit {
        /// All tables are merged at every so manieth checkpoint of a store. A count, because sizes must decide nothing.
        compact_every: NonZeroU32,
    },
}

/// RocksDB stores on the local disk. One value per worker.
pub struct RocksDbBackend {
    options: OptionsOfStores,
    root: PathBuf,
}

impl RocksDbBackend {
    /// Takes the folder over.
    ///
    /// # Errors
    /// The local disk says no.
    pub fn new(settings: RocksDbSettings) -> Result<Self, ColdError> {
        let root = settings.folder.join("rocksdb");
        PlaceFolder::clear(&root)?;
        Ok(Self { options: OptionsOfStores::new(settings), root })
    }

    /// What the stores of this worker take now, all together.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.options.memory()
    }
}

impl ColdBackend for RocksDbBackend {
    fn name(&self) -> &'static str {
        BACKEND
    }

    fn create(&self, place: &ColdPlace) -> Result<Arc<dyn ColdStore>, ColdError> {
        let folder = PlaceFolder::empty(&self.root, place)?;
        Ok(Arc::new(RocksDbStore::create(&self.options, folder, place)?))
    }

    fn sink(&self, place: &ColdPlace, part: usize, name: &str) -> Result<Box<dyn LoadSink>, ColdError> {
        let folder = PlaceFolder::path_of(&self.root, place).join(format!("fetched-{part}"));
        Ok(Box::new(FileSink::create(&folder, name)?))
    }

    fn restore(&self, place: &ColdPlace, parts: Vec<ColdPart>) -> Result<(Arc<dyn ColdStore>, bool), ColdError> {
        let folder = PlaceFolder::with_fetched(&self.root, place)?;
        let (store, whole) = restore::restore(&self.options, folder, place, parts)?;
        Ok((Arc::new(store), whole))
    }

    fn hot_bytes(&self) -> usize {
        self.options.settings().hot_bytes
    }
}
