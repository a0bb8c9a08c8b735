//! From a failing run to a small one: fewer faults, nodes, records and keys, and a plainer configuration, with the same invariant violated.
//!
//! Every step is a run. What was drawn by time becomes a list of faults first, so that single ones can be left out (delta debugging, as in
//! Zeller's `ddmin`); then options go back to their defaults, one by one; then numbers become smaller. A change moves what the seed draws,
//! so a few seeds are tried for each. All of it is repeated until nothing more can go.

use crate::run::simulate;
use crate::scenario::{
    BackendKind, CheckpointSpec, ClusterSpec, DiskSpec, Expect, FaultSpec, JobKind, JobSpec, LoadSpec, NetworkSpec, ObjectSpec, Scenario,
    StorageKind, When,
};
use crate::verdict::{Keep, Violation};

/// How many seeds are tried for each candidate.
const SEEDS: u64 = 4;

/// How large a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Things that go wrong.
    pub faults: usize,
    /// Lines of input.
    pub records: u64,
    /// Different keys.
    pub keys: u32,
    /// Worker nodes.
    pub workers: u32,
    /// Subtasks per vertex.
    pub parallelism: u32,
    /// Options that are not as they are by default.
    pub options: usize,
}

impl Size {
    /// Of a scenario whose faults are listed.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let JobSpec { partitions, lines, keys, parallelism, .. } = scenario.job;
        let plainer = PLAINER.iter().filter(|plain| {
            let mut other = scenario.clone();
            plain(&mut other);
            other != *scenario
        });
        Self {
            faults: scenario.faults.len(),
            records: u64::from(partitions) * u64::from(lines),
            keys,
            workers: scenario.cluster.workers,
            parallelism,
            options: plainer.count(),
        }
    }
}

/// What has been reached.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario that was found.
    pub scenario: Scenario,
    /// With which it fails.
    pub seed: u64,
    /// How.
    pub violation: Violation,
    /// As it was, with what was drawn by time as faults.
    pub before: Size,
    /// As it is.
    pub after: Size,
    /// How many runs that took.
    pub runs: u64,
    /// Whether nothing more can go, as far as this looks; otherwise it was stopped.
    pub is_smallest: bool,
}

/// A failure that cannot be made smaller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShrinkError {
    /// It is none. Give the seed with which it fails.
    #[error("every invariant holds in {scenario} with seed {seed}; there is nothing to shrink")]
    Green {
        /// Which scenario.
        scenario: String,
        /// Which seed.
        seed: u64,
    },
    /// Two runs differ: nothing that is found means anything. A bug of ours; file it.
    #[error("{scenario} with seed {seed} gave the hashes {first:016x} and {second:016x}; it does not replay")]
    DoesNotReplay {
        /// Which scenario.
        scenario: String,
        /// Which seed.
        seed: u64,
        /// Of the first run.
        first: u64,
        /// Of the second.
        second: u64,
    },
}

/// Shrinks a failing run. Before each run `go_on` hears how many there were and how small it is so far; it says whether to go on.
///
/// # Errors
/// The run does not fail, or does not replay.
pub fn shrink(scenario: &Scenario, seed: u64, go_on: &mut dyn FnMut(u64, &Scenario) -> bool) -> Result<Shrunk, ShrinkError> {
    let (mut keep, mut first) = (Keep::default(), simulate(scenario, seed, Keep::default()));
    if first.violation.is_none() {
        // What only a replay of the machines finds.
        keep.validate = true;
        first = simulate(scenario, seed, keep);
    }
    let second = simulate(scenario, seed, keep);
    let name = || scenario.name.clone();
    if first.hash != second.hash {
        return Err(ShrinkError::DoesNotReplay { scenario: name(), seed, first: first.hash, second: second.hash });
    }
    let Some(violation) = first.violation else { return Err(ShrinkError::Green { scenario: name(), seed }) };
    let mut search = Search { best: scenario.clone(), seed, keep, violation, runs: 2, stopped: false, go_on };
    let mut listed = scenario.clone();
    listed.chaos = None;
    listed.faults.extend(first.drawn);
    listed.faults.sort_by_key(|fault| match fault.when {
        When::AtMs(time) => time,
        When::Moment { .. } => 0,
    });
    let before = Size::of(&listed);
    // Faults that are listed draw nothing from the seed: the same bug may need another one.
    search.attempt(listed);
    loop {
        let size = (Size::of(&search.best), search.best.calm_after_ms);
        search.fewer_faults();
        search.plainer();
        search.smaller();
        if search.stopped || size == (Size::of(&search.best), search.best.calm_after_ms) {
            break;
        }
    }
    let Search { best, seed, violation, runs, stopped, .. } = search;
    let after = Size::of(&best);
    Ok(Shrunk { scenario: best, seed, violation, before, after, runs, is_smallest: !stopped })
}

struct Search<'a> {
    best: Scenario,
    seed: u64,
    keep: Keep,
    violation: Violation,
    runs: u64,
    stopped: bool,
    go_on: &'a mut dyn FnMut(u64, &Scenario) -> bool,
}

/// Options that go back to what they are by default, and shapes that become plainer.
const PLAINER: &[fn(&mut Scenario)] = &[
    |it| it.chaos = None,
    |it| it.resume = None,
    |it| it.world.buggify = false,
    |it| it.world.drifts.clear(),
    |it| it.world.weights.clear(),
    |it| it.world.load = LoadSpec::default(),
    |it| it.clocks.clear(),
    |it| it.network = NetworkSpec::default(),
    |it| it.disk = DiskSpec::default(),
    |it| it.objects = ObjectSpec::default(),
    |it| it.cluster.storage = StorageKind::FileSystem,
    |it| it.cluster.merge = None,
    |it| it.cluster.inline_below_bytes = 0,
    |it| it.cluster.local_recovery = false,
    |it| it.cluster.backend = BackendKind::HashMap,
    |it| it.cluster.incremental = ClusterSpec::default().incremental,
    |it| it.cluster.hot_bytes = ClusterSpec::default().hot_bytes,
    |it| it.cluster.slots = 1,
    |it| {
        (it.cluster.heartbeat_ms, it.cluster.heartbeat_timeout_ms) =
            (ClusterSpec::default().heartbeat_ms, ClusterSpec::default().heartbeat_timeout_ms)
    },
    |it| it.checkpoints.interval_during_backlog_ms = None,
    |it| it.checkpoints.min_pause_ms = 0,
    |it| it.checkpoints.max_concurrent = 1,
    |it| it.checkpoints.retained = 1,
    |it| it.checkpoints.tolerable_failures = CheckpointSpec::default().tolerable_failures,
    |it| it.checkpoints.timeout_ms = CheckpointSpec::default().timeout_ms,
    |it| it.checkpoints.retention = CheckpointSpec::default().retention,
    |it| it.checkpoints.aligned_timeout_ms = 0,
    |it| (it.checkpoints.unaligned, it.checkpoints.aligned_timeout_ms) = (false, 0),
    |it| it.checkpoints.shadow_every = 0,
    |it| it.checkpoints.mode = CheckpointSpec::default().mode,
    |it| it.job.backlog_bytes = 0,
    |it| it.job.hook_fails_every = 0,
    |it| it.job.short_log_percent = 0,
    |it| it.job.sink_us = 0,
    |it| it.job.arrive_ms = 0,
    |it| it.job.schema = 1,
    |it| it.job.chunk_bytes = JobSpec::default().chunk_bytes,
    |it| {
        if it.expect == Expect::Finished {
            it.job.kind = JobKind::WordCount;
        }
    },
];

/// A number, and the least that it can be.
struct Number {
    get: fn(&Scenario) -> u64,
    set: fn(&mut Scenario, u64),
    least: u64,
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

const NUMBERS: &[Number] = &[
    Number { get: |it| it.job.parallelism.into(), set: |it, to| it.job.parallelism = narrow(to), least: 1 },
    Number { get: |it| it.cluster.workers.into(), set: |it, to| it.cluster.workers = narrow(to), least: 1 },
    Number { get: |it| it.job.partitions.into(), set: |it, to| it.job.partitions = narrow(to), least: 1 },
    Number { get: |it| it.job.lines.into(), set: |it, to| it.job.lines = narrow(to), least: 1 },
    Number { get: |it| it.job.keys.into(), set: |it, to| it.job.keys = narrow(to), least: 1 },
    Number { get: |it| it.job.max_parallelism.into(), set: |it, to| it.job.max_parallelism = narrow(to), least: 1 },
    Number { get: |it| it.calm_after_ms, set: |it, to| it.calm_after_ms = to, least: 1 },
];

impl Search<'_> {
    /// Whether it fails in the same way: then it is the best so far.
    fn attempt(&mut self, candidate: Scenario) -> bool {
        if candidate == self.best || candidate.check().is_err() {
            return false;
        }
        for seed in self.seed..self.seed.saturating_add(SEEDS) {
            if self.stopped || !(self.go_on)(self.runs, &self.best) {
                self.stopped = true;
                return false;
            }
            self.runs += 1;
            let found = simulate(&candidate, seed, self.keep).violation;
            if let Some(violation) = found.filter(|found| found.invariant == self.violation.invariant) {
                (self.best, self.seed, self.violation) = (candidate, seed, violation);
                return true;
            }
        }
        false
    }

    /// Leaves out halves, quarters, ... single faults, as long as that goes.
    fn fewer_faults(&mut self) {
        let mut share = self.best.faults.len();
        while share > 0 {
            let mut from = 0;
            while from < self.best.faults.len() {
                let to = (from + share).min(self.best.faults.len());
                let mut candidate = self.best.clone();
                candidate.faults.drain(from..to);
                if !self.attempt(candidate) {
                    from = to;
                }
            }
            share /= 2;
        }
    }

    fn plainer(&mut self) {
        for plain in PLAINER {
            let mut candidate = self.best.clone();
            plain(&mut candidate);
            self.attempt(candidate);
        }
    }

    fn smaller(&mut self) {
        for Number { get, set, least } in NUMBERS {
            // The least first, then less and less of a step down.
            let mut step = get(&self.best).saturating_sub(*least);
            while step > 0 {
                let value = get(&self.best);
                let lower = value.saturating_sub(step).max(*least);
                let mut candidate = self.best.clone();
                set(&mut candidate, lower);
                forget_the_missing(&mut candidate);
                if !self.attempt(candidate) || get(&self.best) == *least {
                    step /= 2;
                }
            }
        }
    }
}

/// Faults and clocks of nodes that are not there any more, and faults that come after the calm.
fn forget_the_missing(scenario: &mut Scenario) {
    let (workers, calm) = (scenario.cluster.workers, scenario.calm_after_ms);
    let is_there =
        |name: &str| name.strip_prefix("worker-").is_none_or(|number| number.parse::<u32>().is_ok_and(|number| number <= workers));
    scenario.clocks.retain(|clock| is_there(&clock.node));
    scenario.world.drifts.retain(|drift| is_there(&drift.node));
    scenario.world.stay_down.retain(|node| is_there(node));
    scenario.faults.retain(|FaultSpec { when, what }| {
        let in_time = match when {
            When::AtMs(time) => *time < calm,
            When::Moment { .. } => true,
        };
        in_time && what.nodes().into_iter().all(is_there)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::What;
    use cofferdam_protocol::settings::RestartStrategy;

    fn scenario() -> Scenario {
        Scenario {
            name: "small".into(),
            story: String::new(),
            job: JobSpec::default(),
            cluster: ClusterSpec::default(),
            checkpoints: CheckpointSpec::default(),
            restart: RestartStrategy::None,
            network: NetworkSpec::default(),
            disk: DiskSpec::default(),
            objects: ObjectSpec::default(),
            clocks: Vec::new(),
            faults: Vec::new(),
            chaos: None,
            world: crate::scenario::WorldSpec::default(),
            calm_after_ms: 8000,
            liveness_bound_ms: 60_000,
            expect: Expect::Finished,
            resume: None,
        }
    }

    #[test]
    fn a_run_that_does_not_fail_is_not_shrunk() {
        let error = shrink(&scenario(), 3, &mut |_, _| true).expect_err("nothing is wrong");
        assert_eq!(error, ShrinkError::Green { scenario: "small".into(), seed: 3 });
    }

    /// The job gives up at its first failure, which it should not: one crash is enough, and the smallest input.
    #[test]
    fn of_many_faults_the_one_that_matters_is_left() {
        let mut scenario = scenario();
        let fault = |at_ms, what| FaultSpec { when: When::AtMs(at_ms), what };
        let slow = |at_ms| fault(at_ms, What::SlowDisk { node: "storage".into(), latency_ms: 3, for_ms: 50 });
        let crash = What::Crash { node: "worker-2".into(), down_ms: 300 };
        scenario.faults = vec![slow(100), slow(200), slow(300), fault(500, crash.clone()), slow(600)];
        scenario.checkpoints.retained = 3;
        scenario.checkpoints.min_pause_ms = 20;
        let mut heard = 0;
        let shrunk = shrink(&scenario, 1, &mut |runs, _| {
            heard = runs;
            true
        });
        let Shrunk { scenario, violation, before, after, runs, is_smallest, .. } = shrunk.expect("the job ends as failed");
        assert_eq!(violation.invariant, "expected-end");
        assert!(is_smallest && runs >= heard && heard > 0);
        assert_eq!((before.faults, after.faults), (5, 1));
        assert_eq!(scenario.faults[0].what, crash);
        assert_eq!(after.options, 0);
        assert!(after.records < before.records / 5, "{after:?}");
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let mut scenario = scenario();
        scenario.faults = vec![FaultSpec { when: When::AtMs(500), what: What::Crash { node: "worker-2".into(), down_ms: 300 } }];
        let shrunk = shrink(&scenario, 1, &mut |runs, _| runs < 4).expect("the job ends as failed");
        assert!(!shrunk.is_smallest && shrunk.runs <= 4);
    }

    #[test]
    fn what_is_gone_takes_its_faults_with_it() {
        let mut scenario = scenario();
        scenario.cluster.workers = 2;
        scenario.calm_after_ms = 500;
        let crash = |at_ms, node: &str| FaultSpec { when: When::AtMs(at_ms), what: What::Crash { node: node.into(), down_ms: 1 } };
        scenario.faults = vec![crash(100, "worker-1"), crash(100, "worker-3"), crash(600, "worker-1"), crash(100, "storage")];
        forget_the_missing(&mut scenario);
        assert_eq!(scenario.faults, [crash(100, "worker-1"), crash(100, "storage")]);
    }
}
