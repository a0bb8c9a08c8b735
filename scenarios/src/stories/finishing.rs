//! Tasks that finish while others go on, and what checkpoints, crashes and other jobs make of it.

use super::*;
use cofferdam_sim::scenario::Shape;

/// The first log ends early, and what reads from it alone finishes.
fn short(tale: Scenario, kind: JobKind) -> Scenario {
    tale.job(kind).with(|scenario| {
        (scenario.job.lines, scenario.job.keys, scenario.job.partitions) = (240, 12, 2);
        (scenario.job.pace_ms, scenario.job.chunk_bytes, scenario.job.short_log_percent) = (60, 40, 20);
        scenario.checkpoints.interval_ms = 150;
    })
}

fn join(tale: Scenario) -> Scenario {
    short(tale, JobKind::Shaped(Shape::Join))
}

/// Records pile up where all ways end: ends are far behind what is ahead of them.
fn slow(tale: Scenario, kind: JobKind) -> Scenario {
    short(tale, kind).with(|scenario| {
        (scenario.job.sink_us, scenario.job.pace_ms) = (4000, 15);
        scenario.checkpoints.timeout_ms = 5000;
    })
}

fn savepoint() -> What {
    What::Savepoint { native: false }
}

fn stop(drain: bool) -> What {
    What::Stop { drain, native: false, insist: true }
}

/// When both sources of the short log are gone, a savepoint, from which another job goes on.
fn rescaled(tale: Scenario, from: u32, to: u32) -> Scenario {
    tale.with(|scenario| (scenario.job.parallelism, scenario.cluster.workers) = (from, from.max(3)))
        .when(nth("task-finished", from), savepoint())
        .when(nth("savepoint-completed", 1), What::Cancel {})
        .resume(ResumeFrom::Savepoint, false, to, BackendKind::HashMap)
}

/// Something happens at one of the moments around the end of a task, another one with each seed.
macro_rules! at_the_end {
    ($name:literal, $story:literal => $what:expr) => {{
        fn expand(seed: u64) -> Scenario {
            let moments = ["task-drained", "committed", "channel-ended", "task-finished", "completion-notified", "ack-received"];
            let moment = moments[usize::try_from(seed % 6).unwrap_or(0)];
            let at = match moment {
                "task-drained" | "channel-ended" | "task-finished" => 1 + u32::try_from(seed / 6 % 4).unwrap_or(0),
                // About where the short log ends.
                "completion-notified" => 4 + u32::try_from(seed / 6 % 6).unwrap_or(0),
                _ => 24 + u32::try_from(seed / 6 % 30).unwrap_or(0),
            };
            let kind =
                [JobKind::Shaped(Shape::Join), JobKind::Shaped(Shape::Union), JobKind::Ledger][usize::try_from(seed / 3 % 3).unwrap_or(0)];
            short(tale($name, $story), kind)
                .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
                .when(nth(moment, at), $what)
                .when(nth("task-finished", 5), $what)
        }
        Story { name: $name, story: $story, expand }
    }};
}

/// All of them.
pub(super) fn all() -> Vec<Story> {
    let at_the_end = [
        at_the_end!("crash-at-the-end-of-a-task", "A worker dies when one of its tasks has processed all its input, when the checkpoint with its last state is complete, or when it has just left." => crash("acting", 400)),
        at_the_end!("coordinator-crashes-at-the-end-of-a-task", "The coordinator dies when tasks come to their end: the next one learns from the checkpoint who had finished." => crash("coordinator", 400)),
        at_the_end!("notices-lost-at-the-end-of-a-task", "A worker is cut off from its coordinator when tasks come to their end: what they waited for may be told with the next checkpoint." => What::Reset { from: "coordinator".into(), to: "worker-1".into() }),
    ];
    told().into_iter().chain(at_the_end).collect()
}

stories! {
    "short-log-in-a-join", "One of two sources ends early and finishes; checkpoints go on without it, and the channels that it had have ended." => |tale| join(tale);
    "short-log-in-a-union", "The same with two sources as one stream." => |tale| short(tale, JobKind::Shaped(Shape::Union));
    "short-log-beside-a-broadcast", "The same where every subtask gets what the other one has." => |tale| short(tale, JobKind::Shaped(Shape::Broadcast));
    "short-partition", "One subtask of the only source ends early: its operator has finished in part, and nobody reads its partition again when a worker dies." => |tale| {
        short(tale, JobKind::WordCount)
            .when(nth("task-finished", 1), What::Checkpoint {})
            .when(nth("checkpoint-completed", 9), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 14), crash("worker-2", 400))
    };
    "tasks-stay-until-the-end", "The same where tasks are not to finish before the job has." => |tale| {
        short(tale, JobKind::WordCount)
            .with(|scenario| scenario.checkpoints.after_tasks_finish = false)
            .when(nth("checkpoint-completed", 9), crash("worker-1", 400))
    };
    "short-log-at-least-once", "A source finishes where channels are not held back, and workers die." => |tale| {
        join(tale)
            .with(|scenario| scenario.checkpoints.mode = Mode::AtLeastOnce)
            .when(nth("task-finished", 2), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 14), crash("worker-2", 400))
    };
    "worker-crashes-behind-a-finished-source", "Workers die when a source has finished and checkpoints without it are complete: it is not started again, and what is behind it sees that it has ended." => |tale| {
        join(tale)
            .when(nth("checkpoint-completed", 9), crash("worker-1", 500))
            .when(nth("checkpoint-completed", 13), crash("worker-2", 500))
    };
    "ends-are-overtaken", "Barriers overtake what is ahead of the end of a channel: it is in the checkpoint though whoever sent it has finished." => |tale| {
        slow(tale, JobKind::Shaped(Shape::Join)).with(|scenario| scenario.checkpoints.unaligned = true)
    };
    "ends-are-overtaken-and-workers-die", "The same on several exchanges in a row, and workers die: what is recovered comes before the end." => |tale| {
        slow(tale, JobKind::Shaped(Shape::Shuffle))
            .with(|scenario| {
                (scenario.checkpoints.unaligned, scenario.checkpoints.tolerable_failures) = (true, 100);
                scenario.job.short_log_percent = 60;
            })
            .when(nth("task-finished", 1), crash("worker-1", 400))
            .when(nth("task-finished", 3), crash("worker-2", 400))
            .when(nth("channel-ended", 9), crash("acting", 400))
    };
    "alignment-timeout-behind-an-end", "Alignments are given up after a while, on channels of which some have ended." => |tale| {
        slow(tale, JobKind::Shaped(Shape::Union))
            .with(|scenario| (scenario.checkpoints.unaligned, scenario.checkpoints.aligned_timeout_ms) = (true, 30))
            .when(nth("task-finished", 2), crash("worker-1", 400))
    };
    "source-ends-at-a-barrier", "A checkpoint is asked for at the very moment at which a source ends, and many others around it." => |tale| {
        join(tale)
            .with(|scenario| (scenario.checkpoints.interval_ms, scenario.checkpoints.max_concurrent) = (30, 3))
            .when(nth("task-drained", 1), What::Checkpoint {})
            .when(nth("task-drained", 2), What::Checkpoint {})
            .when(nth("task-finished", 1), What::Checkpoint {})
            .when(nth("checkpoint-completed", 25), crash("worker-1", 300))
    };
    "many-checkpoints-while-a-task-leaves", "Several checkpoints are under way when a source leaves: none of them waits for it." => |tale| {
        join(tale)
            .with(|scenario| {
                (scenario.checkpoints.interval_ms, scenario.checkpoints.max_concurrent, scenario.network.latency_max_ms) = (40, 4, 60);
                // A checkpoint that waits for somebody who is gone expires, and nothing else goes wrong.
                (scenario.checkpoints.tolerable_failures, scenario.restart) = (0, RestartStrategy::None);
            })
    };
    "finished-to-more-subtasks", "A job goes on from a savepoint with finished tasks on more subtasks: a source that had finished as a whole has there as well." => |tale| {
        rescaled(join(tale), 2, 3)
    };
    "finished-to-fewer-subtasks", "The same on fewer." => |tale| rescaled(join(tale), 3, 1);
    "finished-in-part-to-more-subtasks", "Of a source one subtask had finished: on more subtasks nobody reads its partition again." => |tale| {
        short(tale, JobKind::WordCount)
            .when(nth("task-finished", 1), savepoint())
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::SortedRuns)
    };
    "finished-in-part-to-fewer-subtasks", "The same on one, which reads what is left." => |tale| {
        short(tale, JobKind::WordCount)
            .sorted_runs()
            .when(nth("task-finished", 1), savepoint())
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, true, 1, BackendKind::SortedRuns)
    };
    "finished-and-retained", "A retained checkpoint with finished tasks is claimed by a job with more subtasks, whose workers die." => |tale| {
        short(tale, JobKind::WordCount)
            .sorted_runs()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 12), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::SortedRuns)
            .resumed_when(nth("checkpoint-completed", 2), crash("acting", 300))
    };
    "stop-with-finished-tasks", "A job is stopped with a savepoint when a source has finished, and goes on elsewhere." => |tale| {
        join(tale).when(nth("task-finished", 2), stop(false)).resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap).with(|scenario| {
            scenario.expect = Expect::StoppedOrFinished;
        })
    };
    "stop-while-a-source-ends", "A savepoint to stop with is asked for at the moment at which a source has processed all its input: it does not wait for a checkpoint that never comes." => |tale| {
        join(tale).when(nth("task-drained", 1), stop(false)).resume(ResumeFrom::Savepoint, false, 2, BackendKind::HashMap).with(|scenario| {
            scenario.expect = Expect::StoppedOrFinished;
        })
    };
    "drain-with-finished-tasks", "A job is drained when a source has finished." => |tale| {
        short(tale, JobKind::WordCount).when(nth("task-finished", 1), stop(true)).with(|scenario| scenario.expect = Expect::StoppedOrFinished)
    };
    "deliveries-of-finished-tasks", "Output is held back until checkpoints are complete, and one subtask of the source finishes early; notices get lost as the sinks finish." => |tale| {
        short(tale, JobKind::Delivery)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .when(nth("task-finished", 1), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 16), crash("worker-2", 400))
            .when(nth("job-committing", 1), What::Reset { from: "coordinator".into(), to: "worker-1".into() })
    };
    "finished-readers-of-splits", "Readers of files that were found finish at different times, and workers die: those that had finished get nothing more." => |tale| {
        tale.job(JobKind::Arrivals)
            .with(|scenario| {
                (scenario.job.partitions, scenario.job.lines, scenario.job.arrive_ms) = (6, 60, 1000);
                (scenario.job.parallelism, scenario.checkpoints.interval_ms) = (3, 100);
            })
            .when(nth("task-finished", 1), crash("acting", 300))
            .when(nth("task-finished", 3), crash("worker-1", 300))
    };
    "finished-tasks-and-local-copies", "Workers keep copies of state, some tasks finish, and workers die: copies of who has finished are of no use." => |tale| {
        short(tale, JobKind::WordCount)
            .sorted_runs()
            .local_recovery()
            .when(nth("checkpoint-completed", 9), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 14), crash("worker-2", 400))
    };
    "finished-tasks-under-fire", "A source ends early while everything fails now and then." => |tale| {
        join(tale)
            .with(|scenario| scenario.checkpoints.tolerable_failures = 100)
            .chaos(500, &["crash", "reset", "isolate", "power-loss"])
    };
}
