//! The whole world from the seed: topology, data, options, network, disks, clocks, and what goes wrong.

use crate::{wider, Story};
use cofferdam_protocol::settings::{FailoverStrategy, Mode, RestartStrategy, Retention};
use cofferdam_sim::fault::{KINDS, LOCAL_KINDS, OBJECT_KINDS};
use cofferdam_sim::scenario::{
    BackendKind, ChaosSpec, CheckpointSpec, ClockSpec, ClusterSpec, DiskSpec, Expect, FaultSpec, JobKind, JobSpec, MergeSpec, NetworkSpec,
    ObjectSpec, ResumeFrom, ResumeSpec, Scenario, Shape, StorageKind, What, When, WorldSpec,
};
use cofferdam_sim::{Concern, Streams};
use rand::seq::SliceRandom;
use rand::Rng;
use std::time::Duration;

pub(crate) const STORY: Story = Story { name: "swarm", story: TEXT, expand };

const TEXT: &str = "Everything is drawn from the seed: the job, its size, all options, the network, and every kind of fault.";

/// Apart from `swarm`, so that its runs stay what they are.
pub(crate) const OBJECT_STORY: Story = Story { name: "object-swarm", story: OBJECT_TEXT, expand: expand_in_objects };

const OBJECT_TEXT: &str = "As swarm, with checkpoints as objects, and every kind of fault of the object store.";

/// RocksDB takes its time, so it has a swarm of its own.
#[cfg(feature = "rocksdb")]
pub(crate) const ROCKSDB_STORY: Story = Story { name: "rocksdb-swarm", story: ROCKSDB_TEXT, expand: expand_in_rocksdb };

#[cfg(feature = "rocksdb")]
const ROCKSDB_TEXT: &str = "As swarm, with state in RocksDB.";

/// Two numbers in order.
fn range(rng: &mut impl Rng, most: u64) -> (u64, u64) {
    let (a, b) = (rng.gen_range(0..=most), rng.gen_range(0..=most));
    (a.min(b), a.max(b))
}

fn expand(seed: u64) -> Scenario {
    // What is drawn here does not move what the run itself draws.
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_5ca1_e000).stream(Concern::Swarm);
    let ms = Duration::from_millis;
    let kind = *[JobKind::WordCount, JobKind::Windows, JobKind::Ledger].choose(rng).expect("there are three");
    let parallelism = rng.gen_range(1..=3);
    let slots = rng.gen_range(1..=2);
    let workers = u32::div_ceil(parallelism, slots) + rng.gen_range(0..=2);
    let mut job = JobSpec {
        kind,
        parallelism,
        max_parallelism: rng.gen_range(parallelism..=32),
        partitions: rng.gen_range(1..=5),
        lines: rng.gen_range(20..=200),
        keys: rng.gen_range(1..=60),
        chunk_bytes: rng.gen_range(16..=256),
        pace_ms: rng.gen_range(5..=40),
        backlog_bytes: 0,
        hook_fails_every: 0,
        schema: 1,
        short_log_percent: 0,
        sink_us: 0,
        arrive_ms: 0,
    };
    let heartbeat_ms = rng.gen_range(100..=300);
    let in_memory = rng.gen_bool(0.1);
    let mut cluster = ClusterSpec {
        workers,
        slots,
        heartbeat_ms,
        heartbeat_timeout_ms: heartbeat_ms * rng.gen_range(3..=6),
        storage: if in_memory { StorageKind::Memory } else { StorageKind::FileSystem },
        ..ClusterSpec::default()
    };
    let at_least_once = kind != JobKind::Windows && rng.gen_bool(0.2);
    let (latency_min_ms, latency_max_ms) = range(rng, 30);
    let (latency_min_us, latency_max_us) = range(rng, 10_000);
    let mut checkpoints = CheckpointSpec {
        interval_ms: rng.gen_range(50..=600),
        mode: if at_least_once { Mode::AtLeastOnce } else { Mode::ExactlyOnce },
        // A checkpoint asks the storage for some twenty things in a row: what cannot be done in time is no fault.
        timeout_ms: rng.gen_range(1000..=4000) + 100 * latency_max_ms + latency_max_us / 25,
        min_pause_ms: if rng.gen_bool(0.4) { rng.gen_range(1..=300) } else { 0 },
        max_concurrent: *[1, 1, 1, 2, 3].choose(rng).expect("there are five"),
        tolerable_failures: rng.gen_range(0..=5),
        retained: rng.gen_range(1..=3),
        retention: Retention::Never,
        shadow_every: 4,
        interval_during_backlog_ms: None,
        unaligned: false,
        aligned_timeout_ms: 0,
        after_tasks_finish: true,
    };
    let network = NetworkSpec {
        latency_min_ms: latency_min_ms.max(1),
        latency_max_ms: latency_max_ms.max(1),
        bandwidth_bytes_per_s: if rng.gen_bool(0.3) { rng.gen_range(20_000..=500_000) } else { 0 },
        window_bytes: rng.gen_range(256..=16_384),
    };
    let mut clocks = Vec::new();
    for number in 1..=workers {
        if rng.gen_bool(0.3) {
            let node = format!("worker-{number}");
            clocks.push(ClockSpec { node, offset_ms: rng.gen_range(-300_000..=300_000), drift_ppm: rng.gen_range(-5000..=5000) });
        }
    }
    let mut kinds: Vec<String> = KINDS.iter().filter(|_| rng.gen_bool(0.4)).map(|kind| (*kind).to_owned()).collect();
    if kinds.is_empty() {
        kinds.push("crash".into());
    }
    let calm_after_ms = rng.gen_range(2000..=8000);
    let mut chaos = rng.gen_bool(0.9).then(|| ChaosSpec { every_ms: rng.gen_range(300..=2500), until_ms: calm_after_ms, kinds });
    let initial = ms(rng.gen_range(50..=500));
    let growth_percent = rng.gen_range(100..=200);
    // Draws that came later: they leave what is drawn above as it was.
    if !in_memory && rng.gen_bool(0.5) {
        cluster.backend = BackendKind::SortedRuns;
        cluster.incremental = rng.gen_bool(0.8);
        cluster.hot_bytes = *[0, 2_000, 1 << 20].choose(rng).expect("there are three");
    }
    if rng.gen_bool(0.1) {
        job.backlog_bytes = rng.gen_range(100..=4000);
        checkpoints.interval_during_backlog_ms =
            Some(if rng.gen_bool(0.3) { 0 } else { checkpoints.interval_ms.max(checkpoints.min_pause_ms) * 3 });
    }
    // The last draws of all, for the same reason.
    if !in_memory && rng.gen_bool(0.3) {
        cluster.local_recovery = true;
        let kinds = LOCAL_KINDS.iter().filter(|_| rng.gen_bool(0.4)).map(|kind| (*kind).to_owned());
        if let Some(chaos) = &mut chaos {
            chaos.kinds.extend(kinds);
        }
    }
    if !in_memory && rng.gen_bool(0.2) {
        cluster.inline_below_bytes = *[100, 400, 4096].choose(rng).expect("there are three");
    }
    if !in_memory && rng.gen_bool(0.25) {
        let max_file_bytes = *[1024, 8192, 1 << 20].choose(rng).expect("there are three");
        let (across_checkpoints, max_space_amplification) = (rng.gen_bool(0.7), rng.gen_range(2..=4));
        cluster.merge = Some(MergeSpec { max_file_bytes, across_checkpoints, max_space_amplification });
    }
    if checkpoints.mode == Mode::ExactlyOnce && checkpoints.max_concurrent == 1 && rng.gen_bool(0.5) {
        checkpoints.unaligned = true;
        checkpoints.aligned_timeout_ms = if rng.gen_bool(0.5) { 0 } else { rng.gen_range(1..=300) };
        job.sink_us = if rng.gen_bool(0.7) { rng.gen_range(100..=1500) } else { 0 };
    }
    if rng.gen_bool(0.4) {
        job.kind = JobKind::Shaped(*Shape::ALL.choose(rng).expect("there are six"));
    }
    let (mut faults, mut expect, mut resume) = (Vec::new(), Expect::Finished, None);
    if !in_memory && rng.gen_bool(0.12) {
        let when = When::Moment { moment: "checkpoint-completed".into(), checkpoint: None, nth: rng.gen_range(1..=5) };
        let native = cluster.backend != BackendKind::HashMap && rng.gen_bool(0.4);
        faults.push(FaultSpec { when, what: What::Stop { drain: false, native, insist: true } });
        expect = Expect::StoppedOrFinished;
        let backend = if native || rng.gen_bool(0.6) { cluster.backend } else { BackendKind::SortedRuns };
        let parallelism = rng.gen_range(1..=job.max_parallelism.min(parallelism + 1));
        let (from, claim, schema) = (ResumeFrom::Savepoint, rng.gen_bool(0.3), job.schema);
        resume = Some(ResumeSpec { from, claim, parallelism, backend, schema, expect: Expect::Finished, faults: Vec::new() });
    }
    let mut scenario = Scenario {
        name: "swarm".into(),
        story: TEXT.into(),
        job,
        cluster,
        checkpoints,
        restart: RestartStrategy::ExponentialDelay { initial, max: ms(2000), growth_percent, jitter_percent: 10, reset_after: ms(5000) },
        network,
        disk: DiskSpec { latency_min_us, latency_max_us },
        objects: ObjectSpec::default(),
        clocks,
        faults,
        chaos,
        world: WorldSpec::default(),
        calm_after_ms,
        liveness_bound_ms: 120_000,
        expect,
        resume,
    };
    wider::widen(seed, &mut scenario);
    end_early(seed, &mut scenario);
    scenario
}

/// Drawn from a stream of its own: what is drawn elsewhere stays what it is.
fn end_early(seed: u64, scenario: &mut Scenario) {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_f141_54ed).stream(Concern::Swarm);
    if rng.gen_bool(0.35) {
        scenario.job.short_log_percent = rng.gen_range(1..=60);
    }
    scenario.checkpoints.after_tasks_finish = rng.gen_bool(0.85);
}

/// Apart from `swarm`, so that its runs stay what they are.
pub(crate) const STATE_STORY: Story = Story { name: "state-swarm", story: STATE_TEXT, expand: expand_state };

const STATE_TEXT: &str =
    "As swarm, with jobs whose state expires, is broadcast, or goes by event time, and clocks that are wrong and jump.";

fn expand_state(seed: u64) -> Scenario {
    let mut scenario = expand(seed);
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_57a7_e000).stream(Concern::Swarm);
    scenario.name = STATE_STORY.name.into();
    scenario.story = STATE_TEXT.into();
    let kinds = [JobKind::Expiring, JobKind::Expiring, JobKind::Rules, JobKind::Visits, JobKind::Sessions, JobKind::Hops];
    scenario.job.kind = *kinds.choose(rng).expect("there are six");
    if scenario.job.kind.has_windows() {
        scenario.checkpoints.mode = Mode::ExactlyOnce;
    }
    scenario.job.schema = rng.gen_range(1..=2);
    scenario.job.lines *= rng.gen_range(1..=3);
    if rng.gen_bool(0.5) {
        wider::one_clock(&mut scenario);
    }
    // The last draws, for the same reason.
    if rng.gen_bool(0.3) {
        scenario.job.kind = if rng.gen_bool(0.5) { JobKind::Patterns } else { JobKind::IdleSplit };
        scenario.job.lines = scenario.job.lines.clamp(200, 250);
        scenario.checkpoints.mode = Mode::ExactlyOnce;
    }
    scenario
}

/// Apart from `swarm`, so that its runs stay what they are.
pub(crate) const TRANSACTIONS_STORY: Story = Story { name: "transactions-swarm", story: TRANSACTIONS_TEXT, expand: expand_transactions };

const TRANSACTIONS_TEXT: &str = "As swarm, with a job whose output is transactional, and checkpoints as files or objects.";

fn expand_transactions(seed: u64) -> Scenario {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_7a45_ac70).stream(Concern::Swarm);
    let mut scenario = if rng.gen_bool(0.25) { expand_in_objects(seed) } else { expand(seed) };
    scenario.name = TRANSACTIONS_STORY.name.into();
    scenario.story = TRANSACTIONS_TEXT.into();
    scenario.job.kind = JobKind::Delivery;
    if let Some(chaos) = &mut scenario.chaos {
        // Local copies and object stores fail in other swarms: few of these worlds have any.
        chaos.kinds.retain(|kind| wider::is_general(kind));
        if chaos.kinds.is_empty() {
            chaos.kinds.push("crash".into());
        }
    }
    scenario.checkpoints.mode = Mode::ExactlyOnce;
    if scenario.cluster.storage == StorageKind::Memory {
        // What dies with the coordinator cannot say what is published.
        scenario.cluster.storage = StorageKind::FileSystem;
    }
    scenario
}

/// Apart from `transactions-swarm`, so that its runs stay what they are.
pub(crate) const REGIONS_STORY: Story = Story { name: "regions-swarm", story: REGIONS_TEXT, expand: expand_regions };

const REGIONS_TEXT: &str = "As transactions-swarm, with a job of several regions, each of which restarts alone unless all are to.";

fn expand_regions(seed: u64) -> Scenario {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_4e61_0450).stream(Concern::Swarm);
    let mut scenario = expand_transactions(seed);
    scenario.name = REGIONS_STORY.name.into();
    scenario.story = REGIONS_TEXT.into();
    let Scenario { job, cluster, .. } = &mut scenario;
    job.kind = if rng.gen_bool(0.5) { JobKind::Lanes } else { JobKind::Post };
    job.parallelism = rng.gen_range(2..=4);
    job.max_parallelism = job.max_parallelism.max(job.parallelism);
    let needed = u32::div_ceil(job.parallelism, cluster.slots);
    cluster.workers = cluster.workers.max(needed + rng.gen_range(0..=2));
    if rng.gen_bool(0.15) {
        cluster.failover = FailoverStrategy::Full;
    }
    scenario
}

/// Apart from `swarm`, so that its runs stay what they are.
pub(crate) const ARRIVALS_STORY: Story = Story { name: "arrivals-swarm", story: ARRIVALS_TEXT, expand: expand_arrivals };

const ARRIVALS_TEXT: &str = "As swarm, with a job whose input is found while it runs, and checkpoints as files or objects.";

fn expand_arrivals(seed: u64) -> Scenario {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_a441_7a15).stream(Concern::Swarm);
    let mut scenario = if rng.gen_bool(0.2) { expand_in_objects(seed) } else { expand(seed) };
    scenario.name = ARRIVALS_STORY.name.into();
    scenario.story = ARRIVALS_TEXT.into();
    scenario.job.kind = JobKind::Arrivals;
    (scenario.job.partitions, scenario.job.lines) = (rng.gen_range(1..=14), rng.gen_range(5..=80));
    scenario.job.arrive_ms = rng.gen_range(0..=scenario.calm_after_ms);
    if rng.gen_bool(0.3) {
        // So that many checkpoints begin while somebody is being told something.
        scenario.checkpoints.interval_ms = rng.gen_range(30..=100);
    }
    scenario
}

fn expand_in_objects(seed: u64) -> Scenario {
    let mut scenario = expand(seed);
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_0b1e_c750).stream(Concern::Swarm);
    scenario.name = OBJECT_STORY.name.into();
    scenario.story = OBJECT_TEXT.into();
    scenario.cluster.storage = StorageKind::Object;
    // An object is not appended to.
    scenario.cluster.merge = None;
    let (latency_min_ms, latency_max_ms) = range(rng, 40);
    scenario.objects = ObjectSpec {
        latency_min_ms,
        latency_max_ms,
        timeout_ms: rng.gen_range(500..=2000) + 10 * scenario.network.latency_max_ms,
        part_bytes: *[512, 1024, 4096, 1 << 20].choose(rng).expect("there are four"),
    };
    // A checkpoint asks the store for some ten things in a row, and for each part of its state: what cannot be done in time is no
    // fault.
    scenario.checkpoints.timeout_ms = 3000 + 40 * (2 * scenario.network.latency_max_ms + latency_max_ms);
    let kinds = OBJECT_KINDS.iter().filter(|_| rng.gen_bool(0.4)).map(|kind| (*kind).to_owned());
    if let Some(chaos) = &mut scenario.chaos {
        chaos.kinds.extend(kinds);
    }
    wider::widen_objects(seed, &mut scenario);
    scenario
}

#[cfg(feature = "rocksdb")]
fn expand_in_rocksdb(seed: u64) -> Scenario {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_0c0c_50db).stream(Concern::Swarm);
    let mut scenario = expand(seed);
    scenario.name = ROCKSDB_STORY.name.into();
    scenario.story = ROCKSDB_TEXT.into();
    if scenario.cluster.storage == StorageKind::Memory {
        scenario.cluster.storage = StorageKind::FileSystem;
    }
    scenario.cluster.backend = BackendKind::RocksDb;
    scenario.cluster.incremental = rng.gen_bool(0.8);
    scenario.cluster.hot_bytes = *[0, 2_000, 1 << 20].choose(rng).expect("there are three");
    scenario
}
