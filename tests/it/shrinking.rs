//! A failing run becomes a small one, which fails in the same way.

use crate::binary::{run, stderr, stdout};
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_sim::scenario::{Expect, FaultSpec, What, When};

/// A job that is expected to be cancelled, and is not, among faults that have nothing to do with it.
fn failing() -> ScenarioFile {
    let mut scenario = (cofferdam_scenarios::find("worker-crashes").expect("built in").expand)(0);
    scenario.expect = Expect::Cancelled;
    let crash = |at_ms| FaultSpec { when: When::AtMs(at_ms), what: What::Crash { node: "worker-1".into(), down_ms: 200 } };
    scenario.faults.extend([crash(700), crash(1400)]);
    ScenarioFile { seed: Some(7), violated: None, scenario }
}

#[test]
fn a_failure_is_left_small_and_replays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    file::write(path("failure.toml").as_ref(), &failing()).expect("it can be written");
    let output = run(["shrink", &path("failure.toml"), "--output", &path("small.toml")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.contains("SHRUNK expected-end") && told.contains("small.toml"), "{told}");
    let small = file::read(path("small.toml").as_ref()).expect("a scenario").scenario;
    assert!(small.faults.is_empty() && small.job.lines < 20 && small.cluster.workers == 1, "{small:?}");
    let replayed = run(["replay", &path("small.toml")]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(stdout(&replayed).contains("expected-end violated"), "{}", stdout(&replayed));
}

#[test]
fn a_sweep_makes_the_first_of_each_kind_small_unless_told_not_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    file::write(path("red.toml").as_ref(), &failing()).expect("it can be written");
    let sweep = |extra: &[&str]| {
        let failure = path("failure.toml");
        let target = path("red.toml");
        let mut arguments = vec!["sweep", &target, "--seeds", "0..2", "--failure", &failure];
        arguments.extend(extra);
        run(arguments)
    };
    let plain = sweep(&["--no-shrink"]);
    assert_eq!(plain.status.code(), Some(1));
    assert!(!stdout(&plain).contains("SHRUNK"));
    let shrunk = sweep(&[]);
    assert_eq!(shrunk.status.code(), Some(1));
    assert!(stdout(&shrunk).contains("SHRUNK expected-end"), "{}", stdout(&shrunk));
    assert!(file::read(path("failure.expected-end.toml").as_ref()).expect("a scenario").scenario.faults.is_empty());
}

#[test]
fn what_does_not_fail_is_not_shrunk() {
    let output = run(["shrink", "steady-run", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nothing to shrink"), "{}", stderr(&output));
}
