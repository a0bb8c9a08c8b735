//! What a sweep tells when it is over.

use super::coverage::{Coverage, CoverageFigures};
use super::police::Parted;
use super::schedule::Limits;
use super::tally::{Found, Sums, Tally};
use crate::console::{self, grouped, rate};
use crate::target::Target;
use comfy_table::{CellAlignment, ColumnConstraint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A table this wide has room for the longest name in one line.
const WIDE: u16 = 140;

/// What is known of the sweep beside its runs.
pub struct Summary {
    /// Its seeds and its time.
    pub limits: Limits,
    /// Simulations at once.
    pub jobs: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether it was stopped by hand.
    pub interrupted: bool,
    /// How many of the runs an earlier process has done.
    pub resumed: u64,
}

/// The closing table.
pub fn table(tally: &Tally, summary: &Summary) -> String {
    let mut table = console::table();
    let checkpoints = "checkpoints completed / aborted";
    table.set_header(["scenario", "runs", "violations", "faults", checkpoints, "restores", "states", "simulated", "seeds/s", "events/s"]);
    // A sweep that ends early has not met all of them.
    for scenario in tally.scenarios.iter().filter(|scenario| scenario.runs > 0) {
        table.add_row(row(scenario));
    }
    table.add_row(row(&tally.total()));
    for (index, column) in table.column_iter_mut().enumerate() {
        let text = matches!(index, 0 | 3);
        column.set_cell_alignment(if text { CellAlignment::Left } else { CellAlignment::Right });
    }
    let wide = table.width().is_some_and(|width| width >= WIDE);
    if let Some(names) = table.column_mut(0).filter(|_| wide) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    let (runs, elapsed) = (tally.runs(), summary.elapsed.as_secs_f64());
    let stopped = if summary.interrupted { ", interrupted" } else { "" };
    let per_second = rate(runs, elapsed);
    let total = tally.total();
    let twice = match total.policed {
        0 => String::new(),
        policed => format!("\n{} of the runs were done twice, and {} of them were not the same.", grouped(policed), total.parted.len()),
    };
    let resumed = match summary.resumed {
        0 => String::new(),
        resumed => format!(" {} of them had been done before.", grouped(resumed)),
    };
    let validated = match total.machine_steps {
        0 => String::new(),
        steps => format!("\n{} inputs of machines were replayed through fresh ones, step by step.", grouped(steps)),
    };
    format!(
        "{table}\n{} runs in {elapsed:.1} s on {} threads: {per_second} runs/s{stopped}.{resumed} In the table, seeds/s and events/s are per core.\n\
         {} of the completed checkpoints were begun from again, each in a world of its own.{twice}{validated}",
        grouped(runs),
        summary.jobs,
        grouped(total.shadows)
    )
}

fn row(sums: &Sums) -> Vec<String> {
    let faults: Vec<String> = sums.faults.iter().map(|(kind, count)| format!("{kind}\u{a0}{count}")).collect();
    let busy = sums.busy.as_secs_f64();
    vec![
        sums.name.clone(),
        grouped(sums.runs),
        grouped(sums.violations.len() as u64),
        if faults.is_empty() { "-".into() } else { faults.join(", ") },
        format!("{}\u{a0}/\u{a0}{}", grouped(sums.completed), grouped(sums.aborted)),
        grouped(sums.restores),
        grouped(sums.states.len() as u64),
        duration(sums.simulated),
        rate(sums.runs, busy),
        rate(sums.events, busy),
    ]
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{:.1}\u{a0}s", time.as_secs_f64()),
        120..7200 => format!("{}\u{a0}min", seconds / 60),
        _ => format!("{:.1}\u{a0}h", time.as_secs_f64() / 3600.0),
    }
}

/// One text per scenario with a violation: the first one, and how to see it again.
pub fn violations(tally: &Tally, targets: &[Target], failure_file: &Path) -> Vec<String> {
    let first_of_all = tally.first_violation().map(|found| found.run.index);
    let mut texts = Vec::new();
    for (scenario, target) in tally.scenarios.iter().zip(targets) {
        let Some(found) = scenario.violations.first() else { continue };
        let Found { run, invariant, witness, at, .. } = found;
        let mut text = format!("\nVIOLATED {} in {} with seed {}\n", invariant, scenario.name, run.seed);
        text += &format!("  witness  {}\n", witness);
        text += &format!("  at       {:.3} s\n", at.as_secs_f64());
        let validate = if invariant == "trace-validation" { " --validate" } else { "" };
        text += &format!("  replay   {}{validate}", target.replay_command(run.seed));
        if Some(run.index) == first_of_all {
            let file = failure_file.display();
            text += &format!("\n           cargo run --release -- replay {file}{validate}   (the expanded scenario, to be edited)");
        }
        match scenario.violations.len() - 1 {
            0 => {}
            more => text += &format!("\n  and      {more} more seeds of this scenario"),
        }
        texts.push(text);
    }
    texts
}

/// The JSON of a sweep. Also read back, by `cofferdam planted`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figures {
    /// The first seed.
    pub first_seed: u64,
    /// The seed behind the last; none if only time bounded the sweep.
    pub end_seed: Option<u64>,
    /// Simulations at once.
    pub jobs: usize,
    /// How long it took.
    pub elapsed_s: f64,
    /// Whether it was stopped by hand.
    pub interrupted: bool,
    /// By scenario.
    pub scenarios: Vec<ScenarioFigures>,
    /// Over all of them.
    pub total: ScenarioFigures,
    /// In the order of the schedule, which no thread changes.
    pub violations: Vec<ViolationFigures>,
    /// What was met.
    pub coverage: CoverageFigures,
    /// Runs that were not the same the second time.
    pub not_deterministic: Vec<PartedFigures>,
}

impl Figures {
    /// Runs done.
    pub fn runs(&self) -> u64 {
        self.total.runs
    }
}

/// One row of the table.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScenarioFigures {
    name: String,
    runs: u64,
    violations: u64,
    faults: BTreeMap<String, u64>,
    checkpoints_completed: u64,
    checkpoints_aborted: u64,
    restores: u64,
    shadows: u64,
    machine_steps: u64,
    states: u64,
    done_twice: u64,
    simulated_s: f64,
    events: u64,
    core_s: f64,
    seeds_per_core_s: f64,
    events_per_core_s: f64,
}

/// One violation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViolationFigures {
    /// Which scenario.
    pub scenario: String,
    /// With which seed.
    pub seed: u64,
    /// The how-manieth run of the schedule it is, from 1.
    pub run: u64,
    /// Seconds from the start of the sweep to the end of the run.
    pub after_s: f64,
    /// What does not hold.
    pub invariant: String,
    /// What contradicts it.
    pub witness: String,
    /// Seconds of virtual time.
    pub at_s: f64,
    /// The run's hash, as 16 hexadecimal digits.
    pub hash: String,
}

/// A run that was not the same the second time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartedFigures {
    /// Which scenario.
    pub scenario: String,
    /// With which seed.
    pub seed: u64,
    /// The first event that differs, counted from 0.
    pub event: Option<usize>,
    /// Where the traces are.
    pub traces: [std::path::PathBuf; 2],
}

/// The figures of a sweep as text.
///
/// # Panics
/// Never: figures can be written.
pub fn json(tally: &Tally, coverage: &Coverage, summary: &Summary) -> String {
    let total = tally.total();
    let violation = |found: &Found| ViolationFigures {
        scenario: tally.scenarios[found.run.target].name.clone(),
        seed: found.run.seed,
        run: found.run.index + 1,
        after_s: found.after.as_secs_f64(),
        invariant: found.invariant.clone(),
        witness: found.witness.clone(),
        at_s: found.at.as_secs_f64(),
        hash: format!("{:016x}", found.hash),
    };
    let parted = |parted: &Parted| PartedFigures {
        scenario: tally.scenarios[parted.run.target].name.clone(),
        seed: parted.run.seed,
        event: parted.event,
        traces: parted.traces.clone(),
    };
    let figures = Figures {
        first_seed: summary.limits.first,
        end_seed: summary.limits.end,
        jobs: summary.jobs,
        elapsed_s: summary.elapsed.as_secs_f64(),
        interrupted: summary.interrupted,
        scenarios: tally.scenarios.iter().map(figures_of).collect(),
        total: figures_of(&total),
        violations: total.violations.iter().map(violation).collect(),
        coverage: coverage.figures(),
        not_deterministic: total.parted.iter().map(parted).collect(),
    };
    serde_json::to_string_pretty(&figures).expect("figures have text keys and finite numbers")
}

fn figures_of(sums: &Sums) -> ScenarioFigures {
    let core_s = sums.busy.as_secs_f64();
    // Rates are for people; 53 bits are plenty.
    #[allow(clippy::cast_precision_loss)]
    let per_second = |count: u64| if core_s > 0.0 { count as f64 / core_s } else { 0.0 };
    ScenarioFigures {
        name: sums.name.clone(),
        runs: sums.runs,
        violations: sums.violations.len() as u64,
        faults: sums.faults.iter().map(|(kind, count)| (kind.clone(), *count)).collect(),
        checkpoints_completed: sums.completed,
        checkpoints_aborted: sums.aborted,
        restores: sums.restores,
        shadows: sums.shadows,
        machine_steps: sums.machine_steps,
        states: sums.states.len() as u64,
        done_twice: sums.policed,
        simulated_s: sums.simulated.as_secs_f64(),
        events: sums.events,
        core_s,
        seeds_per_core_s: per_second(sums.runs),
        events_per_core_s: per_second(sums.events),
    }
}
