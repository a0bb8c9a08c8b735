//! Stories of jobs that are stopped with a savepoint, and of those that go on from there.

use super::{at, crash, nth, power_loss, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Mode;
use cofferdam_sim::scenario::{BackendKind, DiskSpec, Expect, JobKind, ResumeFrom, Scenario, What, When};

/// The user stops the job, and asks again until it has.
fn stop() -> What {
    What::Stop { drain: false, native: false, insist: true }
}

/// As if the input ended there.
fn drain() -> What {
    What::Stop { drain: true, native: false, insist: true }
}

/// The user asks once, whatever comes of it.
fn stop_once() -> What {
    What::Stop { drain: false, native: false, insist: false }
}

/// In the middle of the input.
fn soon() -> When {
    nth("checkpoint-completed", 3)
}

/// It ends where it is stopped.
fn stopped(tale: Scenario) -> Scenario {
    tale.when(soon(), stop()).with(|scenario| scenario.expect = Expect::Stopped)
}

/// Another job goes on from there.
fn stopped_and_resumed(tale: Scenario, parallelism: u32, backend: BackendKind) -> Scenario {
    tale.when(soon(), stop()).resume(ResumeFrom::Savepoint, false, parallelism, backend).with(|scenario| scenario.expect = Expect::Stopped)
}

fn drained(tale: Scenario) -> Scenario {
    tale.when(soon(), drain()).with(|scenario| scenario.expect = Expect::Stopped)
}

/// Each row is published when what it belongs to is complete.
fn delivery(tale: Scenario) -> Scenario {
    stopped_and_resumed(tale.job(JobKind::Delivery), 3, BackendKind::HashMap)
}

/// To publish takes its time: what happens now happens in the middle.
fn slowly(tale: Scenario) -> Scenario {
    tale.with(|scenario| {
        scenario.disk = DiskSpec { latency_min_us: 5000, latency_max_us: 60_000 };
        (scenario.checkpoints.timeout_ms, scenario.checkpoints.tolerable_failures) = (6000, 20);
    })
}

stories! {
    "stop-and-resume", "A job is stopped with a savepoint in the middle of its input, and another one goes on from there." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Ledger), 2, BackendKind::HashMap)
    };
    "stop-and-resume-at-another-parallelism", "The same with more subtasks, and another backend." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Ledger), 3, BackendKind::SortedRuns)
    };
    "stop-natively-and-resume-claimed", "The same in the store's own format, given to a job with fewer subtasks that deletes it when it is not needed." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(soon(), What::Stop { drain: false, native: true, insist: true })
            .resume(ResumeFrom::Savepoint, true, 1, BackendKind::SortedRuns)
            .with(|scenario| scenario.expect = Expect::Stopped)
    };
    "stop-steady", "A job is stopped with nothing going wrong: its table says what the savepoint says." => |tale| stopped(tale);
    "stop-windows", "Windows that are open when a job is stopped stay open, and are closed by the job that goes on." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Windows), 3, BackendKind::HashMap)
    };
    "stop-at-least-once", "Also where barriers hold nothing back, nothing is behind the last one: what it cuts is exact." => |tale| {
        stopped_and_resumed(tale, 2, BackendKind::HashMap).with(|scenario| {
            (scenario.checkpoints.mode, scenario.checkpoints.max_concurrent) = (Mode::AtLeastOnce, 2);
        })
    };
    "stop-where-barriers-overtake", "Where checkpoints overtake, the savepoint waits for those that are under way to be given up, and is aligned." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Ledger), 3, BackendKind::HashMap).with(|scenario| {
            (scenario.checkpoints.unaligned, scenario.job.sink_us) = (true, 500);
        })
    };
    "stop-in-objects", "A job is stopped with a savepoint in an object store." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Ledger).in_objects(), 2, BackendKind::HashMap)
    };
    "drain-steady", "A job is drained: its table is what all input would make, if it had ended there." => |tale| drained(tale);
    "drain-windows", "Windows that are open when a job is drained are closed before the savepoint." => |tale| drained(tale.job(JobKind::Windows));
    "drain-sessions", "The same with sessions." => |tale| drained(tale.job(JobKind::Sessions));
    "drain-delivers", "What is held back for the last completion is published before the job has stopped." => |tale| drained(tale.job(JobKind::Delivery));
    "drained-is-not-resumed", "A job is given the savepoint of a drained one, and refuses to go on from what was closed." => |tale| {
        drained(tale.job(JobKind::Windows).resume(ResumeFrom::Savepoint, false, 2, BackendKind::HashMap))
            .with(|scenario| scenario.resume.iter_mut().for_each(|resume| resume.expect = Expect::Failed))
    };
    "drain-fails-half-way", "The savepoint of a drained job cannot be written: its tasks have given out what they hold, so they begin again from the last checkpoint." => |tale| {
        tale.job(JobKind::Windows)
            .when(soon(), What::Stop { drain: true, native: false, insist: false })
            .when(nth("task-suspended", 1), What::DiskFull { node: "storage".into(), for_ms: 600 })
    };
    "stop-delivers", "What is held back is published as the job stops, and what comes later by the job that goes on: each row once." => |tale| delivery(tale);
    "stop-fails-and-the-job-goes-on", "The storage is full when the savepoint is to be written: tasks that had stopped for it go on." => |tale| {
        tale.with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(soon(), stop_once())
            .when(nth("task-suspended", 1), What::DiskFull { node: "storage".into(), for_ms: 900 })
    };
    "stop-expires-and-the-job-goes-on", "The storage is so slow that the savepoint expires; the next one does not." => |tale| {
        stopped_and_resumed(tale.job(JobKind::Delivery), 2, BackendKind::HashMap)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("savepoint-triggered", 1), What::SlowDisk { node: "storage".into(), latency_ms: 700, for_ms: 3000 })
    };
    "stop-at-the-end-of-input", "The input ends while the savepoint is taken, which then fails: the job comes to its end all the same." => |tale| {
        tale.with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("task-drained", 1), stop_once())
            .when(nth("task-suspended", 1), What::DiskFull { node: "storage".into(), for_ms: 900 })
    };
    "stop-and-a-worker-dies-before", "A worker dies when it has stopped for the savepoint, which is not complete: the job begins again, and is stopped later." => |tale| {
        delivery(tale).when(nth("task-suspended", 2), crash("acting", 400))
    };
    "stop-and-a-worker-dies-at-the-journal", "A worker dies when the journal is told that the job has stopped: nobody restarts it." => |tale| {
        delivery(tale).when(nth("all-acked", 4), crash("worker-1", 500)).when(nth("metadata-durable", 4), crash("worker-2", 500))
    };
    "stop-and-a-worker-dies-in-commit", "Workers die when the job has stopped and some rows are not published: the job that goes on publishes them." => |tale| {
        slowly(delivery(tale)).when(nth("job-stopping", 1), crash("worker-1", 500))
    };
    "stop-and-the-coordinator-dies-at-the-trigger", "The coordinator dies when the savepoint has its number: the job runs on, and is stopped later." => |tale| {
        delivery(tale).when(nth("savepoint-triggered", 1), crash("coordinator", 400))
    };
    "stop-and-the-coordinator-dies-in-between", "The coordinator dies when tasks have stopped for the savepoint: they go with it, and the next attempt runs." => |tale| {
        delivery(tale).when(nth("task-suspended", 1), crash("coordinator", 400))
    };
    "stop-and-the-coordinator-dies-behind-the-metadata", "The coordinator dies when the savepoint is there and the journal may say that the job has stopped: it has, or runs on." => |tale| {
        delivery(tale).when(nth("metadata-durable", 4), crash("coordinator", 400))
    };
    "stop-and-the-coordinator-dies-behind-the-journal", "The coordinator dies when the journal says that the job has stopped: nobody begins again, and what was held back is published by the next job." => |tale| {
        delivery(tale).when(nth("job-stopping", 1), crash("coordinator", 400))
    };
    "stop-and-the-coordinator-dies-at-its-end", "The coordinator dies when all is published and it is about to say so." => |tale| {
        delivery(tale).when(nth("stop-answered", 1), crash("coordinator", 400))
    };
    "stop-and-the-power-fails", "The storage loses power while the journal is told, and again while rows are published." => |tale| {
        slowly(delivery(tale)).when(nth("savepoint-triggered", 1), power_loss("storage", 300)).when(nth("job-stopping", 1), power_loss("storage", 300))
    };
    "stop-and-the-journal-fails", "Half of all operations fail when the journal is told: the job has stopped or has not, and does not run on meanwhile." => |tale| {
        delivery(tale).when(at("metadata-durable"), What::DiskErrors { node: "storage".into(), per_mille: 500, for_ms: 3000 })
    };
    "stop-twice", "A job is asked to stop while it stops, and for a savepoint, and cancelled: it stops once." => |tale| {
        delivery(tale)
            .when(nth("savepoint-triggered", 1), stop_once())
            .when(nth("savepoint-triggered", 1), What::Savepoint { native: false })
            .when(nth("job-stopping", 1), What::Cancel {})
    };
    "stop-and-cancel", "A job is cancelled while it stops: whichever the journal says first." => |tale| {
        tale.when(soon(), stop_once()).when(nth("task-suspended", 1), What::Cancel {}).with(|scenario| scenario.expect = Expect::Cancelled)
    };
    "stop-behind-a-savepoint", "A savepoint is under way when a job is asked to stop: it is finished first." => |tale| {
        delivery(tale).when(nth("checkpoint-triggered", 4), What::Savepoint { native: false }).with(|scenario| scenario.checkpoints.max_concurrent = 2)
    };
    "stop-during-a-restart", "A job is asked to stop while it restarts: it is told that it cannot, and asks again." => |tale| {
        delivery(tale.when(nth("checkpoint-completed", 2), crash("worker-1", 300))).with(|scenario| {
            scenario.faults.retain(|fault| !matches!(fault.what, What::Stop { .. }));
        }).when(nth("job-restarting", 1), stop())
    };
    "stop-under-fire", "Everything fails now and then while the user wants the job to stop; what it has published by then and what the next one does is each row once." => |tale| {
        delivery(tale)
            .with(|scenario| (scenario.expect, scenario.checkpoints.tolerable_failures) = (Expect::StoppedOrFinished, 20))
            .chaos(500, &["crash", "reset", "isolate", "power-loss", "disk-errors", "slow-disk"])
    };
}
