//! `cofferdam explore`: every interleaving of a small world, and `replay` of what it found.
//!
//! * [`engine`]: the same as a scenario for the full engine.

mod engine;

use crate::args::ExploreArguments;
use crate::console::{self, grouped, rate};
use crate::failure::{one_line, Failure, Outcome};
use cofferdam_explore::explore::{self, End, Found, Manner, Report};
use cofferdam_explore::model::Progress;
use cofferdam_explore::turn::Setup;
use cofferdam_explore::world::World;
use cofferdam_explore::worlds;
use cofferdam_scenarios::file::{self, ScenarioFile};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The exit code where no promise is broken, and a limit came before the last state.
const CUT_OFF: u8 = 5;
/// One line of progress per this time.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Explores one world, or all of them.
///
/// # Errors
/// There is no such world or bound, or a file cannot be written.
pub fn explore(arguments: &ExploreArguments) -> Result<Outcome, Failure> {
    if arguments.list {
        worlds::all().iter().for_each(|world| console::say(format_args!("{:<21} {}", world.name, world.summary)));
        return Ok(Outcome::Green);
    }
    let chosen = match &arguments.world {
        None => worlds::all(),
        Some(name) => vec![worlds::find(name).ok_or_else(|| unknown(name))?],
    };
    let worlds = chosen.into_iter().map(|world| bounded(world, arguments)).collect::<Result<Vec<_>, _>>()?;
    let manner = Manner {
        threads: arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        time: arguments.time,
        memory_bytes: Some(arguments.memory_limit_mb << 20),
        random: arguments.random.then_some(arguments.seed.unwrap_or(0)),
    };
    let mut reports = Vec::new();
    for world in worlds {
        console::say(format_args!("{}: {}", world.name, world.summary));
        let report = explore::explore(Setup::new(world), manner, progress());
        clear_progress();
        verdict(&report, manner);
        let found = report.found.clone();
        reports.push(report);
        if let Some(found) = found {
            tell(&found, &arguments.failure)?;
            break;
        }
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&reports.iter().map(figures).collect::<Vec<_>>()).expect("figures are JSON");
        write(path, &text)?;
    }
    // Walks end with the time that they were given; what is to be visited whole is not green before it is.
    let cut_off = |report: &Report| matches!(report.end, End::Memory) || (report.end == End::Time && manner.random.is_none());
    Ok(match () {
        () if !reports.iter().all(Report::is_green) => Outcome::Red,
        () if reports.iter().any(cut_off) => Outcome::Code(CUT_OFF),
        () => Outcome::Green,
    })
}

fn unknown(name: &str) -> Failure {
    let known = worlds::all().iter().map(|world| world.name).collect::<Vec<_>>().join(", ");
    Failure::UnknownWorld { name: name.to_owned(), known }
}

fn bounded(mut world: World, arguments: &ExploreArguments) -> Result<World, Failure> {
    for (name, value) in &arguments.bounds {
        world.bounds.set(name, *value).map_err(|error| Failure::Usage(error.to_string()))?;
    }
    Ok(world)
}

/// Says how far it is, once a second, on one line if that can be drawn.
fn progress() -> impl FnMut(Progress, Duration, u64) {
    let mut last = Instant::now();
    move |seen, elapsed, memory_bytes| {
        if last.elapsed() < PROGRESS_EVERY {
            return;
        }
        last = Instant::now();
        let speed = rate(seen.states as u64, elapsed.as_secs_f64());
        let text = format!(
            "{} states, {} unique, depth {}, {speed} states/s, {} MB",
            grouped(seen.states as u64),
            grouped(seen.unique as u64),
            seen.depth,
            memory_bytes >> 20
        );
        if console::is_terminal() {
            // Where nobody can be told, nobody can be told that either.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K  {text}");
        } else if elapsed.as_secs() % 10 == 0 {
            console::note(format_args!("  {text}"));
        }
    }
}

fn clear_progress() {
    if console::is_terminal() {
        // As above.
        let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
    }
}

fn verdict(report: &Report, manner: Manner) {
    let Report { seen, took, .. } = report;
    let seconds = took.as_secs_f64();
    let unique = if manner.random.is_some() { "walks" } else { "unique" };
    console::say(format_args!(
        "  {} states, {} {unique}, depth {}, in {seconds:.1} s: {} states/s, {} {unique}/s, {} MB",
        grouped(seen.states as u64),
        grouped(seen.unique as u64),
        seen.depth,
        rate(seen.states as u64, seconds),
        rate(seen.unique as u64, seconds),
        report.memory_bytes >> 20
    ));
    let how = if manner.random.is_some() && report.end == End::Time { "random walks until --for was over" } else { report.end.text() };
    console::say(format_args!("  {how}"));
    for promise in &report.promises {
        let broken = report.found.as_ref().is_some_and(|found| found.violated == promise.name());
        let all = if report.end == End::Exhausted { "holds" } else { "holds in what was seen" };
        console::say(format_args!("  always     {:<26} {}", promise.name(), if broken { "DOES NOT HOLD" } else { all }));
    }
    let not_met = report.not_met();
    for situation in &report.expected {
        let text = match (report.met.has(*situation), not_met.contains(situation)) {
            (true, _) => "met",
            (false, true) => "NEVER MET",
            (false, false) => "not met in what was seen",
        };
        console::say(format_args!("  sometimes  {:<26} {text}", situation.name()));
    }
}

fn tell(found: &Found, path: &Path) -> Result<(), Failure> {
    let (story, _) = explore::replay(found).expect("it was just found");
    console::say("");
    story.iter().for_each(console::say);
    console::say("");
    console::say(format_args!("  {} does not hold: {}", found.violated, found.witness));
    let steps = found.actions.len();
    console::say(format_args!("  {steps} steps, saved: cofferdam replay {} --trace", path.display()));
    write(path, &toml::to_string_pretty(found).expect("a path has only keys and values that TOML knows"))?;
    match engine::scenario(found) {
        Ok(scenario) => {
            let path = path.with_extension("engine.toml");
            file::write(&path, &ScenarioFile { seed: None, violated: Some(found.violated.clone()), scenario })?;
            console::say(format_args!("  the same with faults, for the full engine: cofferdam sweep {} --seeds 0..100", path.display()));
        }
        Err(why) => console::say(format_args!("  not as a scenario for the full engine: {why}")),
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::Path { purpose: "write", path: path.to_owned(), source })
}

fn figures(report: &Report) -> serde_json::Value {
    let names =
        |situations: &[cofferdam_explore::properties::Situation]| situations.iter().map(|situation| situation.name()).collect::<Vec<_>>();
    let met: Vec<_> = report.expected.iter().copied().filter(|situation| report.met.has(*situation)).collect();
    json!({
        "world": report.world,
        "bounds": report.bounds,
        "state_count": report.seen.states,
        "unique_state_count": report.seen.unique,
        "depth": report.seen.depth,
        "elapsed_seconds": report.took.as_secs_f64(),
        "memory_bytes": report.memory_bytes,
        "end": report.end.text(),
        "always": report.promises.iter().map(|promise| promise.name()).collect::<Vec<_>>(),
        "sometimes_met": names(&met),
        "sometimes_never_met": names(&report.not_met()),
        "violated": report.found.as_ref().map(|found| &found.violated),
        "witness": report.found.as_ref().map(|found| &found.witness),
        "actions": report.found.as_ref().map(|found| &found.actions),
    })
}

/// What an exploration has saved, if the file is that.
///
/// # Errors
/// It looks like it, and is not.
pub fn saved(path: &str) -> Result<Option<Found>, Failure> {
    // What cannot be read is complained about by whoever reads scenarios.
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    let is_ours = text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("world") && table.contains_key("actions"));
    if !is_ours {
        return Ok(None);
    }
    toml::from_str(&text).map(Some).map_err(|error| Failure::Usage(format!("{path}: {}", one_line(&error))))
}

/// Follows a saved path.
///
/// # Errors
/// The world is not there any more, or has changed.
pub fn replay(found: &Found, trace: bool) -> Result<Outcome, Failure> {
    let (story, broken) = explore::replay(found).map_err(|error| Failure::Usage(one_line(&error)))?;
    if trace {
        story.iter().for_each(console::say);
        console::say("");
    }
    console::say(format_args!("{} in {} steps", found.world, found.actions.len()));
    match broken {
        None => {
            console::say("  verdict      every promise holds");
            Ok(Outcome::Green)
        }
        Some(broken) => {
            console::say(format_args!("  verdict      {} does not hold", broken.promise.name()));
            console::say(format_args!("  witness      {}", broken.witness));
            Ok(Outcome::Red)
        }
    }
}
