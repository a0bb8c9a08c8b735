//! Some regions of a job go back while the others go on, or have finished.

use super::{at, crash, nth, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::FailoverStrategy;
use cofferdam_sim::scenario::{JobKind, Scenario, What};

/// Three pipelines that share nothing, each on a worker of its own.
fn lanes(tale: Scenario) -> Scenario {
    tale.job(JobKind::Lanes).with(|scenario| {
        (scenario.job.parallelism, scenario.job.partitions, scenario.cluster.workers) = (3, 6, 4);
        scenario.job.lines = 400;
    })
}

/// The same beside a pipeline with an exchange, which runs on all workers.
fn post(tale: Scenario) -> Scenario {
    lanes(tale).job(JobKind::Post)
}

/// Connections between two workers break: of what runs there, only the pipeline with the exchange has any.
fn broken_exchange() -> What {
    What::Reset { from: "worker-1".into(), to: "worker-2".into() }
}

stories! {
    "region-exchange-breaks", "A connection of a pipeline with an exchange breaks: it goes back, and those that exchange nothing go on." => |tale| {
        post(tale)
            .when(nth("checkpoint-completed", 3), broken_exchange())
            .when(nth("checkpoint-completed", 7), broken_exchange())
    };
    "region-loses-its-worker", "A worker with one of three pipelines dies: that one moves to a spare, the others go on." => |tale| {
        lanes(tale)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 600))
            .when(nth("checkpoint-completed", 8), crash("worker-2", 600))
    };
    "region-waits-for-its-worker", "A worker dies and there is no spare: its pipeline waits until it is back, and the others read on without checkpoints." => |tale| {
        lanes(tale)
            .with(|scenario| scenario.cluster.workers = 3)
            .when(at("checkpoint-completed"), crash("worker-2", 1500))
            .when(nth("job-running", 2), crash("worker-3", 900))
    };
    "regions-fail-one-after-the-other", "A second pipeline loses its worker while the first one is stopped, and a third one while both are being restarted." => |tale| {
        lanes(tale)
            .with(|scenario| scenario.cluster.workers = 5)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 500))
            .when(nth("job-failing", 1), crash("worker-2", 500))
            .when(nth("task-starting", 1), crash("worker-3", 500))
    };
    "region-fails-while-it-restarts", "What has been restarted dies before all of it runs: it goes back once more, and only that." => |tale| {
        post(tale)
            .with(|scenario| scenario.cluster.workers = 5)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 500))
            .when(nth("task-starting", 1), crash("acting", 700))
            .when(nth("checkpoint-completed", 6), broken_exchange())
            .when(nth("restore-done", 20), broken_exchange())
    };
    "coordinator-dies-while-a-region-restarts", "The coordinator dies while a region is down: the next one knows nothing of what goes on, and restarts all." => |tale| {
        post(tale)
            .when(nth("checkpoint-completed", 3), broken_exchange())
            .when(nth("job-failing", 1), crash("coordinator", 400))
            .when(nth("checkpoint-completed", 6), crash("worker-2", 400))
            .when(nth("task-starting", 1), crash("coordinator", 400))
    };
    "region-fails-during-a-checkpoint", "A region fails when rows of the others are staged and the checkpoint is not complete: it is given up, and they publish them with the next one." => |tale| {
        lanes(tale)
            .when(at("snapshot-durable"), crash("worker-1", 500))
            .when(nth("metadata-durable", 6), crash("worker-2", 500))
            .when(nth("checkpoint-completed", 9), crash("worker-3", 500))
    };
    "region-fails-while-publishing", "Workers die while rows are published: what goes back publishes its own, and nothing of what others own." => |tale| {
        post(tale)
            .with(|scenario| scenario.cluster.workers = 5)
            .when(nth("output-committed", 4), crash("worker-1", 500))
            .when(nth("output-committed", 14), crash("worker-2", 500))
            .when(nth("output-committed", 24), crash("worker-3", 500))
    };
    "region-dies-at-the-end", "A worker dies when the final checkpoint is complete: its region goes back to it and ends once more, for all." => |tale| {
        lanes(tale)
            .when(nth("job-committing", 1), crash("worker-1", 500))
            .when(nth("job-committing", 2), crash("worker-2", 500))
    };
    "region-with-files-that-checkpoints-share", "State in sorted runs with files that several checkpoints share: what goes back builds upon them, and what goes on as well." => |tale| {
        post(tale)
            .sorted_runs()
            .when(nth("checkpoint-completed", 3), broken_exchange())
            .when(nth("checkpoint-completed", 5), crash("worker-1", 500))
            .when(nth("checkpoint-completed", 8), broken_exchange())
    };
    "region-from-local-copies", "Workers keep second copies: a region that goes back takes those, and no worker deletes what others have." => |tale| {
        post(tale)
            .local_recovery()
            .when(nth("checkpoint-completed", 3), broken_exchange())
            .when(nth("checkpoint-completed", 6), crash("worker-1", 300))
            .when(nth("checkpoint-completed", 8), broken_exchange())
    };
    "region-and-a-savepoint", "A savepoint is under way when a region fails: it is given up, and another one later is not." => |tale| {
        post(tale)
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: false })
            .when(nth("savepoint-triggered", 1), broken_exchange())
            .when(nth("job-running", 2), What::Savepoint { native: false })
    };
    "region-fails-when-others-have-finished", "One of two pipelines ends early and its tasks leave; then the other one fails, and a worker with none but finished tasks on it would not be missed." => |tale| {
        post(tale)
            .with(|scenario| scenario.job.short_log_percent = 20)
            .when(nth("task-finished", 1), broken_exchange())
            .when(nth("task-finished", 6), broken_exchange())
            .when(nth("checkpoint-completed", 12), crash("worker-1", 500))
    };
    "region-fails-when-some-of-it-has-finished", "A pipeline fails when its source has finished, which is as the checkpoint has it: not started again, or not finished yet." => |tale| {
        lanes(tale)
            .with(|scenario| (scenario.job.partitions, scenario.job.short_log_percent) = (3, 20))
            .when(nth("task-finished", 1), crash("acting", 400))
            .when(nth("task-finished", 3), crash("acting", 400))
            .when(nth("task-finished", 5), crash("acting", 400))
    };
    "regions-restart-whole-if-asked", "The same failures where the job is to restart as a whole." => |tale| {
        lanes(tale)
            .with(|scenario| scenario.cluster.failover = FailoverStrategy::Full)
            .when(nth("checkpoint-completed", 3), crash("worker-1", 600))
            .when(nth("checkpoint-completed", 8), crash("worker-2", 600))
    };
    "regions-under-fire", "Everything fails now and then, in a job of four regions." => |tale| {
        post(tale)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.tolerable_failures = 20)
            .chaos(700, &["crash", "reset", "isolate", "power-loss", "disk-errors", "slow-disk", "pause"])
    };
}
