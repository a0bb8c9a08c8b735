//! Points that have to be reached, or a sweep passes by doing nothing.

use crate::binary::{run, stdout};
use cofferdam_sim::coverage;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use std::collections::BTreeSet;
use std::path::Path;

const PROTOCOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/protocol/src");

/// The words with which a machine says that an input did not matter, in one file or all below a folder, tests left out.
fn reasons(place: &Path, found: &mut BTreeSet<String>) {
    if place.is_dir() {
        for entry in std::fs::read_dir(place).expect("a folder of sources") {
            let path = entry.expect("readable").path();
            if !path.components().any(|part| part.as_os_str() == "tests") {
                reasons(&path, found);
            }
        }
        return;
    }
    let text = std::fs::read_to_string(place).expect("a source");
    for after in text.split("::Ignored(\"").skip(1) {
        found.insert(after.split('"').next().unwrap_or_default().to_owned());
    }
}

#[test]
fn whatever_a_machine_ignores_is_a_point() {
    let known: BTreeSet<&str> = coverage::known().iter().map(|known| known.name).collect();
    let machines: [(&str, &[&str]); 3] = [
        ("coordinator", &["coordinator.rs", "coordinator"]),
        ("subtask", &["subtask.rs", "subtask", "barrier.rs", "barrier"]),
        ("copies", &["local.rs", "local"]),
    ];
    for (machine, places) in machines {
        let mut said = BTreeSet::new();
        places.iter().for_each(|place| reasons(&Path::new(PROTOCOL).join(place), &mut said));
        assert!(said.len() >= 2, "{machine} ignores nothing: is it still written like this?");
        let prefix = format!("{machine}/ignored: ");
        let points: BTreeSet<String> = known.iter().filter_map(|name| name.strip_prefix(prefix.as_str())).map(str::to_owned).collect();
        assert_eq!(points, said, "{machine}: sim/cluster/src/coverage/protocol.rs lists what it ignores");
    }
}

#[test]
fn the_linker_has_collected_points_of_the_engine_and_of_the_world() {
    let known = coverage::known();
    for part in ["engine/runtime/src/storage/object/requests.rs", "engine/runtime/src/task/running.rs", "sim/cluster/src/world.rs"] {
        assert!(known.iter().any(|known| known.place.contains(part)), "no point of {part} is known");
    }
}

#[test]
fn a_run_meets_the_same_each_time() {
    let scenario = (cofferdam_scenarios::find("worker-crashes").expect("built in").expand)(3);
    let (one, other) =
        (simulate(&scenario, 3, Keep::default()), simulate(&scenario, 3, Keep { trace: true, states: true, ..Keep::default() }));
    assert_eq!(one.coverage, other.coverage);
    assert!(one.coverage.points.contains_key("checkpoint-completed") && one.coverage.states.len() > 20, "{:?}", one.coverage);
}

#[test]
fn a_point_that_no_run_has_reached_fails_a_sweep_that_requires_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("sweep.json");
    let arguments = |extra: &'static [&'static str]| {
        let json = json.to_str().expect("text");
        ["sweep", "steady-run", "--seeds", "0..2", "--json", json].into_iter().chain(extra.iter().copied())
    };
    assert_eq!(run(arguments(&[])).status.code(), Some(0));
    let required = run(arguments(&["--require-coverage"]));
    let told = stdout(&required);
    assert_eq!(required.status.code(), Some(1), "{told}");
    assert!(told.contains("not reached:") && told.contains("COVERAGE is required"), "{told}");
    let figures: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("JSON");
    let coverage = &figures["coverage"];
    let missing = coverage["missing"].as_array().expect("a list");
    assert!(missing.iter().any(|point| point["name"] == "objects/not-worth-another-try"), "a run in files writes no objects: {coverage}");
    let reached = coverage["reached"].as_array().expect("a list");
    let completed = reached.iter().find(|point| point["name"] == "checkpoint-completed").expect("it completes some");
    assert_eq!((&completed["scenario"], &completed["seed"], &completed["runs"]), (&"steady-run".into(), &0.into(), &2.into()));
    assert!(coverage["states"].as_u64().expect("a number") > 10);
}
