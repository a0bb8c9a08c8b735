//! Output that is held back until the checkpoint that it belongs to is complete.

use super::{at, crash, nth, power_loss, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, DiskSpec, JobKind, ResumeFrom, Scenario, What};

fn delivery(tale: Scenario) -> Scenario {
    tale.job(JobKind::Delivery)
}

/// To publish takes several operations, and each takes its time: what happens now happens in the middle.
fn slowly(tale: Scenario) -> Scenario {
    tale.with(|scenario| {
        scenario.disk = DiskSpec { latency_min_us: 5000, latency_max_us: 60_000 };
        scenario.checkpoints.timeout_ms = 6000;
        scenario.checkpoints.tolerable_failures = 20;
    })
}

stories! {
    "transactions-steady", "Rows are staged at each barrier and published when the checkpoint is complete, with nothing going wrong." => |tale| delivery(tale);
    "transactions-crash-before-completion", "Workers die when rows are staged and the checkpoint is not complete: nobody ever sees these rows, but those that replace them." => |tale| {
        delivery(tale)
            .when(at("snapshot-durable"), crash("acting", 600))
            .when(nth("metadata-durable", 6), crash("worker-1", 400))
    };
    "transactions-crash-before-commit", "Workers die when a checkpoint is complete and nothing of it published: the next attempt publishes it before it begins." => |tale| {
        delivery(tale)
            .when(at("committed"), crash("acting", 600))
            .when(nth("checkpoint-completed", 7), crash("worker-2", 400))
    };
    "transactions-crash-in-commit", "Workers die while they publish: one part is there, another is not, and in between a row has two names." => |tale| {
        slowly(delivery(tale))
            .with(|scenario| (scenario.job.parallelism, scenario.cluster.workers) = (3, 4))
            .when(nth("output-committed", 3), crash("worker-1", 500))
            .when(nth("output-committed", 9), crash("worker-2", 500))
            .when(nth("output-committed", 14), crash("worker-3", 500))
    };
    "transactions-lost-notices", "Notices of completion get lost, and some checkpoints are aborted: what they would have published comes with a later one." => |tale| {
        delivery(tale)
            .with(|scenario| (scenario.checkpoints.max_concurrent, scenario.checkpoints.tolerable_failures) = (3, 100))
            .when(nth("metadata-durable", 2), What::Reset { from: "coordinator".into(), to: "worker-1".into() })
            .when(nth("checkpoint-triggered", 6), What::DiskErrors { node: "storage".into(), per_mille: 200, for_ms: 500 })
            .when(nth("metadata-durable", 9), What::Reset { from: "coordinator".into(), to: "worker-2".into() })
    };
    "transactions-of-aborted-checkpoints", "The storage is full for a while: rows of checkpoints that failed are kept, and published with the first one that does not." => |tale| {
        delivery(tale)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(at("checkpoint-triggered"), What::DiskFull { node: "storage".into(), for_ms: 900 })
    };
    "transactions-lost-answers", "Half of all operations fail while rows are published, before or after they took effect: they are tried again." => |tale| {
        delivery(tale)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(at("committed"), What::DiskErrors { node: "storage".into(), per_mille: 500, for_ms: 250 })
            .when(nth("committed", 24), What::DiskErrors { node: "storage".into(), per_mille: 300, for_ms: 2500 })
    };
    "transactions-and-a-zombie", "Workers that are cut off from all but the storage go on staging and publishing while their tasks run elsewhere." => |tale| {
        slowly(delivery(tale))
            .with(|scenario| {
                scenario.cluster.heartbeat_timeout_ms = 600;
                scenario.cluster.workers = 4;
            })
            .when(at("committed"), What::Isolate { node: "acting".into(), for_ms: 3000 })
            .when(nth("snapshot-taken", 24), What::Isolate { node: "acting".into(), for_ms: 3000 })
    };
    "transactions-power-loss", "The storage loses power while rows are published: what was said to be published still is, the rest is published again." => |tale| {
        slowly(delivery(tale))
            .when(at("committed"), power_loss("storage", 300))
            .when(nth("output-committed", 6), power_loss("storage", 300))
            .when(nth("output-committed", 9), power_loss("storage", 200))
    };
    "transactions-coordinator-dies-at-the-end", "The coordinator dies when the final checkpoint is complete and nobody has published it: the next one does not take it for the end." => |tale| {
        delivery(tale).when(nth("job-committing", 1), crash("coordinator", 500))
    };
    "transactions-worker-dies-at-the-end", "A worker dies when the final checkpoint is complete: the job goes back to it, and publishes it before it ends." => |tale| {
        delivery(tale)
            .when(nth("job-committing", 1), crash("worker-1", 500))
            .when(nth("job-committing", 2), crash("worker-2", 500))
    };
    "transactions-end-while-the-disk-fails", "The storage fails when the last rows are to be published: the job does not end before they are." => |tale| {
        delivery(tale).when(nth("job-committing", 1), What::DiskErrors { node: "storage".into(), per_mille: 700, for_ms: 1500 })
    };
    "transactions-and-a-savepoint", "A savepoint between checkpoints publishes nothing; what it closed comes with the next checkpoint." => |tale| {
        delivery(tale)
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 6), What::Savepoint { native: false })
    };
    "transactions-to-more-subtasks", "A job with open transactions is cancelled behind a savepoint, and goes on with more subtasks: each is published once." => |tale| {
        delivery(tale)
            // No checkpoint may publish more than the savepoint has.
            .with(|scenario| (scenario.checkpoints.min_pause_ms, scenario.job.lines) = (1500, 600))
            .when(nth("checkpoint-completed", 1), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap)
    };
    "transactions-to-fewer-subtasks", "A job is cancelled as a checkpoint completes, and goes on from that with one subtask, which publishes what all had open." => |tale| {
        slowly(delivery(tale))
            .sorted_runs()
            .with(|scenario| {
                (scenario.job.parallelism, scenario.checkpoints.interval_ms) = (3, 600);
                scenario.checkpoints.retention = Retention::RetainOnCancellation;
            })
            .when(nth("checkpoint-completed", 3), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 1, BackendKind::SortedRuns)
    };
    "transactions-under-fire", "Checkpoints as objects, output as files, and everything fails now and then." => |tale| {
        delivery(tale.in_objects())
            .with(|scenario| scenario.checkpoints.max_concurrent = 2)
            .chaos(900, &["crash", "reset", "isolate", "power-loss", "disk-errors", "slow-disk"])
    };
}
