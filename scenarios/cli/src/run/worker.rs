//! A worker process.

use crate::args::WorkerArguments;
use crate::failure::{Failure, Outcome};
use cofferdam_engine::cluster::worker::{self, WorkerSettings};
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::WorkerId;
use std::net::{Ipv4Addr, SocketAddr};

/// Works until the job has ended.
///
/// # Errors
/// It cannot open a port.
pub fn process(arguments: &WorkerArguments) -> Result<Outcome, Failure> {
    super::die_with_launcher();
    super::log_to_stderr();
    let graph = super::graph(&arguments.job)?;
    let settings = WorkerSettings {
        worker: WorkerId(arguments.id),
        slots: arguments.slots,
        coordinator: arguments.job.address,
        data_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        heartbeats: Heartbeats::default(),
        storage: super::storage(&arguments.job),
        mode: arguments.job.mode.mode(),
        backend: StateBackend::HashMap,
    };
    let worked = super::runtime()?.block_on(worker::run(RealEnv::default(), settings, graph));
    worked.map(|()| Outcome::Green).map_err(Failure::Worker)
}
