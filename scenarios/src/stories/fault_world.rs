//! Stories of what goes wrong without a crash or an error: messages, clocks, racks, releases, and disks that tell nobody.

use super::{at, crash, nth, power_loss, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::RestartStrategy;
use cofferdam_sim::clock::drift::DriftShape;
use cofferdam_sim::scenario::{DriftSpec, Expect, JobKind, LoadSpec, RackEvent, Scenario, What};

fn rack(nodes: &[&str], event: RackEvent, for_ms: u64) -> What {
    What::Rack { nodes: nodes.iter().map(ToString::to_string).collect(), event, for_ms }
}

fn drift(node: &str, shape: DriftShape, ppm: i32) -> DriftSpec {
    DriftSpec { node: node.into(), shape, ppm, period_ms: 900 }
}

fn storage() -> String {
    "storage".into()
}

/// Damage that the engine does not promise to survive: the job ends, and says which file.
fn damaged(tale: Scenario) -> Scenario {
    tale.with(|scenario| {
        scenario.world.outside_atlas = true;
        scenario.expect = Expect::Damaged;
    })
}

stories! {
    "swizzle-clog", "Half of all nodes are cut off one after the other, and come back in another order; twice." => |tale| {
        tale.when(nth("checkpoint-completed", 3), What::SwizzleClog { for_ms: 2500 })
            .when(nth("checkpoint-completed", 8), What::SwizzleClog { for_ms: 1200 })
    };
    "delivered-but-reported-failed", "Acknowledgements and snapshots of a worker arrive, and the worker is told that its connection broke." => |tale| {
        let told = |from: &str| What::FalseFailure { from: from.into(), to: "coordinator".into() };
        tale.when(nth("ack-received", 5), told("worker-1"))
            .when(nth("all-acked", 5), told("worker-2"))
            .when(nth("checkpoint-completed", 8), What::FalseFailure { from: "coordinator".into(), to: "worker-1".into() })
            .when(nth("acknowledged", 40), told("acting"))
    };
    "notices-twice-and-late", "Workers hear of completed and aborted checkpoints twice, late, and in another order; their local copies go by that." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .with(|scenario| (scenario.checkpoints.max_concurrent, scenario.checkpoints.interval_ms) = (2, 120))
            .when(nth("checkpoint-triggered", 1), What::DuplicateNotices { per_mille: 600, for_ms: 8000 })
            .when(nth("checkpoint-triggered", 1), What::ReorderNotices { per_mille: 600, for_ms: 8000 })
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 9), crash("worker-2", 300))
    };
    "transactions-noticed-twice", "A transactional sink hears of what is complete twice, late, and in another order." => |tale| {
        tale.job(JobKind::Delivery)
            .with(|scenario| (scenario.checkpoints.max_concurrent, scenario.checkpoints.interval_ms) = (2, 120))
            .when(nth("checkpoint-triggered", 1), What::DuplicateNotices { per_mille: 500, for_ms: 8000 })
            .when(nth("checkpoint-triggered", 1), What::ReorderNotices { per_mille: 700, for_ms: 8000 })
            .when(nth("checkpoint-completed", 6), crash("any-worker", 300))
    };
    "drifting-clocks", "Every clock goes wrong in a way of its own: steadily, at once, as a saw, as a wave." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                scenario.world.drifts = vec![
                    drift("worker-1", DriftShape::Sawtooth, 150_000),
                    drift("worker-2", DriftShape::Sinusoidal, -150_000),
                    drift("worker-3", DriftShape::Constant, 120_000),
                    drift("coordinator", DriftShape::Step, 400_000),
                ];
            })
            .when(nth("checkpoint-completed", 5), crash("any-worker", 300))
            .when(nth("checkpoint-completed", 9), What::ClockDrift {
                node: "coordinator".into(),
                shape: DriftShape::Sinusoidal,
                ppm: 150_000,
                period_ms: 700,
                for_ms: 2000,
            })
    };
    "rack-loses-power", "Two workers share a rack, and the rack loses power; later the coordinator and the storage, which share another." => |tale| {
        tale.when(at("snapshot-taken"), rack(&["worker-1", "worker-2"], RackEvent::PowerLoss, 500))
            .when(nth("metadata-renamed", 7), rack(&["coordinator", "storage"], RackEvent::PowerLoss, 500))
    };
    "rack-cut-off", "A rack with a worker and the coordinator is cut off from the other, where the storage is; then all processes of it die." => |tale| {
        tale.when(at("checkpoint-triggered"), rack(&["coordinator", "worker-1"], RackEvent::Partition, 2500))
            .when(nth("checkpoint-completed", 6), rack(&["coordinator", "worker-1"], RackEvent::Crash, 400))
    };
    "worker-of-another-release", "A worker comes back as a later release that writes other snapshots: it is refused, and the job goes on with the others." => |tale| {
        tale.when(nth("checkpoint-completed", 3), What::OtherVersion { node: "worker-1".into(), down_ms: 200, for_ms: 3000 })
    };
    "only-workers-of-another-release", "All workers come back as a later release: the job waits, and goes on when they are what they were." => |tale| {
        tale.with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 3), What::OtherVersion { node: "worker-1".into(), down_ms: 200, for_ms: 2000 })
            .when(nth("checkpoint-completed", 3), What::OtherVersion { node: "worker-2".into(), down_ms: 300, for_ms: 2500 })
    };
    "garbled-reads", "Whatever is read of snapshots and journals is garbled at first: it is read again, and nothing is given up." => |tale| {
        tale.sorted_runs()
            .when(nth("checkpoint-completed", 2), What::RotOnRead { node: storage(), per_mille: 700, for_ms: 8000 })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 6), crash("coordinator", 300))
            .when(nth("checkpoint-completed", 9), crash("worker-2", 300))
    };
    "short-reads", "Reads of the storage give a part of what was asked for." => |tale| {
        tale.job(JobKind::Ledger)
            .when(nth("checkpoint-completed", 2), What::ShortReads { node: storage(), per_mille: 700, for_ms: 8000 })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 6), crash("coordinator", 300))
    };
    "timers-behind-short-reads", "Windows wait for their time, and reads of the storage give a part of what was asked for: their timers, which come last, are there again." => |tale| {
        tale.job(JobKind::Windows)
            .when(nth("checkpoint-completed", 2), What::ShortReads { node: storage(), per_mille: 900, for_ms: 8000 })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 5), crash("worker-2", 300))
            .when(nth("checkpoint-completed", 7), crash("worker-3", 300))
    };
    "disk-stalls", "The storage's disk stands still for seconds, once while a checkpoint is published, once while one is restored." => |tale| {
        tale.when(at("metadata-written"), What::StallDisk { node: storage(), for_ms: 2500 })
            .when(nth("checkpoint-completed", 6), crash("any-worker", 300))
            .when(nth("restore-started", 3), What::StallDisk { node: storage(), for_ms: 1500 })
    };
    "older-checkpoints-rot", "Of three retained checkpoints the older ones rot: nobody notices, and the job is restored from the newest." => |tale| {
        tale.with(|scenario| scenario.checkpoints.retained = 3)
            .when(nth("checkpoint-completed", 4), What::SpareRot {})
            .when(nth("checkpoint-completed", 5), What::SpareRot {})
            .when(nth("checkpoint-completed", 5), crash("any-worker", 300))
            .when(nth("checkpoint-completed", 8), What::SpareRot {})
            .when(nth("checkpoint-completed", 8), crash("coordinator", 300))
    };
    "local-disk-loses-writes", "What a worker writes to its own disk does not get there, or gets to the wrong place, and nobody is told: checkpoints are read." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 1), What::LostWrites { node: "worker-1".into(), per_mille: 500, paths: Vec::new(), for_ms: 8000 })
            .when(nth("checkpoint-completed", 1), What::MisdirectedWrites { node: "worker-2".into(), per_mille: 500, paths: Vec::new(), for_ms: 8000 })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 7), crash("worker-2", 300))
    };
    "local-disk-lies", "A worker's own disk acknowledges syncs that it does not do, and the worker loses power; then its copies rot." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 1), What::LyingSyncs { node: "worker-1".into(), per_mille: 800, for_ms: 8000 })
            .when(nth("checkpoint-completed", 3), power_loss("worker-1", 300))
            .when(nth("checkpoint-completed", 7), What::BitRot { node: "worker-2".into(), path: "/local/".into() })
            .when(nth("checkpoint-completed", 7), crash("worker-2", 300))
    };
    "bit-rot-in-the-only-checkpoint", "A bit flips in the only retained checkpoint, and a worker dies: the job ends, and names the file and the place in it." => |tale| {
        damaged(tale)
            .when(nth("checkpoint-completed", 4), What::BitRot { node: storage(), path: "/chk-".into() })
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 4), crash("worker-2", 300))
            .when(nth("checkpoint-completed", 4), crash("worker-3", 300))
    };
    "lost-write-in-the-only-checkpoint", "The storage acknowledges what it never writes, and a worker dies: the job ends, and names the file and the place in it." => |tale| {
        damaged(tale)
            .job(JobKind::Ledger)
            .when(nth("checkpoint-triggered", 4), What::LostWrites { node: storage(), per_mille: 1000, paths: vec!["-a1.".into()], for_ms: 8000 })
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 4), crash("worker-2", 300))
            .when(nth("checkpoint-completed", 4), crash("worker-3", 300))
    };
    "slow-object-reads", "The object store takes its time for reads alone, while a job is restored from it." => |tale| {
        tale.in_objects()
            .when(nth("checkpoint-completed", 2), What::SlowReads { latency_ms: 900, for_ms: 6000 })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 5), crash("coordinator", 300))
    };
    "rare-things-happen", "Rare things happen at every port, a few of them drawn for each run, while workers crash." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| {
                scenario.world.buggify = true;
                scenario.restart = RestartStrategy::FixedDelay { attempts: 1000, delay: std::time::Duration::from_millis(100) };
            })
            .chaos(1500, &["crash"])
    };
    "hot-key-in-bursts", "Nearly all records are of one key, and come in bursts, while workers die." => |tale| {
        tale.with(|scenario| scenario.world.load = LoadSpec { skew: 3, hot_percent: 70, burst: 25 })
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), crash("any-worker", 300))
            .when(nth("checkpoint-completed", 7), crash("any-worker", 300))
    };
}
