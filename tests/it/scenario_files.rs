//! Scenarios as files: what is written is what is read, and what cannot be run is refused by the name of the field.

use crate::parallel;
use cofferdam_scenarios::file::{self, FileError, ScenarioFile};
use cofferdam_scenarios::Scenario;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use std::path::Path;

fn scenario(name: &str, seed: u64) -> Scenario {
    (cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}")).expand)(seed)
}

/// A file with this text, as read.
fn read(text: &str) -> Result<ScenarioFile, FileError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    std::fs::write(&path, text).expect("written");
    file::read(&path)
}

fn round_trip(written: &ScenarioFile) -> ScenarioFile {
    let text = file::to_text(written);
    read(&text).unwrap_or_else(|error| panic!("{} is refused: {error}\n{text}", written.scenario.name))
}

#[test]
fn every_built_in_scenario_can_be_written_read_and_run_again() {
    let stories = cofferdam_scenarios::all().into_iter().map(|story| (story, 11));
    let swarm = cofferdam_scenarios::find("swarm").expect("there is one");
    let all: Vec<_> = stories.chain((0..10).map(|seed| (swarm, seed))).collect();
    parallel::map(&all, |(story, seed)| {
        let scenario = (story.expand)(*seed);
        let written = ScenarioFile { seed: Some(*seed), violated: Some("liveness".into()), scenario };
        let read = round_trip(&written);
        assert_eq!(read, written);
        let (from_code, from_file) =
            (simulate(&written.scenario, *seed, Keep::default()), simulate(&read.scenario, *seed, Keep::default()));
        assert_eq!(from_code.hash, from_file.hash, "{} is another run from its file", story.name);
    });
}

#[test]
fn every_swarm_can_be_run() {
    for seed in 0..2000 {
        let scenario = scenario("swarm", seed);
        assert_eq!(scenario.check(), Ok(()), "swarm with seed {seed}");
        let written = ScenarioFile { seed: Some(seed), violated: None, scenario };
        assert_eq!(round_trip(&written), written);
    }
}

#[test]
fn every_seed_can_be_written() {
    for seed in [0, 1, u64::from(u32::MAX), i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let written = ScenarioFile { seed: Some(seed), violated: None, scenario: scenario("steady-run", 0) };
        assert_eq!(round_trip(&written), written);
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let text = "[scenario]\nname = 'mine'\nstory = 'Short.'\ncalm_after_ms = 1000\nliveness_bound_ms = 2000\n";
    let read = read(text).expect("five lines are enough");
    let mut expected = scenario("steady-run", 0);
    (expected.name, expected.story) = ("mine".into(), "Short.".into());
    (expected.calm_after_ms, expected.liveness_bound_ms) = (1000, 2000);
    assert_eq!(read, ScenarioFile { seed: None, violated: None, scenario: expected });
}

/// The file of a story in which one thing has been replaced by another.
fn edited(name: &str, from: &str, to: &str) -> String {
    let text = file::to_text(&ScenarioFile { seed: None, violated: None, scenario: scenario(name, 0) });
    assert!(text.contains(from), "{name} has no {from:?}:\n{text}");
    text.replacen(from, to, 1)
}

#[test]
fn a_missing_file_is_named() {
    match file::read(Path::new("no/such/scenario.toml")) {
        Err(FileError::Io { path, source }) => {
            assert_eq!((path, source.kind()), ("no/such/scenario.toml".into(), std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_not_a_scenario_is_refused_by_field() {
    let cases = [
        ("lines = 300", "lines = 'many'", "lines"),
        ("lines = 300", "lines = -1", "lines"),
        ("lines = 300", "linse = 300", "linse"),
        ("pace_ms = 50", "pace_ms = 50\npace_ms = 51", "pace_ms"),
        ("calm_after_ms = 8000", "", "calm_after_ms"),
        ("kind = \"word-count\"", "kind = \"wordcount\"", "wordcount"),
        ("mode = \"exactly-once\"", "mode = \"at-most-once\"", "at-most-once"),
        ("expect = \"finished\"", "expect = \"maybe\"", "maybe"),
        ("window_bytes = 4096", "window_bytes = 4_294_967_296", "window_bytes"),
        ("retained = 1", "retained = 1.5", "retained"),
        ("down_ms = 1500", "down_s = 1500", "down_s"),
        ("node = \"acting\"", "", "node"),
        ("nth = 1", "nth = 1\nwhen = 2", "when"),
    ];
    for (from, to, field) in cases {
        match read(&edited("worker-crashes", from, to)) {
            Err(FileError::Syntax { source, .. }) => assert!(source.to_string().contains(field), "{to:?}: {source}"),
            other => panic!("{to:?}: {other:?}"),
        }
    }
    for text in ["", "scenario = 3", "[scenario", "\u{0}"] {
        assert!(matches!(read(text), Err(FileError::Syntax { .. })), "{text:?}");
    }
}

/// Each with what was put where, and what the message must name.
#[test]
fn a_scenario_that_cannot_be_run_is_refused_by_field() {
    let cases = [
        ("worker-crashes", "parallelism = 2", "parallelism = 0", "job.parallelism"),
        ("worker-crashes", "parallelism = 2", "parallelism = 17", "job.parallelism"),
        ("worker-crashes", "max_parallelism = 16", "max_parallelism = 0", "job.max_parallelism"),
        ("worker-crashes", "max_parallelism = 16", "max_parallelism = 40000", "job.max_parallelism"),
        ("worker-crashes", "partitions = 4", "partitions = 0", "job.partitions"),
        ("worker-crashes", "lines = 300", "lines = 1000001", "job.lines"),
        ("worker-crashes", "keys = 40", "keys = 0", "job.keys"),
        ("worker-crashes", "chunk_bytes = 64", "chunk_bytes = 0", "job.chunk_bytes"),
        ("worker-crashes", "pace_ms = 50", "pace_ms = 60001", "job.pace_ms"),
        ("worker-crashes", "workers = 3", "workers = 1", "cluster.workers"),
        ("worker-crashes", "workers = 3", "workers = 250", "cluster.workers"),
        ("worker-crashes", "slots = 1", "slots = 0", "cluster.slots"),
        ("worker-crashes", "heartbeat_ms = 200", "heartbeat_ms = 0", "cluster.heartbeat_ms"),
        ("worker-crashes", "heartbeat_timeout_ms = 1000", "heartbeat_timeout_ms = 100", "cluster.heartbeat_timeout_ms"),
        ("worker-crashes", "latency_max_ms = 5", "latency_max_ms = 0", "network.latency_max_ms"),
        ("worker-crashes", "window_bytes = 4096", "window_bytes = 1", "network.window_bytes"),
        ("worker-crashes", "latency_max_us = 2000", "latency_max_us = 60000001", "disk.latency_max_us"),
        ("worker-crashes", "calm_after_ms = 8000", "calm_after_ms = 3600001", "calm_after_ms"),
        ("worker-crashes", "liveness_bound_ms = 60000", "liveness_bound_ms = 0", "liveness_bound_ms"),
        ("worker-crashes", "interval_ms = 200", "interval_ms = 1", "interval"),
        ("worker-crashes", "timeout_ms = 2000", "timeout_ms = 1", "timeout"),
        ("worker-crashes", "max_concurrent = 1", "max_concurrent = 0", "max-concurrent"),
        ("worker-crashes", "snapshot-taken", "snapshot-token", "snapshot-token"),
        ("worker-crashes", "node = \"acting\"", "node = \"worker-4\"", "worker-4"),
        ("worker-crashes", "node = \"acting\"", "node = \"nobody\"", "nobody"),
        ("worker-is-replaced", "node = \"acting\"", "node = \"storage\"", "storage"),
        ("skewed-clocks", "node = \"worker-1\"", "node = \"worker-9\"", "worker-9"),
        ("one-way-partition", "to = \"worker-1\"", "to = \"worker-0\"", "worker-0"),
        ("crash-loop", "\"crash\"", "\"crush\"", "crush"),
        ("crash-loop", "\"crash\"", "", "chaos.kinds"),
        ("steady-windows", "mode = \"exactly-once\"", "mode = \"at-least-once\"", "checkpoints.mode"),
    ];
    for (story, from, to, field) in cases {
        match read(&edited(story, from, to)) {
            Err(FileError::Invalid { what, .. }) => assert!(what.contains(field), "{to:?}: {what}"),
            other => panic!("{story} with {to:?}: {other:?}"),
        }
    }
}

/// Numbers that no clock and no die can have: refused, never a panic or an overflow in the middle of a run.
#[test]
fn a_fault_that_cannot_be_injected_is_refused_by_field() {
    let cases = [
        ("failing-disk", "per_mille = 300", "per_mille = 1001", "per_mille"),
        ("failing-sync", "per_mille = 500", "per_mille = 4000000000", "per_mille"),
        ("worker-crashes", "down_ms = 1500", "down_ms = 9223372036854775807", "down_ms"),
        ("zombie-worker", "for_ms = 4000", "for_ms = 9223372036854775807", "for_ms"),
        ("slow-channel", "latency_ms = 300", "latency_ms = 9223372036854775807", "latency_ms"),
        ("slow-channel", "at-ms = 300", "at-ms = 9223372036854775807", "at-ms"),
        ("crash-loop", "every_ms = 700", "every_ms = 9223372036854775807", "chaos.every_ms"),
        ("skewed-clocks", "offset_ms = 180000", "offset_ms = 9223372036854775807", "offset_ms"),
        ("skewed-clocks", "drift_ppm = 5000", "drift_ppm = -2000000", "drift_ppm"),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(story, from, to, field)| match read(&edited(story, from, to)) {
            Err(FileError::Invalid { what, .. }) if what.contains(field) => None,
            Err(other) => Some(format!("{story} with {to:?}: {other}")),
            Ok(_) => Some(format!("{story} with {to:?} is taken")),
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
