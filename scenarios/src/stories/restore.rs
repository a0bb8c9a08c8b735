//! Stories of what a job begins from: who may take it in, and how long that takes.

use super::{crash, nth, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::RestartStrategy;
use cofferdam_sim::scenario::{BackendKind, Expect, JobKind, ResumeFrom, Scenario, What, When};
use std::time::Duration;

stories! {
    "native-savepoint-on-another-backend", "A savepoint in the format of one backend is given to a job on another, which would be started again for ever: no attempt can take it in, so the first says so and the job is over." => |tale| {
        tale.job(JobKind::Ledger)
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: true })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 2, BackendKind::HashMap)
            .with(|scenario| scenario.resume.iter_mut().for_each(|resume| resume.expect = Expect::Failed))
    };
    "slow-storage-before-a-restore", "The storage is so slow that reading the metadata takes longer than a deployment may: no task has been told anything, so none is late." => |tale| {
        tale.job(JobKind::Ledger)
            .with(|scenario| {
                scenario.restart = RestartStrategy::FixedDelay { attempts: 1, delay: Duration::from_millis(100) };
                scenario.checkpoints.timeout_ms = 20_000;
                scenario.calm_after_ms = 20_000;
            })
            .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
            .when(nth("job-restarting", 1), What::SlowDisk { node: "storage".into(), latency_ms: 2500, for_ms: 12_000 })
    };
    "worker-crashes-behind-the-tenth-checkpoint", "A worker dies when the tenth checkpoint is complete and the ninth still there: by their names the ninth would be the newer one." => |tale| {
        tale.with(|scenario| scenario.checkpoints.retained = 3)
            .when(When::Moment { moment: "checkpoint-completed".into(), checkpoint: Some(10), nth: 1 }, crash("worker-1", 300))
    };
    "storage-fails-before-a-restore", "Most operations of the storage fail when metadata is to be read for a restore: it is read again, and no older checkpoint taken." => |tale| {
        tale.with(|scenario| (scenario.checkpoints.retained, scenario.checkpoints.tolerable_failures) = (2, 100))
            .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
            .when(nth("job-restarting", 1), What::DiskErrors { node: "storage".into(), per_mille: 700, for_ms: 1200 })
    };
}
