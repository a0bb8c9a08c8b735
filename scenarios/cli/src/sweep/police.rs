//! Whether the same seed still is the same run: some runs of a sweep are done twice, and compared event for event.

use super::schedule::Run;
use crate::failure::Failure;
use cofferdam_sim::parting;
use cofferdam_sim::verdict::{Keep, Report};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a run keeps so that it can be told where it parts from another one.
const EVERYTHING: Keep = Keep { trace: true, hashes: true, outcome: false, states: false, validate: false };

/// A run that was another one the second time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// Which.
    pub run: Run,
    /// The first event that differs, counted from 0; none if all events are the same, and what is told of them is not.
    pub event: Option<usize>,
    /// What both had just before.
    pub before: Option<String>,
    /// What the first one had there.
    pub one: Option<String>,
    /// What the second one had there.
    pub other: Option<String>,
    /// Where the traces are.
    pub traces: [PathBuf; 2],
}

/// Which runs are done twice: one in so many, drawn from scenario and seed, so that it is the same ones whoever sweeps.
pub fn is_due(name: &str, seed: u64, one_in: u64) -> bool {
    use std::hash::{Hash, Hasher};
    let mut hasher = cofferdam_sim::trace::StableHasher::default();
    (name, seed).hash(&mut hasher);
    // The bits of this hash are no dice: names and numbers that are alike have sums that are.
    let mut dice = hasher.finish();
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        dice = (dice ^ (dice >> shift)).wrapping_mul(factor);
    }
    one_in > 0 && (dice ^ (dice >> 31)).is_multiple_of(one_in)
}

/// Does a run twice. If the two are not the same, both traces are left beside `failure`.
///
/// # Errors
/// The traces cannot be written.
pub fn twice(run: Run, name: &str, failure: &Path, simulate: impl Fn(Keep) -> Report) -> Result<(Report, Option<Parted>), Failure> {
    let (mut one, other) = (simulate(EVERYTHING), simulate(EVERYTHING));
    let parting = parting::parting(&one, &other);
    let parted = if parting.is_none() && one == other {
        None
    } else {
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let path = |which: &str| failure.with_extension(format!("{plain}-{}.{which}.trace", run.seed));
        let traces = [path("first"), path("second")];
        for (path, report) in traces.iter().zip([&one, &other]) {
            std::fs::write(path, report.trace.join("\n") + "\n").map_err(|source| Failure::Path {
                purpose: "write",
                path: path.clone(),
                source,
            })?;
        }
        let (event, before, first, second) = match parting {
            Some(parting) => (Some(parting.event), parting.before, parting.one, parting.other),
            None => (None, None, None, None),
        };
        Some(Parted { run, event, before, one: first, other: second, traces })
    };
    // Nobody needs these any more, and a sweep has many runs.
    (one.trace, one.hashes) = (Vec::new(), Vec::new());
    Ok((one, parted))
}

/// For people.
pub fn story(parted: &Parted, name: &str) -> String {
    let Parted { run, event, before, one, other, traces } = parted;
    let mut text = format!("\nNOT DETERMINISTIC {name} with seed {}", run.seed);
    let nothing = "nothing: it was over";
    match event {
        Some(event) => {
            text += &format!("\n  parts at event {event}");
            text += &format!("\n  before   {}", before.as_deref().unwrap_or("nothing: it is the first").trim_start());
            text += &format!("\n  first    {}", one.as_deref().unwrap_or(nothing).trim_start());
            text += &format!("\n  second   {}", other.as_deref().unwrap_or(nothing).trim_start());
        }
        None => text += "\n  all events are the same; faults, verdict or shadows are not",
    }
    let [first, second] = traces;
    text + &format!("\n  traces   {} {}", first.display(), second.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_runs_is_done_twice_and_always_the_same_ones() {
        let due = |one_in| (0..20_000).filter(|seed| is_due("swarm", *seed, one_in)).count();
        assert_eq!((due(0), due(1)), (0, 20_000));
        assert!((800..1200).contains(&due(20)), "{} of 20,000 are not one in 20", due(20));
        let names = ["steady-run", "swarm", "worker-crashes", "zombie-worker", "slow-disk", "full-disk"];
        assert!(names.iter().any(|name| is_due(name, 0, 3)) && !names.iter().all(|name| is_due(name, 0, 3)), "names count too");
    }
}
