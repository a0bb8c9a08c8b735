//! The built-in stories. Faults are pinned to protocol moments, or drawn by time from the seed; none sleeps.

use crate::Story;
use cofferdam_protocol::settings::{Mode, RestartStrategy, Retention};
use cofferdam_sim::scenario::{
    BackendKind, ChaosSpec, CheckpointSpec, ClockSpec, ClusterSpec, DiskSpec, Expect, FaultSpec, JobKind, JobSpec, NetworkSpec, ObjectSpec,
    ResumeFrom, ResumeSpec, Scenario, StorageKind, What, When, WorldSpec,
};
use std::time::Duration;

/// The beginning of every story: a healthy cluster that counts words.
pub(crate) fn tale(name: &str, story: &str) -> Scenario {
    let ms = Duration::from_millis;
    Scenario {
        name: name.to_owned(),
        story: story.to_owned(),
        job: JobSpec::default(),
        cluster: ClusterSpec::default(),
        checkpoints: CheckpointSpec::default(),
        restart: RestartStrategy::ExponentialDelay {
            initial: ms(200),
            max: ms(2000),
            growth_percent: 150,
            jitter_percent: 10,
            reset_after: ms(10_000),
        },
        network: NetworkSpec::default(),
        disk: DiskSpec::default(),
        objects: ObjectSpec::default(),
        clocks: Vec::new(),
        faults: Vec::new(),
        chaos: None,
        world: WorldSpec::default(),
        calm_after_ms: 8_000,
        liveness_bound_ms: 60_000,
        expect: Expect::Finished,
        resume: None,
    }
}

/// The first such moment of checkpoint 3 or, if that is skipped, of a later one.
fn at(moment: &str) -> When {
    When::Moment { moment: moment.to_owned(), checkpoint: Some(3), nth: 1 }
}

/// The how-manieth such moment.
pub(crate) fn nth(moment: &str, nth: u32) -> When {
    When::Moment { moment: moment.to_owned(), checkpoint: None, nth }
}

pub(crate) fn crash(node: &str, down_ms: u64) -> What {
    What::Crash { node: node.to_owned(), down_ms }
}

pub(crate) fn power_loss(node: &str, down_ms: u64) -> What {
    What::PowerLoss { node: node.to_owned(), down_ms }
}

impl Tale for Scenario {}

/// The words that stories are told in.
pub(crate) trait Tale: Sized + Into<Scenario> {
    fn when(self, when: When, what: What) -> Scenario {
        let mut scenario: Scenario = self.into();
        scenario.faults.push(FaultSpec { when, what });
        scenario
    }

    fn with(self, change: impl FnOnce(&mut Scenario)) -> Scenario {
        let mut scenario = self.into();
        change(&mut scenario);
        scenario
    }

    fn job(self, kind: JobKind) -> Scenario {
        self.with(|scenario| scenario.job.kind = kind)
    }

    fn in_objects(self) -> Scenario {
        self.with(|scenario| {
            scenario.cluster.storage = StorageKind::Object;
            // A checkpoint asks the store for some ten things in a row.
            scenario.checkpoints.interval_ms = 300;
            scenario.checkpoints.timeout_ms = 4000;
            scenario.checkpoints.tolerable_failures = 100;
        })
    }

    fn sorted_runs(self) -> Scenario {
        self.with(|scenario| scenario.cluster.backend = BackendKind::SortedRuns)
    }

    fn local_recovery(self) -> Scenario {
        self.with(|scenario| scenario.cluster.local_recovery = true)
    }

    /// Another job begins from what this one leaves when it is cancelled.
    fn resume(self, from: ResumeFrom, claim: bool, parallelism: u32, backend: BackendKind) -> Scenario {
        self.with(|scenario| {
            scenario.expect = Expect::Cancelled;
            let (schema, expect, faults) = (1, Expect::Finished, Vec::new());
            scenario.resume = Some(ResumeSpec { from, claim, parallelism, backend, schema, expect, faults });
        })
    }

    /// Something happens to that job.
    fn resumed_when(self, when: When, what: What) -> Scenario {
        self.with(|scenario| {
            scenario.resume.iter_mut().for_each(|resume| resume.faults.push(FaultSpec { when: when.clone(), what: what.clone() }))
        })
    }

    /// With the other version of its program.
    fn resumed_with_schema(self, schema: u32) -> Scenario {
        self.with(|scenario| {
            scenario.resume.iter_mut().for_each(|resume| resume.schema = schema);
        })
    }

    fn chaos(self, every_ms: u64, kinds: &[&str]) -> Scenario {
        self.with(|scenario| {
            let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            scenario.chaos = Some(ChaosSpec { every_ms, until_ms: scenario.calm_after_ms, kinds });
        })
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Story> {
    let told = [told(), state::told(), local::told(), small_state::told(), windows::told(), transactions::told(), unaligned::told()];
    let more = [restore::told(), leftovers::told(), arrivals::told(), stop::told(), fault_world::told(), shapes::all(), event_time::told()];
    told.into_iter().chain(more).chain([finishing::all(), regions::told()]).flatten().collect()
}

macro_rules! stories {
    ($($name:literal, $story:literal => |$tale:ident| $body:expr;)*) => {
        pub(super) fn told() -> Vec<Story> {
            vec![$({
                fn expand(_seed: u64) -> Scenario {
                    let $tale = tale($name, $story);
                    $body
                }
                Story { name: $name, story: $story, expand }
            },)*]
        }
    };
}
#[cfg(feature = "rocksdb")]
pub(crate) use stories;

mod arrivals;
mod event_time;
mod fault_world;
mod finishing;
mod leftovers;
mod local;
mod regions;
mod restore;
mod shapes;
mod small_state;
mod state;
mod stop;
mod transactions;
mod unaligned;
mod windows;

stories! {
    "steady-run", "Nothing goes wrong: checkpoints complete one after the other, and the counts are right." => |tale| tale;
    "steady-windows", "Event-time windows over four partitions, with nothing going wrong." => |tale| tale.job(JobKind::Windows);
    "steady-ledger", "Two unions of logs connected by key, every kind of state, with nothing going wrong." => |tale| tale.job(JobKind::Ledger);
    "worker-crashes", "A worker dies right after it took its snapshot; a spare one takes over." => |tale| {
        tale.when(at("snapshot-taken"), crash("acting", 1500))
    };
    "worker-crashes-before-barrier", "A worker dies as the barrier arrives, before it is aligned." => |tale| {
        tale.job(JobKind::Ledger).when(at("barrier-arrived"), crash("acting", 800))
    };
    "worker-crashes-after-forwarding", "A worker dies between forwarding the barrier and having its snapshot durable." => |tale| {
        tale.when(at("barrier-forwarded"), crash("acting", 800))
    };
    "worker-crashes-after-durable", "A worker dies when its snapshot is durable and its acknowledgement may or may not be on its way." => |tale| {
        tale.when(at("snapshot-durable"), crash("acting", 800)).when(nth("snapshot-durable", 30), crash("acting", 300))
    };
    "coordinator-crashes-on-trigger", "The coordinator dies when a checkpoint has its number and nothing else." => |tale| {
        tale.when(at("checkpoint-triggered"), crash("coordinator", 500))
    };
    "coordinator-crashes-on-ack", "The coordinator dies with half of the acknowledgements." => |tale| tale.when(at("ack-received"), crash("coordinator", 500));
    "coordinator-crashes-before-metadata", "The coordinator dies with all acknowledgements and no metadata." => |tale| {
        tale.when(at("all-acked"), crash("coordinator", 500))
    };
    "coordinator-crashes-before-rename", "The coordinator dies when the metadata is written under its temporary name." => |tale| {
        tale.when(at("metadata-written"), crash("coordinator", 500))
    };
    "coordinator-crashes-between-durable-and-journal", "The coordinator dies when the metadata is durable but the journal does not name it." => |tale| {
        tale.when(at("metadata-durable"), crash("coordinator", 500))
    };
    "coordinator-crashes-between-complete-and-told", "The coordinator dies when the checkpoint is complete and nobody has been told." => |tale| {
        tale.when(at("checkpoint-completed"), crash("coordinator", 500))
    };
    "both-crash", "A worker dies, and while its tasks are redeployed the coordinator dies too." => |tale| {
        tale.when(at("snapshot-taken"), crash("acting", 3000)).when(nth("deploying", 2), crash("coordinator", 700))
    };
    "second-crash-during-restore", "A worker dies, and another one dies while the tasks read their state." => |tale| {
        tale.with(|scenario| scenario.cluster.workers = 4)
            .when(at("snapshot-durable"), crash("acting", 4000))
            // Four tasks start afresh, then four restore: one of these dies, and one of those that come after it.
            .when(nth("restore-started", 6), crash("acting", 1500))
            .when(nth("restore-done", 8), crash("acting", 1500))
    };
    "crash-loop", "Workers die again and again, more often than checkpoints complete." => |tale| tale.chaos(700, &["crash"]);
    "slow-channel", "One link is a hundred times slower than the others: barriers wait, channels are held, nothing is lost." => |tale| {
        tale.job(JobKind::Ledger).when(When::AtMs(300), What::SlowLink {
            from: "worker-1".into(), to: "worker-2".into(), latency_ms: 300, bandwidth_bytes_per_s: 4000, for_ms: 5000,
        })
    };
    "back-pressure", "Tiny windows and little bandwidth everywhere: every channel is full all the time." => |tale| {
        tale.with(|scenario| {
            scenario.network = NetworkSpec { latency_min_ms: 2, latency_max_ms: 20, bandwidth_bytes_per_s: 20_000, window_bytes: 256 };
            scenario.job.pace_ms = 1;
        })
    };
    "zombie-worker", "A worker is cut off from everybody but the storage: it goes on as a zombie while its tasks run elsewhere." => |tale| {
        tale.with(|scenario| scenario.cluster.heartbeat_timeout_ms = 600)
            .when(at("snapshot-taken"), What::Isolate { node: "acting".into(), for_ms: 4000 })
    };
    "one-way-partition", "The coordinator hears its workers, but they do not hear it; later the other way round." => |tale| {
        tale.when(at("checkpoint-triggered"), What::Partition { from: "coordinator".into(), to: "worker-1".into(), one_way: true, for_ms: 2500 })
            .when(nth("job-running", 2), What::Partition { from: "worker-2".into(), to: "coordinator".into(), one_way: true, for_ms: 2500 })
    };
    "connections-break", "Connections are reset between any two nodes, all the time." => |tale| tale.chaos(400, &["reset"]);
    "paused-worker", "A worker stands still for longer than its heartbeat allows, then goes on as if nothing had happened." => |tale| {
        tale.when(at("barrier-forwarded"), What::Pause { node: "acting".into(), for_ms: 2500 })
    };
    "paused-coordinator", "The coordinator stands still while acknowledgements arrive; its timers fire late." => |tale| {
        tale.when(at("ack-received"), What::Pause { node: "coordinator".into(), for_ms: 2500 })
    };
    "skewed-clocks", "Clocks are wrong by minutes, drift, and jump; timers by processing time go by them." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                scenario.clocks = vec![
                    ClockSpec { node: "worker-1".into(), offset_ms: 180_000, drift_ppm: 5000 },
                    ClockSpec { node: "worker-2".into(), offset_ms: -240_000, drift_ppm: -5000 },
                    ClockSpec { node: "coordinator".into(), offset_ms: -30_000, drift_ppm: 2000 },
                ];
            })
            .chaos(600, &["clock-jump"])
    };
    "power-loss-while-publishing", "The storage node loses power when metadata is renamed and its folder is not yet synced." => |tale| {
        tale.when(at("metadata-renamed"), power_loss("storage", 700))
    };
    "power-loss-before-rename", "The storage node loses power when metadata stands under its temporary name." => |tale| {
        tale.when(at("metadata-written"), power_loss("storage", 700))
    };
    "power-loss-on-completion", "The storage node loses power just as a checkpoint is complete: what is complete stays complete." => |tale| {
        tale.when(at("checkpoint-completed"), power_loss("storage", 700)).when(nth("metadata-durable", 8), power_loss("storage", 300))
    };
    "everything-loses-power", "Workers, coordinator and storage lose power one after the other." => |tale| {
        tale.when(at("snapshot-durable"), power_loss("acting", 2000))
            .when(nth("job-running", 2), power_loss("coordinator", 800))
            .when(nth("took-over", 2), power_loss("storage", 800))
    };
    "power-loss-mid-write", "Syncs take long and the storage loses power again and again: what was half written is gone or torn, and never read." => |tale| {
        (0..5).fold(
            tale.with(|scenario| {
                scenario.disk = DiskSpec { latency_min_us: 20_000, latency_max_us: 60_000 };
                scenario.checkpoints.timeout_ms = 6000;
                scenario.job.lines = 500;
                scenario.checkpoints.tolerable_failures = 10;
            }),
            |tale, number| tale.when(When::AtMs(2000 + 1300 * number), power_loss("storage", 200)),
        )
        .when(nth("checkpoint-completed", 1), crash("any-worker", 500))
    };
    "worker-is-replaced", "A worker's machine burns down; one with an empty disk takes its name." => |tale| {
        tale.when(at("snapshot-durable"), What::Wipe { node: "acting".into(), down_ms: 1500 })
    };
    "full-disk", "The storage is full for a while: checkpoints fail by name, the job goes on, and nothing is left behind." => |tale| {
        tale.with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(at("checkpoint-triggered"), What::DiskFull { node: "storage".into(), for_ms: 1500 })
    };
    "slow-disk", "The storage takes a quarter of a second for everything: checkpoints expire." => |tale| {
        tale.with(|scenario| {
            scenario.checkpoints.timeout_ms = 700;
            scenario.checkpoints.tolerable_failures = 100;
        })
        .when(at("checkpoint-triggered"), What::SlowDisk { node: "storage".into(), latency_ms: 250, for_ms: 3000 })
    };
    "failing-disk", "A third of all storage operations fail, before or after they took effect." => |tale| {
        tale.when(at("checkpoint-triggered"), What::DiskErrors { node: "storage".into(), per_mille: 300, for_ms: 3000 })
    };
    "failing-sync", "Half of all syncs fail and lose what was to be synced." => |tale| {
        tale.when(at("checkpoint-triggered"), What::SyncErrors { node: "storage".into(), per_mille: 500, for_ms: 3000 })
    };
    "storage-unreachable", "Coordinator and workers lose the storage in turn; what they asked for may have happened." => |tale| {
        tale.with(|scenario| scenario.checkpoints.tolerable_failures = 10).chaos(900, &["partition", "slow-disk"])
    };
    "at-least-once", "Channels are not held back and workers crash: one link is slow, so records overtake barriers and count twice; none is lost." => |tale| {
        tale.job(JobKind::Ledger).with(|scenario| scenario.checkpoints.mode = Mode::AtLeastOnce)
            .when(When::AtMs(300), What::SlowLink {
                from: "worker-1".into(), to: "worker-2".into(), latency_ms: 100, bandwidth_bytes_per_s: 0, for_ms: 7000,
            })
            .chaos(1500, &["crash", "reset"])
    };
    "no-checkpoints", "Without checkpoints nothing is kept: a job whose worker dies begins at the beginning, and its table is right only in the end." => |tale| {
        tale.with(|scenario| scenario.checkpoints.interval_ms = 0).when(When::AtMs(1500), crash("worker-1", 500))
    };
    "no-checkpoints-and-a-stop", "Without checkpoints a job can be stopped with a savepoint all the same, and another one goes on from there." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| scenario.checkpoints.interval_ms = 0)
            .when(When::AtMs(1500), What::Stop { drain: false, native: false, insist: true })
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap)
            .with(|scenario| scenario.expect = Expect::Stopped)
    };
    "concurrent-checkpoints", "Three checkpoints at once over slow links, and a worker that crashes." => |tale| {
        tale.with(|scenario| {
            scenario.checkpoints.max_concurrent = 3;
            scenario.checkpoints.interval_ms = 60;
            scenario.checkpoints.retained = 3;
            scenario.network.latency_max_ms = 60;
            scenario.checkpoints.timeout_ms = 6000;
        })
        .when(nth("snapshot-durable", 25), crash("acting", 900))
    };
    "min-pause", "Checkpoints could follow at once, but each must wait after the last completed one." => |tale| {
        tale.with(|scenario| {
            scenario.checkpoints.interval_ms = 300;
            scenario.checkpoints.min_pause_ms = 300;
        })
        .when(nth("ack-received", 9), crash("any-worker", 400))
    };
    "in-memory", "Snapshots live in the coordinator's memory and die with it: the job begins anew and is still right." => |tale| {
        tale.with(|scenario| scenario.cluster.storage = StorageKind::Memory)
            .when(at("snapshot-durable"), crash("acting", 600))
            .when(nth("checkpoint-completed", 9), crash("coordinator", 500))
    };
    "timers-outlive-crashes", "Accounts wait to ripen while workers die; snapshots are in memory, so that only the table can tell." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| scenario.cluster.storage = StorageKind::Memory)
            .when(nth("checkpoint-completed", 2), crash("worker-1", 600))
            .when(nth("job-running", 2), crash("worker-2", 600))
    };
    "windows-under-fire", "Event-time windows while workers crash and links fail: no window is lost, none counts twice." => |tale| {
        tale.job(JobKind::Windows).chaos(900, &["crash", "reset", "pause", "partition"])
    };
    "expires-while-aligning", "A link is so slow that checkpoints expire while channels are held: they are released, and the job goes on." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                scenario.checkpoints.timeout_ms = 250;
                scenario.checkpoints.tolerable_failures = 1000;
            })
            .when(When::AtMs(300), What::SlowLink {
                from: "worker-1".into(), to: "worker-2".into(), latency_ms: 400, bandwidth_bytes_per_s: 0, for_ms: 3000,
            })
    };
    "ambiguous-journal", "A journal entry may be durable or not, and the coordinator dies before it can tell: the files stay." => |tale| {
        tale.with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(at("metadata-durable"), What::DiskErrors { node: "storage".into(), per_mille: 250, for_ms: 300 })
            .when(at("discarded"), crash("coordinator", 300))
    };
    "cancelled-and-kept", "The user asks for a checkpoint, and cancels; the last checkpoint is kept as a starting point." => |tale| {
        tale.with(|scenario| {
            scenario.checkpoints.retention = Retention::RetainOnCancellation;
            scenario.checkpoints.interval_ms = 700;
            scenario.expect = Expect::Cancelled;
        })
        .when(nth("job-running", 1), What::Checkpoint {})
        .when(nth("checkpoint-completed", 3), What::Cancel {})
    };
    "cancelled-and-deleted", "The user cancels while a worker is down; no file is left." => |tale| {
        tale.with(|scenario| {
            scenario.checkpoints.retention = Retention::DeleteOnCancellation;
            scenario.expect = Expect::Cancelled;
        })
        .when(at("snapshot-durable"), crash("acting", 1500))
        .when(nth("job-failing", 1), What::Cancel {})
    };
    "incremental-steady", "State in sorted runs: each checkpoint adds a few files to the last one's, and deletes what nobody needs." => |tale| {
        tale.job(JobKind::Ledger).sorted_runs()
    };
    "incremental-crash-in-upload", "Workers die while new files are uploaded, and before anybody is told of them." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("snapshot-taken", 7), crash("acting", 500))
            .when(nth("snapshot-taken", 30), crash("acting", 500))
            .when(nth("snapshot-durable", 40), crash("acting", 500))
    };
    "incremental-coordinator-crashes", "The coordinator dies while it deletes; the next one must learn which files are needed before it deletes any." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("discarding", 3), crash("coordinator", 400))
            .when(nth("metadata-durable", 9), crash("coordinator", 400))
    };
    "incremental-lost-notices", "Notices of completion get lost: what workers share does not depend on them." => |tale| {
        tale.sorted_runs()
            .with(|scenario| scenario.checkpoints.max_concurrent = 3)
            .when(nth("metadata-durable", 2), What::Reset { from: "coordinator".into(), to: "worker-1".into() })
            .when(nth("metadata-durable", 6), What::Reset { from: "coordinator".into(), to: "worker-2".into() })
    };
    "incremental-many-at-once", "The next checkpoint takes changes away while the store still gets those of the last one: a record finds them all the same." => |tale| {
        tale.sorted_runs().with(|scenario| {
            (scenario.job.lines, scenario.job.keys, scenario.job.pace_ms) = (500, 150, 10);
            (scenario.checkpoints.interval_ms, scenario.checkpoints.max_concurrent) = (25, 4);
            (scenario.checkpoints.timeout_ms, scenario.checkpoints.tolerable_failures) = (4000, 100);
        })
    };
    "incremental-under-fire", "Sorted runs that spill at every batch, three checkpoints at once, and everything fails now and then." => |tale| {
        tale.job(JobKind::Ledger)
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
    "full-snapshots-of-a-store", "State in sorted runs, written whole each time, while workers crash." => |tale| {
        tale.sorted_runs()
            .with(|scenario| scenario.cluster.incremental = false)
            .when(nth("snapshot-durable", 9), crash("acting", 500))
    };
    "few-changes-to-large-state", "Most of the state rests between two incremental checkpoints, and workers die: only what changed is uploaded." => |tale| {
        tale.sorted_runs()
            .with(|scenario| {
                (scenario.job.keys, scenario.job.lines, scenario.job.pace_ms) = (3000, 700, 30);
                scenario.cluster.hot_bytes = 2000;
            })
            .when(nth("checkpoint-completed", 12), crash("worker-1", 400))
    };
    "full-disk-while-uploading", "The storage is full in the middle of incremental checkpoints: they fail, and nothing that is shared is lost." => |tale| {
        tale.sorted_runs()
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("snapshot-taken", 12), What::DiskFull { node: "storage".into(), for_ms: 900 })
            .when(nth("checkpoint-aborted", 2), crash("worker-1", 400))
    };
    "savepoint-between-incrementals", "Savepoints of both formats between incremental checkpoints, and workers die: each owns its files alone." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: true })
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 8), crash("worker-2", 400))
    };
    "crash-during-savepoint", "A worker dies in the middle of a savepoint: there is none, and what was written of it goes." => |tale| {
        tale.when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(nth("savepoint-triggered", 1), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 5), What::Savepoint { native: false })
    };
    "savepoint-to-more-subtasks", "A savepoint of tables in memory becomes sorted runs on more subtasks; the savepoint stays its user's." => |tale| {
        tale.job(JobKind::Ledger)
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
    };
    "savepoint-to-fewer-subtasks", "A savepoint of sorted runs becomes tables in memory on one subtask." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 1, BackendKind::HashMap)
    };
    "native-savepoint-claimed", "A savepoint in the backend's format is given to the next job, which builds upon it and deletes it." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: true })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, true, 2, BackendKind::SortedRuns)
    };
    "retained-checkpoint-claimed", "A job is cancelled and its last incremental checkpoint kept; the next job owns it, on more subtasks." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::SortedRuns)
    };
    "retained-checkpoint-not-claimed", "The next job begins from a kept incremental checkpoint without owning it: nothing of it is ever deleted." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, false, 2, BackendKind::SortedRuns)
    };
    "cancelled-in-an-incremental-checkpoint", "A job is cancelled while it uploads, and its last checkpoint kept: what the checkpoint under way has added goes." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .with(|scenario| {
                scenario.checkpoints.retention = Retention::RetainOnCancellation;
                scenario.expect = Expect::Cancelled;
            })
            .when(nth("ack-received", 59), What::Cancel {})
    };
    "hooks-that-fail", "The coordinator calls a hook before each checkpoint, which fails now and then: that checkpoint fails, and the job goes on." => |tale| {
        tale.with(|scenario| scenario.job.hook_fails_every = 3).when(nth("checkpoint-completed", 4), crash("worker-1", 400))
    };
    "behind-its-input", "Sources are behind what there is to read, and checkpoints are rarer until they have caught up." => |tale| {
        tale.with(|scenario| {
            scenario.job.backlog_bytes = 600;
            scenario.checkpoints.interval_during_backlog_ms = Some(1500);
        })
        .when(at("snapshot-durable"), crash("acting", 400))
    };
    "restore-takes-long", "The storage is so slow that a restore takes longer than a deployment may: who still reads is not lost, and nothing is begun anew." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                scenario.restart = RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(100) };
                scenario.checkpoints.timeout_ms = 20_000;
                scenario.calm_after_ms = 20_000;
            })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            // The first that reads its state in the second attempt.
            .when(nth("restore-started", 11), What::SlowDisk { node: "storage".into(), latency_ms: 2500, for_ms: 12_000 })
    };
    "gives-up", "The restart strategy allows one restart, and workers die twice: the job fails, and its last checkpoint stays." => |tale| {
        tale.with(|scenario| {
            scenario.restart = RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(100) };
            scenario.checkpoints.retention = Retention::DeleteOnCancellation;
            scenario.job.lines = 400;
            scenario.expect = Expect::Failed;
        })
        .when(at("checkpoint-completed"), crash("worker-1", 300))
        .when(nth("job-running", 2), crash("worker-2", 300))
        .when(nth("job-running", 2), crash("worker-3", 300))
        .when(nth("job-running", 2), crash("worker-1", 300))
    };
    "object-steady-run", "Checkpoints are objects, and nothing goes wrong." => |tale| tale.in_objects();
    "object-lost-answers", "Half of all changes in the object store happen and are answered by an error: nothing is taken for lost, nothing is written twice." => |tale| {
        tale.in_objects()
            .when(When::AtMs(0), What::LostAnswers { per_mille: 500, for_ms: 5000 })
            .when(nth("checkpoint-completed", 2), crash("coordinator", 400))
            .when(nth("snapshot-durable", 12), crash("acting", 800))
    };
    "object-throttled", "The object store turns most requests away, and reads come in pieces: everything takes longer, and nothing else happens." => |tale| {
        tale.in_objects()
            .when(When::AtMs(500), What::ObjectThrottling { per_mille: 700, for_ms: 5000 })
            .when(nth("snapshot-durable", 9), crash("acting", 500))
            .when(nth("restore-started", 5), What::PartialReads { per_mille: 800, for_ms: 1500 })
    };
    "object-stale-listing-at-takeover", "Listings lag seconds behind when another coordinator takes over: it finds the newest checkpoint all the same." => |tale| {
        tale.in_objects()
            .when(When::AtMs(0), What::StaleListings { lag_ms: 4000, for_ms: 7500 })
            .when(nth("checkpoint-completed", 3), crash("coordinator", 100))
            .when(nth("checkpoint-completed", 6), crash("coordinator", 300))
            .when(nth("metadata-durable", 9), crash("coordinator", 200))
    };
    "object-store-unavailable-while-publishing", "The object store serves nobody just as metadata is to be published, and for longer as the journal is to name it; then the coordinator dies." => |tale| {
        tale.in_objects()
            .with(|scenario| {
                scenario.job.pace_ms = 200;
                scenario.calm_after_ms = 25_000;
            })
            .when(at("metadata-written"), What::ObjectsUnavailable { for_ms: 1500 })
            .when(nth("metadata-durable", 5), What::ObjectsUnavailable { for_ms: 5000 })
            .when(nth("checkpoint-completed", 5), crash("coordinator", 300))
            .when(nth("metadata-durable", 12), What::ObjectsUnavailable { for_ms: 5000 })
            .when(nth("checkpoint-completed", 11), crash("coordinator", 300))
    };
    "object-entry-of-the-dead", "The coordinator dies with its journal entry on a slow way: it may arrive when another one leads already, which then has to give way." => |tale| {
        (0..5).fold(tale.in_objects(), |tale, number| {
            let slow = What::SlowObjects { latency_ms: 300, for_ms: 80 };
            tale.when(When::AtMs(2420 + 900 * number), slow).when(When::AtMs(2500 + 900 * number), crash("coordinator", 10))
        })
    };
    "object-crash-mid-upload", "Workers die in the middle of uploads in parts: what nobody will complete is aborted, and no part stays." => |tale| {
        (0..5).fold(
            tale.in_objects().with(|scenario| {
                scenario.objects = ObjectSpec { latency_min_ms: 10, latency_max_ms: 60, timeout_ms: 1000, part_bytes: 64 };
                scenario.cluster.workers = 4;
            }),
            |tale, number| tale.when(nth("snapshot-taken", 5 + 7 * number), crash("acting", 600)),
        )
        // At moments that nothing is pinned to as well: an upload has none.
        .chaos(1500, &["crash"])
    };
    "object-store-under-fire", "Workers, coordinator and object store fail in all their ways." => |tale| {
        tale.in_objects().job(JobKind::Ledger).chaos(
            400,
            &["crash", "object-errors", "object-throttling", "lost-answers", "stale-listings", "partial-reads", "slow-objects", "objects-unavailable"],
        )
    };
}
