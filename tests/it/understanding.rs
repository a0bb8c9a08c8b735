//! From a failing seed to an understood bug: a replay that stops, and two traces side by side.

use crate::binary::{run, stderr, stdout};
use std::process::Output;

fn assert_shown(name: &str, output: &Output) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, stdout(output)));
}

#[test]
fn a_replay_stops_with_an_event_and_shows_the_world() {
    let arguments = ["replay", "worker-crashes", "--seed", "7", "--until", "c2 v1.s0 barrier-arrived"];
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_shown("until-a-barrier-arrives", &output);
    assert_eq!(stdout(&output), stdout(&run(arguments)), "the same each time");
}

#[test]
fn a_replay_stops_at_a_time() {
    let output = run(["replay", "coordinator-crashes-between-complete-and-told", "--seed", "7", "--until", "1.2s"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = stdout(&output);
    for part in ["stopped at 1.200 s\n", "\nmachines\n", "\nwires\n", "\ndisks\n", "\ntimers\n"] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
}

#[test]
fn the_trace_of_a_stopped_run_is_the_beginning_of_the_whole_one() {
    let whole = run(["replay", "zombie-worker", "--seed", "3", "--trace"]);
    let stopped = run(["replay", "zombie-worker", "--seed", "3", "--trace", "--until", "completed x3"]);
    let whole: Vec<String> = stdout(&whole).lines().map(str::to_owned).collect();
    let told = stdout(&stopped);
    let trace: Vec<&str> = told.lines().take_while(|line| !line.is_empty()).collect();
    assert!(trace.len() > 50 && trace.last().is_some_and(|line| line.contains("checkpoint-completed")), "{told}");
    assert_eq!(trace.iter().filter(|line| line.contains("checkpoint-completed")).count(), 3);
    assert_eq!(trace, whole[..trace.len()]);
}

#[test]
fn what_a_run_does_not_come_to_is_said() {
    let output = run(["replay", "steady-run", "--seed", "1", "--until", "c9999 completed"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("over before it came to that") && stdout(&output).contains("every invariant holds"));
    let refused = run(["replay", "steady-run", "--seed", "1", "--until", "c2 eaten"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("eaten"), "{}", stderr(&refused));
}

#[test]
fn two_seeds_are_laid_side_by_side() {
    let output = run(["diff", "worker-crashes:7", "worker-crashes:8"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_shown("diff-of-two-seeds", &output);
}

#[test]
fn a_run_and_its_printed_trace_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.trace");
    let printed = run(["replay", "zombie-worker", "--seed", "3", "--trace", "--states"]);
    std::fs::write(&file, stdout(&printed)).expect("written");
    let same = run(["diff", "zombie-worker:3", file.to_str().expect("text")]);
    assert_eq!(same.status.code(), Some(0), "{}{}", stdout(&same), stderr(&same));
    assert!(stdout(&same).contains("the same: all "), "{}", stdout(&same));
    // What one has alone is found where it is, and everything behind it is still the same.
    let text = stdout(&printed);
    let without: Vec<&str> = text.lines().filter(|line| !(line.contains("c4 ") && line.contains("barrier-forwarded"))).collect();
    std::fs::write(&file, without.join("\n")).expect("written");
    let other = run(["diff", "zombie-worker:3", file.to_str().expect("text")]);
    assert_eq!(other.status.code(), Some(1));
    let told = stdout(&other);
    assert!(told.contains("0 in B alone") && told.contains("\nmachines just before\n"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("  A ") && line.contains("c4 ") && line.contains("barrier-forwarded")), "{told}");
}

#[test]
fn a_side_that_stands_for_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("nothing.trace");
    std::fs::write(&nothing, "no trace\n").expect("written");
    for (side, why) in
        [("no-such:1", "no-such"), ("steady-run", "NAME:SEED"), ("steady-run:x", "seed"), (nothing.to_str().expect("text"), "no line")]
    {
        let output = run(["diff", side, "steady-run:1"]);
        assert_eq!(output.status.code(), Some(2), "{side}: {}", stdout(&output));
        assert!(stderr(&output).contains(why), "{side} said {}", stderr(&output));
    }
}
