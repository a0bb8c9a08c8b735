//! The whole trace of three runs, to be read: a change of the protocol shows here as a diff.
//!
//! `INSTA_UPDATE=always cargo test -p cofferdam-tests --test it golden` takes over what is new; read the diff before you commit it.

use cofferdam_scenarios::Scenario;
use cofferdam_sim::run::simulate;
use cofferdam_sim::scenario::What;
use cofferdam_sim::verdict::Keep;

/// More, and nobody reads it.
const MOST_LINES: usize = 250;
const SEED: u64 = 7;

/// A story over so few lines that its trace can be read.
fn short(name: &str, change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = (cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}")).expand)(SEED);
    change(&mut scenario);
    scenario
}

fn assert_golden(scenario: &Scenario) {
    let report = simulate(scenario, SEED, Keep { trace: true, ..Keep::default() });
    assert_eq!(report.violation, None, "{} with seed {SEED}, shortened to {:?}", scenario.name, scenario.job);
    let lines = report.trace.len();
    assert!(lines < MOST_LINES, "{} has a trace of {lines} lines", scenario.name);
    let (completed, aborted, restores) = (report.completed, report.aborted, report.restores);
    let mut text = vec![
        format!("{}: {}", scenario.name, scenario.story),
        format!("seed {SEED}: {completed} completed, {aborted} aborted, {restores} restores, {} records", report.records),
        String::new(),
    ];
    text.extend(report.trace);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(scenario.name.as_str(), text.join("\n")));
}

#[test]
fn golden_steady_run() {
    assert_golden(&short("steady-run", |scenario| scenario.job.lines = 24));
}

#[test]
fn golden_coordinator_crashes_between_complete_and_told() {
    assert_golden(&short("coordinator-crashes-between-complete-and-told", |scenario| {
        scenario.job.lines = 24;
        scenario.job.parallelism = 1;
        scenario.cluster.workers = 2;
    }));
}

#[test]
fn golden_zombie_worker() {
    assert_golden(&short("zombie-worker", |scenario| {
        scenario.job.lines = 24;
        scenario.job.parallelism = 1;
        scenario.cluster.workers = 2;
        // So that it comes back before the end.
        if let What::Isolate { for_ms, .. } = &mut scenario.faults[0].what {
            *for_ms = 900;
        }
    }));
}
