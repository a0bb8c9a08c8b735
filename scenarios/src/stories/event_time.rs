//! Event time beyond windows: partitions that fall silent and come back, and sequences of events.

use super::*;

fn silent(tale: Scenario) -> Scenario {
    tale.job(JobKind::IdleSplit).with(|scenario| {
        (scenario.job.lines, scenario.job.keys, scenario.job.partitions) = (200, 12, 2);
        (scenario.job.pace_ms, scenario.job.chunk_bytes) = (15, 60);
        (scenario.checkpoints.interval_ms, scenario.calm_after_ms) = (150, 5000);
    })
}

fn patterns(tale: Scenario) -> Scenario {
    tale.job(JobKind::Patterns).with(|scenario| (scenario.job.lines, scenario.job.pace_ms) = (150, 25))
}

stories! {
    "silent-partition", "A partition falls silent, windows are given out without it, and it comes back: nobody waits for it, and nothing of it is lost." => |tale| silent(tale);
    "silent-partition-and-crashes", "The same, and workers die: after a restore nobody is known to be silent, and the watermark begins anew." => |tale| {
        silent(tale)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 8), crash("worker-2", 300))
            .when(nth("snapshot-durable", 40), crash("acting", 300))
    };
    "silent-partition-unaligned", "The same where barriers overtake records, and watermarks among them." => |tale| {
        silent(tale)
            .with(|scenario| {
                (scenario.job.sink_us, scenario.checkpoints.unaligned) = (2000, true);
                scenario.checkpoints.aligned_timeout_ms = 10;
            })
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
    };
    "silent-partition-to-more-subtasks", "A job with a silent partition goes on with more subtasks, one of which has nothing else to read." => |tale| {
        silent(tale)
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 4), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, false, 3, BackendKind::HashMap)
    };
    "silent-partition-under-fire", "A partition falls silent while everything fails now and then." => |tale| {
        silent(tale).chaos(700, &["crash", "reset", "power-loss"])
    };
    "patterns-steady", "Three moves of a key within a time, with nothing going wrong." => |tale| patterns(tale);
    "patterns-crashes", "Workers die when sequences are half-way: each goes on where it was, and ends in its time." => |tale| {
        patterns(tale)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("snapshot-durable", 20), crash("acting", 400))
    };
    "patterns-in-a-store", "Sequences in sorted runs that spill at every batch, with moves under way." => |tale| {
        patterns(tale)
            .sorted_runs()
            .with(|scenario| {
                (scenario.cluster.hot_bytes, scenario.job.sink_us) = (0, 1500);
                scenario.checkpoints.unaligned = true;
            })
            .when(nth("checkpoint-completed", 4), crash("worker-2", 400))
    };
    "patterns-to-more-subtasks", "A savepoint of sequences that are half-way is begun from with more subtasks." => |tale| {
        patterns(tale)
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
    };
    "patterns-under-fire", "Sequences while workers crash, links fail and the storage loses power." => |tale| {
        patterns(tale).chaos(900, &["crash", "reset", "power-loss"])
    };
}
