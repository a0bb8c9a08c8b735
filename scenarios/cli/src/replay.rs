//! `cofferdam replay`: one run again, byte for byte.

use crate::args::ReplayArguments;
use crate::console::{self, grouped};
use crate::explore;
use crate::failure::{Failure, Outcome};
use crate::target;
use cofferdam_sim::run::simulate_until;
use cofferdam_sim::verdict::{Keep, Report};

/// Runs it once and says what came of it.
///
/// # Errors
/// There is no such scenario, or no seed.
pub fn replay(arguments: &ReplayArguments) -> Result<Outcome, Failure> {
    if let Some(found) = explore::saved(&arguments.target)? {
        return explore::replay(&found, arguments.trace);
    }
    let target = target::one(&arguments.target)?;
    let Some(seed) = arguments.seed.or(target.seed()) else {
        return Err(Failure::SeedMissing { target: arguments.target.clone() });
    };
    let keep = Keep { trace: arguments.trace, states: arguments.states, validate: arguments.validate, ..Keep::default() };
    let (report, picture) = simulate_until(&target.expand(seed), seed, keep, arguments.until.clone());
    for line in &report.trace {
        console::say(line);
    }
    if arguments.trace {
        console::say("");
    }
    if let Some(picture) = &picture {
        // Nothing was judged that comes later.
        console::say(picture);
    } else {
        if arguments.until.is_some() {
            console::note("the run was over before it came to that");
        }
        summarise(&report);
    }
    Ok(if report.violation.is_none() { Outcome::Green } else { Outcome::Red })
}

fn summarise(report: &Report) {
    let line = |name: &str, value: String| console::say(format_args!("  {name:<12} {value}"));
    console::say(format_args!("{} with seed {}", report.scenario, report.seed));
    line("hash", format!("{:016x}", report.hash));
    line("events", grouped(report.events));
    line("records", grouped(report.records));
    line("simulated", format!("{:.3} s", report.simulated.as_secs_f64()));
    let faults: Vec<String> = report.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    line("faults", if faults.is_empty() { "none".into() } else { faults.join(", ") });
    let Report { completed, aborted, restores, shadows, .. } = report;
    line("checkpoints", format!("{completed} completed, {aborted} aborted, {restores} restores, {shadows} shadows"));
    if report.machine_steps > 0 {
        line("machines", format!("{} inputs replayed through fresh ones", grouped(report.machine_steps)));
    }
    match &report.violation {
        None => line("verdict", "every invariant holds".into()),
        Some(violation) => {
            line("verdict", format!("{} violated at {:.3} s", violation.invariant, violation.at.as_secs_f64()));
            line("witness", violation.witness.clone());
        }
    }
}
