//! Stories of small state: in the metadata, and in files that many share.

use super::*;
use cofferdam_sim::scenario::MergeSpec;

fn inlined(tale: Scenario, below: u32) -> Scenario {
    tale.with(|scenario| scenario.cluster.inline_below_bytes = below)
}

/// Files so small that some are full.
fn merged(tale: Scenario) -> Scenario {
    tale.with(|scenario| scenario.cluster.merge = Some(MergeSpec { max_file_bytes: 16 << 10, ..MergeSpec::default() }))
}

stories! {
    "inlined-steady", "All state is small and in the metadata: a checkpoint has no other file." => |tale| inlined(tale, 4096);
    "inlined-and-grown", "State crosses the threshold while the job runs, and processes die on both sides of it." => |tale| {
        inlined(tale, 300)
            .job(JobKind::Ledger)
            .when(at("snapshot-durable"), crash("acting", 800))
            .when(nth("metadata-durable", 6), crash("coordinator", 300))
            .when(nth("snapshot-durable", 50), power_loss("storage", 300))
    };
    "inlined-savepoint", "A savepoint whose state is in its metadata, and a job that begins from it on more subtasks." => |tale| {
        inlined(tale, 4096)
            .job(JobKind::Ledger)
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap)
    };
    "inlined-in-objects", "Checkpoints as objects, of which only the large parts are objects of their own." => |tale| {
        inlined(tale.in_objects(), 300)
            .job(JobKind::Ledger)
            .when(nth("snapshot-durable", 20), crash("acting", 600))
            .when(nth("checkpoint-completed", 4), crash("coordinator", 300))
    };
    "merged-steady", "All tasks of a worker write their snapshots into one file per checkpoint." => |tale| {
        merged(tale).job(JobKind::Ledger).with(|scenario| scenario.cluster.slots = 2)
    };
    "merged-incremental", "New files of sorted runs become segments of a file that stays open from checkpoint to checkpoint." => |tale| {
        merged(tale).job(JobKind::Ledger).sorted_runs()
    };
    "merged-by-checkpoint", "New files of sorted runs are merged, but no file outlives its checkpoint as one that is written to." => |tale| {
        merged(tale).job(JobKind::Ledger).sorted_runs().with(|scenario| {
            scenario.cluster.merge = Some(MergeSpec { across_checkpoints: false, ..MergeSpec::default() });
            scenario.checkpoints.retained = 3;
        })
    };
    "merged-and-crash-in-upload", "Workers die while segments are appended, and when they are durable and nobody is told of them." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("snapshot-taken", 7), crash("acting", 500))
            .when(nth("snapshot-taken", 30), crash("acting", 500))
            .when(nth("snapshot-durable", 40), crash("acting", 500))
    };
    "merged-coordinator-crashes", "The coordinator dies between the write of merged files and their acknowledgement, and while it deletes." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("snapshot-durable", 9), crash("coordinator", 400))
            .when(nth("discarding", 5), crash("coordinator", 400))
            .when(nth("metadata-durable", 12), crash("coordinator", 400))
    };
    "merged-power-loss", "The storage loses power as segments are appended and synced: none counts that was not durable." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .with(|scenario| {
                scenario.cluster.slots = 2;
                scenario.checkpoints.tolerable_failures = 100;
            })
            .when(nth("snapshot-taken", 9), power_loss("storage", 50))
            .when(nth("snapshot-taken", 33), power_loss("storage", 50))
            .when(nth("snapshot-durable", 57), power_loss("storage", 50))
    };
    "merged-incremental-power-loss", "The same with files that stay open from checkpoint to checkpoint." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("snapshot-taken", 9), power_loss("storage", 50))
            .when(nth("snapshot-taken", 33), power_loss("storage", 50))
            .when(nth("snapshot-durable", 57), power_loss("storage", 50))
    };
    "merged-lost-notices", "Notices of completion get lost: which file a segment goes into does not depend on them." => |tale| {
        merged(tale)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.max_concurrent = 3)
            .when(nth("metadata-durable", 2), What::Reset { from: "coordinator".into(), to: "worker-1".into() })
            .when(nth("metadata-durable", 6), What::Reset { from: "coordinator".into(), to: "worker-2".into() })
    };
    "merged-claimed", "A kept checkpoint of merged files is given to the next job, which has more subtasks." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::SortedRuns)
    };
    "merged-claimed-as-it-is", "The next job builds upon merged files that it was given, and adds nothing to them." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 2, BackendKind::SortedRuns)
    };
    "merged-not-claimed", "The next job begins from merged files that stay their user's: none of them is deleted, and none gets a byte more." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, false, 2, BackendKind::SortedRuns)
    };
    "merged-savepoints", "Savepoints of both formats between merged checkpoints: they have nothing in common with them." => |tale| {
        inlined(merged(tale), 300)
            .job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: true })
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 2), crash("worker-1", 400))
    };
    "merged-under-fire", "Merged files, three checkpoints at once, and everything fails now and then." => |tale| {
        merged(tale)
            .job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| {
                scenario.cluster.hot_bytes = 0;
                scenario.checkpoints.max_concurrent = 3;
                scenario.checkpoints.retained = 2;
                scenario.checkpoints.tolerable_failures = 20;
                scenario.checkpoints.timeout_ms = 6000;
            })
            .chaos(900, &["crash", "reset", "power-loss", "slow-disk", "disk-errors"])
    };
    "local-copies-of-merged-files", "Segments and what is in the metadata, with second copies: of segments there are some, of the rest there are none, and workers die and come back." => |tale| {
        inlined(merged(tale), 300)
            .job(JobKind::Ledger)
            .sorted_runs()
            .local_recovery()
            .with(|scenario| {
                scenario.cluster.workers = 2;
                scenario.checkpoints.retained = 2;
            })
            .when(nth("checkpoint-completed", 4), What::Reset { from: "worker-1".into(), to: "worker-2".into() })
            .when(nth("snapshot-taken", 50), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 8), crash("coordinator", 400))
            .when(nth("snapshot-durable", 90), crash("worker-2", 300))
    };
}
