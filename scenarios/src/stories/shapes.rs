//! Jobs of every shape under fire, and jobs of several exchanges that go on at another parallelism.

use super::*;
use cofferdam_sim::scenario::Shape;

fn shaped(tale: Scenario, shape: Shape) -> Scenario {
    tale.job(JobKind::Shaped(shape)).with(|scenario| {
        (scenario.job.lines, scenario.job.keys, scenario.job.partitions) = (120, 12, 3);
        (scenario.job.pace_ms, scenario.job.chunk_bytes) = (15, 40);
        (scenario.checkpoints.interval_ms, scenario.calm_after_ms) = (150, 5000);
    })
}

/// Slow where all ways end, so that records pile up on them.
fn slow(tale: Scenario, shape: Shape) -> Scenario {
    shaped(tale, shape).with(|scenario| {
        (scenario.job.sink_us, scenario.job.pace_ms) = (4000, 5);
        scenario.checkpoints.timeout_ms = 5000;
    })
}

fn overtaking(tale: Scenario, shape: Shape) -> Scenario {
    slow(tale, shape).with(|scenario| scenario.checkpoints.unaligned = true)
}

/// The seed says how barriers go: aligned, overtaking at once, overtaking after a while, or not aligned at all.
fn by_seed(tale: Scenario, seed: u64) -> Scenario {
    tale.with(|scenario| match seed % 4 {
        0 => {}
        1 => scenario.checkpoints.unaligned = true,
        2 => (scenario.checkpoints.unaligned, scenario.checkpoints.aligned_timeout_ms) = (true, 10 + seed % 7 * 10),
        _ => scenario.checkpoints.mode = Mode::AtLeastOnce,
    })
}

fn under_fire(tale: Scenario, shape: Shape, seed: u64) -> Scenario {
    by_seed(slow(tale, shape), seed)
        .with(|scenario| (scenario.job.sink_us, scenario.checkpoints.tolerable_failures) = (1500, 100))
        .chaos(600, &["crash", "reset", "isolate", "power-loss"])
}

/// Goes on from a retained checkpoint with this many subtasks instead of that many.
fn rescaled(tale: Scenario, from: u32, to: u32) -> Scenario {
    tale.with(|scenario| {
        (scenario.job.parallelism, scenario.cluster.workers) = (from, from.max(3));
        // Enough that there is something left after the third checkpoint, however late that is.
        scenario.job.lines = 240;
        scenario.checkpoints.retention = Retention::RetainOnCancellation;
    })
    .when(nth("checkpoint-completed", 3), What::Cancel {})
    .resume(ResumeFrom::Checkpoint, true, to, BackendKind::HashMap)
}

macro_rules! fired {
    ($($name:literal, $story:literal => $shape:expr;)*) => {
        vec![$({
            fn expand(seed: u64) -> Scenario {
                under_fire(tale($name, $story), $shape, seed)
            }
            Story { name: $name, story: $story, expand }
        },)*]
    };
}

/// The timeout is over at another moment of the alignment with each seed.
const AT_EVERY_MOMENT: Story = {
    const NAME: &str = "timeout-at-every-moment";
    const TEXT: &str =
        "An alignment is given up at every moment that it can have, a subtask here and a subtask there, and a worker dies of it.";
    fn expand(seed: u64) -> Scenario {
        let shape = [Shape::Join, Shape::Diamond, Shape::Shuffle, Shape::Union][usize::try_from(seed % 4).unwrap_or(0)];
        let moments = ["barrier-announced", "barrier-overtook", "barrier-arrived", "channels-logged", "snapshot-durable"];
        let moment = moments[usize::try_from(seed / 4 % 5).unwrap_or(0)];
        overtaking(tale(NAME, TEXT), shape)
            .with(|scenario| {
                scenario.job.sink_us = 1000;
                scenario.checkpoints.aligned_timeout_ms = 1 + seed * 7 % 60;
            })
            .when(nth("committed", 4), crash("acting", 200))
            .when(nth(moment, 19), crash("acting", 200))
    }
    Story { name: NAME, story: TEXT, expand }
};

/// All of them.
pub(super) fn all() -> Vec<Story> {
    let fired = fired! {
        "chain-under-fire", "Two chains in a row while everything fails now and then; the seed says how barriers go." => Shape::Chain;
        "shuffle-under-fire", "The same over three exchanges: in turn, by one key, by another." => Shape::Shuffle;
        "join-under-fire", "The same with two sources that meet per key." => Shape::Join;
        "diamond-under-fire", "The same with records that go two ways, of different length, and meet again." => Shape::Diamond;
        "union-under-fire", "The same with two sources as one stream." => Shape::Union;
        "broadcast-under-fire", "The same with a second source that every subtask gets." => Shape::Broadcast;
    };
    told().into_iter().chain(fired).chain([AT_EVERY_MOMENT]).collect()
}

stories! {
    "shuffle-to-more-subtasks", "What is under way on three exchanges in a row comes to its place with four subtasks instead of two, each key of each sender in order." => |tale| {
        rescaled(overtaking(tale, Shape::Shuffle), 2, 4)
    };
    "shuffle-to-fewer-subtasks", "The same with one subtask instead of three." => |tale| rescaled(overtaking(tale, Shape::Shuffle), 3, 1);
    "diamond-to-more-subtasks", "Both ways of each record are under way when the job goes on with three subtasks instead of one." => |tale| {
        rescaled(overtaking(tale, Shape::Diamond), 1, 3)
    };
    "diamond-to-fewer-subtasks", "The same with two subtasks instead of three." => |tale| rescaled(overtaking(tale, Shape::Diamond), 3, 2);
    "union-to-more-subtasks", "Two logs as one stream, of which a part is under way, go on with more subtasks." => |tale| {
        rescaled(overtaking(tale, Shape::Union), 2, 3)
    };
    "join-to-fewer-subtasks", "What is under way on two inputs of one operator goes on with fewer subtasks." => |tale| {
        rescaled(overtaking(tale, Shape::Join), 3, 2)
    };
    "crash-while-recovered-records-are-read", "Workers die when some of what was under way is processed and some is still to be read: next time all of it comes again, and in order." => |tale| {
        overtaking(tale, Shape::Diamond)
            .with(|scenario| {
                (scenario.job.sink_us, scenario.job.chunk_bytes) = (10_000, 200);
                (scenario.checkpoints.interval_ms, scenario.cluster.inline_below_bytes) = (60, 4096);
            })
            .when(nth("checkpoint-completed", 2), crash("worker-1", 100))
            .when(nth("in-flight-recovered", 3), crash("acting", 100))
            .when(nth("in-flight-recovered", 7), crash("acting", 100))
            .when(nth("checkpoint-completed", 5), crash("worker-2", 100))
    };
}
