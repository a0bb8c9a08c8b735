//! The coordinator process. Tells its launcher how the job is doing, one line of JSON at a time.

use super::process::{JOB_CANCELLED, JOB_FAILED, JOB_STOPPED};
use super::progress::{Stopped, Told};
use super::statistics::{self, Checkpoint};
use crate::args::CoordinatorArguments;
use crate::failure::{Failure, Outcome};
use cofferdam_engine::cluster::coordinator::{self, savepoint_folder, CoordinatorSettings, Progress, Published};
use cofferdam_engine::cluster::statistics::CheckpointStatistics;
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::env::Env;
use cofferdam_engine::storage::CheckpointStore;
use cofferdam_protocol::coordinator::{ClaimMode, Ended, Origin, Plan};
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::{CheckpointId, CheckpointSettings, FailoverStrategy, RestartStrategy};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
        retention: arguments.retention.retention(),
        tolerable_failures: TOLERABLE_FAILURES,
        ..CheckpointSettings::default()
    };
    let claim = if arguments.claim { ClaimMode::Claim } else { ClaimMode::NoClaim };
    let origin = arguments.from.clone().zip(arguments.from_checkpoint);
    let origin = origin.map(|(path, number)| Origin { path, checkpoint: CheckpointId(number), claim });
    let unclaimed = if arguments.allow_non_restored { UnclaimedState::Drop } else { UnclaimedState::Refuse };
    let plan = Plan {
        tasks: graph.tasks(),
        sources: graph.source_tasks(),
        predecessors: graph.predecessors(),
        committers: graph.committing_tasks(),
        regions: graph.regions(FailoverStrategy::default()),
        checkpoints: arguments.job.overtaking.settings(checkpoints).validated()?,
        restart: RESTART,
        hooks: !graph.hooks.is_empty(),
        enumerators: !graph.enumerators.is_empty(),
        origin,
        local_recovery: arguments.job.local_recovery.is_some(),
        heartbeat_timeout: heartbeats.timeout,
        deploy_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(10),
    };
    let (job, root) = (arguments.job_id.clone(), arguments.job.root.clone());
    let (address, allow_drained) = (arguments.job.address, arguments.allow_drained);
    let settings = CoordinatorSettings { job, address, heartbeats, root, plan, unclaimed, allow_drained };
    let store = Arc::new(CheckpointStore::new(super::storage(&arguments.job)));
    super::runtime()?.block_on(async {
        let env = RealEnv::default();
        let origin_unix_ms = env.wall_clock_ms().saturating_sub(i64::try_from(env.now().as_millis()).unwrap_or(0));
        let (sender, progress) = watch::channel(Progress::default());
        let teller = Arc::new(Mutex::new(Teller { progress, origin_unix_ms, redeployed: false, before: Before::default() }));
        let telling = tokio::spawn(tell_regularly(teller.clone()));
        let ended = coordinator::run(env, settings, store, graph, Some(sender)).await;
        telling.abort();
        // It may be in the middle of a line that must not come after the last one.
        let _ = telling.await;
        let (cause, stopped, outcome) = match ended? {
            Ended::Finished => (None, None, Outcome::Green),
            Ended::Failed(cause) => (Some(cause), None, Outcome::Code(JOB_FAILED)),
            Ended::Cancelled => (None, None, Outcome::Code(JOB_CANCELLED)),
            Ended::Stopped(with) => {
                let folder = savepoint_folder(&with.target, with.checkpoint, &arguments.job_id);
                (None, Some((folder, with.drained)), Outcome::Code(JOB_STOPPED))
            }
        };
        lock(&teller).tell(cause, stopped);
        Ok(outcome)
    })
}

fn lock(teller: &Mutex<Teller>) -> MutexGuard<'_, Teller> {
    // What it has told before is valid at every step.
    teller.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tell_regularly(teller: Arc<Mutex<Teller>>) {
    loop {
        lock(&teller).tell(None, None);
        tokio::time::sleep(TELL).await;
    }
}

/// What the launcher knows already.
#[derive(Default)]
struct Before {
    told: Told,
    checkpoints: BTreeMap<CheckpointId, CheckpointStatistics>,
}

/// Tells the launcher what has changed.
struct Teller {
    progress: watch::Receiver<Progress>,
    /// When the clock of the statistics stood at zero.
    origin_unix_ms: i64,
    redeployed: bool,
    before: Before,
}

impl Teller {
    fn tell(&mut self, cause: Option<String>, stopped: Option<(String, bool)>) {
        let progress = self.progress.borrow().clone();
        self.redeployed |= is_redeployed(&progress.status);
        let published = matches!(progress.published, Published::All);
        let stopped = stopped.map(|(savepoint, drained)| Stopped { savepoint, drained, published });
        let told = Told { stopped, ..self.told(&progress, cause) };
        // Checkpoints in the line before are no reason for another one.
        let figures = Told { checkpoints: Vec::new(), ..told.clone() };
        if figures == self.before.told && told.checkpoints.is_empty() {
            return;
        }
        let line = serde_json::to_string(&told).expect("text and numbers");
        // A launcher that does not listen any more is about to end this process.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
        self.before = Before { told: figures, checkpoints: progress.statistics.checkpoints };
    }

    fn told(&self, progress: &Progress, cause: Option<String>) -> Told {
        let statistics = &progress.statistics;
        let changed = statistics.checkpoints.iter().filter(|(id, known)| self.before.checkpoints.get(id) != Some(known));
        Told {
            status: progress.status.clone(),
            records: progress.records,
            redeployed: self.redeployed,
            total: statistics.total,
            completed: statistics.completed,
            failed: statistics.failed,
            restored: statistics.restored,
            last_restore_ms: statistics.last_restore.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            restored_from: statistics.restored_from,
            failures: statistics.failures.iter().map(|(reason, count)| (statistics::name(*reason), *count)).collect(),
            checkpoints: changed.map(|(id, known)| Checkpoint::of(*id, known, self.origin_unix_ms)).collect(),
            cause,
            stopped: None,
        }
    }
}

/// Whether the status tells of an attempt after a coordinator's first. It stays for longer than the time between two lines,
/// because a job is not deployed again at once.
fn is_redeployed(status: &str) -> bool {
    let attempt = status.strip_prefix("running a").or(status.strip_prefix("deploying a"));
    let number = attempt.and_then(|attempt| attempt.split_once('.')?.1.parse::<u32>().ok());
    status.starts_with("restarting after ") || number.is_some_and(|number| number > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_after_the_first_is_a_deployment_anew() {
        for status in ["running a1.2", "deploying a3.10", "restarting after a1.1"] {
            assert!(is_redeployed(status), "{status}");
        }
        for status in ["running a1.1", "deploying a2.1", "a1.1 failed: lost", "waiting for 2 slots", "Finished", ""] {
            assert!(!is_redeployed(status), "{status}");
        }
    }
}
