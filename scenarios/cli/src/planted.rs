//! `cofferdam planted`: a checker that never fired proves nothing. Plants known bugs, one at a time, in a copy of the workspace,
//! and sees whether a sweep, an exploration or a test catches each by the invariant that must.
//!
//! * [`together`]: many bugs in one build, each behind a switch ([`switches`]); one that needs a build of its own gets it.
//! * [`search`]: explorations and tests.
//! * [`exploring`]: what exploration alone finds.
//! * [`survival`]: how many are caught in how much time, by what kind of search.
//! * [`manifest`]: which bugs there are.
//! * [`workspace`]: the copy, the patch, the build.

mod exploring;
mod manifest;
mod search;
mod survival;
mod switches;
mod together;
mod workspace;

use crate::args::PlantedArguments;
use crate::console;
use crate::failure::{one_line, Failure, Outcome};
use crate::sweep::Figures;
use crate::target;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use manifest::{Manifest, Planted, Search};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Instant;
use workspace::{Broken, Bug, Product, Workspace};

/// What became of a planted bug.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// By an invariant that the manifest names.
    Caught,
    /// Only other invariants noticed.
    CaughtByAnother,
    /// No seed of the range made it visible.
    NotCaught,
    /// The same run fails without the bug too.
    RedWithoutIt,
    /// The patch does not apply any more.
    DoesNotApply,
    /// The patched workspace does not build.
    DoesNotBuild,
    /// The sweep broke down.
    DoesNotRun,
}

impl Verdict {
    fn text(&self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::CaughtByAnother => "CAUGHT BY ANOTHER",
            Self::NotCaught => "NOT CAUGHT",
            Self::RedWithoutIt => "RED WITHOUT IT",
            Self::DoesNotApply => "DOES NOT APPLY",
            Self::DoesNotBuild => "DOES NOT BUILD",
            Self::DoesNotRun => "DOES NOT RUN",
        }
    }
}

/// One row of the table.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    bug: String,
    title: String,
    invariant: String,
    verdict: Verdict,
    /// The invariant that noticed first.
    caught_by: Option<String>,
    /// In which scenario, world or package.
    scenario: Option<String>,
    /// With which seed.
    seed: Option<u64>,
    /// Runs up to and with the one that noticed; all runs if none did.
    seeds_until_caught: Option<u64>,
    /// Seconds of sweeping, without the build.
    seconds_until_caught: Option<f64>,
    /// Processor seconds of the whole search.
    cpu_seconds: Option<f64>,
    /// What the failing run was, and what is left of it once it has been made small.
    shrunk: Option<search::Made>,
    witness: Option<String>,
    /// Why there is no verdict.
    problem: Option<String>,
}

/// Plants the bugs that are asked for, or all.
///
/// # Errors
/// There is no such bug, or no workspace to plant it in.
pub fn planted(arguments: &PlantedArguments) -> Result<Outcome, Failure> {
    let workspace = Workspace::find()?;
    let manifest = Manifest::read(&workspace.manifest())?;
    if arguments.explore {
        return exploring::explore(&workspace, &manifest, arguments);
    }
    if arguments.survival {
        return survival::survival(&workspace, &manifest, arguments);
    }
    let selected = manifest.select(&arguments.ids)?;
    let is_selected = |planted: &Planted| selected.iter().any(|selected| selected.id == planted.id);
    // All of them, so that the next selection finds what this one has built.
    let all = manifest.select(&[])?;
    // For one bug, its own build is as fast, and closer to what the patch says.
    let switched = if selected.len() > 1 { together::plant(&workspace, &all, Product::Binary)? } else { BTreeSet::new() };
    let mut rows = BTreeMap::new();
    let numbered = || all.iter().enumerate().map(|(at, planted)| (at + 1, *planted)).filter(|(_, planted)| is_selected(planted));
    // Builds of their own come last: they overwrite the common one.
    let alone = numbered().filter(|(number, _)| !switched.contains(number));
    for (number, planted) in numbered().filter(|(number, _)| switched.contains(number)).chain(alone) {
        console::note(format_args!("{}: {}", planted.id, planted.title));
        let bug = if switched.contains(&number) { Bug::Switched(number) } else { Bug::BuiltIn };
        let row = plant(&workspace, planted, bug, arguments)?;
        console::note(format_args!(
            "{}: {}{}",
            planted.id,
            row.verdict.text(),
            row.problem.as_deref().map(|why| format!(", {why}")).unwrap_or_default()
        ));
        rows.insert(number, row);
    }
    let rows: Vec<Row> = rows.into_values().collect();
    if arguments.json {
        console::say(serde_json::to_string_pretty(&rows).expect("rows have text keys and finite numbers"));
    } else {
        console::say(table(&rows));
    }
    let all_caught = rows.iter().all(|row| matches!(row.verdict, Verdict::Caught));
    Ok(if all_caught { Outcome::Green } else { Outcome::Red })
}

fn plant(workspace: &Workspace, planted: &Planted, bug: Bug, arguments: &PlantedArguments) -> Result<Row, Failure> {
    let mut row = Row {
        id: planted.id.clone(),
        bug: planted.bug.clone(),
        title: planted.title.clone(),
        invariant: planted.invariant.clone(),
        verdict: Verdict::NotCaught,
        caught_by: None,
        scenario: None,
        seed: None,
        seeds_until_caught: None,
        seconds_until_caught: None,
        cpu_seconds: None,
        shrunk: None,
        witness: None,
        problem: None,
    };
    match bug {
        Bug::Switched(_) => {}
        Bug::BuiltIn => {
            if let Err(broken) = build_alone(workspace, planted)? {
                (row.verdict, row.problem) = match broken {
                    Broken::Patch(why) => (Verdict::DoesNotApply, Some(why)),
                    Broken::Build(why) => (Verdict::DoesNotBuild, Some(why)),
                };
                return Ok(row);
            }
        }
    }
    let before = search::cpu_of_children();
    let searched = match planted.search() {
        Search::Sweep => match sweep(workspace, planted, bug, arguments.jobs)? {
            Ok(figures) => judge(planted, &figures, &mut row).map(Ok)?,
            Err(why) => Err(why),
        },
        Search::Explore(worlds) => search::explore(workspace, planted, bug, worlds, &mut row)?,
        Search::Test(tests) => search::test(workspace, planted, bug, tests, &mut row)?,
    };
    // A test is built first; how long that takes says nothing about the bug.
    if !matches!(planted.search(), Search::Test(_)) {
        row.cpu_seconds = search::cpu_of_children().zip(before).map(|(after, before)| after - before);
    }
    if arguments.shrink && row.seed.is_some() {
        row.shrunk = search::shrink(workspace, planted, bug)?;
    }
    if let Err(why) = searched {
        (row.verdict, row.problem) = (Verdict::DoesNotRun, Some(why));
    }
    Ok(row)
}

fn build_alone(workspace: &Workspace, planted: &Planted) -> Result<Result<(), Broken>, Failure> {
    let begun = Instant::now();
    let built = match (workspace.apply(&planted.patch)?, planted.search()) {
        (Ok(()), Search::Sweep | Search::Explore(_)) => workspace.build(Product::Binary, &planted.features)?,
        (applied, _) => applied,
    };
    if built.is_ok() {
        console::note(format_args!("{}: built in {:.0} s", planted.id, begun.elapsed().as_secs_f64()));
    }
    Ok(built)
}

/// Sweeps with the patched binary, until one of the named invariants is violated. `Err` says why it broke down.
fn sweep(workspace: &Workspace, planted: &Planted, bug: Bug, jobs: Option<usize>) -> Result<Result<Figures, String>, Failure> {
    let (json, failure) = (workspace.scratch(&planted.id, "json"), workspace.scratch(&planted.id, "toml"));
    let mut command = Command::new(workspace.binary());
    bug.tell(&mut command);
    command.arg("sweep").args(&planted.scenarios).args(["--seeds", &planted.seeds]);
    command.arg(format!("--until-violation={}", planted.accepted().join(",")));
    command.arg("--json").arg(&json).arg("--failure").arg(&failure).args(["--police", "0"]);
    if planted.is_validated() {
        command.arg("--validate");
    }
    if let Some(jobs) = jobs {
        command.args(["--jobs", &jobs.to_string()]);
    }
    let output = command.output().map_err(|source| Failure::System { purpose: "start the patched sweep", source })?;
    let text = std::fs::read_to_string(&json).map_err(|source| Failure::Path { purpose: "read", path: json, source });
    if !matches!(output.status.code(), Some(0 | 1)) {
        let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        return Ok(Err(format!("{}: {last}", output.status)));
    }
    Ok(serde_json::from_str(&text?).map_err(|error| one_line(&error)))
}

fn judge(planted: &Planted, figures: &Figures, row: &mut Row) -> Result<(), Failure> {
    let accepted = planted.accepted();
    let right = figures.violations.iter().find(|violation| accepted.contains(&violation.invariant));
    let Some(found) = right.or(figures.violations.first()) else {
        row.seeds_until_caught = Some(figures.runs());
        return Ok(());
    };
    row.verdict = if right.is_some() { Verdict::Caught } else { Verdict::CaughtByAnother };
    row.caught_by = Some(found.invariant.clone());
    row.scenario = Some(found.scenario.clone());
    row.seed = Some(found.seed);
    row.seeds_until_caught = Some(found.run);
    row.seconds_until_caught = Some(found.after_s);
    row.witness = Some(found.witness.clone());
    // This process is built without the bug: the same run must be green here, or the bug was not what was caught.
    let healthy = simulate(
        &target::one(&found.scenario)?.expand(found.seed),
        found.seed,
        Keep { validate: planted.is_validated(), ..Keep::default() },
    );
    if let Some(violation) = healthy.violation {
        row.verdict = Verdict::RedWithoutIt;
        row.problem = Some(format!("{}: {}", violation.invariant, violation.witness));
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut table = console::table();
    table.set_header(["id", "bug", "invariant", "caught by", "in", "seeds", "seconds", "CPU s", "shrunk", "verdict"]);
    for row in rows {
        let seed = row.seed.map(|seed| format!(" --seed {seed}")).unwrap_or_default();
        let scenario = row.scenario.as_deref().map(|scenario| format!("{scenario}{seed}"));
        table.add_row([
            row.id.clone(),
            format!("{}: {}", row.bug, row.title),
            row.invariant.clone(),
            row.caught_by.clone().unwrap_or_else(|| "-".into()),
            scenario.unwrap_or_else(|| "-".into()),
            row.seeds_until_caught.map_or("-".into(), |seeds| seeds.to_string()),
            row.seconds_until_caught.map_or("-".into(), |seconds| format!("{seconds:.1}")),
            row.cpu_seconds.map_or("-".into(), |seconds| format!("{seconds:.2}")),
            row.shrunk.as_ref().map_or("-".into(), |made| made.small.clone()),
            row.verdict.text().into(),
        ]);
    }
    table.to_string()
}
