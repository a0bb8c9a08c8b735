//! A job of one's own: clicks per page, with a checkpoint every second, as a coordinator and two workers.
//!
//! `cargo run --release -p cofferdam-engine --example clicks -- LOG FOLDER`, where each line of LOG begins with a page.
//!
//! All of it runs in one process here, over TCP all the same. As processes on several machines it is the same calls, each in
//! its own `main`, with a checkpoint folder that all of them see.

use bytes::Bytes;
use cofferdam_engine::cluster::coordinator::{self, CoordinatorSettings};
use cofferdam_engine::cluster::formats::Formats;
use cofferdam_engine::cluster::worker::{self, WorkerSettings};
use cofferdam_engine::cluster::Heartbeats;
use cofferdam_engine::connector::log_source::{LogSettings, LogSource, Partition};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::backend::StateVisitor;
use cofferdam_engine::state::key::Key;
use cofferdam_engine::state::text::Text;
use cofferdam_engine::state::value::ValueState;
use cofferdam_engine::storage::{CheckpointStorage, CheckpointStore, SmallState};
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::coordinator::Plan;
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::{CheckpointSettings, FailoverStrategy, MaxParallelism, Mode, RestartStrategy, WorkerId};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How many clicks each page has had. What is in `states` is in every checkpoint, and back after a crash.
#[derive(Default)]
struct Clicks {
    seen: ValueState<Text, u64>,
}

impl KeyedProcess for Clicks {
    type Key = Text;
    type In = Text;
    type Out = (Text, u64);

    fn process(&mut self, page: &Key<'_, Text>, click: Text, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        let seen = self.seen.update(page, |seen| {
            *seen += 1;
            *seen
        });
        out.collect((click, seen));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("seen", &mut self.seen);
    }
}

fn page(line: &Bytes) -> Text {
    Text::from(String::from_utf8_lossy(line).split_whitespace().next().unwrap_or_default())
}

/// Source, transformations, sink. `clicks` and `table` are stable names: state is found by them after a restore, whatever else
/// has changed in the job.
fn job(log: &str, folder: &str) -> Result<JobGraph<RealEnv>, Box<dyn Error>> {
    let size = std::fs::metadata(log)?.len();
    let partitions = Arc::new(Partition::cut(log, size, 8));
    let settings = LogSettings { partitions, chunk_bytes: 64 << 10, pace: None, event_times: None, backlog_bytes: None, follow: None };
    let job = Job::new("clicks", 2, MaxParallelism::default_for(2));
    let table = format!("{folder}/table");
    job.source("log", move || LogSource::new(settings.clone()))
        .map(|line| page(&line))
        .filter(|page| !page.is_empty())
        .key_by(|page| page.clone())
        .process("clicks", Clicks::default)
        .sink("table", move || UpsertSink::new(&table, "pages"));
    job.build().map_err(|error: JobError| error.into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let [log, folder] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "two arguments: LOG FOLDER")?;
    let root = format!("{folder}/checkpoints");
    std::fs::create_dir_all(&root)?;
    let graph = Arc::new(job(&log, &folder)?);
    let storage = CheckpointStorage::FileSystem { root: root.clone() };
    let heartbeats = Heartbeats::default();
    // Any free port: opened and closed again, so that the workers know it before the coordinator listens.
    let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let plan = Plan {
        tasks: graph.tasks(),
        sources: graph.source_tasks(),
        predecessors: graph.predecessors(),
        committers: graph.committing_tasks(),
        regions: graph.regions(FailoverStrategy::default()),
        checkpoints: CheckpointSettings { interval: Some(Duration::from_secs(1)), ..CheckpointSettings::default() }.validated()?,
        restart: RestartStrategy::default(),
        hooks: !graph.hooks.is_empty(),
        enumerators: !graph.enumerators.is_empty(),
        origin: None,
        local_recovery: false,
        heartbeat_timeout: heartbeats.timeout,
        deploy_timeout: Duration::from_secs(60),
        stop_timeout: Duration::from_secs(10),
    };
    let settings = CoordinatorSettings {
        job: "clicks".into(),
        address,
        heartbeats,
        root,
        plan,
        unclaimed: UnclaimedState::Refuse,
        allow_drained: false,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        for id in 1..=2 {
            let settings = WorkerSettings {
                formats: Formats::OURS,
                worker: WorkerId(id),
                slots: 1,
                coordinator: address,
                data_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                heartbeats,
                storage: storage.clone(),
                small: SmallState::default(),
                mode: Mode::ExactlyOnce,
                overtaking: false,
                finishing: true,
                backend: StateBackend::InMemory,
                local: None,
            };
            tokio::spawn(worker::run(RealEnv::default(), settings, graph.clone()));
        }
        let store = Arc::new(CheckpointStore::new(storage.clone()));
        let ended = coordinator::run(RealEnv::default(), settings, store, graph.clone(), None).await?;
        println!("{ended:?}: the table is in {folder}/table");
        Ok(())
    })
}
