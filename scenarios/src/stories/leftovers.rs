//! Stories of coordinators that die with something begun outside of their job's folder: a savepoint, or the deletion of a claimed snapshot.

use super::{at, crash, nth, power_loss, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, Expect, JobKind, ResumeFrom, Scenario, What};

/// The third number is a savepoint's, and the next one is taken later: its request is there before the next checkpoint is due.
fn with_savepoints(tale: Scenario) -> Scenario {
    tale.with(|scenario| scenario.checkpoints.interval_ms = 400)
        .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
        .when(nth("checkpoint-completed", 6), What::Savepoint { native: false })
}

/// A job that ends behind a savepoint in the store's format, which the next one is given.
fn given_away(tale: Scenario) -> Scenario {
    tale.job(JobKind::Ledger)
        .sorted_runs()
        .when(nth("checkpoint-completed", 3), What::Savepoint { native: true })
        .when(nth("savepoint-completed", 1), What::Cancel {})
        .resume(ResumeFrom::Savepoint, true, 2, BackendKind::SortedRuns)
}

/// The same with the last incremental checkpoint, whose files stand beside it.
fn kept_and_given_away(tale: Scenario) -> Scenario {
    tale.job(JobKind::Ledger)
        .sorted_runs()
        .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
        .when(nth("checkpoint-completed", 5), What::Cancel {})
        .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::SortedRuns)
}

/// It dies before the first step of the deletion, and again behind it.
fn coordinator_dies_while_it_deletes(tale: Scenario) -> Scenario {
    tale.resumed_when(nth("origin-discarding", 1), crash("acting", 400)).resumed_when(nth("origin-unmade", 1), crash("acting", 400))
}

stories! {
    "savepoint-begun-and-coordinator-gone", "The coordinator dies when parts of a savepoint are written: the next one deletes what there is of it." => |tale| {
        with_savepoints(tale).when(at("snapshot-durable"), crash("coordinator", 500))
    };
    "savepoint-named-and-coordinator-gone", "The coordinator dies when the journal may or may not name a savepoint, and there is nothing of it." => |tale| {
        with_savepoints(tale).when(nth("savepoint-triggered", 1), crash("coordinator", 500))
    };
    "savepoint-not-renamed-and-coordinator-gone", "The coordinator dies when the metadata of a savepoint is written and has not got its name." => |tale| {
        with_savepoints(tale).when(at("metadata-written"), crash("coordinator", 500))
    };
    "savepoint-written-and-coordinator-gone", "The coordinator dies when a savepoint is complete and nobody knows: it is its user's, and stays." => |tale| {
        with_savepoints(tale).when(at("metadata-durable"), crash("coordinator", 500))
    };
    "savepoint-begun-and-job-cancelled", "A job is cancelled in the middle of a savepoint, and its coordinator dies when that is decided." => |tale| {
        tale.with(|scenario| scenario.expect = Expect::Cancelled)
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(at("snapshot-durable"), What::Cancel {})
            .when(nth("job-ended", 1), crash("coordinator", 500))
    };
    "savepoint-in-objects-and-coordinator-gone", "As savepoint-begun-and-coordinator-gone, with savepoints in an object store." => |tale| {
        with_savepoints(tale.in_objects()).when(at("snapshot-durable"), crash("coordinator", 500))
    };
    "savepoint-in-objects-written-and-coordinator-gone", "As savepoint-written-and-coordinator-gone, with savepoints in an object store." => |tale| {
        with_savepoints(tale.in_objects()).when(at("metadata-durable"), crash("coordinator", 500))
    };
    "origin-half-deleted", "A job deletes the savepoint that it was given, and its coordinator dies twice in the middle of that: it never looks whole when it is not, and is gone." => |tale| {
        coordinator_dies_while_it_deletes(given_away(tale))
    };
    "origin-half-deleted-beside-its-files", "The same with a kept checkpoint, whose files are needed for a while." => |tale| {
        coordinator_dies_while_it_deletes(kept_and_given_away(tale)).resumed_when(nth("discarded", 3), crash("acting", 400))
    };
    "origin-half-deleted-in-a-power-loss", "The same, and the storage loses power, too." => |tale| {
        kept_and_given_away(tale)
            .resumed_when(nth("origin-discarding", 1), power_loss("storage", 300))
            .resumed_when(nth("origin-unmade", 1), power_loss("storage", 300))
    };
    "origin-half-deleted-in-objects", "The same with a savepoint in an object store." => |tale| {
        coordinator_dies_while_it_deletes(given_away(tale.in_objects()))
    };
    "kept-origin-half-deleted-in-objects", "The same with a kept checkpoint in an object store." => |tale| {
        coordinator_dies_while_it_deletes(kept_and_given_away(tale.in_objects()))
    };
    "origin-never-taken-in", "A job is given a savepoint that its backend cannot read: it fails for good, and the savepoint stays as it was." => |tale| {
        given_away(tale).with(|scenario| {
            scenario.resume.iter_mut().for_each(|resume| (resume.backend, resume.expect) = (BackendKind::HashMap, Expect::Failed));
        })
    };
}
