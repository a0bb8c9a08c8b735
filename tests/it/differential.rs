//! One seed on every backend: the same state in checkpoints at the same source positions, the same output, the same verdict.
//!
//! The runs are not the same: a backend that writes more files waits for more disks. So checkpoints are compared where two runs have
//! one at the same positions, which a source that reads by the clock makes frequent.

use crate::parallel;
use cofferdam_protocol::Mode;
use cofferdam_scenarios::Scenario;
use cofferdam_sim::oracle::decode::{Checkpoint, State, Value};
use cofferdam_sim::run::simulate;
use cofferdam_sim::scenario::{BackendKind, DiskSpec, JobKind, NetworkSpec, StorageKind};
use cofferdam_sim::verdict::{Keep, Report};
use std::collections::BTreeMap;

/// Backend, and whether its checkpoints are incremental. The first is what the others are compared with.
const VARIANTS: &[(BackendKind, bool)] = &[
    (BackendKind::HashMap, false),
    (BackendKind::SortedRuns, true),
    (BackendKind::SortedRuns, false),
    #[cfg(feature = "rocksdb")]
    (BackendKind::RocksDb, true),
    #[cfg(feature = "rocksdb")]
    (BackendKind::RocksDb, false),
];

/// All kinds of state, deletions, crashes, overlapping checkpoints, spills, savepoints, other parallelisms.
const STORIES: &[&str] = &[
    "steady-run",
    "steady-windows",
    "incremental-steady",
    "windows-under-fire",
    "worker-crashes-after-durable",
    "incremental-crash-in-upload",
    "incremental-lost-notices",
    "incremental-under-fire",
    "savepoint-between-incrementals",
    "savepoint-to-more-subtasks",
    "retained-checkpoint-claimed",
];
const SEEDS: u64 = 2;
const SWARM_SEEDS: u64 = 24;

/// Source positions: of each source, each partition.
type Positions = BTreeMap<String, BTreeMap<u32, u64>>;

fn scenario(name: &str, seed: u64) -> Scenario {
    (cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}")).expand)(seed)
}

fn on(scenario: &Scenario, (backend, incremental): (BackendKind, bool)) -> Scenario {
    let mut scenario = scenario.clone();
    (scenario.cluster.backend, scenario.cluster.incremental) = (backend, incremental);
    if let Some(resume) = &mut scenario.resume {
        resume.backend = backend;
    }
    scenario
}

/// What the positions decide, without what clocks decide, and lists in an order: they come by several channels.
fn decided(kind: JobKind, keyed: &BTreeMap<String, State>) -> BTreeMap<String, State> {
    let by_clock = |name: &str| kind == JobKind::Ledger && ["due", "ripe", "timers/processing"].contains(&name);
    let in_order = |value: &Value| match value {
        Value::List(list) => {
            let mut list = list.clone();
            list.sort_unstable();
            Value::List(list)
        }
        other => other.clone(),
    };
    let entries = |state: &State| -> State {
        let named = state.iter().filter(|(name, _)| !by_clock(name));
        named.map(|(name, keys)| (name.clone(), keys.iter().map(|(key, value)| (key.clone(), in_order(value))).collect())).collect()
    };
    keyed.iter().map(|(uid, state)| (uid.clone(), entries(state))).collect()
}

/// The state at each position, which must be one.
fn states(scenario: &Scenario, report: &Report) -> BTreeMap<Positions, BTreeMap<String, State>> {
    let mut states = BTreeMap::new();
    // What is under way when barriers overtake is the run's own.
    let under_way = |checkpoint: &&Checkpoint| checkpoint.in_flight.values().flatten().any(|edge| edge.records > 0);
    for checkpoint in report.checkpoints.iter().filter(|checkpoint| !under_way(checkpoint)) {
        let state = decided(scenario.job.kind, &checkpoint.keyed);
        let before = states.insert(checkpoint.positions.clone(), state.clone());
        assert!(
            before.is_none_or(|before| same(scenario.job.kind, &before, &state)),
            "c{} has another state: {}",
            checkpoint.number,
            told(report)
        );
    }
    states
}

/// A window that one watermark has closed, and the other not yet, is open in one of them only.
fn same(kind: JobKind, one: &BTreeMap<String, State>, other: &BTreeMap<String, State>) -> bool {
    if kind != JobKind::Windows {
        return one == other;
    }
    let open = |state: &BTreeMap<String, State>| -> BTreeMap<(String, i64), u64> {
        let keys = state.values().filter_map(|state| state.get("sums")).flatten();
        let windows = keys.filter_map(|(key, value)| match value {
            Value::Map(sums) => Some(sums.iter().map(|(window, sum)| ((key.clone(), *window), *sum))),
            _ => None,
        });
        windows.flatten().collect()
    };
    let (one, other) = (open(one), open(other));
    one.iter().all(|(window, sum)| other.get(window).is_none_or(|found| found == sum))
}

/// The rows, without how ripe an account was when it was asked, and which record of another channel came before.
fn output(kind: JobKind, report: &Report) -> BTreeMap<&str, &str> {
    let count = |row: &'_ str| match row.match_indices(' ').nth(1) {
        _ if matches!(kind, JobKind::Shaped(_)) => 0,
        Some((at, _)) if kind == JobKind::Ledger => at,
        Some(_) | None => row.len(),
    };
    report.output.iter().map(|(key, row)| (key.as_str(), &row[..count(row)])).collect()
}

fn told(report: &Report) -> String {
    format!("{} with seed {}", report.scenario, report.seed)
}

/// Compares all variants, and tells how many pairs of checkpoints were compared, and how many of those before the end of the input.
fn compare(name: &str, seed: u64, scenario: &Scenario) -> (usize, usize) {
    let variants: Vec<Scenario> = VARIANTS.iter().map(|variant| on(scenario, *variant)).collect();
    let keep = Keep { outcome: true, ..Keep::default() };
    let reports: Vec<Report> = variants.iter().map(|variant| simulate(variant, seed, keep)).collect();
    let kind = scenario.job.kind;
    let first = &reports[0];
    let verdict = |report: &Report| report.violation.as_ref().map(|violation| violation.invariant);
    let expected = states(scenario, first);
    let end = expected.keys().max_by_key(|positions| positions.values().flat_map(BTreeMap::values).sum::<u64>());
    let (mut compared, mut midway) = (0, 0);
    for (variant, report) in VARIANTS.iter().zip(&reports).skip(1) {
        assert_eq!(
            verdict(report),
            verdict(first),
            "{variant:?} of {name} with seed {seed}: {:?}, {:?}",
            report.violation,
            first.violation
        );
        assert_eq!(output(kind, report), output(kind, first), "{variant:?} of {name} with seed {seed}");
        for (positions, state) in states(scenario, report) {
            let Some(expected) = expected.get(&positions) else { continue };
            assert!(same(kind, expected, &state), "{variant:?} of {name} with seed {seed} at {positions:?}:\n{state:?}\n{expected:?}");
            compared += 1;
            midway += usize::from(Some(&positions) != end);
        }
    }
    (compared, midway)
}

/// Without jitter sources read the same at the same time, whatever the backend.
fn punctual(mut scenario: Scenario) -> Scenario {
    scenario.network = NetworkSpec { latency_min_ms: 1, latency_max_ms: 1, ..scenario.network };
    scenario.disk = DiskSpec { latency_min_us: 0, latency_max_us: 0 };
    scenario
}

fn all_agree(runs: &[(String, u64, Scenario)]) -> (usize, usize) {
    let counts = parallel::map(runs, |(name, seed, scenario)| compare(name, *seed, scenario));
    counts.iter().fold((0, 0), |(all, midway), (more, more_midway)| (all + more, midway + more_midway))
}

#[test]
fn every_backend_has_the_same_state_output_and_verdict_in_stories() {
    let seeds = STORIES.iter().flat_map(|name| (0..SEEDS).map(move |seed| (*name, seed)));
    let runs: Vec<_> = seeds.map(|(name, seed)| (name.to_owned(), seed, punctual(scenario(name, seed)))).collect();
    let (compared, midway) = all_agree(&runs);
    let pairs = runs.len() * (VARIANTS.len() - 1);
    assert!(
        compared >= 2 * pairs && midway >= pairs,
        "only {compared} pairs of checkpoints, {midway} of them midway, in {pairs} pairs of runs"
    );
}

#[test]
fn every_backend_has_the_same_state_output_and_verdict_in_swarms() {
    // At-least-once, what is counted twice is the run's own; and a coordinator's memory has no files that checkpoints could share.
    let exact = |scenario: &Scenario| scenario.checkpoints.mode == Mode::ExactlyOnce && scenario.cluster.storage != StorageKind::Memory;
    let seeds = (0..SWARM_SEEDS).flat_map(|seed| [("swarm", seed), ("object-swarm", seed)]);
    let runs: Vec<_> = seeds.map(|(name, seed)| (name.to_owned(), seed, scenario(name, seed))).filter(|(_, _, run)| exact(run)).collect();
    let (compared, _) = all_agree(&runs);
    assert!(compared >= runs.len(), "only {compared} pairs of checkpoints in {} runs", runs.len());
}
