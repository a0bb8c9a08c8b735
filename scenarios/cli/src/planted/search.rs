//! Bugs that no sweep has to look for: explorations of small worlds, and tests.

use super::manifest::Planted;
use super::workspace::{Broken, Bug, Workspace};
use super::{Row, Verdict};
use crate::failure::{one_line, Failure};
use cofferdam_explore::explore::{self as exploration, Manner};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Instant;

/// What is needed of the figures of an exploration.
#[derive(Deserialize)]
struct Explored {
    violated: Option<String>,
    witness: Option<String>,
    elapsed_seconds: f64,
}

/// Explores worlds with the patched binary, until a promise does not hold. `Err` says why it broke down.
///
/// # Errors
/// The binary cannot be started, or its figures not be read.
pub fn explore(
    workspace: &Workspace,
    planted: &Planted,
    bug: Bug,
    worlds: &[String],
    row: &mut Row,
) -> Result<Result<(), String>, Failure> {
    for world in worlds {
        let (json, failure) = (workspace.scratch(&planted.id, "json"), workspace.scratch(&planted.id, "toml"));
        let mut words = world.split(' ');
        let name = words.next().unwrap_or_default();
        let bounds: Vec<&str> = words.collect();
        let mut command = Command::new(workspace.binary());
        bug.tell(&mut command);
        command.args(["explore", name]).args(bounds.iter().flat_map(|bound| ["--bound", bound]));
        command.arg("--json").arg(&json).arg("--failure").arg(&failure);
        let output = command.output().map_err(|source| Failure::System { purpose: "start the patched exploration", source })?;
        if !matches!(output.status.code(), Some(0 | 1 | 4)) {
            let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            return Ok(Err(format!("{}: {last}", output.status)));
        }
        let text = std::fs::read_to_string(&json).map_err(|source| Failure::Path { purpose: "read", path: json, source })?;
        let explored: Vec<Explored> = match serde_json::from_str(&text) {
            Ok(explored) => explored,
            Err(error) => return Ok(Err(one_line(&error))),
        };
        for Explored { violated, witness, elapsed_seconds } in explored {
            let Some(promise) = violated else { continue };
            row.verdict = if planted.accepted().contains(&promise) { Verdict::Caught } else { Verdict::CaughtByAnother };
            (row.caught_by, row.witness) = (Some(promise), witness);
            row.scenario = Some(world.clone());
            row.seconds_until_caught = Some(elapsed_seconds);
            if !is_green(name, &bounds) {
                row.verdict = Verdict::RedWithoutIt;
            }
            return Ok(Ok(()));
        }
    }
    Ok(Ok(()))
}

/// This process is built without the bug: here every promise must hold.
fn is_green(name: &str, bounds: &[&str]) -> bool {
    let Some(mut world) = worlds::find(name) else { return false };
    for (bound, value) in bounds.iter().filter_map(|bound| bound.split_once('=')) {
        if !value.parse().is_ok_and(|value| world.bounds.set(bound, value).is_ok()) {
            return false;
        }
    }
    exploration::explore(Setup::new(world), Manner::default(), |_, _, _| {}).found.is_none()
}

/// Runs tests in the patched copy, until one fails, and then the same where there is no bug. `Err` says why it broke down.
///
/// # Errors
/// cargo cannot be started.
pub fn test(workspace: &Workspace, planted: &Planted, bug: Bug, tests: &[String], row: &mut Row) -> Result<Result<(), String>, Failure> {
    let accepted = planted.accepted();
    for test in tests {
        let begun = Instant::now();
        let failed = match workspace.test(Some(bug), test)? {
            Ok(failed) => failed,
            Err(Broken::Build(why) | Broken::Patch(why)) => {
                (row.verdict, row.problem) = (Verdict::DoesNotBuild, Some(why));
                return Ok(Ok(()));
            }
        };
        let right = failed.iter().find(|failed| accepted.contains(failed));
        let Some(found) = right.or(failed.first()) else { continue };
        row.verdict = if right.is_some() { Verdict::Caught } else { Verdict::CaughtByAnother };
        row.caught_by = Some(found.clone());
        row.scenario = test.split(' ').next().map(ToOwned::to_owned);
        row.seconds_until_caught = Some(begun.elapsed().as_secs_f64());
        match workspace.test(None, test)? {
            Ok(healthy) if healthy.is_empty() => {}
            Ok(healthy) => (row.verdict, row.problem) = (Verdict::RedWithoutIt, healthy.into_iter().next()),
            Err(Broken::Build(why) | Broken::Patch(why)) => return Ok(Err(why)),
        }
        return Ok(Ok(()));
    }
    Ok(Ok(()))
}

/// What shrinking made of a failing run, in the words of `shrink`.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The size of the run that failed first.
    pub large: String,
    /// The size of what is left.
    pub small: String,
}

/// Makes the failure that the sweep has left small, with the patched binary. None if it does not replay there.
///
/// # Errors
/// The binary cannot be started.
pub fn shrink(workspace: &Workspace, planted: &Planted, bug: Bug) -> Result<Option<Made>, Failure> {
    let mut command = Command::new(workspace.binary());
    bug.tell(&mut command);
    command.arg("shrink").arg(workspace.scratch(&planted.id, "toml")).arg("--output").arg(workspace.scratch(&planted.id, "shrunk.toml"));
    let output = command.output().map_err(|source| Failure::System { purpose: "start the patched shrinking", source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |name: &str| Some(text.lines().find_map(|line| line.trim_start().strip_prefix(name))?.trim().to_owned());
    Ok(line("from ").zip(line("to ")).map(|(large, small)| Made { large, small }))
}

/// Processor seconds of all processes that were waited for, in steps of 10 ms. None where there is no `/proc`.
pub fn cpu_of_children() -> Option<f64> {
    cpu("self", 13)
}

/// Processor seconds of a process that runs, in steps of 10 ms. None where there is no `/proc`.
pub fn cpu_of(process: u32) -> Option<f64> {
    cpu(&process.to_string(), 11)
}

/// The sum of two times in ticks that follow each other behind the name, which may contain anything.
fn cpu(process: &str, first: usize) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(first)? + ticks(first + 1)?) / 100.0)
}
