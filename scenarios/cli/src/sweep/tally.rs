//! What came of the runs so far, by scenario.

use super::schedule::Run;
use super::Done;
use crate::target::Target;
use cofferdam_sim::verdict::Violation;
use std::collections::BTreeMap;
use std::time::Duration;

/// An invariant that did not hold in a run.
#[derive(Clone, Debug)]
pub struct Found {
    /// In which run.
    pub run: Run,
    /// The run's hash.
    pub hash: u64,
    /// When the run was over, since the start of the sweep.
    pub after: Duration,
    /// What did not hold.
    pub violation: Violation,
}

/// Sums over the runs of one scenario, or of all.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// As named on the command line.
    pub name: String,
    /// Runs done.
    pub runs: u64,
    /// In the order of [`Run::index`].
    pub violations: Vec<Found>,
    /// Injected faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
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
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.violations.extend(other.violations.iter().cloned());
        self.violations.sort_by_key(|found| found.run.index);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.completed += other.completed;
        self.aborted += other.aborted;
        self.restores += other.restores;
        self.shadows += other.shadows;
        self.machine_steps += other.machine_steps;
        self.simulated += other.simulated;
        self.events += other.events;
        self.busy += other.busy;
    }
}

/// All scenarios of a sweep.
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
        let Done { run, report, busy, after } = done;
        let found = report.violation.map(|violation| Found { run, hash: report.hash, after, violation });
        self.scenarios[run.target].add(&Sums {
            name: String::new(),
            runs: 1,
            violations: found.into_iter().collect(),
            faults: report.faults,
            completed: report.completed,
            aborted: report.aborted,
            restores: report.restores,
            shadows: report.shadows,
            machine_steps: report.machine_steps,
            simulated: report.simulated,
            events: report.events + report.records,
            busy,
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

    /// The violation of the first run in the order of the schedule, whatever thread was faster.
    pub fn first_violation(&self) -> Option<&Found> {
        self.scenarios.iter().filter_map(|scenario| scenario.violations.first()).min_by_key(|found| found.run.index)
    }
}
