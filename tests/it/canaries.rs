//! What must fail does: a canary through the whole pipeline, and one for runs that are not the same twice.

use crate::binary::{run, stdout};
use cofferdam_scenarios::file;
use std::path::{Path, PathBuf};
use std::process::Output;

fn sweep(name: &str, folder: &Path, extra: &[&str]) -> (Output, PathBuf) {
    let failure = folder.join("failure.toml");
    let output = run(["sweep", name, "--seeds", "0..1", "--no-shrink", "--failure", failure.to_str().expect("text")].iter().chain(extra));
    (output, failure)
}

#[test]
fn a_canary_fails_with_its_invariant_and_leaves_a_file_that_fails_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, failure) = sweep("canary", folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).contains("VIOLATED expected-end in canary with seed 0"), "{}", stdout(&output));
    assert_eq!(file::read(&failure).expect("a scenario").violated.as_deref(), Some("expected-end"));
    let again = run(["replay", failure.to_str().expect("text")]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stdout(&again).contains("expected-end violated"), "{}", stdout(&again));
}

#[test]
fn no_sweep_takes_a_canary_unasked() {
    for canary in cofferdam_scenarios::canaries() {
        assert!(cofferdam_scenarios::all().iter().all(|story| story.name != canary.name), "{}", canary.name);
        assert!(cofferdam_scenarios::find(canary.name).is_some(), "{} cannot be asked for", canary.name);
    }
}

#[test]
fn a_run_that_is_another_one_the_second_time_is_told_with_both_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alone, _) = sweep("canary-restless", folder.path(), &["--police", "0"]);
    assert_eq!(alone.status.code(), Some(0), "done once it is like any other: {}", stdout(&alone));
    let (output, failure) = sweep("canary-restless", folder.path(), &["--police", "1"]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("NOT DETERMINISTIC canary-restless with seed 0\n  parts at event "), "{told}");
    let line = |name: &str| told.lines().find_map(|line| line.trim().strip_prefix(name)).map(|line| line.trim().to_owned());
    let (first, second) = (line("first ").expect("a line of the first"), line("second ").expect("a line of the second"));
    assert_ne!(first, second);
    for (which, expected) in [("first", &first), ("second", &second)] {
        let trace = std::fs::read_to_string(failure.with_extension(format!("canary-restless-0.{which}.trace"))).expect("kept");
        assert!(trace.lines().any(|line| line.trim() == expected.trim()), "{expected} is not in the {which} trace");
    }
}

#[test]
fn runs_that_are_done_twice_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("sweep.json");
    let (output, _) = sweep("worker-crashes", folder.path(), &["--police", "1", "--json", json.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let figures: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("JSON");
    assert_eq!((&figures["total"]["done_twice"], &figures["not_deterministic"]), (&1.into(), &serde_json::json!([])));
}
