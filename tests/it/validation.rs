//! Trace validation: machines that are replayed say what the engine did, and replaying them changes nothing.

use crate::binary;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;

/// With every sort of machine, takeovers, barriers that overtake, and a second job.
const STORIES: &[&str] = &["coordinator-crashes-between-complete-and-told", "transactions-crash-in-commit", "swarm", "transactions-swarm"];

#[test]
fn a_run_is_the_same_whether_its_machines_are_replayed_or_not() {
    for name in STORIES {
        let story = cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}"));
        for seed in 0..3 {
            let scenario = (story.expand)(seed);
            let plain = simulate(&scenario, seed, Keep::default());
            let validated = simulate(&scenario, seed, Keep { validate: true, ..Keep::default() });
            assert_eq!(validated.violation, None, "{name} with seed {seed}");
            assert_eq!(plain.hash, validated.hash, "{name} with seed {seed}");
            assert!(plain.machine_steps == 0 && validated.machine_steps > 100, "{name}: {} inputs", validated.machine_steps);
        }
    }
}

#[test]
fn a_sweep_says_how_much_it_has_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("figures.json");
    let json = json.to_str().expect("a plain path");
    let output = binary::run(["sweep", "steady-run", "--seeds", "0..2", "--validate", "--json", json]);
    assert!(output.status.success(), "{}", binary::stderr(&output));
    assert!(binary::stdout(&output).contains("inputs of machines were replayed through fresh ones"), "{}", binary::stdout(&output));
    let figures: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).expect("it was written")).expect("JSON");
    assert!(figures["total"]["machine_steps"].as_u64().is_some_and(|steps| steps > 100), "{figures}");
}

#[test]
fn an_exploration_that_runs_out_of_memory_says_so() {
    let output = binary::run(["explore", "shuffle-crash", "--bound", "records=4", "--memory-limit", "64"]);
    assert_eq!(output.status.code(), Some(5), "{}", binary::stderr(&output));
    let said = binary::stdout(&output);
    assert!(said.contains("cut off by --memory-limit") && said.contains("holds in what was seen"), "{said}");
}
