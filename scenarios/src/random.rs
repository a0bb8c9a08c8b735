//! What swarms are compared with: one plain world in which everything goes wrong at random times, and the same world with crashes at moments
//! of the protocol.
//!
//! Swept only by name: what they find, stories and swarms find as well.

use crate::stories::{crash, nth, tale, Tale};
use crate::Story;
use cofferdam_sim::fault::{KINDS, WORLD_KINDS};
use cofferdam_sim::scenario::Scenario;
use cofferdam_sim::{Concern, Streams};
use rand::seq::SliceRandom;
use rand::Rng;

pub(crate) const STORY: Story = Story { name: "random", story: TEXT, expand };

const TEXT: &str = "The default job on the default cluster, and every kind of fault, each as likely as the others, at random times.";

pub(crate) const MOMENTS_STORY: Story = Story { name: "random-moments", story: MOMENTS_TEXT, expand: expand_with_moments };

const MOMENTS_TEXT: &str = "As random, and one or two crashes at moments of the protocol that are drawn from the seed.";

/// Mean time between two faults: in the middle of what swarms draw.
const EVERY_MS: u64 = 1000;

/// Moments that the default job has once or twice per checkpoint, attempt or reign.
const OF_THE_COORDINATOR: &[&str] = &[
    "took-over",
    "deploying",
    "job-running",
    "job-restarting",
    "checkpoint-triggered",
    "location-ready",
    "all-acked",
    "metadata-written",
    "metadata-renamed",
    "metadata-durable",
    "checkpoint-completed",
    "completion-notified",
    "checkpoint-aborted",
    "discarding",
    "discarded",
];

/// Moments that it has for each of its subtasks, or for each channel of one.
const OF_TASKS: &[&str] = &[
    "ack-received",
    "restore-started",
    "restore-done",
    "task-running",
    "barrier-arrived",
    "channel-held",
    "channels-released",
    "barrier-forwarded",
    "snapshot-taken",
    "snapshot-durable",
    "acknowledged",
    "committed",
];

/// Whoever acts at the moment is the likeliest to die.
const NODES: &[&str] = &["acting", "acting", "coordinator", "any-worker"];

fn expand(_: u64) -> Scenario {
    let kinds: Vec<&str> = [KINDS, WORLD_KINDS].concat();
    tale(STORY.name, TEXT).chaos(EVERY_MS, &kinds)
}

fn expand_with_moments(seed: u64) -> Scenario {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_0a70_3e17).stream(Concern::Swarm);
    let mut scenario = expand(seed);
    (scenario.name, scenario.story) = (MOMENTS_STORY.name.into(), MOMENTS_TEXT.into());
    for _ in 0..rng.gen_range(1..=2) {
        let (moments, most) = if rng.gen_bool(0.5) { (OF_THE_COORDINATOR, 12) } else { (OF_TASKS, 48) };
        let moment = moments.choose(rng).expect("there are moments");
        let (number, node, down_ms) = (rng.gen_range(1..=most), NODES.choose(rng).expect("there are nodes"), rng.gen_range(50..1500));
        scenario = scenario.when(nth(moment, number), crash(node, down_ms));
    }
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sim::run::simulate;
    use cofferdam_sim::verdict::Keep;
    use std::collections::BTreeSet;

    #[test]
    fn every_seed_of_both_can_be_run() {
        for seed in 0..500 {
            for story in [STORY, MOMENTS_STORY] {
                assert_eq!((story.expand)(seed).check(), Ok(()), "{} with seed {seed}", story.name);
            }
        }
    }

    #[test]
    fn seeds_differ_in_their_moments_and_in_nothing_else_that_is_said() {
        let drawn: BTreeSet<String> = (0..20).map(|seed| format!("{:?}", expand_with_moments(seed).faults)).collect();
        assert_eq!(drawn.len(), 20);
        assert!((0..20).all(|seed| (1..=2).contains(&expand_with_moments(seed).faults.len())));
        assert_eq!(expand(1), expand(2));
    }

    #[test]
    fn the_engine_survives_both() {
        for story in [STORY, MOMENTS_STORY] {
            for seed in 0..3 {
                let report = simulate(&(story.expand)(seed), seed, Keep::default());
                assert!(report.violation.is_none(), "{} with seed {seed}: {:?}", story.name, report.violation);
            }
        }
    }
}
