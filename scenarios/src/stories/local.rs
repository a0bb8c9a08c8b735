//! Stories of second copies of state on the disks of workers.

use super::{at, crash, nth, power_loss, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::{RestartStrategy, Retention};
use cofferdam_sim::scenario::{BackendKind, JobKind, ResumeFrom, Scenario, What};

stories! {
    "local-copy-after-task-failure", "A connection breaks and the tasks are started again where they were: their state comes from the workers' own disks." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .when(nth("checkpoint-completed", 3), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
            .when(nth("checkpoint-completed", 7), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
    };
    "local-copy-after-worker-restart", "A worker dies and is back before its tasks are placed anew: it finds its copies, links between them included." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 7), power_loss("worker-2", 300))
    };
    "local-copy-of-whole-snapshots", "Sorted runs written whole each time, with second copies, while workers die and come back." => |tale| {
        tale.sorted_runs()
            .local_recovery()
            .with(|scenario| {
                scenario.cluster.incremental = false;
                scenario.cluster.workers = 2;
            })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 7), crash("worker-2", 300))
    };
    "local-copy-corrupt", "Bytes of the copies on both workers' disks flip before the tasks are restored: the checkpoint itself is read." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 3), What::CorruptLocal { node: "worker-1".into() })
            .when(nth("checkpoint-completed", 3), What::CorruptLocal { node: "worker-2".into() })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 7), What::CorruptLocal { node: "worker-2".into() })
            .when(nth("checkpoint-completed", 7), crash("worker-2", 300))
    };
    "local-copy-of-runs-corrupt", "The same with copies that share files: a byte that flips in one is wrong in all." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 3), What::CorruptLocal { node: "worker-1".into() })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 7), What::CorruptLocal { node: "worker-2".into() })
            .when(nth("checkpoint-completed", 7), crash("worker-2", 300))
    };
    "local-copy-of-another-snapshot", "Parts of a worker's disk are put back from a backup: under the newest copy's name stands an older one." => |tale| {
        [2, 3, 5, 6].into_iter().fold(
            tale.job(JobKind::Ledger).local_recovery().with(|scenario| {
                scenario.cluster.workers = 2;
                // Slow, so that something changes from one checkpoint to the next.
                scenario.checkpoints.interval_ms = 400;
            }),
            // All copies of the newest are there, and nobody has been told that the ones before may go.
            |tale, number| tale.when(nth("metadata-durable", number), What::StaleLocal { node: "worker-1".into() }),
        )
        .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
        .when(nth("checkpoint-completed", 6), crash("worker-1", 300))
    };
    "local-disk-wiped", "A worker's machine burns down and comes back empty; the others have their copies." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 4), What::Wipe { node: "worker-1".into(), down_ms: 300 })
    };
    "local-disk-full", "A worker's own disk is full while copies are written: there are none, and no checkpoint fails for it." => |tale| {
        tale.job(JobKind::Ledger)
            .local_recovery()
            .with(|scenario| {
                scenario.cluster.workers = 2;
                scenario.checkpoints.tolerable_failures = 0;
            })
            .when(nth("snapshot-taken", 4), What::DiskFull { node: "worker-1".into(), for_ms: 1200 })
            .when(nth("checkpoint-completed", 4), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
    };
    "local-disk-fails", "Workers' own disks fail in half of all operations, and are slow: copies are given up or not found, and nothing else happens." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.checkpoints.tolerable_failures = 0)
            .when(nth("snapshot-taken", 4), What::DiskErrors { node: "worker-1".into(), per_mille: 500, for_ms: 2500 })
            .when(nth("snapshot-taken", 4), What::SyncErrors { node: "worker-2".into(), per_mille: 500, for_ms: 2500 })
            .when(nth("checkpoint-completed", 4), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
    };
    "local-disk-hangs", "Workers' own disks take seconds for anything: copies lag behind and come to nothing, and checkpoints are complete as if there were none." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                // A checkpoint that expires fails the attempt, and that the job.
                scenario.checkpoints.tolerable_failures = 0;
                scenario.restart = RestartStrategy::None;
            })
            .local_recovery()
            .when(nth("snapshot-taken", 4), What::SlowDisk { node: "worker-1".into(), latency_ms: 3000, for_ms: 5000 })
            .when(nth("snapshot-taken", 4), What::SlowDisk { node: "worker-2".into(), latency_ms: 3000, for_ms: 5000 })
    };
    "local-copies-of-large-state", "Most of the state rests, and connections break again and again: the tasks are restored from their own disks, and what is in storage already is not uploaded again." => |tale| {
        [3, 5, 7, 9, 11].into_iter().fold(
            tale.sorted_runs().local_recovery().with(|scenario| {
                (scenario.job.keys, scenario.job.lines, scenario.job.pace_ms) = (3000, 700, 30);
                scenario.cluster.hot_bytes = 2000;
            }),
            |tale, number| tale.when(nth("checkpoint-completed", number), What::Reset { from: "worker-1".into(), to: "worker-2".into() }),
        )
    };
    "second-crash-during-local-restore", "A worker dies while it reads its copies, and is back: they are still there, and still right." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.cluster.workers = 2)
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
            .when(nth("restored-locally", 1), crash("acting", 300))
            .when(nth("restored-locally", 3), crash("acting", 300))
    };
    "local-copies-of-failed-checkpoints", "The storage takes nothing for seconds: checkpoints fail one after the other, and their copies go, but not the one that counts." => |tale| {
        tale.local_recovery()
            .with(|scenario| {
                scenario.job.lines = 900;
                scenario.checkpoints.tolerable_failures = 1000;
                scenario.calm_after_ms = 12_000;
            })
            .when(at("all-acked"), What::DiskFull { node: "storage".into(), for_ms: 6500 })
            .when(nth("checkpoint-aborted", 4), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
    };
    "local-copies-under-fire", "Incremental checkpoints with second copies, three at once, on disks that fail, fill up, go bad and burn down." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| {
                scenario.checkpoints.max_concurrent = 3;
                scenario.checkpoints.retained = 2;
                scenario.checkpoints.tolerable_failures = 20;
                scenario.checkpoints.timeout_ms = 6000;
            })
            .chaos(400, &["crash", "reset", "power-loss", "wipe", "corrupt-local", "stale-local", "local-disk-errors", "local-disk-full", "slow-local-disk"])
    };
    "local-copies-and-another-parallelism", "A job with second copies is cancelled; the next one begins from its checkpoint on more subtasks, without them." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::SortedRuns)
    };
}
