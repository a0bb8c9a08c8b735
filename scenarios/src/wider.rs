//! The rest of the world of a swarm: what goes wrong without a crash or an error, weights, rare things, clocks, and what the input is like.
//!
//! Drawn from a stream of its own behind everything else, and for every other seed only: the others stay what they are.

use cofferdam_sim::clock::drift::DriftShape;
use cofferdam_sim::fault::{WORLD_KINDS, WORLD_LOCAL_KINDS, WORLD_OBJECT_KINDS};
use cofferdam_sim::scenario::{DriftSpec, LoadSpec, Scenario};
use cofferdam_sim::{Concern, Streams};
use rand::seq::SliceRandom;
use rand::Rng;

/// Most kinds are as likely as others; now and then one is drawn nearly always.
const WEIGHTS: &[u32] = &[1, 1, 1, 2, 5, 20];
/// Timers by processing time are waited for by clocks that may run apart: see `workload::RIPE_WAIT_MS`.
const MOST_PPM: i32 = 120_000;

fn some(kinds: &[&str], chance: f64, rng: &mut impl Rng) -> Vec<String> {
    kinds.iter().filter(|_| rng.gen_bool(chance)).map(|kind| (*kind).to_owned()).collect()
}

/// Makes the world of a swarm wider.
pub(crate) fn widen(seed: u64, scenario: &mut Scenario) {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_0fa1_1750).stream(Concern::Swarm);
    if rng.gen_bool(0.5) {
        return;
    }
    let world = &mut scenario.world;
    world.buggify = rng.gen_bool(0.5);
    if rng.gen_bool(0.4) {
        let (skew, hot_percent, burst) = (rng.gen_range(0..6), rng.gen_range(0..=90), rng.gen_range(0..40));
        world.load = LoadSpec { skew, hot_percent, burst };
    }
    for number in 1..=scenario.cluster.workers {
        if rng.gen_bool(0.25) {
            let shape = *DriftShape::ALL.choose(rng).expect("there are shapes");
            let (ppm, period_ms) = (rng.gen_range(-MOST_PPM..=MOST_PPM), rng.gen_range(300..5000));
            world.drifts.push(DriftSpec { node: format!("worker-{number}"), shape, ppm, period_ms });
        }
    }
    let Some(chaos) = &mut scenario.chaos else { return };
    // Some of what is always there is not, so that the rest comes to its own.
    chaos.kinds.retain(|_| rng.gen_bool(0.8));
    chaos.kinds.extend(some(WORLD_KINDS, 0.3, rng));
    if scenario.cluster.local_recovery {
        chaos.kinds.extend(some(WORLD_LOCAL_KINDS, 0.4, rng));
    }
    if scenario.cluster.merge.is_some() {
        // A merged file of an older checkpoint may have segments of the newest.
        chaos.kinds.retain(|kind| kind != "spare-rot");
    }
    if chaos.kinds.is_empty() {
        chaos.kinds.push("crash".into());
    }
    let weight = |kind: &String| (kind.clone(), *WEIGHTS.choose(rng).expect("there are weights"));
    world.weights = chaos.kinds.iter().map(weight).collect();
}

/// The same for a swarm whose checkpoints are objects.
pub(crate) fn widen_objects(seed: u64, scenario: &mut Scenario) {
    let rng = &mut Streams::new(seed ^ 0x005e_ed0f_0fa1_0b1e).stream(Concern::Swarm);
    if scenario.world.weights.is_empty() {
        return;
    }
    if let Some(chaos) = &mut scenario.chaos {
        chaos.kinds.extend(some(WORLD_OBJECT_KINDS, 0.3, rng));
        // No disk holds what could rot.
        chaos.kinds.retain(|kind| kind != "spare-rot");
        if chaos.kinds.is_empty() {
            chaos.kinds.push("crash".into());
        }
    }
}

/// Only with one clock it is exact what expires when.
pub(crate) fn one_clock(scenario: &mut Scenario) {
    scenario.clocks.clear();
    scenario.world.drifts.clear();
    if let Some(chaos) = &mut scenario.chaos {
        chaos.kinds.retain(|kind| !kind.starts_with("clock-"));
        if chaos.kinds.is_empty() {
            chaos.kinds.push("crash".into());
        }
    }
}

/// Kinds of local copies and object stores are for other swarms.
pub(crate) fn is_general(kind: &str) -> bool {
    cofferdam_sim::fault::KINDS.contains(&kind) || WORLD_KINDS.contains(&kind)
}
