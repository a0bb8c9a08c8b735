//! Sessions and sliding windows: state, timers and watermarks that must agree after every restore.

use super::{at, crash, nth, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, JobKind, ResumeFrom, Scenario, What};

stories! {
    "sessions-steady", "Sessions that records out of order make one of, with nothing going wrong." => |tale| tale.job(JobKind::Sessions);
    "sessions-crashes", "Workers die while sessions grow into each other: each is given out whole, with the timers that it had." => |tale| {
        tale.job(JobKind::Sessions)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 500))
            .when(nth("snapshot-durable", 20), crash("acting", 700))
    };
    "sessions-in-a-store", "Sessions in sorted runs that spill at every batch: those that were merged do not come back." => |tale| {
        tale.job(JobKind::Sessions)
            .sorted_runs()
            .with(|scenario| scenario.cluster.hot_bytes = 0)
            .when(nth("checkpoint-completed", 5), crash("worker-2", 600))
    };
    "sessions-to-more-subtasks", "A savepoint of open sessions is begun from with more subtasks: timers go where their keys go." => |tale| {
        tale.job(JobKind::Sessions)
            .when(nth("checkpoint-completed", 4), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
    };
    "hops-steady", "Every event is in several sliding windows, with nothing going wrong." => |tale| tale.job(JobKind::Hops);
    "hops-to-fewer-subtasks", "A retained checkpoint with windows that are whole and still kept goes on with one subtask." => |tale| {
        tale.job(JobKind::Hops)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 5), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 1, BackendKind::SortedRuns)
    };
    "hops-under-fire", "Sliding windows while workers crash, links fail and the storage loses power." => |tale| {
        tale.job(JobKind::Hops).when(at("barrier-forwarded"), crash("acting", 400)).chaos(900, &["crash", "reset", "power-loss", "partition"])
    };
}
