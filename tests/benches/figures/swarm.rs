//! How fast one core simulates: the scenario `swarm`, one seed after the other.

use crate::{cpu, table};
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::{Keep, Report};
use std::time::{Duration, Instant};

const NAME: &str = "swarm";

/// The row, if its name contains `filter`.
pub fn run(filter: &str, seed_count: u64) {
    if !NAME.contains(filter) {
        return;
    }
    let story = cofferdam_scenarios::find(NAME).expect("a built-in scenario");
    // Nothing else runs in this process, so its CPU time is that of the simulation, whatever threads it uses.
    let (begun, cpu_begun) = (Instant::now(), cpu::process());
    let reports: Vec<Report> = (0..seed_count).map(|seed| simulate(&(story.expand)(seed), seed, Keep::default())).collect();
    let (elapsed, cpu) = (begun.elapsed(), cpu::process() - cpu_begun);
    let events: u64 = reports.iter().map(|report| report.events).sum();
    let records: u64 = reports.iter().map(|report| report.records).sum();
    let mut out = table(&[NAME, "seeds", "events", "records"]);
    out.add_row(["all".to_owned(), seed_count.to_string(), events.to_string(), records.to_string()]);
    for (unit, time) in [("per second", elapsed), ("per CPU second", cpu)] {
        out.add_row([unit.to_owned(), rate(seed_count, time), rate(events, time), rate(records, time)]);
    }
    let simulated: Duration = reports.iter().map(|report| report.simulated).sum();
    println!("{out}\nevents and records together: {} per CPU second", rate(events + records, cpu));
    println!(
        "simulated {:.0} s, completed {} checkpoints",
        simulated.as_secs_f64(),
        reports.iter().map(|report| report.completed).sum::<u64>()
    );
    for report in &reports {
        if let Some(violation) = &report.violation {
            println!("seed {}: {} {}", report.seed, violation.invariant, violation.witness);
        }
    }
    println!();
}

fn rate(count: u64, time: Duration) -> String {
    #[allow(clippy::cast_precision_loss)] // Few digits are shown.
    let per_second = count as f64 / time.as_secs_f64();
    format!("{per_second:.1}")
}
