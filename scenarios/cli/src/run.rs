//! `cofferdam run`: the engine for real, as processes on this machine.
//!
//! * [`request`]: what the user asked for, checked before anything is started.
//! * [`launcher`]: the process that the user sees; starts the others, and starts them again when they die.
//! * [`process`]: one child process and its restarts.
//! * [`progress`]: what the coordinator tells the launcher, and the launcher the user.
//! * [`statistics`]: figures about checkpoints, for a file and for a table.
//! * [`coordinator`], [`worker`]: the child processes.
//! * [`wordcount`], [`copy`]: the jobs.

pub mod coordinator;
mod copy;
mod launcher;
mod process;
mod progress;
mod request;
mod statistics;
mod wordcount;
pub mod worker;

use crate::args::{JobArguments, JobName, RunArguments, RunJob};
use crate::failure::{Failure, Outcome};
use crate::place::is_url;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::job::JobGraph;
use cofferdam_engine::storage::CheckpointStorage;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// A child whose launcher has gone ends with this code.
const ORPHANED: i32 = 4;

/// Runs the job until it has ended.
///
/// # Errors
/// It cannot be run as asked, or it failed.
pub fn run(arguments: RunArguments) -> Result<Outcome, Failure> {
    match arguments.job {
        RunJob::Wordcount(arguments) => launcher::launch(request::Request::check(JobName::Wordcount, &arguments)?),
        RunJob::Copy(arguments) => launcher::launch(request::Request::check(JobName::Copy, &arguments)?),
    }
}

/// Ends this process when the launcher's end of the pipe closes, however the launcher died.
fn die_with_launcher() {
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin().lock();
        let mut byte = [0];
        // The launcher never writes: what comes is the end, or an error that means the same.
        while matches!(stdin.read(&mut byte), Ok(1..)) {}
        std::process::exit(ORPHANED);
    });
}

/// `RUST_LOG=cofferdam=debug` shows every transition on stderr.
fn log_to_stderr() {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

fn graph(job: &JobArguments) -> Result<Arc<JobGraph<RealEnv>>, Failure> {
    let wordcount = wordcount::WordCount {
        input: job.input.clone(),
        input_size_bytes: job.input_size_bytes,
        folder: job.folder.then_some(job.watch.watch),
        output: job.output.clone(),
        parallelism: job.parallelism,
        pace: (job.throttle > 0).then(|| Duration::from_millis(job.throttle)),
    };
    Ok(Arc::new(match job.job {
        JobName::Wordcount => wordcount.graph()?,
        JobName::Copy => wordcount.copy()?,
    }))
}

fn storage(job: &JobArguments) -> CheckpointStorage {
    let root = job.root.clone();
    if is_url(&root) {
        CheckpointStorage::Object { root }
    } else {
        CheckpointStorage::FileSystem { root }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    started.map_err(|source| Failure::System { purpose: "start threads", source })
}
