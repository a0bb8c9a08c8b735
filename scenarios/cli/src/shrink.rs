//! `cofferdam shrink`: a failing run becomes a small one that fails in the same way.

use crate::args::ShrinkArguments;
use crate::console::{self, grouped};
use crate::failure::{Failure, Outcome};
use crate::target;
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_scenarios::Scenario;
use cofferdam_sim::shrink::{self, Shrunk, Size};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a line says how far it is where no bar can be drawn.
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// Shrinks a failure, leaves it as a file, and says how to replay it.
///
/// # Errors
/// There is no such scenario, no seed, no failure, or the file cannot be written.
pub fn shrink(arguments: &ShrinkArguments) -> Result<Outcome, Failure> {
    let target = target::one(&arguments.target)?;
    let Some(seed) = arguments.seed.or(target.seed()) else {
        return Err(Failure::SeedMissing { target: arguments.target.clone() });
    };
    let shrunk = within(&target.expand(seed), seed, arguments.time)?;
    leave(&arguments.output, &shrunk)?;
    console::say(story(&shrunk, &arguments.output));
    Ok(Outcome::Green)
}

/// Shrinks for so long at most.
///
/// # Errors
/// It does not fail, or does not replay.
pub fn within(scenario: &Scenario, seed: u64, time: Duration) -> Result<Shrunk, Failure> {
    let begun = Instant::now();
    let bar = console::is_terminal().then(|| {
        // The template is a constant; if it were wrong the default would do.
        let style = ProgressStyle::with_template("{spinner} shrinking: {msg} {elapsed_precise}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
    });
    let mut told = begun;
    let shrunk = shrink::shrink(scenario, seed, &mut |runs, best| {
        let text = || format!("{runs} runs, {}", size(&Size::of(best)));
        if let Some(bar) = &bar {
            bar.set_message(text());
            bar.tick();
        } else if told.elapsed() >= PLAIN_TICK {
            told = Instant::now();
            console::note(format_args!("shrink: {} after {} s", text(), begun.elapsed().as_secs()));
        }
        begun.elapsed() < time
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(shrunk?)
}

/// Leaves it, to be read, edited and replayed.
///
/// # Errors
/// The file cannot be written.
pub fn leave(path: &Path, shrunk: &Shrunk) -> Result<(), Failure> {
    let violated = Some(shrunk.violation.invariant.to_owned());
    Ok(file::write(path, &ScenarioFile { seed: Some(shrunk.seed), violated, scenario: shrunk.scenario.clone() })?)
}

fn size(size: &Size) -> String {
    let Size { faults, records, keys, workers, parallelism, options } = size;
    format!("{faults} faults, {} lines, {keys} keys, {workers} workers, parallelism {parallelism}, {options} options", grouped(*records))
}

/// What came of it, in a few lines.
pub fn story(shrunk: &Shrunk, path: &Path) -> String {
    let Shrunk { violation, before, after, runs, is_smallest, .. } = shrunk;
    let how = if *is_smallest { "nothing more can go" } else { "stopped by the time" };
    format!(
        "SHRUNK {}\n  from     {}\n  to       {}\n  witness  {}\n  at       {:.3} s\n  runs     {runs}, {how}\n  replay   cargo run --release -- replay {} --trace",
        violation.invariant,
        size(before),
        size(after),
        violation.witness,
        violation.at.as_secs_f64(),
        path.display(),
    )
}
