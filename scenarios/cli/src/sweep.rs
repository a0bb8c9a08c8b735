//! `cofferdam sweep`: many seeds over many scenarios, each run judged.
//!
//! * [`schedule`]: which run is next, and when there is none.
//! * [`police`]: runs that are done twice.
//! * [`tally`]: what came of the runs so far; [`resume`]: the same in a file.
//! * [`report`], [`coverage`], [`junit`]: what is told at the end; [`bar`]: what is told meanwhile.

mod bar;
mod coverage;
mod junit;
mod police;
mod report;
mod resume;
mod schedule;
mod tally;

pub use report::{Figures, Summary};

use crate::args::{SeedRange, SweepArguments};
use crate::console;
use crate::failure::{Failure, Outcome};
use crate::shrink;
use crate::target::{self, Target};
use bar::Bar;
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::{Keep, Report};
use coverage::Coverage;
use police::Parted;
use resume::{Ledger, Saved, Sweep};
use schedule::{Limits, Run, Schedule};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::{Found, Tally};

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

/// How often the file to be gone on from is written.
const SAVING: Duration = Duration::from_secs(2);

/// One run, done.
struct Done {
    run: Run,
    report: Report,
    busy: Duration,
    after: Duration,
    /// Whether it was done twice.
    policed: bool,
    /// How the second one was another.
    parted: Option<Parted>,
}

/// Runs them all and tells what came of it.
///
/// # Errors
/// Something on the command line cannot be, or a file cannot be written.
pub fn sweep(arguments: SweepArguments) -> Result<Outcome, Failure> {
    let targets = target::all(&arguments.targets)?;
    let jobs = jobs(arguments.jobs)?;
    let mut standing = begin(&arguments, &targets)?;
    let limits = standing.limits;
    for path in arguments.json.iter().chain(&arguments.junit) {
        // Before the work, not after it.
        write(path, "")?;
    }
    console::say(format_args!("seeds {limits}"));
    let interrupted = watch_for_interrupt()?;
    let schedule = Schedule::new(targets.len(), limits, interrupted.clone()).without(standing.saved.ledger.clone());
    let (begun, resumed) = (standing.saved.elapsed, standing.saved.tally.runs());
    for (target, scenario) in standing.saved.tally.scenarios.iter().enumerate() {
        if scenario.violations.len() >= ENOUGH_VIOLATIONS {
            schedule.give_up(target);
        }
    }
    let started = Instant::now();
    run_all(&targets, &schedule, jobs, started, &mut standing, &arguments)?;
    let (elapsed, interrupted) = (begun + started.elapsed(), interrupted.load(std::sync::atomic::Ordering::Relaxed));
    let tally = &standing.saved.tally;
    let summary = Summary { limits, jobs, elapsed, interrupted, resumed };
    let coverage = Coverage::of(tally);
    console::say(report::table(tally, &summary));
    console::say(format_args!("{}\n{}", coverage.table(), coverage.summary()));
    if let Some(path) = &arguments.json {
        write(path, &report::json(tally, &coverage, &summary))?;
    }
    if let Some(path) = &arguments.junit {
        write(path, &junit::xml(tally, &targets, arguments.require_coverage.then_some(&coverage)))?;
    }
    for (scenario, parted) in tally.scenarios.iter().filter_map(|scenario| Some((scenario, scenario.parted.first()?))) {
        console::say(police::story(parted, &scenario.name));
    }
    tell_violations(tally, &targets, &arguments, interrupted)?;
    let covered = !arguments.require_coverage || coverage.is_whole();
    if !covered {
        console::say("\nCOVERAGE is required, and not whole: see above");
    }
    let green = covered && tally.violation_count() == 0 && tally.parted_count() == 0;
    Ok(if green { Outcome::Green } else { Outcome::Red })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::Path { purpose: "write", path: path.to_owned(), source })
}

fn tell_violations(tally: &Tally, targets: &[Target], arguments: &SweepArguments, interrupted: bool) -> Result<(), Failure> {
    let Some(first) = tally.first_violation() else { return Ok(()) };
    leave(&arguments.failure, &targets[first.run.target], first)?;
    for text in report::violations(tally, targets, &arguments.failure) {
        console::say(text);
    }
    if !arguments.no_shrink && arguments.until_violation.is_none() && !interrupted {
        shrink_each_kind(tally, targets, &arguments.failure)?;
    }
    Ok(())
}

/// Where a sweep stands, and where that is kept.
struct Standing {
    saved: Saved,
    limits: Limits,
    path: Option<PathBuf>,
}

/// From the beginning, or from where a sweep was stopped.
fn begin(arguments: &SweepArguments, targets: &[Target]) -> Result<Standing, Failure> {
    let limits = limits(arguments);
    let path = arguments.resume.clone();
    let fresh = |sweep| Saved { sweep, ledger: Ledger::default(), tally: Tally::new(targets), elapsed: Duration::ZERO };
    let Some(file) = &path else {
        let sweep = Sweep { build: 0, targets: Vec::new(), first: limits.first, end: limits.end, police: arguments.police };
        return Ok(Standing { saved: fresh(sweep), limits, path });
    };
    let Some(saved) = resume::read(file)? else {
        let saved = fresh(Sweep::new(targets, limits, arguments.police)?);
        resume::write(file, &saved)?;
        return Ok(Standing { saved, limits, path });
    };
    // Fresh seeds were drawn once; a bound of time is for each process.
    let limits = match arguments.seeds {
        Some(_) => limits,
        None => Limits { first: saved.sweep.first, end: saved.sweep.end, ..limits },
    };
    resume::check(file, &saved.sweep, &Sweep::new(targets, limits, arguments.police)?)?;
    Ok(Standing { saved, limits, path })
}

/// The first failure of each kind becomes small, beside the file of the first of all: `failure.INVARIANT.toml`.
fn shrink_each_kind(tally: &Tally, targets: &[Target], failure: &Path) -> Result<(), Failure> {
    let mut first: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (number, scenario) in tally.scenarios.iter().enumerate() {
        for found in &scenario.violations {
            first.entry(&found.invariant).or_insert((number, found.run.seed));
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
    jobs: usize,
    started: Instant,
    standing: &mut Standing,
    arguments: &SweepArguments,
) -> Result<(), Failure> {
    let until = arguments.until_violation.as_deref();
    let before = standing.saved.elapsed;
    let mut kept = Instant::now();
    let (sender, done) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(run) = schedule.next() {
                    // Whoever adds them up has met an error.
                    if sender.send(perform(run, &targets[run.target], arguments, started)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut bar = Bar::new(schedule.limits(), targets.len(), started);
        let outcome = loop {
            match done.recv_timeout(TICK) {
                Ok(Ok(done)) => {
                    let wanted = done.report.violation.as_ref().is_some_and(|violation| {
                        until.is_some_and(|names| names.is_empty() || names.iter().any(|name| name == violation.invariant))
                    });
                    let Saved { ledger, tally, elapsed, .. } = &mut standing.saved;
                    let (target, index) = (done.run.target, done.run.index);
                    tally.add(done);
                    if wanted {
                        schedule.stop();
                    }
                    if tally.scenarios[target].violations.len() >= ENOUGH_VIOLATIONS {
                        schedule.give_up(target);
                    }
                    ledger.done(index, |index| schedule.is_skipped(index));
                    *elapsed = before + started.elapsed();
                }
                Ok(Err(failure)) => break Err(failure),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            bar.show(&standing.saved.tally);
            if let Some(path) = standing.path.as_ref().filter(|_| kept.elapsed() >= SAVING) {
                kept = Instant::now();
                if let Err(failure) = resume::write(path, &standing.saved) {
                    break Err(failure);
                }
            }
        };
        schedule.stop();
        drop(done);
        bar.close();
        outcome
    })?;
    match &standing.path {
        Some(path) => resume::write(path, &standing.saved),
        None => Ok(()),
    }
}

/// One run, or two of it.
fn perform(run: Run, target: &Target, arguments: &SweepArguments, started: Instant) -> Result<Done, Failure> {
    let begun = Instant::now();
    let once = |keep| simulate(&target.expand(run.seed), run.seed, keep);
    let policed = police::is_due(target.name(), run.seed, arguments.police);
    let keep = Keep { validate: arguments.validate, ..Keep::default() };
    let (report, parted) = if policed { police::twice(run, target.name(), &arguments.failure, once)? } else { (once(keep), None) };
    Ok(Done { run, report, busy: begun.elapsed(), after: started.elapsed(), policed, parted })
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
fn leave(path: &Path, target: &Target, found: &Found) -> Result<(), Failure> {
    let (seed, violated) = (found.run.seed, Some(found.invariant.clone()));
    Ok(file::write(path, &ScenarioFile { seed: Some(seed), violated, scenario: target.expand(seed) })?)
}
