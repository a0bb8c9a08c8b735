//! One run: build the world, let things go wrong, repair them, wait for the job to end, and judge.

use crate::disk::DiskSettings;
use crate::fault::{Injector, Wish};
use crate::jobs::{Log, Watch, OUTPUT};
use crate::network::LinkSettings;
use crate::object_store::ObjectSettings;
use crate::oracle::committed_only::CommittedOnly;
use crate::oracle::leftovers::Leftovers;
use crate::oracle::{decode, efficiency};
use crate::picture::{Picture, Until};
use crate::scenario::{Expect, FaultSpec, JobKind, MergeSpec, ResumeFrom, ResumeSpec, Scenario, StorageKind, When};
use crate::streams::Concern;
use crate::trace::{lock, nothing_seen, SharedSeen, Signal, Witness};
use crate::verdict::{Keep, Report};
use crate::world::{NodeIndex, World};
use crate::{invariant, jobs, local_copies, workload, world, SimEnv};
use cofferdam_engine::cluster::coordinator::{CoordinatorError, CoordinatorSettings};
use cofferdam_engine::cluster::formats::Formats;
use cofferdam_engine::cluster::message::{Command, CommandAnswer};
use cofferdam_engine::cluster::worker::WorkerSettings;
use cofferdam_engine::cluster::{client, coordinator, worker, Heartbeats};
use cofferdam_engine::env::Env;
use cofferdam_engine::job::JobGraph;
use cofferdam_engine::sometimes;
use cofferdam_engine::storage::{CheckpointStorage, CheckpointStore, SmallState};
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::coordinator::{ClaimMode, Ended, Origin, Plan};
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::settings::Retention;
use cofferdam_protocol::{AttemptId, CheckpointId, WorkerId};
use rand::Rng;
use shadow::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

mod arrivals;
mod backend;
mod building;
mod damage;
mod delivery;
mod judge;
mod leftovers;
mod order;
#[cfg(feature = "rocksdb")]
pub(crate) mod outside;
pub mod power_loss;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "rocksdb")]
pub(crate) mod scratch;
mod shadow;
mod stop;
mod ways;
mod writer;

use backend::Backends;

/// The job's folder on the storage node.
pub const ROOT: &str = "/shared/checkpoints/job";

/// The job's place in the object store.
pub const OBJECT_ROOT: &str = "s3://bucket/checkpoints/job";

/// After the end: what processes have begun to clean up they finish.
const CLEANING_UP: Duration = Duration::from_secs(30);

/// Where users want their savepoints.
pub const SAVEPOINTS: &str = "/shared/savepoints";

/// The same where checkpoints are objects.
pub const OBJECT_SAVEPOINTS: &str = "s3://bucket/savepoints";

/// No worker's snapshot may be larger where they are kept in memory.
const MEMORY_LIMIT_BYTES: u64 = 1 << 20;

/// Runs a scenario with a seed, on a thread of its own. Never panics: what panics inside is a violation of `no-panic`.
#[must_use]
pub fn simulate(scenario: &Scenario, seed: u64, keep: Keep) -> Report {
    simulate_until(scenario, seed, keep, None).0
}

/// The same, up to a moment at which a picture of the world is taken. None is taken if the run is over before.
#[must_use]
pub fn simulate_until(scenario: &Scenario, seed: u64, keep: Keep, until: Option<Until>) -> (Report, Option<Picture>) {
    let seen = nothing_seen();
    let (inner, story) = (seen.clone(), scenario.clone());
    let limit = Duration::from_millis(scenario.calm_after_ms + scenario.liveness_bound_ms) + Duration::from_secs(60);
    let result = world::run(seed, limit, move |world| async move { Run::new(world, story, inner, keep).stopping(until).play().await });
    let mut seen = lock(&seen);
    let Played { faults, images, picture } = match result {
        Ok(played) => played,
        Err(panicked) => {
            let last = seen.last;
            seen.violated("no-panic", panicked.message, last);
            Played::default()
        }
    };
    let picture = picture.map(|picture| Picture {
        event: seen.stopped_with.clone(),
        machines: seen.machines(),
        deadlines: seen.deadlines.clone(),
        ..picture
    });
    let mut shadows = 0;
    for image in images {
        if seen.violation.is_some() || picture.is_some() {
            break;
        }
        shadows += 1;
        if let Err((violation, lines)) = shadow::restore(seed, image, keep) {
            seen.violation = Some(violation);
            seen.trace.extend(lines);
        }
    }
    let report = Report {
        scenario: scenario.name.clone(),
        seed,
        hash: seen.hash(),
        events: seen.events,
        records: seen.records,
        simulated: seen.last,
        faults,
        completed: seen.completed,
        aborted: seen.aborted,
        restores: seen.restores,
        shadows,
        machine_steps: seen.machine_steps,
        recounted: seen.recounted,
        violation: seen.violation.clone(),
        trace: std::mem::take(&mut seen.trace),
        hashes: std::mem::take(&mut seen.hashes),
        checkpoints: std::mem::take(&mut seen.checkpoints),
        output: std::mem::take(&mut seen.output),
        drawn: std::mem::take(&mut seen.drawn),
        durations: std::mem::take(&mut seen.durations),
        coverage: std::mem::take(&mut seen.coverage),
    };
    (report, picture)
}

/// What is left of a world.
#[derive(Default)]
struct Played {
    faults: BTreeMap<&'static str, u64>,
    /// Of completed checkpoints, to begin from again.
    images: Vec<Image>,
    /// As it was where the run was stopped.
    picture: Option<Picture>,
}

/// Whether a coordinator that stepped down had to: an entry that an earlier life of it had sent has arrived in the object
/// store since it began. Then it is started again.
fn gave_way(world: &World, env: &SimEnv, root: &str, begun: Duration) -> bool {
    let (node, journal) = (env.node(), format!("{root}/journal/"));
    let late = world.objects().written_by_another(&journal, begun, node, env.incarnation());
    if late {
        sometimes!(world, seldom "run/coordinator-gave-way-to-the-dead");
        world.count_fault("late-entry");
        let of_repair = world.clone();
        let restart = async move {
            of_repair.sleep(Duration::from_millis(200)).await;
            if !of_repair.is_up(node) {
                of_repair.restart(node);
            }
        };
        world.spawn("restart", restart).detach();
    }
    late
}

/// Until the user is content.
async fn ask(env: SimEnv, coordinator: SocketAddr, Wish { command, insist }: Wish) {
    loop {
        match client::command(&env, coordinator, command.clone()).await {
            Ok(CommandAnswer::Failed(_)) if insist => {}
            Ok(_) => return,
            Err(_) => {}
        }
        env.sleep(Duration::from_millis(100)).await;
    }
}

struct Run {
    world: World,
    scenario: Scenario,
    seen: SharedSeen,
    keep: Keep,
    logs: Vec<Log>,
    /// When each file of a folder appears, and when the folder is done.
    arrivals: (Vec<u64>, u64),
    storage: NodeIndex,
    ended: Option<Ended>,
    retained: BTreeSet<CheckpointId>,
    leftovers: Leftovers,
    /// What the tasks of an attempt begin from; nothing, where it is not on disk.
    restoring: BTreeMap<AttemptId, decode::Checkpoint>,
    /// How many subtasks have begun with state, in all attempts of this job.
    restored_tasks: u64,
    /// The users', by their folders. Nobody but they may delete them.
    savepoints: BTreeMap<CheckpointId, String>,
    /// Savepoints whose metadata is durable: they are their users', also if nobody was told.
    written: BTreeSet<CheckpointId>,
    /// Whether who asked the job to stop was told that all is published.
    published_at_the_stop: Option<bool>,
    /// What the claimed snapshot consists of that the job began from, or has not claimed.
    origin_files: Vec<String>,
    job: JobPlace,
    /// What incremental checkpoints have uploaded.
    account: efficiency::Account,
    /// What may be seen of transactional output. It goes on with the next job, which delivers to the same place.
    delivered: CommittedOnly,
    /// Copies of completed checkpoints, to begin from in worlds of their own.
    images: Vec<Image>,
    /// Whether this is such a world: it is over with its first savepoint.
    shadow: bool,
    /// What functions of the jobs see.
    watch: Watch,
    /// What has been completed, and when.
    completed: Vec<(Duration, CheckpointId)>,
    /// Where it is to stop.
    until: Option<Until>,
    /// Whether it has.
    stopped: bool,
}

/// What is different for a job that begins from what another one left.
struct JobPlace {
    name: &'static str,
    /// Its folder on the storage node.
    root: &'static str,
    /// Its place in the object store.
    objects: &'static str,
    output: &'static str,
    /// The third byte of its nodes' addresses.
    network: u8,
    origin: Option<Origin>,
}

const FIRST_JOB: JobPlace = JobPlace { name: "job", root: ROOT, objects: OBJECT_ROOT, output: OUTPUT, network: 0, origin: None };

impl Run {
    fn new(world: World, scenario: Scenario, seen: SharedSeen, keep: Keep) -> Self {
        let rng = &mut world.streams().stream(Concern::Workload);
        let logs = workload::logs(&scenario.job, scenario.world.load, rng);
        let arrivals = if scenario.job.kind == JobKind::Arrivals { workload::arrivals(&scenario.job, rng) } else { (Vec::new(), 0) };
        let (retained, restoring, leftovers) = (BTreeSet::new(), BTreeMap::new(), Leftovers::default());
        let (savepoints, job) = (BTreeMap::new(), FIRST_JOB);
        Self {
            world,
            scenario,
            seen,
            keep,
            logs,
            arrivals,
            storage: NodeIndex(0),
            ended: None,
            retained,
            leftovers,
            restoring,
            restored_tasks: 0,
            savepoints,
            written: BTreeSet::new(),
            published_at_the_stop: None,
            origin_files: Vec::new(),
            job,
            account: efficiency::Account::default(),
            delivered: CommittedOnly::default(),
            images: Vec::new(),
            shadow: false,
            watch: Watch::nobody(),
            completed: Vec::new(),
            until: None,
            stopped: false,
        }
    }

    fn stopping(self, until: Option<Until>) -> Self {
        Self { until, ..self }
    }

    async fn play(mut self) -> Played {
        self.build_storage();
        self.begin_writing();
        self.play_job().await;
        if let Some(resume) = self.scenario.resume.take() {
            if lock(&self.seen).violation.is_none() && !self.stopped && self.begin_again(&resume) {
                self.play_job().await;
                self.judge_origin();
            }
        }
        let (faults, picture) = (self.world.faults(), self.world.picture());
        Played { faults, images: self.images, picture }
    }

    /// The next job begins from what the last one left.
    fn begin_again(&mut self, resume: &ResumeSpec) -> bool {
        if self.ended == Some(Ended::Finished) && self.scenario.expect == Expect::StoppedOrFinished {
            return false;
        }
        let newest = match resume.from {
            ResumeFrom::Savepoint if self.stopped_with().is_some() => self.stopped_with(),
            ResumeFrom::Savepoint => self.savepoints.last_key_value().map(|(checkpoint, folder)| (*checkpoint, folder.clone())),
            ResumeFrom::Checkpoint => self.retained.last().map(|checkpoint| (*checkpoint, format!("{}/chk-{}", self.root(), checkpoint.0))),
        };
        let Some((checkpoint, path)) = newest else {
            self.violated("restorability", "there is nothing that another job could begin from".into());
            return false;
        };
        let claim = if resume.claim { ClaimMode::Claim } else { ClaimMode::NoClaim };
        let origin = Some(Origin { path, checkpoint, claim });
        // What is published stays where it is.
        let output = if self.delivers() { OUTPUT } else { "/shared/output-2" };
        self.look_into_origin(origin.as_ref());
        let (root, objects) = ("/shared/checkpoints/job-2", "s3://bucket/checkpoints/job-2");
        self.job = JobPlace { name: "job-2", root, objects, output, network: 1, origin };
        self.origin_is_complete();
        let scenario = &mut self.scenario;
        scenario.cluster.slots = scenario.cluster.slots.max(resume.parallelism.div_ceil(scenario.cluster.workers));
        scenario.job.parallelism = resume.parallelism;
        scenario.cluster.backend = resume.backend;
        scenario.checkpoints.retention = Retention::Never;
        (scenario.faults, scenario.chaos, scenario.expect) = (resume.faults.clone(), None, resume.expect);
        scenario.job.schema = resume.schema;
        (self.ended, self.restored_tasks) = (None, 0);
        self.retained.clear();
        self.leftovers = Leftovers::default();
        self.restoring.clear();
        self.account = efficiency::Account::default();
        true
    }

    async fn play_job(&mut self) {
        let (signals, mut signalled) = mpsc::unbounded_channel();
        let watch = self.watch.of_next_job(self.seen.clone(), signals.clone());
        let graph: Arc<JobGraph<SimEnv>> = Arc::new(jobs::build(&self.scenario.job, &self.logs, self.job.output, &watch));
        let tasks = graph.tasks();
        // Nodes are numbered in the order in which they are added: storage, coordinator, workers.
        let coordinator = NodeIndex(u32::try_from(self.world.nodes().len()).expect("a checked scenario has few nodes"));
        let origin = self.job.origin.as_ref().map(|origin| origin.checkpoint);
        let setting = invariant::Setting { scenario: &self.scenario, tasks: &tasks, coordinator, origin };
        let pins = self.scenario.faults.iter().map(|fault| &fault.when);
        let witness = Witness::new(
            self.seen.clone(),
            self.keep,
            signals.clone(),
            if self.shadow { Vec::new() } else { invariant::all(&setting) },
            pins,
        )
        .looking(self.delivers())
        .claiming(self.claimed().is_some())
        .validating(self.keep.validate)
        .stopping(match &self.until {
            Some(Until::Event(event)) => Some(event.clone()),
            Some(Until::Time(_)) | None => None,
        })
        .showing(self.until.is_some());
        self.world.set_watcher(Some(Box::new(witness)));
        let mut injector = self.build_world(&graph);
        let calm_at = self.world.now() + Duration::from_millis(self.scenario.calm_after_ms);
        let deadline = calm_at + Duration::from_millis(self.scenario.liveness_bound_ms);
        let _timed: Vec<_> = self.schedule(&signals).into_iter().collect();
        let (mut calm, mut coordinator_done) = (false, false);
        // What is drawn by time is told from what is pinned by its number.
        let pinned = self.scenario.faults.len();
        let until = match self.until {
            Some(Until::Time(until)) => until,
            Some(Until::Event(_)) | None => Duration::MAX,
        };
        while !coordinator_done && self.world.now() < deadline {
            if self.world.now() >= until {
                self.world.take_picture();
                self.stopped = true;
                return;
            }
            let next = if calm { deadline } else { calm_at }.min(until);
            let wait = next.saturating_sub(self.world.now());
            tokio::select! {
                biased;
                Some(signal) = signalled.recv() => match signal {
                    Signal::Completed(checkpoint) => {
                        self.completed.push((self.world.now(), checkpoint));
                        self.judge_checkpoint(checkpoint);
                    }
                    Signal::Savepoint(checkpoint, folder) => {
                        self.judge_savepoint(checkpoint, folder);
                        if self.shadow {
                            return;
                        }
                    }
                    Signal::Written(checkpoint) => {
                        self.written.insert(checkpoint);
                    }
                    Signal::Withdrawn(checkpoint) => {
                        self.written.remove(&checkpoint);
                    }
                    Signal::Origin => self.judge_parting(),
                    Signal::Stopping(checkpoint) => self.judge_stop(checkpoint),
                    Signal::StopAnswered { published } => self.published_at_the_stop = Some(published),
                    Signal::Restoring(attempt, checkpoint) => self.judge_restore(attempt, checkpoint),
                    Signal::Restored(attempt, task, held) => {
                        self.restored_tasks += 1;
                        self.judge_restored(attempt, task, held);
                    }
                    Signal::Look => self.look_at_output(),
                    Signal::Fault(number, node) if !calm => {
                        injector.know_retained(&self.retained);
                        if number < pinned {
                            let what = self.scenario.faults[number].what.clone();
                            injector.inject(&what, node);
                        } else if let Some(chaos) = &self.scenario.chaos {
                            let what = injector.draw(&chaos.kinds);
                            let at_ms = u64::try_from(self.world.now().as_millis()).expect("no run takes so long");
                            lock(&self.seen).drawn.push(FaultSpec { when: When::AtMs(at_ms), what: what.clone() });
                            injector.inject(&what, node);
                        }
                    }
                    Signal::Fault(..) => {}
                    Signal::Ended(ended) => {
                        self.ended = Some(ended);
                        self.judge_stopped();
                    }
                    Signal::Exited(node) => coordinator_done = node == coordinator && self.ended.is_some(),
                    Signal::Violated => break,
                    Signal::Stopped => {
                        self.stopped = true;
                        return;
                    }
                },
                () = self.world.sleep(wait) => {
                    if !calm && self.world.now() >= calm_at {
                        calm = true;
                        if !self.scenario.world.never_calm {
                            injector.calm();
                        }
                    }
                }
            }
        }
        let cleaning_up = self.in_objects() || self.scenario.cluster.local_recovery;
        if cleaning_up && lock(&self.seen).violation.is_none() {
            self.world.sleep(CLEANING_UP).await;
        }
        if lock(&self.seen).violation.is_none() {
            self.judge_end(coordinator_done);
        }
    }

    fn violated(&self, invariant: &'static str, witness: String) {
        if self.is_known_damage(invariant, &witness) {
            return;
        }
        lock(&self.seen).violated(invariant, witness, self.world.now());
    }

    fn address(&self, node: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, self.job.network, u8::try_from(node + 1).expect("a checked scenario has few nodes")))
    }
}
