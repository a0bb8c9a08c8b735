//! The coordinator process. Tells its launcher how the job is doing, one line of JSON at a time.

use super::process::JOB_FAILED;
use super::progress::Told;
use crate::args::CoordinatorArguments;
use crate::failure::{Failure, Outcome};
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_engine::cluster::coordinator::{self, CoordinatorSettings, Progress};
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::storage::CheckpointStore;
use cofferdam_protocol::coordinator::{Ended, Plan};
use cofferdam_protocol::{CheckpointSettings, RestartStrategy};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two lines.
const TELL: Duration = Duration::from_millis(200);
/// Counted failures of checkpoints in a row that the job survives without a restart.
const TOLERABLE_FAILURES: u32 = 3;
/// A cause that does not go away ends the job soon; a hundred processes that are shot now and then do not.
const RESTART: RestartStrategy =
    RestartStrategy::FailureRate { failures: 10, interval: Duration::from_secs(60), delay: Duration::from_millis(200) };

/// Leads the job until it has ended.
///
/// # Errors
/// This process cannot lead.
pub fn process(arguments: &CoordinatorArguments) -> Result<Outcome, Failure> {
    super::die_with_launcher();
    super::log_to_stderr();
    let graph = super::graph(&arguments.job)?;
    let heartbeats = Heartbeats::default();
    let checkpoints = CheckpointSettings {
        interval: Some(Duration::from_millis(arguments.interval)),
        mode: arguments.job.mode.mode(),
        tolerable_failures: TOLERABLE_FAILURES,
        ..CheckpointSettings::default()
    };
    let plan = Plan {
        tasks: graph.tasks(),
        sources: graph.source_tasks(),
        checkpoints: checkpoints.validated()?,
        restart: RESTART,
        hooks: !graph.hooks.is_empty(),
        origin: None,
        heartbeat_timeout: heartbeats.timeout,
        deploy_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(10),
    };
    let (job, root) = (arguments.job_id.clone(), arguments.job.root.clone());
    let settings = CoordinatorSettings { job, address: arguments.job.address, heartbeats, root, plan, unclaimed: UnclaimedState::Refuse };
    let store = Arc::new(CheckpointStore::new(super::storage(&arguments.job)));
    super::runtime()?.block_on(async {
        let (sender, receiver) = watch::channel(Progress::default());
        let last = receiver.clone();
        let telling = tokio::spawn(tell_regularly(receiver));
        let ended = coordinator::run(RealEnv::default(), settings, store, graph, Some(sender)).await;
        telling.abort();
        let cause = match ended? {
            Ended::Finished => None,
            Ended::Failed(cause) => Some(cause),
            Ended::Cancelled => Some("it was cancelled".to_owned()),
        };
        let outcome = if cause.is_none() { Outcome::Green } else { Outcome::Code(JOB_FAILED) };
        tell(&Told { cause, ..told(&last) });
        Ok(outcome)
    })
}

async fn tell_regularly(progress: watch::Receiver<Progress>) {
    let mut before = Told::default();
    loop {
        let now = told(&progress);
        if now != before {
            tell(&now);
            before = now;
        }
        tokio::time::sleep(TELL).await;
    }
}

fn told(progress: &watch::Receiver<Progress>) -> Told {
    let progress = progress.borrow();
    let statistics = &progress.statistics;
    let (completed, failed, restored) = (statistics.completed, statistics.failed, statistics.restored);
    Told { status: progress.status.clone(), records: progress.records, completed, failed, restored, cause: None }
}

fn tell(told: &Told) {
    let line = serde_json::to_string(told).expect("text and numbers");
    // A launcher that does not listen any more is about to end this process.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
