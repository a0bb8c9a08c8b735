//! W1 of shared/reference/peers.md, keyed sum, in real mode: a coordinator and workers over TCP on loopback, all in this
//! process, on a runtime of two threads.

use crate::{cpu, quantile, table};
use cofferdam_engine::cluster::coordinator::{self, CoordinatorSettings, Progress};
use cofferdam_engine::cluster::formats::Formats;
use cofferdam_engine::cluster::statistics::Outcome;
use cofferdam_engine::cluster::worker::{self, WorkerSettings};
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::connector::discard::Discard;
use cofferdam_engine::connector::generator::Generator;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::job::{Job, JobGraph};
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Key, StateVisitor, ValueState};
use cofferdam_engine::storage::{CheckpointStorage, CheckpointStore, SmallState};
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::coordinator::{Ended, FailureReason, Plan};
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::{CheckpointSettings, MaxParallelism, Mode, Regions, RestartStrategy, VertexId, WorkerId};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const PARALLELISM: u32 = 2;
/// How many records go through the source's chain at once.
const BATCH: usize = 1024;
/// The vertex that sums.
const SUMMING: VertexId = VertexId(1);

/// One row.
pub struct Row {
    pub key_count: u64,
    pub interval: Option<Duration>,
    pub worker_count: u32,
    /// For each worker, in a folder of its own.
    pub backend: fn(&Path) -> StateBackend,
}

impl Row {
    fn name(&self) -> String {
        let checkpoints = self.interval.map_or("off".to_owned(), |interval| format!("{}s", interval.as_secs()));
        format!("w1/k={}/workers={}/checkpoints={checkpoints}", self.key_count, self.worker_count)
    }
}

/// All rows whose names contain `filter`.
pub fn run(filter: &str, record_count: u64) {
    let mut rows = Vec::new();
    for key_count in [10_000, 1_000_000] {
        for worker_count in [1, 2] {
            for interval in [None, Some(Duration::from_secs(1))] {
                rows.push(Row { key_count, interval, worker_count, backend: |_| StateBackend::InMemory });
            }
        }
    }
    rows.retain(|row| row.name().contains(filter));
    if rows.is_empty() {
        return;
    }
    let mut out = table(&["row", "records/s", "records/CPU s", "checkpoints", "bytes each", "e2e p50 ms", "e2e p90 ms", "sync max us"]);
    // Of all keys together, so it does not matter how many there are.
    let expected: u64 = (0..record_count).map(|number| record(number, 1).1).sum();
    for row in rows {
        let mut measured = measure(&row, record_count);
        assert_eq!(measured.total, expected, "{}: every record is in exactly one sum", row.name());
        let each = |duration: Option<Duration>| duration.map_or(String::new(), |duration| format!("{:.1}", duration.as_secs_f64() * 1e3));
        out.add_row([
            row.name(),
            millions(record_count, measured.elapsed),
            millions(record_count, measured.cpu),
            measured.end_to_end.len().to_string(),
            measured.size_bytes.map_or(String::new(), |size_bytes| size_bytes.to_string()),
            each(quantile(&mut measured.end_to_end, 50)),
            each(quantile(&mut measured.end_to_end, 90)),
            measured.sync_max.map_or(String::new(), |sync| sync.as_micros().to_string()),
        ]);
    }
    println!("{record_count} records, parallelism {PARALLELISM}\n{out}\n");
}

pub fn millions(count: u64, duration: Duration) -> String {
    #[allow(clippy::cast_precision_loss)] // Three digits are shown.
    let per_second = count as f64 / duration.as_secs_f64() / 1e6;
    format!("{per_second:.2} M")
}

/// The definition of the record.
fn record(number: u64, key_count: u64) -> (u64, u64) {
    let mut z = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    ((z >> 1) % key_count, 1 + (z >> 56))
}

/// The sum of each key. What it has at its end is added to `total`, to be compared with what it should be.
struct Sum {
    sum: ValueState<u64, u64>,
    total: Arc<AtomicU64>,
}

impl Drop for Sum {
    fn drop(&mut self) {
        self.total.fetch_add(self.sum.iter().map(|(_, sum)| *sum).sum(), Ordering::Relaxed);
    }
}

impl KeyedProcess for Sum {
    type Key = u64;
    type In = (u64, u64);
    type Out = (u64, u64);

    fn process(&mut self, key: &Key<'_, u64>, record: (u64, u64), _: &mut Context<'_, u64>, out: &mut impl Collect<(u64, u64)>) {
        let total = self.sum.update(key, |sum| {
            *sum += record.1;
            *sum
        });
        out.collect((record.0, total));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<u64>) {
        visit.visit("sum", &mut self.sum);
    }
}

fn job(key_count: u64, record_count: u64, total: Arc<AtomicU64>) -> JobGraph<RealEnv> {
    let job = Job::new("keyed-sum", PARALLELISM, MaxParallelism::default_for(PARALLELISM));
    let make = Arc::new(move |number| record(number, key_count));
    job.source("records", move || Generator::new(record_count, BATCH, make.clone()))
        .key_by(|record: &(u64, u64)| record.0)
        .process("sum", move || Sum { sum: ValueState::default(), total: total.clone() })
        .sink("nowhere", Discard::default);
    job.build().expect("a job like any user's")
}

/// What the observer sees: when records flow, and how many.
#[derive(Default)]
struct Seen {
    /// When the first subtask ran.
    begun: Option<(Instant, Duration)>,
    /// When the last one had taken all its input.
    drained: Option<(Instant, Duration)>,
    drained_count: u32,
    summed: u64,
    deployments: u32,
}

impl Seen {
    fn event(&mut self, event: &Event) {
        let summing = matches!(event.actor, Actor::Task(task) if task.vertex == SUMMING);
        match (event.moment, &event.detail) {
            (Moment::Deploying, _) => self.deployments += 1,
            (Moment::TaskRunning, _) if self.begun.is_none() => self.begun = Some((Instant::now(), cpu::process())),
            (Moment::Batch, Detail::Count(count)) if summing => self.summed += count,
            (Moment::TaskDrained, _) if summing => {
                self.drained_count += 1;
                self.drained = Some((Instant::now(), cpu::process()));
            }
            (_, _) => {}
        }
    }
}

pub struct Measured {
    /// Of all sums that are in memory at the end.
    pub total: u64,
    pub elapsed: Duration,
    pub cpu: Duration,
    /// Of each checkpoint that was triggered while records flowed.
    pub end_to_end: Vec<Duration>,
    pub size_bytes: Option<u64>,
    pub sync_max: Option<Duration>,
}

/// Runs the job once.
pub fn measure(row: &Row, record_count: u64) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads can be had");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let observer = {
        let seen = seen.clone();
        Arc::new(move |event: &Event| seen.lock().expect("no observer panics").event(event))
    };
    let origin = Instant::now();
    let env = RealEnv::new(Some(observer));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let total = Arc::new(AtomicU64::new(0));
    let graph = Arc::new(job(row.key_count, record_count, total.clone()));
    let (ended, progress) = runtime.block_on(cluster(&env, row, graph, folder.path().to_str().expect("UTF-8")));
    // Ends all subtasks.
    drop(runtime);
    assert_eq!(ended, Ended::Finished);
    let seen = seen.lock().expect("no observer panics");
    assert_eq!((seen.summed, seen.drained_count, seen.deployments), (record_count, PARALLELISM, 1), "all records, at the first attempt");
    let (begun, drained) = (seen.begun.expect("it ran"), seen.drained.expect("it ended"));
    let statistics = progress.statistics;
    // One may be under way when the job finishes.
    let failed = statistics.failures.keys().find(|reason| **reason != FailureReason::CoordinatorShutdown);
    assert_eq!(failed, None);
    let loaded = || statistics.checkpoints.values().filter(|checkpoint| origin + checkpoint.triggered_at < drained.0);
    let end_to_end = loaded().filter_map(|checkpoint| match checkpoint.outcome {
        Outcome::Completed(after) => Some(after),
        Outcome::InProgress | Outcome::Failed(_) => None,
    });
    Measured {
        total: total.load(Ordering::Relaxed),
        elapsed: drained.0 - begun.0,
        cpu: drained.1 - begun.1,
        end_to_end: end_to_end.collect(),
        size_bytes: loaded().map(|checkpoint| checkpoint.size_bytes()).max(),
        sync_max: loaded().flat_map(|checkpoint| checkpoint.subtasks.values()).map(|subtask| subtask.snapshot.sync).max(),
    }
}

async fn cluster(env: &RealEnv, row: &Row, graph: Arc<JobGraph<RealEnv>>, folder: &str) -> (Ended, Progress) {
    let heartbeats = Heartbeats::default();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = TcpListener::bind(any_port).and_then(|listener| listener.local_addr()).expect("loopback has a free port");
    let root = format!("{folder}/keyed-sum");
    let storage = CheckpointStorage::FileSystem { root: root.clone() };
    let checkpoints = CheckpointSettings { interval: row.interval, ..CheckpointSettings::default() };
    let plan = Plan {
        tasks: graph.tasks(),
        sources: graph.source_tasks(),
        predecessors: graph.predecessors(),
        committers: graph.committing_tasks(),
        regions: Regions::whole(),
        checkpoints: checkpoints.validated().expect("in range"),
        restart: RestartStrategy::None,
        hooks: false,
        enumerators: false,
        origin: None,
        local_recovery: false,
        heartbeat_timeout: heartbeats.timeout,
        deploy_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(60),
    };
    let workers: Vec<_> = (0..row.worker_count)
        .map(|number| {
            let settings = WorkerSettings {
                formats: Formats::OURS,
                worker: WorkerId(number),
                slots: PARALLELISM / row.worker_count,
                coordinator: address,
                data_address: any_port,
                heartbeats,
                storage: storage.clone(),
                small: SmallState::default(),
                mode: Mode::ExactlyOnce,
                overtaking: false,
                finishing: true,
                backend: (row.backend)(&Path::new(folder).join(format!("worker-{number}"))),
                local: None,
            };
            tokio::spawn(worker::run(env.clone(), settings, graph.clone()))
        })
        .collect();
    let settings = CoordinatorSettings {
        job: "keyed-sum".into(),
        address,
        heartbeats,
        root,
        plan,
        unclaimed: UnclaimedState::Refuse,
        allow_drained: false,
    };
    let store = Arc::new(CheckpointStore::new(storage));
    let (progress_sender, progress) = watch::channel(Progress::default());
    let coordinating = tokio::spawn(coordinator::run(env.clone(), settings, store, graph, Some(progress_sender)));
    let ended = coordinating.await.expect("no panic").expect("the coordinator can lead");
    for worker in workers {
        worker.await.expect("no panic").expect("the data port can be opened");
    }
    let progress = progress.borrow().clone();
    (ended, progress)
}
