//! Stories of small state: in the metadata, and in files that many share.

use super::*;

fn inlined(tale: Scenario, below: u32) -> Scenario {
    tale.with(|scenario| scenario.cluster.inline_below_bytes = below)
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
}
