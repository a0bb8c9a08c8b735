//! Input that is found while the job runs: files of a folder, in splits that an enumerator assigns to readers.

use super::{at, crash, nth, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, Expect, JobKind, NetworkSpec, ResumeFrom, Scenario, What};

/// A dozen small files, over two seconds.
fn arriving(tale: Scenario) -> Scenario {
    tale.job(JobKind::Arrivals).with(|scenario| {
        (scenario.job.partitions, scenario.job.lines, scenario.job.arrive_ms) = (12, 80, 2000);
        scenario.job.pace_ms = 30;
    })
}

/// So that nearly every checkpoint begins while somebody is being told something.
fn busily(tale: Scenario) -> Scenario {
    arriving(tale).with(|scenario| {
        (scenario.job.parallelism, scenario.job.chunk_bytes, scenario.job.pace_ms) = (3, 256, 10);
        (scenario.job.partitions, scenario.job.lines, scenario.job.arrive_ms) = (20, 60, 3000);
        (scenario.checkpoints.interval_ms, scenario.checkpoints.timeout_ms) = (60, 3000);
        scenario.network = NetworkSpec { latency_min_ms: 1, latency_max_ms: 15, ..NetworkSpec::default() };
    })
}

stories! {
    "arrivals-steady", "Files appear while the job runs, are found, cut into splits, and each split is read by one reader; the last one says that it is the last." => |tale| arriving(tale);
    "arrivals-with-idle-readers", "There are more readers than files: some never get anything, and end all the same." => |tale| {
        arriving(tale).with(|scenario| {
            (scenario.job.parallelism, scenario.job.partitions, scenario.job.lines) = (4, 2, 20);
            scenario.cluster.slots = 2;
        })
    };
    "arrivals-worker-dies-behind-an-assignment", "Workers die when a split is assigned and no snapshot has it: it comes back with the enumerator's state." => |tale| {
        arriving(tale)
            .when(nth("split-assigned", 5), crash("worker-1", 300))
            .when(nth("event-taken-in", 12), crash("acting", 300))
            .when(nth("split-assigned", 20), crash("worker-2", 300))
            .when(nth("event-taken-in", 30), crash("acting", 300))
    };
    "arrivals-worker-dies-before-any-checkpoint", "A worker dies when splits are assigned and no checkpoint is complete: the enumerator begins anew, too." => |tale| {
        arriving(tale)
            .with(|scenario| scenario.checkpoints.interval_ms = 1500)
            .when(nth("event-taken-in", 3), crash("acting", 200))
            .when(nth("event-taken-in", 8), crash("acting", 200))
    };
    "arrivals-coordinator-dies", "The coordinator dies with what it has found and assigned since the last checkpoint." => |tale| {
        arriving(tale)
            .when(nth("splits-found", 3), crash("coordinator", 300))
            .when(nth("enumerators-taken", 5), crash("coordinator", 300))
            .when(nth("split-assigned", 24), crash("coordinator", 300))
    };
    "arrivals-event-races-the-barrier", "Splits are assigned all the time, and checkpoints begin all the time: each assignment is on one side of each of them." => |tale| busily(tale);
    "arrivals-with-checkpoints-side-by-side", "The same with three checkpoints under way at once: what is told behind one may be before the next." => |tale| {
        busily(tale).with(|scenario| scenario.checkpoints.max_concurrent = 3)
    };
    "arrivals-late-events", "The way to one worker is slow: what it was told arrives long after the checkpoint began, which waits for it." => |tale| {
        busily(tale).when(
            nth("splits-found", 2),
            What::SlowLink { from: "coordinator".into(), to: "worker-1".into(), latency_ms: 400, bandwidth_bytes_per_s: 0, for_ms: 3000 },
        )
    };
    "arrivals-lost-events", "What workers are told gets lost with their connections: the job goes back to before it was said." => |tale| {
        arriving(tale)
            .when(
                nth("split-assigned", 4),
                What::Partition { from: "coordinator".into(), to: "worker-1".into(), one_way: true, for_ms: 2500 },
            )
            .when(nth("split-assigned", 16), What::Reset { from: "coordinator".into(), to: "worker-2".into() })
            .when(at("enumerators-taken"), What::Reset { from: "coordinator".into(), to: "worker-3".into() })
    };
    "arrivals-checkpoint-given-up", "Checkpoints fail and expire while what enumerators say waits behind them: it goes out then, in order." => |tale| {
        busily(tale)
            .with(|scenario| (scenario.checkpoints.tolerable_failures, scenario.checkpoints.timeout_ms) = (1_000_000, 700))
            .when(nth("enumerators-taken", 2), What::DiskFull { node: "storage".into(), for_ms: 600 })
            .when(nth("enumerators-taken", 4), What::SlowDisk { node: "storage".into(), latency_ms: 300, for_ms: 900 })
            .when(nth("enumerators-taken", 7), What::DiskErrors { node: "storage".into(), per_mille: 300, for_ms: 500 })
    };
    "arrivals-checkpoint-over-before-its-enumerators", "A checkpoint expires while the place for its files is being made, and another one while what was said is on its way: none keeps a gateway closed." => |tale| {
        busily(tale)
            .with(|scenario| (scenario.checkpoints.tolerable_failures, scenario.checkpoints.timeout_ms) = (1_000_000, 700))
            .when(nth("checkpoint-triggered", 4), What::SlowDisk { node: "storage".into(), latency_ms: 400, for_ms: 1500 })
            .when(
                nth("enumerators-taken", 6),
                What::SlowLink { from: "coordinator".into(), to: "worker-1".into(), latency_ms: 900, bandwidth_bytes_per_s: 0, for_ms: 1500 },
            )
    };
    "arrivals-looking-fails", "The folder cannot be looked into for a while: it is looked into again." => |tale| {
        arriving(tale)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("splits-found", 2), What::DiskErrors { node: "storage".into(), per_mille: 600, for_ms: 700 })
    };
    "arrivals-to-more-subtasks", "A job that watches a folder is stopped with a savepoint, and goes on with more readers: each takes some of the splits." => |tale| {
        arriving(tale)
            .with(|scenario| scenario.job.arrive_ms = 5000)
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 4, BackendKind::HashMap)
            .resumed_when(nth("split-assigned", 3), crash("storage", 100))
    };
    "arrivals-to-fewer-subtasks", "The same from a claimed checkpoint, with one reader that gets all splits of three." => |tale| {
        busily(tale)
            .with(|scenario| {
                scenario.job.arrive_ms = 5000;
                scenario.checkpoints.retention = Retention::RetainOnCancellation;
            })
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 1, BackendKind::HashMap)
    };
    "arrivals-until-cancelled", "Nobody ever says that the folder is done: the job goes on until its user does not want it any more." => |tale| {
        arriving(tale)
            .with(|scenario| (scenario.job.arrive_ms, scenario.expect) = (600_000, Expect::Cancelled))
            .when(nth("splits-found", 1), crash("worker-2", 300))
            .when(nth("checkpoint-completed", 9), What::Cancel {})
    };
    "arrivals-unaligned", "Words of files that were found are under way when barriers overtake them; a reader with no room still hears what it is told." => |tale| {
        arriving(tale)
            .with(|scenario| {
                (scenario.job.sink_us, scenario.job.pace_ms, scenario.checkpoints.unaligned) = (3000, 5, true);
                scenario.checkpoints.interval_ms = 150;
            })
            .when(nth("event-taken-in", 10), crash("acting", 300))
            .when(nth("channels-logged", 9), crash("acting", 300))
    };
    "arrivals-in-objects", "Checkpoints as objects, in a store that fails now and then." => |tale| {
        arriving(tale.in_objects())
            .when(nth("enumerators-taken", 2), What::ObjectErrors { per_mille: 300, for_ms: 700 })
            .when(nth("event-taken-in", 14), crash("acting", 300))
    };
    "arrivals-under-fire", "Files appear while everything fails now and then." => |tale| {
        busily(tale)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .chaos(700, &["crash", "reset", "isolate", "power-loss", "disk-errors", "slow-disk", "slow-link", "pause"])
    };
}
