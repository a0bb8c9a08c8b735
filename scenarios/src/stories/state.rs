//! State that expires, that every subtask has, and whose types change.

use super::{at, crash, nth, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, ClockSpec, Expect, JobKind, ResumeFrom, Scenario, What};

stories! {
    "expiring-steady", "State with time-to-live, with nothing going wrong: what is returned is alive, and what has expired leaves the snapshots." => |tale| {
        tale.job(JobKind::Expiring)
    };
    "expiring-crashes", "Workers die while state expires: what was alive before is alive behind the restore, for as long as it would have been." => |tale| {
        tale.job(JobKind::Expiring)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 500))
            .when(nth("snapshot-durable", 20), crash("acting", 700))
    };
    "expiring-in-a-store", "State with time-to-live in sorted runs that spill at every batch: merges drop what has expired, and nothing else." => |tale| {
        tale.job(JobKind::Expiring)
            .sorted_runs()
            .with(|scenario| scenario.cluster.hot_bytes = 0)
            .when(nth("checkpoint-completed", 6), crash("worker-2", 600))
    };
    "expiring-with-wrong-clocks", "Clocks differ, drift and jump both ways while state expires, and workers die: what is expired by the clock of the moment is never returned." => |tale| {
        let jump = |node: &str, by_ms| What::ClockJump { node: node.into(), by_ms };
        tale.job(JobKind::Expiring)
            .with(|scenario| {
                scenario.clocks = vec![
                    ClockSpec { node: "worker-1".into(), offset_ms: 900, drift_ppm: 3000 },
                    ClockSpec { node: "worker-3".into(), offset_ms: -700, drift_ppm: -3000 },
                ];
            })
            .when(nth("checkpoint-completed", 2), jump("worker-1", -1500))
            .when(nth("checkpoint-completed", 4), jump("worker-2", 600))
            .when(nth("checkpoint-completed", 5), crash("worker-1", 500))
            .when(nth("checkpoint-completed", 7), jump("worker-2", -600))
            .when(nth("job-running", 2), jump("worker-3", 400))
    };
    "expiring-to-more-subtasks", "A savepoint of sorted runs with time-to-live becomes tables in memory on more subtasks." => |tale| {
        tale.job(JobKind::Expiring)
            .sorted_runs()
            .when(nth("checkpoint-completed", 5), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap)
    };
    "broadcast-steady", "Rules go to every subtask and change how records count, with nothing going wrong." => |tale| tale.job(JobKind::Rules);
    "broadcast-crashes", "Workers die while rules change: every subtask has its copy again, as of the checkpoint." => |tale| {
        tale.job(JobKind::Rules)
            .when(at("barrier-forwarded"), crash("acting", 500))
            .when(nth("checkpoint-completed", 6), crash("worker-2", 500))
    };
    "broadcast-to-more-subtasks", "A job with broadcast state goes on with more subtasks, in a store: each gets one copy." => |tale| {
        tale.job(JobKind::Rules)
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
    };
    "broadcast-to-fewer-subtasks", "A job with broadcast state in a store goes on with one subtask, from its retained checkpoint." => |tale| {
        tale.job(JobKind::Rules)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 1, BackendKind::SortedRuns)
    };
    "migration", "The next program has changed the types of its state: a savepoint is read by migrations, defaults and a time-to-live switched on." => |tale| {
        tale.job(JobKind::Visits)
            .when(nth("checkpoint-completed", 2), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 5), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
            .resumed_with_schema(2)
    };
    "migration-in-a-store", "The files of a store have values of the old types; the next program writes them anew, and builds upon the old files." => |tale| {
        tale.job(JobKind::Visits)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 7), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 2, BackendKind::SortedRuns)
            .resumed_with_schema(2)
    };
    "migration-of-a-native-savepoint", "A savepoint in the store's own format is read by a program with changed types, on one subtask." => |tale| {
        tale.job(JobKind::Visits)
            .sorted_runs()
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: true })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 1, BackendKind::SortedRuns)
            .resumed_with_schema(2)
    };
    "migration-refused", "The older program cannot read what the newer one left: it is refused by the names of state and versions, before any task starts." => |tale| {
        tale.job(JobKind::Visits)
            .with(|scenario| scenario.job.schema = 2)
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 2, BackendKind::HashMap)
            .resumed_with_schema(1)
            .with(|scenario| scenario.resume.iter_mut().for_each(|resume| resume.expect = Expect::Refused))
    };
    "few-changes-between-many-savepoints", "Most of the state rests while savepoints are taken one after the other: each is whole, and checkpoints in between upload what has changed." => |tale| {
        (1..16).fold(
            tale.sorted_runs().with(|scenario| {
                (scenario.job.keys, scenario.job.lines, scenario.job.pace_ms) = (3000, 700, 30);
                scenario.cluster.hot_bytes = 2000;
            }),
            |tale, number| tale.when(nth("checkpoint-completed", 2 + number), What::Savepoint { native: number % 2 == 0 }),
        )
    };
}
