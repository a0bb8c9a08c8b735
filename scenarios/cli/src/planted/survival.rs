//! `cofferdam planted --survival`: how many bugs are caught in how much time, by three ways to search.
//!
//! * Plain random: one world, every kind of fault as likely as the others, at random times (the scenario `random`).
//! * Swarms: the world and what goes wrong in it are drawn for each seed (`swarm`).
//! * Random with moments: as the first, and one or two crashes pinned to a moment of the protocol (`random-moments`).
//!
//! Each of them searches for each bug, seed by seed with one job, until an invariant that the manifest names is violated or the time is over.
//! All bugs are in one build. What counts are the processor seconds of the search, start of its process included.

mod curve;

use super::manifest::{Manifest, Planted, Search};
use super::search::cpu_of;
use super::together;
use super::workspace::{Bug, Product, Workspace};
use crate::args::PlantedArguments;
use crate::console;
use crate::failure::{one_line, Failure, Outcome};
use crate::sweep::Figures;
use crate::target;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use curve::{Searched, Strategy};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a search is looked at.
const TICK: Duration = Duration::from_millis(2);
/// More seeds than any search has time for.
const SEEDS: u64 = 1 << 40;

/// Searches for each bug that a sweep must find, in each of the three ways.
///
/// # Errors
/// There is no such bug, no workspace to plant it in, or the drawing cannot be written.
pub fn survival(workspace: &Workspace, manifest: &Manifest, arguments: &PlantedArguments) -> Result<Outcome, Failure> {
    let (all, selected) = (manifest.select(&[])?, manifest.select(&arguments.ids)?);
    // All of them, as always: what is built for one selection serves any other.
    let switched = together::plant(workspace, &all, Product::Binary)?;
    let is_selected = |planted: &Planted| selected.iter().any(|selected| selected.id == planted.id);
    let swept = all.iter().enumerate().map(|(at, planted)| (at + 1, *planted));
    let swept = swept.filter(|(_, planted)| is_selected(planted) && matches!(planted.search(), Search::Sweep));
    let (mut bugs, alone): (Vec<(usize, &Planted)>, Vec<_>) = swept.partition(|(number, _)| switched.contains(number));
    console::note(format_args!("{} bugs are searched, {} need builds of their own and are left out", bugs.len(), alone.len()));
    // The first of them is taken from the end.
    bugs.reverse();
    let jobs = match arguments.jobs {
        Some(0) => return Err(Failure::OutOfRange { option: "jobs", value: 0, range: "at least 1 is needed" }),
        Some(jobs) => jobs,
        None => std::thread::available_parallelism().map_or(1, NonZero::get),
    };
    let (bugs, searched) = (Mutex::new(bugs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let one_after_the_other = || -> Result<(), Failure> {
            loop {
                let Some((number, planted)) = bugs.lock().expect("nobody panics with it").pop() else { return Ok(()) };
                for strategy in Strategy::ALL {
                    let found = search(workspace, planted, Bug::Switched(number), strategy, arguments.limit)?;
                    console::note(&found);
                    searched.lock().expect("nobody panics with it").push(found);
                }
            }
        };
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(one_after_the_other)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a search does not panic"))
    })?;
    let mut searched = searched.into_inner().expect("nobody panics with it");
    searched.sort_by(|a, b| (&a.id, a.strategy).cmp(&(&b.id, b.strategy)));
    if let Some(path) = &arguments.svg {
        let written = curve::plot(path, &searched, arguments.limit).map_err(|error| std::io::Error::other(error.to_string()));
        written.map_err(|source| Failure::Path { purpose: "draw into", path: path.clone(), source })?;
    }
    if arguments.json {
        console::say(serde_json::to_string_pretty(&searched).expect("text and finite numbers"));
    } else {
        console::say(curve::table(&searched, arguments.limit));
        console::say(curve::only(&searched));
    }
    Ok(Outcome::Green)
}

/// Sweeps over the scenario of the strategy, from seed 0 on, until the bug is caught or the time is over.
fn search(workspace: &Workspace, planted: &Planted, bug: Bug, strategy: Strategy, limit_s: f64) -> Result<Searched, Failure> {
    let name = format!("{}.{}", planted.id, strategy.scenario());
    let (json, failure) = (workspace.scratch(&name, "json"), workspace.scratch(&name, "toml"));
    let mut searched = Searched { id: planted.id.clone(), bug: planted.bug.clone(), strategy, cpu_s: 0.0, runs: 0, caught_by: None };
    while searched.cpu_s < limit_s {
        let first = searched.runs;
        let mut command = Command::new(workspace.binary());
        bug.tell(&mut command);
        command.args(["sweep", strategy.scenario(), "--seeds", &format!("{first}..{}", first + SEEDS)]);
        command.arg(format!("--until-violation={}", planted.accepted().join(",")));
        command.arg("--json").arg(&json).arg("--failure").arg(&failure).args(["--police", "0", "--jobs", "1"]);
        if planted.is_validated() {
            command.arg("--validate");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|source| Failure::System { purpose: "start the patched sweep", source })?;
        let (cpu_s, ended) = watch(child, limit_s - searched.cpu_s)?;
        searched.cpu_s += cpu_s;
        if !ended {
            break;
        }
        let read = std::fs::read_to_string(&json).map_err(|source| Failure::Path { purpose: "read", path: json.clone(), source })?;
        let Ok(figures) = serde_json::from_str::<Figures>(&read).map_err(|error| one_line(&error)) else { break };
        // A sweep also ends when it has seen enough of what was not asked for: then another one goes on behind it.
        searched.runs += figures.runs().max(1);
        let accepted = planted.accepted();
        let Some(found) = figures.violations.iter().find(|violation| accepted.contains(&violation.invariant)) else { continue };
        let keep = Keep { validate: planted.is_validated(), ..Keep::default() };
        // Built without the bug, this process must find the same run green.
        if simulate(&target::one(&found.scenario)?.expand(found.seed), found.seed, keep).violation.is_none() {
            searched.caught_by = Some(found.invariant.clone());
            break;
        }
    }
    searched.cpu_s = searched.cpu_s.min(limit_s);
    Ok(searched)
}

/// Waits until a process ends or has used up its processor time. What it used, and whether it ended by itself.
fn watch(mut child: Child, limit_s: f64) -> Result<(f64, bool), Failure> {
    let system = |source| Failure::System { purpose: "wait for the patched sweep", source };
    let begun = Instant::now();
    let mut used_s = 0.0;
    loop {
        // Where nobody counts it, time by the clock stands for it.
        used_s = cpu_of(child.id()).unwrap_or_else(|| begun.elapsed().as_secs_f64()).max(used_s);
        if child.try_wait().map_err(system)?.is_some() {
            return Ok((used_s, true));
        }
        if used_s >= limit_s {
            child.kill().map_err(system)?;
            child.wait().map_err(system)?;
            return Ok((used_s, false));
        }
        std::thread::sleep(TICK);
    }
}
