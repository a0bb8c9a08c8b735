//! `cofferdam planted --explore`: which bugs of the protocol are found by exploration alone, in which world, and in how many states.
//!
//! Only the machines and the worlds around them are built, not the engine, with as many bugs at once as can be switched.

use super::manifest::{Manifest, Planted};
use super::together;
use super::workspace::{Broken, Bug, Product, Workspace};
use crate::args::PlantedArguments;
use crate::console::{self, grouped};
use crate::failure::{one_line, Failure, Outcome};
use cofferdam_explore::explore::{self as exploration, Manner};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

/// Where the machines are.
const MACHINES: &str = "+++ b/engine/protocol/src/";
/// No world is explored for longer, if nothing else was said.
const BUDGET: Duration = Duration::from_secs(20);

/// What became of a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// A promise does not hold, or something that has to happen never does.
    Found,
    /// Every promise holds in what was seen: it takes a sweep.
    NotFound,
    /// The same world is red without the bug too.
    RedWithoutIt,
    /// The patch does not apply any more.
    DoesNotApply,
    /// The patched machines do not build.
    DoesNotBuild,
    /// The exploration broke down.
    DoesNotRun,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not found",
            Self::RedWithoutIt => "RED WITHOUT IT",
            Self::DoesNotApply => "DOES NOT APPLY",
            Self::DoesNotBuild => "DOES NOT BUILD",
            Self::DoesNotRun => "DOES NOT RUN",
        }
    }
}

/// What came of one world, as `examples/worlds.rs` of the explorer says.
#[derive(Debug, Deserialize)]
struct Explored {
    world: String,
    states: u64,
    unique: u64,
    seconds: f64,
    violated: Option<String>,
    witness: Option<String>,
    never_met: Vec<String>,
    steps: Option<u64>,
}

impl Explored {
    /// What is wrong: a promise that does not hold, or something that has to happen and never does.
    fn red(&self) -> Option<String> {
        let never = self.never_met.first().map(|situation| format!("{situation} is never met"));
        self.violated.clone().or(never)
    }
}

/// One row of the table.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    bug: String,
    title: String,
    verdict: Verdict,
    /// Where it was found.
    world: Option<String>,
    promise: Option<String>,
    /// The length of the shortest path.
    steps: Option<u64>,
    /// Of that world, until it was found.
    states: u64,
    unique_states: u64,
    /// How many worlds were explored, this one included, and how many different states they have.
    worlds: usize,
    unique_states_of_all: u64,
    seconds: f64,
    /// Whether a sweep or a test must find it too, by the manifest.
    found_otherwise: bool,
    witness: Option<String>,
    problem: Option<String>,
}

/// Explores with each bug that is in the machines.
///
/// # Errors
/// There is no such bug, or no workspace to plant it in.
pub fn explore(workspace: &Workspace, manifest: &Manifest, arguments: &PlantedArguments) -> Result<Outcome, Failure> {
    let chosen = manifest.select(&arguments.ids)?;
    let budget = arguments.time.unwrap_or(BUDGET);
    let mut healthy = BTreeMap::new();
    let mut selected = Vec::new();
    for planted in &chosen {
        if is_in_machines(planted)? {
            selected.push(*planted);
        }
    }
    let elsewhere = chosen.len() - selected.len();
    let switched = if selected.len() > 1 { together::plant(workspace, &selected, Product::Worlds)? } else { BTreeSet::new() };
    let mut rows = Vec::new();
    let numbered = || selected.iter().enumerate().map(|(at, planted)| (at + 1, *planted));
    // Builds of their own come last: they overwrite the common one.
    let alone = numbered().filter(|(number, _)| !switched.contains(number));
    for (number, planted) in numbered().filter(|(number, _)| switched.contains(number)).chain(alone) {
        console::note(format_args!("{}: {}", planted.id, planted.title));
        let bug = if switched.contains(&number) { Bug::Switched(number) } else { Bug::BuiltIn };
        let row = plant(workspace, planted, bug, budget, &mut healthy)?;
        let place = row.world.as_deref().map(|world| format!(" in {world}")).unwrap_or_default();
        let problem = row.problem.as_deref().map(|problem| format!(", {problem}")).unwrap_or_default();
        console::note(format_args!("{}: {}{place}{problem}", planted.id, row.verdict.text()));
        rows.push(row);
    }
    if arguments.json {
        console::say(serde_json::to_string_pretty(&rows).expect("rows have text keys and finite numbers"));
    } else {
        let found = rows.iter().filter(|row| row.verdict == Verdict::Found).count();
        console::say(table(&rows));
        console::say(format_args!(
            "Of {} planted bugs in the protocol exploration alone finds {found}; {elsewhere} are elsewhere, where it does not look.",
            rows.len()
        ));
    }
    // One that is for a sweep or a test to find need not be found here.
    let owed = |row: &&Row| row.verdict != Verdict::Found && !(row.found_otherwise && row.verdict == Verdict::NotFound);
    Ok(if rows.iter().any(|row| owed(&row)) { Outcome::Red } else { Outcome::Green })
}

fn is_in_machines(planted: &Planted) -> Result<bool, Failure> {
    let read = std::fs::read_to_string(&planted.patch);
    let patch = read.map_err(|source| Failure::Path { purpose: "read", path: planted.patch.clone(), source })?;
    Ok(patch.lines().any(|line| line.starts_with(MACHINES)))
}

/// Those that the manifest names, and then all.
fn descriptions(planted: &Planted) -> Vec<String> {
    let mut worlds = planted.worlds.clone();
    let named: Vec<String> =
        worlds::all().iter().map(|world| world.name.to_owned()).filter(|name| !planted.worlds.contains(name)).collect();
    worlds.extend(named);
    worlds
}

fn plant(
    workspace: &Workspace,
    planted: &Planted,
    bug: Bug,
    budget: Duration,
    healthy: &mut BTreeMap<String, bool>,
) -> Result<Row, Failure> {
    let mut row = Row {
        id: planted.id.clone(),
        bug: planted.bug.clone(),
        title: planted.title.clone(),
        verdict: Verdict::NotFound,
        world: None,
        promise: None,
        steps: None,
        states: 0,
        unique_states: 0,
        worlds: 0,
        unique_states_of_all: 0,
        seconds: 0.0,
        found_otherwise: planted.worlds.is_empty(),
        witness: None,
        problem: None,
    };
    let built = match bug {
        Bug::Switched(_) => Ok(()),
        Bug::BuiltIn => match workspace.apply(&planted.patch)? {
            Ok(()) => workspace.build(Product::Worlds, &[])?,
            broken => broken,
        },
    };
    if let Err(broken) = built {
        (row.verdict, row.problem) = match broken {
            Broken::Patch(why) => (Verdict::DoesNotApply, Some(why)),
            Broken::Build(why) => (Verdict::DoesNotBuild, Some(why)),
        };
        return Ok(row);
    }
    let mut command = Command::new(workspace.explorer());
    bug.tell(&mut command);
    command.arg(budget.as_secs().max(1).to_string()).args(descriptions(planted));
    let output = command.output().map_err(|source| Failure::System { purpose: "start the patched exploration", source })?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let explored: Explored = match serde_json::from_str(line) {
            Ok(explored) => explored,
            Err(error) => {
                (row.verdict, row.problem) = (Verdict::DoesNotRun, Some(one_line(&error)));
                return Ok(row);
            }
        };
        row.worlds += 1;
        row.unique_states_of_all += explored.unique;
        row.seconds += explored.seconds;
        if let Some(red) = explored.red() {
            row.verdict = if is_green(&explored.world, budget, healthy) { Verdict::Found } else { Verdict::RedWithoutIt };
            (row.states, row.unique_states, row.steps) = (explored.states, explored.unique, explored.steps);
            (row.world, row.promise, row.witness) = (Some(explored.world), Some(red), explored.witness);
        }
    }
    if !output.status.success() {
        let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        (row.verdict, row.problem) = (Verdict::DoesNotRun, Some(format!("{}: {last}", output.status)));
    }
    Ok(row)
}

/// This process is built without the bug: here every promise must hold in that world.
fn is_green(description: &str, budget: Duration, healthy: &mut BTreeMap<String, bool>) -> bool {
    if let Some(green) = healthy.get(description) {
        return *green;
    }
    let mut words = description.split(' ');
    let Some(mut world) = words.next().and_then(worlds::find) else { return false };
    let bounded = words.all(|word| {
        let bound = word.split_once('=').and_then(|(bound, value)| Some((bound, value.parse().ok()?)));
        bound.is_some_and(|(bound, value)| world.bounds.set(bound, value).is_ok())
    });
    let manner = Manner { time: Some(budget), ..Manner::default() };
    let green = bounded && exploration::explore(Setup::new(world), manner, |_, _, _| {}).is_green();
    healthy.insert(description.to_owned(), green);
    green
}

fn table(rows: &[Row]) -> String {
    let mut table = console::table();
    table.set_header(["id", "bug", "promise", "in", "steps", "unique states", "worlds", "of all", "seconds", "verdict"]);
    for row in rows {
        let found = row.world.is_some();
        table.add_row([
            row.id.clone(),
            format!("{}: {}", row.bug, row.title),
            row.promise.clone().unwrap_or_else(|| "-".into()),
            row.world.clone().unwrap_or_else(|| "-".into()),
            row.steps.map_or("-".into(), |steps| steps.to_string()),
            if found { grouped(row.unique_states) } else { "-".into() },
            row.worlds.to_string(),
            grouped(row.unique_states_of_all),
            format!("{:.1}", row.seconds),
            row.verdict.text().into(),
        ]);
    }
    table.to_string()
}
