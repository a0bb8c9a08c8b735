//! Barriers that overtake records, at once or when they have waited too long, and what is under way then.

use super::*;

/// Slow where it ends, so that records pile up in front of it.
fn slow(tale: Scenario) -> Scenario {
    tale.with(|scenario| {
        (scenario.job.sink_us, scenario.job.pace_ms, scenario.job.chunk_bytes) = (4000, 5, 64);
        scenario.checkpoints.interval_ms = 150;
    })
}

fn overtaking(tale: Scenario) -> Scenario {
    slow(tale).with(|scenario| scenario.checkpoints.unaligned = true)
}

fn within(tale: Scenario, timeout_ms: u64) -> Scenario {
    overtaking(tale).with(|scenario| scenario.checkpoints.aligned_timeout_ms = timeout_ms)
}

/// Checkpoints that stay, to go on from.
fn kept(tale: Scenario) -> Scenario {
    overtaking(tale).with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
}

/// What was under way to three subtasks is read by one, which is slow.
fn read_by_one(tale: Scenario) -> Scenario {
    kept(tale)
        .with(|scenario| {
            (scenario.job.parallelism, scenario.job.sink_us, scenario.job.chunk_bytes) = (3, 8000, 120);
            (scenario.checkpoints.interval_ms, scenario.checkpoints.timeout_ms) = (60, 5000);
        })
        .when(nth("checkpoint-completed", 4), What::Cancel {})
        .resume(ResumeFrom::Checkpoint, true, 1, BackendKind::HashMap)
}

stories! {
    "slow-and-aligned", "The last operator is slow: barriers wait behind the records in front of it, and checkpoints take as long as these." => |tale| {
        slow(tale).with(|scenario| scenario.checkpoints.timeout_ms = 10_000)
    };
    "slow-and-unaligned", "The last operator is slow, and barriers overtake what waits for it." => |tale| {
        overtaking(tale)
    };
    "unaligned-crashes", "Workers die while records that barriers have overtaken are logged, written, and read back." => |tale| {
        overtaking(tale)
            .when(nth("barrier-overtook", 2), crash("acting", 300))
            .when(nth("channels-logged", 9), crash("acting", 300))
            .when(nth("in-flight-recovered", 1), crash("acting", 300))
            .when(nth("in-flight-recovered", 2), crash("worker-2", 200))
            .when(nth("checkpoint-completed", 5), crash("worker-3", 200))
    };
    "unaligned-again-while-recovering", "Records that were under way are still being read when the next barriers overtake them once more." => |tale| {
        overtaking(tale)
            .with(|scenario| {
                (scenario.job.sink_us, scenario.job.chunk_bytes) = (15_000, 200);
                (scenario.checkpoints.interval_ms, scenario.checkpoints.timeout_ms) = (60, 5000);
            })
            .when(nth("checkpoint-completed", 2), crash("worker-1", 100))
            .when(nth("checkpoint-completed", 4), crash("worker-2", 100))
            .when(nth("checkpoint-completed", 6), crash("worker-3", 100))
    };
    "aligned-until-too-old", "Barriers wait for 100 ms, and overtake then; whoever has the last one is not in a hurry." => |tale| {
        within(tale, 100).when(nth("barrier-overtook", 5), crash("acting", 300))
    };
    "aligned-until-hardly-too-old", "The time is over at every moment of an alignment, so that some subtasks overtake and others do not." => |tale| {
        within(tale, 12).with(|scenario| scenario.job.sink_us = 1000)
    };
    "aligned-in-time", "Barriers could overtake after a second, and never need to." => |tale| {
        within(tale, 1000).with(|scenario| scenario.job.sink_us = 0)
    };
    "unaligned-with-clocks-apart", "Clocks differ by minutes, so that some barriers overtake at once and others much later than they should." => |tale| {
        within(tale, 80)
            .with(|scenario| {
                let clock = |node: &str, offset_ms| ClockSpec { node: node.into(), offset_ms, drift_ppm: 200 };
                scenario.clocks = vec![clock("worker-1", 120_000), clock("worker-2", -120_000)];
            })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
    };
    "unaligned-over-two-hops", "Records are under way on two edges in a row, one in turn, one by key." => |tale| {
        overtaking(tale.job(JobKind::Windows)).when(nth("checkpoint-completed", 3), crash("worker-2", 300))
    };
    "unaligned-behind-a-union", "One edge stays aligned, since only its own subtask could take what is under way on it." => |tale| {
        overtaking(tale.job(JobKind::Ledger)).when(nth("checkpoint-completed", 3), crash("worker-2", 300))
    };
    "unaligned-beside-a-broadcast", "What every subtask gets is never overtaken, what goes by key is." => |tale| {
        overtaking(tale.job(JobKind::Rules)).when(nth("checkpoint-completed", 2), crash("worker-2", 300))
    };
    "unaligned-to-more-subtasks", "A job with records under way goes on with more subtasks: each record comes to the owner of its key." => |tale| {
        kept(tale).when(nth("checkpoint-completed", 4), What::Cancel {}).resume(ResumeFrom::Checkpoint, true, 4, BackendKind::HashMap)
    };
    "unaligned-to-fewer-subtasks", "The same with one subtask, over two hops." => |tale| {
        kept(tale.job(JobKind::Windows))
            .with(|scenario| scenario.job.parallelism = 3)
            .when(nth("checkpoint-completed", 4), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, false, 1, BackendKind::HashMap)
    };
    "unaligned-again-after-rescaling", "One subtask goes on with what was under way to three, and barriers overtake that once more before it is read." => |tale| {
        read_by_one(tale)
    };
    "unaligned-over-slow-links", "State is written long before the last barrier has come: what is still on its way belongs to the checkpoint all the same." => |tale| {
        overtaking(tale)
            .with(|scenario| {
                scenario.network = NetworkSpec { latency_min_ms: 5, latency_max_ms: 40, ..NetworkSpec::default() };
                scenario.job.sink_us = 12_000;
                scenario.disk = DiskSpec { latency_min_us: 0, latency_max_us: 50 };
                (scenario.cluster.inline_below_bytes, scenario.checkpoints.timeout_ms) = (4096, 6000);
            })
            .when(nth("checkpoint-completed", 4), crash("worker-1", 200))
    };
    "unaligned-and-incremental", "Sorted runs share files from checkpoint to checkpoint, and records under way belong to one alone." => |tale| {
        overtaking(tale)
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("channels-logged", 20), power_loss("storage", 200))
    };
    "unaligned-and-a-savepoint", "A savepoint never overtakes, even when checkpoints do." => |tale| {
        overtaking(tale)
            .with(|scenario| scenario.checkpoints.timeout_ms = 10_000)
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), crash("worker-1", 400))
    };
    "unaligned-transactions", "Rows are published when the checkpoint that they belong to is complete, whatever overtook them." => |tale| {
        overtaking(tale.job(JobKind::Delivery))
            .when(nth("output-committed", 3), crash("worker-1", 300))
            .when(nth("in-flight-recovered", 2), crash("worker-2", 300))
    };
    "unaligned-in-objects", "The same records as objects, in a store that fails now and then." => |tale| {
        overtaking(tale.in_objects()).when(nth("channels-logged", 4), What::ObjectErrors { per_mille: 300, for_ms: 500 })
    };
    "unaligned-under-fire", "Barriers overtake after a while, and everything fails now and then." => |tale| {
        within(tale, 50)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .chaos(700, &["crash", "reset", "isolate", "power-loss", "disk-errors", "slow-disk", "slow-link", "pause"])
    };
    "aligned-beside-a-broadcast-until-too-old", "Barriers wait for 40 ms, and one link is slow: what every subtask gets is waited for all the same, and nothing else is read meanwhile." => |tale| {
        within(tale.job(JobKind::Rules), 40)
            .with(|scenario| scenario.checkpoints.timeout_ms = 6000)
            .when(When::AtMs(300), What::SlowLink {
                from: "worker-1".into(), to: "worker-2".into(), latency_ms: 200, bandwidth_bytes_per_s: 0, for_ms: 6000,
            })
    };
    "rescaled-while-others-run-already", "Whoever sends has nothing to read back and is faster: its new records come to channels whose old ones are still being read from a slow storage, and barriers overtake both." => |tale| {
        read_by_one(tale)
            .resumed_when(nth("restore-started", 1), What::SlowDisk { node: "storage".into(), latency_ms: 60, for_ms: 1500 })
    };
}
