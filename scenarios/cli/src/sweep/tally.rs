//! What came of the runs so far, by scenario.

use super::police::Parted;
use super::schedule::Run;
use super::Done;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An invariant that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// In which run.
    pub run: Run,
    /// The run's hash.
    pub hash: u64,
    /// When the run was over, since the start of the sweep.
    pub after: Duration,
    /// What did not hold.
    pub invariant: String,
    /// What contradicts it.
    pub witness: String,
    /// On the world's clock.
    pub at: Duration,
}

/// How a point was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// How often.
    pub times: u64,
    /// In how many runs.
    pub runs: u64,
    /// The first of them, in the order of the schedule.
    pub first: Run,
}

/// Sums over the runs of one scenario, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// As named on the command line.
    pub name: String,
    /// Runs done.
    pub runs: u64,
    /// In the order of [`Run::index`].
    pub violations: Vec<Found>,
    /// Injected faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Completed checkpoints.
    pub completed: u64,
    /// Failed ones.
    pub aborted: u64,
    /// Deployments from a checkpoint.
    pub restores: u64,
    /// Completed checkpoints that were begun from again.
    pub shadows: u64,
    /// Inputs of machines that were replayed.
    pub machine_steps: u64,
    /// Virtual time.
    pub simulated: Duration,
    /// Transitions and records.
    pub events: u64,
    /// Time on a core.
    pub busy: Duration,
    /// Runs done twice.
    pub policed: u64,
    /// Those of them that were not the same, in the order of [`Run::index`].
    pub parted: Vec<Parted>,
    /// Points that were reached.
    pub reached: BTreeMap<String, Reached>,
    /// Outlines of machines that were met, by their hashes.
    pub states: BTreeSet<u64>,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.violations.extend(other.violations.iter().cloned());
        self.violations.sort_by_key(|found| found.run.index);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        self.completed += other.completed;
        self.aborted += other.aborted;
        self.restores += other.restores;
        self.shadows += other.shadows;
        self.machine_steps += other.machine_steps;
        self.simulated += other.simulated;
        self.events += other.events;
        self.busy += other.busy;
        self.policed += other.policed;
        self.parted.extend(other.parted.iter().cloned());
        self.parted.sort_by_key(|parted| parted.run.index);
        for (name, reached) in &other.reached {
            match self.reached.get_mut(name) {
                None => {
                    self.reached.insert(name.clone(), reached.clone());
                }
                Some(known) => {
                    known.times += reached.times;
                    known.runs += reached.runs;
                    if reached.first.index < known.first.index {
                        known.first = reached.first;
                    }
                }
            }
        }
        self.states.extend(&other.states);
    }
}

/// All scenarios of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// In the order of the targets.
    pub scenarios: Vec<Sums>,
}

impl Tally {
    /// Nothing has run.
    pub fn new(targets: &[Target]) -> Self {
        let fresh = |target: &Target| Sums { name: target.name().to_owned(), ..Sums::default() };
        Self { scenarios: targets.iter().map(fresh).collect() }
    }

    /// Takes in one run.
    pub fn add(&mut self, done: Done) {
        let Done { run, report, busy, after, policed, parted } = done;
        let found = report.violation.map(|violation| Found {
            run,
            hash: report.hash,
            after,
            invariant: violation.invariant.to_owned(),
            witness: violation.witness,
            at: violation.at,
        });
        let reached =
            report.coverage.points.iter().map(|(name, times)| ((*name).to_owned(), Reached { times: *times, runs: 1, first: run }));
        self.scenarios[run.target].add(&Sums {
            name: String::new(),
            runs: 1,
            violations: found.into_iter().collect(),
            faults: report.faults.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            completed: report.completed,
            aborted: report.aborted,
            restores: report.restores,
            shadows: report.shadows,
            machine_steps: report.machine_steps,
            simulated: report.simulated,
            events: report.events + report.records,
            busy,
            policed: u64::from(policed),
            parted: parted.into_iter().collect(),
            reached: reached.collect(),
            states: report.coverage.states,
        });
    }

    /// All scenarios as one.
    pub fn total(&self) -> Sums {
        let mut total = Sums { name: "total".into(), ..Sums::default() };
        for scenario in &self.scenarios {
            total.add(scenario);
        }
        total
    }

    /// Runs done.
    pub fn runs(&self) -> u64 {
        self.scenarios.iter().map(|scenario| scenario.runs).sum()
    }

    /// Runs in which an invariant did not hold.
    pub fn violation_count(&self) -> usize {
        self.scenarios.iter().map(|scenario| scenario.violations.len()).sum()
    }

    /// Runs that were not the same the second time.
    pub fn parted_count(&self) -> usize {
        self.scenarios.iter().map(|scenario| scenario.parted.len()).sum()
    }

    /// The violation of the first run in the order of the schedule, whatever thread was faster.
    pub fn first_violation(&self) -> Option<&Found> {
        self.scenarios.iter().filter_map(|scenario| scenario.violations.first()).min_by_key(|found| found.run.index)
    }
}
