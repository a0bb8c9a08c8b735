//! A worker process.

use crate::args::{BackendName, WorkerArguments};
use crate::failure::{Failure, Outcome};
use cofferdam_engine::cluster::formats::Formats;
use cofferdam_engine::cluster::worker::{self, WorkerSettings};
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::state::sorted_runs::SortedRuns;
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::WorkerId;
#[cfg(feature = "rocksdb")]
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode, RocksDbSettings};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The store's share of a worker's memory.
#[cfg(feature = "rocksdb")]
const ROCKSDB_BYTES: usize = 512 << 20;
/// Hot entries of the subtasks of one operator, all together: each gets its slot's share.
const HOT_BYTES: usize = 256 << 20;

fn backend(arguments: &WorkerArguments) -> Result<StateBackend, Failure> {
    let incremental = !arguments.job.full_checkpoints;
    let hot_bytes = HOT_BYTES / (arguments.slots.max(1) as usize);
    match arguments.job.backend {
        BackendName::HashMap => Ok(StateBackend::InMemory),
        BackendName::SortedRuns => Ok(StateBackend::Store { backend: Arc::new(SortedRuns::new(hot_bytes)), incremental }),
        #[cfg(feature = "rocksdb")]
        BackendName::Rocksdb => {
            let folder = std::path::PathBuf::from(&arguments.job.local).join(format!("worker-{}", arguments.id));
            let made = std::fs::create_dir_all(&folder);
            made.map_err(|source| Failure::Path { purpose: "write to", path: folder.clone(), source })?;
            let settings = RocksDbSettings { folder, memory_budget_bytes: ROCKSDB_BYTES, hot_bytes, mode: RocksDbMode::Automatic };
            let backend = RocksDbBackend::new(settings).map_err(|error| Failure::Snapshot(error.to_string()))?;
            Ok(StateBackend::Store { backend: Arc::new(backend), incremental })
        }
    }
}

/// Works until the job has ended.
///
/// # Errors
/// It cannot open a port.
pub fn process(arguments: &WorkerArguments) -> Result<Outcome, Failure> {
    super::die_with_launcher();
    super::log_to_stderr();
    let graph = super::graph(&arguments.job)?;
    let settings = WorkerSettings {
        formats: Formats::OURS,
        worker: WorkerId(arguments.id),
        slots: arguments.slots,
        coordinator: arguments.job.address,
        data_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        heartbeats: Heartbeats::default(),
        storage: super::storage(&arguments.job),
        small: arguments.job.small.small(),
        mode: arguments.job.mode.mode(),
        overtaking: arguments.job.overtaking.unaligned,
        finishing: true,
        backend: backend(arguments)?,
        local: arguments.job.local_recovery.as_ref().map(|folder| format!("{folder}/worker-{}", arguments.id)),
    };
    let worked = super::runtime()?.block_on(worker::run(RealEnv::default(), settings, graph));
    worked.map(|()| Outcome::Green).map_err(Failure::Worker)
}
