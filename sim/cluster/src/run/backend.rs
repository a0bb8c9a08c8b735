//! What the workers of a job keep their state in: made anew for each life of a worker's process.

use crate::scenario::{BackendKind, ClusterSpec};
use cofferdam_engine::state::sorted_runs::SortedRuns;
use cofferdam_engine::task::StateBackend;
use std::sync::Arc;

/// Makes the backends of one job's workers.
#[derive(Clone)]
pub(super) struct Backends {
    kind: BackendKind,
    incremental: bool,
    hot_bytes: usize,
    #[cfg(feature = "rocksdb")]
    scratch: Option<Arc<super::scratch::Scratch>>,
}

impl Backends {
    pub(super) fn new(cluster: &ClusterSpec) -> Self {
        Self {
            kind: cluster.backend,
            incremental: cluster.incremental,
            hot_bytes: usize::try_from(cluster.hot_bytes).unwrap_or(usize::MAX),
            #[cfg(feature = "rocksdb")]
            scratch: (cluster.backend == BackendKind::RocksDb).then(|| Arc::new(super::scratch::Scratch::new())),
        }
    }

    /// For a process that begins: it finds nothing of those before it.
    pub(super) fn of_a_life(&self) -> StateBackend {
        match self.kind {
            BackendKind::HashMap => StateBackend::InMemory,
            BackendKind::SortedRuns => {
                StateBackend::Store { backend: Arc::new(SortedRuns::new(self.hot_bytes)), incremental: self.incremental }
            }
            #[cfg(feature = "rocksdb")]
            BackendKind::RocksDb => {
                let scratch = self.scratch.as_ref().expect("made with the kind");
                let backend = super::rocksdb::Neutral::new(scratch.of_a_life(), self.hot_bytes);
                StateBackend::Store { backend: Arc::new(backend), incremental: self.incremental }
            }
            #[cfg(not(feature = "rocksdb"))]
            BackendKind::RocksDb => panic!("{}", crate::scenario::ScenarioError::NoRocksDb),
        }
    }
}
