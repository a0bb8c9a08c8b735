//! What the proof of the protocol takes for granted, broken one by one.
//!
//! The assumptions are those of the paper on failure transparency in stateful dataflow (ECOOP 2024): first-in-first-out channels, crash
//! and recovery, a failure detector that is eventually right, a coordinator that does not fail, durable snapshots, logged input. Each is
//! one change to one scenario, which holds with all of them on. A broken one must give a counterexample, or the reason why the engine
//! does not need it.

use crate::stories::{crash, nth, tale, Tale};
use crate::Scenario;
use cofferdam_sim::scenario::{Expect, JobKind, What};

/// What must come of breaking an assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One of these invariants does not hold, and no other.
    Violated(&'static [&'static str]),
    /// The job ends, and says why; nothing wrong comes out.
    Refused(&'static str),
    /// All invariants hold: why the engine does not need the assumption.
    Tolerated(&'static str),
}

/// An assumption, and what breaks it.
#[derive(Clone, Copy)]
pub struct Assumption {
    /// Short, with hyphens.
    pub name: &'static str,
    /// What is taken for granted.
    pub text: &'static str,
    /// How it is broken.
    pub broken: &'static str,
    /// What must come of that.
    pub expected: Verdict,
    /// Breaks it in a scenario in which it holds.
    breaks: fn(Scenario) -> Scenario,
}

impl Assumption {
    /// The scenario without it.
    #[must_use]
    pub fn ablated(&self) -> Scenario {
        let mut scenario = (self.breaks)(intact());
        scenario.name = format!("without-{}", self.name);
        scenario.story = self.broken.to_owned();
        scenario
    }
}

/// The scenario with all assumptions on: workers and the coordinator die and come back, and a worker is cut off for a while.
#[must_use]
pub fn intact() -> Scenario {
    tale("all-assumptions", "Workers and the coordinator die and come back, and a worker is cut off for a while.")
        .job(JobKind::Ledger)
        .with(|scenario| {
            scenario.liveness_bound_ms = 20_000;
            scenario.checkpoints.shadow_every = 0;
        })
        .when(nth("checkpoint-completed", 3), crash("worker-1", 300))
        .when(nth("checkpoint-completed", 6), crash("coordinator", 300))
        .when(nth("checkpoint-completed", 9), What::Isolate { node: "worker-2".into(), for_ms: 1500 })
}

fn outside(scenario: Scenario) -> Scenario {
    scenario.with(|scenario| scenario.world.outside_atlas = true)
}

/// All of them.
pub const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        name: "fifo-channels",
        text: "What is sent over a channel arrives in the order in which it was sent.",
        broken: "Elements of channels, barriers among them, come behind what was sent after them.",
        expected: Verdict::Violated(&["consistent-cut", "exactly-once-output"]),
        breaks: |scenario| outside(scenario).when(nth("checkpoint-triggered", 2), What::ReorderElements { per_mille: 200, for_ms: 8000 }),
    },
    Assumption {
        name: "durable-snapshots",
        text: "What is acknowledged as durable stays.",
        broken: "The storage acknowledges syncs that it does not do, and loses power.",
        expected: Verdict::Violated(&["coordinator-leads", "expected-end", "ids-unique", "latest-restored"]),
        breaks: |scenario| {
            let (storage, lies) = ("storage".to_owned(), nth("checkpoint-triggered", 2));
            let loss = || What::PowerLoss { node: "storage".into(), down_ms: 200 };
            outside(scenario)
                .when(lies, What::LyingSyncs { node: storage, per_mille: 1000, for_ms: 8000 })
                .when(nth("checkpoint-completed", 5), loss())
                .when(nth("checkpoint-completed", 5), crash("coordinator", 300))
        },
    },
    Assumption {
        name: "intact-snapshots",
        text: "What is durable stays as it was written.",
        broken: "A bit flips in the only retained checkpoint, and the workers die.",
        expected: Verdict::Refused("what is read is checked, and the job ends naming the damaged file and the place in it"),
        breaks: |scenario| {
            outside(scenario)
                .with(|scenario| {
                    scenario.faults.clear();
                    scenario.expect = Expect::Damaged;
                })
                .when(nth("checkpoint-completed", 4), What::BitRot { node: "storage".into(), path: "/chk-".into() })
                .when(nth("checkpoint-completed", 4), crash("worker-1", 300))
                .when(nth("checkpoint-completed", 4), crash("worker-2", 300))
                .when(nth("checkpoint-completed", 4), crash("worker-3", 300))
        },
    },
    Assumption {
        name: "coordinator-recovers",
        text: "A coordinator that dies comes back.",
        broken: "The coordinator dies and stays down.",
        expected: Verdict::Violated(&["liveness"]),
        breaks: |scenario| {
            outside(scenario)
                .with(|scenario| scenario.world.stay_down = vec!["coordinator".into()])
                .when(nth("checkpoint-completed", 5), crash("coordinator", 3_000_000))
        },
    },
    Assumption {
        name: "detector-is-eventually-right",
        text: "At some time nobody who lives is suspected any more.",
        broken: "Signs of life are waited for for as long as they take, for ever.",
        expected: Verdict::Violated(&["liveness"]),
        breaks: |scenario| {
            outside(scenario).with(|scenario| {
                (scenario.cluster.heartbeat_ms, scenario.cluster.heartbeat_timeout_ms) = (100, 110);
                (scenario.network.latency_min_ms, scenario.network.latency_max_ms) = (1, 200);
            })
        },
    },
    Assumption {
        name: "replayable-input",
        text: "What was read of the input can be read again, and is the same.",
        broken: "The lines of each log change their places after some were read.",
        expected: Verdict::Violated(&["consistent-cut", "exactly-once-output"]),
        breaks: |scenario| outside(scenario).when(nth("checkpoint-completed", 2), What::RewriteInput {}),
    },
    Assumption {
        name: "no-zombies",
        text: "When an attempt begins, nothing of those before it acts any more.",
        broken: "Workers are cut off from the coordinator again and again and go on as zombies, with the storage in reach.",
        expected: Verdict::Tolerated("names carry the attempt, entries are made once, and messages of another attempt are ignored"),
        breaks: |scenario| {
            let cut = |node: &str| What::Isolate { node: node.into(), for_ms: 3000 };
            let zombie = |scenario: Scenario, number: u32| {
                let node = format!("worker-{}", 1 + number % 3);
                scenario.when(nth("checkpoint-completed", 2 + 2 * number), cut(&node))
            };
            (0..6).fold(scenario.when(nth("checkpoint-completed", 4), cut("coordinator")), zombie)
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_changes_the_intact_scenario_and_can_be_run() {
        let mut names = BTreeSet::new();
        for assumption in ASSUMPTIONS {
            let ablated = assumption.ablated();
            assert_eq!(ablated.check(), Ok(()), "{}", assumption.name);
            assert!(names.insert(assumption.name));
            let same = Scenario { name: intact().name, story: intact().story, ..ablated };
            assert_ne!(same, intact(), "{}", assumption.name);
        }
        assert_eq!(intact().check(), Ok(()));
    }
}
