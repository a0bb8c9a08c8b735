//! `cofferdam sweep`: many seeds over many scenarios, each run judged.
//!
//! * [`schedule`]: which run is next, and when there is none.
//! * [`tally`]: what came of the runs so far.
//! * [`report`]: the table, the violations, the JSON.

mod report;
mod schedule;
mod tally;

pub use report::{Figures, Summary};

use crate::args::{SeedRange, SweepArguments};
use crate::console;
use crate::failure::{Failure, Outcome};
use crate::shrink;
use crate::target::{self, Target};
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::{Keep, Report};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schedule::{Limits, Run, Schedule};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::Tally;

/// Seeds per scenario where the user names no range and no time.
const DRAWN_SEEDS: u64 = 50;
/// Drawn ranges begin below this, so that seeds are easy to read and to type.
const DRAWN_BELOW: u64 = 1 << 32;
/// A scenario is not run any more after so many violations.
const ENOUGH_VIOLATIONS: usize = 5;
/// How many kinds of failure are made small, and for how long each.
const MOST_KINDS: usize = 5;
const SHRINKING: Duration = Duration::from_secs(20);
/// How often the progress bar moves, at least.
const TICK: Duration = Duration::from_millis(200);
/// How often a line says so where no bar can be drawn.
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// One run, done.
struct Done {
    run: Run,
    report: Report,
    busy: Duration,
    after: Duration,
}

/// Runs them all and tells what came of it.
///
/// # Errors
/// Something on the command line cannot be, or a file cannot be written.
pub fn sweep(arguments: SweepArguments) -> Result<Outcome, Failure> {
    let targets = target::all(&arguments.targets)?;
    let jobs = jobs(arguments.jobs)?;
    let limits = limits(&arguments);
    if let Some(path) = &arguments.json {
        // Before the work, not after it.
        std::fs::write(path, "").map_err(|source| Failure::Path { purpose: "write", path: path.clone(), source })?;
    }
    console::say(format_args!("seeds {limits}"));
    let interrupted = watch_for_interrupt()?;
    let schedule = Schedule::new(targets.len(), limits, interrupted.clone());
    let started = Instant::now();
    let mut tally = Tally::new(&targets);
    let keep = Keep { validate: arguments.validate, ..Keep::default() };
    run_all(&targets, &schedule, keep, jobs, started, &mut tally, arguments.until_violation.as_deref());
    let summary = Summary { limits, jobs, elapsed: started.elapsed(), interrupted: interrupted.load(std::sync::atomic::Ordering::Relaxed) };
    console::say(report::table(&tally, &summary));
    if let Some(path) = &arguments.json {
        let text = report::json(&tally, &summary);
        std::fs::write(path, text).map_err(|source| Failure::Path { purpose: "write", path: path.clone(), source })?;
    }
    let Some(first) = tally.first_violation() else { return Ok(Outcome::Green) };
    let target = &targets[first.run.target];
    leave(&arguments.failure, target, first.run.seed, &first.violation)?;
    for text in report::violations(&tally, &targets, &arguments.failure) {
        console::say(text);
    }
    if !arguments.no_shrink && arguments.until_violation.is_none() && !summary.interrupted {
        shrink_each_kind(&tally, &targets, &arguments.failure)?;
    }
    Ok(Outcome::Red)
}

/// The first failure of each kind becomes small, beside the file of the first of all: `failure.INVARIANT.toml`.
fn shrink_each_kind(tally: &Tally, targets: &[Target], failure: &Path) -> Result<(), Failure> {
    let mut first: BTreeMap<&'static str, (usize, u64)> = BTreeMap::new();
    for (number, scenario) in tally.scenarios.iter().enumerate() {
        for found in &scenario.violations {
            first.entry(found.violation.invariant).or_insert((number, found.run.seed));
        }
    }
    for (invariant, (target, seed)) in first.into_iter().take(MOST_KINDS) {
        let path = failure.with_extension(format!("{invariant}.toml"));
        match shrink::within(&targets[target].expand(seed), seed, SHRINKING) {
            Ok(shrunk) => {
                shrink::leave(&path, &shrunk)?;
                console::say(format_args!("\n{}", shrink::story(&shrunk, &path)));
            }
            // The sweep's own verdict stands.
            Err(why) => console::note(format_args!("{invariant} in {} with seed {seed}: {why}", targets[target].name())),
        }
    }
    Ok(())
}

fn run_all(
    targets: &[Target],
    schedule: &Schedule,
    keep: Keep,
    jobs: usize,
    started: Instant,
    tally: &mut Tally,
    until: Option<&[String]>,
) {
    let (sender, done) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(run) = schedule.next() {
                    let begun = Instant::now();
                    let report = simulate(&targets[run.target].expand(run.seed), run.seed, keep);
                    let done = Done { run, report, busy: begun.elapsed(), after: started.elapsed() };
                    if sender.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut progress = Progress::new(schedule.limits(), targets.len(), started);
        loop {
            match done.recv_timeout(TICK) {
                Ok(done) => {
                    let wanted = done.report.violation.as_ref().is_some_and(|violation| {
                        until.is_some_and(|names| names.is_empty() || names.iter().any(|name| name == violation.invariant))
                    });
                    let target = done.run.target;
                    tally.add(done);
                    if wanted {
                        schedule.stop();
                    }
                    if tally.scenarios[target].violations.len() >= ENOUGH_VIOLATIONS {
                        schedule.give_up(target);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress.show(tally);
        }
        progress.close();
    });
}

fn jobs(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        Some(0) => Err(Failure::OutOfRange { option: "jobs", value: 0, range: "at least 1 is needed" }),
        Some(jobs) => Ok(jobs),
        None => Ok(std::thread::available_parallelism().map_or(1, NonZero::get)),
    }
}

fn limits(arguments: &SweepArguments) -> Limits {
    let fresh = || {
        use std::hash::{BuildHasher, Hasher};
        // The standard library's random keys are all the entropy that a first seed needs.
        std::collections::hash_map::RandomState::new().build_hasher().finish() % DRAWN_BELOW
    };
    match (arguments.seeds, arguments.time) {
        (Some(SeedRange { first, end }), time) => Limits { first, end: Some(end), time },
        (None, Some(time)) => Limits { first: fresh(), end: None, time: Some(time) },
        (None, None) => {
            let first = fresh();
            Limits { first, end: Some(first + DRAWN_SEEDS), time: None }
        }
    }
}

/// The first Ctrl-C stops handing out runs, the second one stops the process.
fn watch_for_interrupt() -> Result<Arc<std::sync::atomic::AtomicBool>, Failure> {
    let interrupted = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = interrupted.clone();
    let system = |source| Failure::System { purpose: "listen for signals", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    let watch = move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(system)?;
    Ok(interrupted)
}

/// Leaves the expanded scenario with its seed, to be edited and replayed.
fn leave(path: &Path, target: &Target, seed: u64, violation: &cofferdam_sim::verdict::Violation) -> Result<(), Failure> {
    let violated = Some(violation.invariant.to_owned());
    Ok(file::write(path, &ScenarioFile { seed: Some(seed), violated, scenario: target.expand(seed) })?)
}

/// Where the sweep stands: a bar where one can be drawn, a line now and then where not.
struct Progress {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    time: Option<Duration>,
    started: Instant,
    told: Instant,
}

impl Progress {
    fn new(limits: Limits, targets: usize, started: Instant) -> Self {
        let total = limits.end.map(|end| (end - limits.first).saturating_mul(targets as u64));
        let bar = console::is_terminal().then(|| {
            let style = "{spinner} {wide_bar} {percent:>3} % {msg} {elapsed_precise}";
            // The template is a constant; if it were wrong the default would do.
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar, total, time: limits.time, started, told: started }
    }

    fn show(&mut self, tally: &Tally) {
        let (runs, violations) = (tally.runs(), tally.violation_count());
        let of = self.total.filter(|_| self.time.is_none()).map(|total| format!("/{total}")).unwrap_or_default();
        let text = format!("{runs}{of} runs, {violations} violations");
        if let Some(bar) = &self.bar {
            bar.set_position(self.per_mille(runs));
            bar.set_message(text);
        } else if self.told.elapsed() >= PLAIN_TICK {
            self.told = Instant::now();
            console::note(format_args!("sweep: {text} after {} s", self.started.elapsed().as_secs()));
        }
    }

    /// Of the runs or of the time, whichever is further.
    fn per_mille(&self, runs: u64) -> u64 {
        let of_runs = self.total.map_or(0, |total| runs.saturating_mul(1000) / total.max(1));
        let of_time = self.time.map_or(0, |time| self.started.elapsed().as_millis().saturating_mul(1000) / time.as_millis().max(1));
        of_runs.max(u64::try_from(of_time).unwrap_or(1000)).min(1000)
    }

    fn close(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
