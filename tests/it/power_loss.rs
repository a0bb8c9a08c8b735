//! Power is lost at every change that a checkpoint makes to the disk, in every way that the model of the disk allows.

use cofferdam_scenarios::find;
use cofferdam_sim::run::power_loss::{everywhere, Outcome};

/// The images of one checkpoint's life: from when the one before it is complete until the one behind it is.
fn lose_power(name: &str, seed: u64) -> Outcome {
    let mut scenario = (find(name).expect("it is there").expand)(seed);
    (scenario.job.lines, scenario.job.keys) = (60, 20);
    let outcome = everywhere(&scenario, seed, 1..3, 3);
    assert_eq!(outcome.violation, None, "{name} with seed {seed}: {outcome:?}");
    println!("{name}: {} instants, {} images, begun from {:?}", outcome.instants, outcome.images, outcome.begun_from);
    assert!(outcome.images > 100 && outcome.begun_from.len() >= 2, "{name} with seed {seed}: {outcome:?}");
    outcome
}

#[test]
fn wherever_power_is_lost_the_job_begins_from_a_completed_checkpoint() {
    lose_power("steady-run", 1);
}

#[test]
fn wherever_power_is_lost_what_a_checkpoint_covers_is_published_and_nothing_else() {
    lose_power("transactions-steady", 1);
}

#[test]
fn wherever_power_is_lost_an_incremental_checkpoint_has_all_its_files() {
    lose_power("incremental-steady", 1);
}
