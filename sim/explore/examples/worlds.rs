//! Explores worlds one after the other, each for a while at most, until a promise does not hold. One line of JSON for each.
//!
//! ```text
//! cargo run --release -p cofferdam-explore --example worlds -- SECONDS 'WORLD [NAME=N]...'...
//! ```
//!
//! `cofferdam planted --explore` builds this with a planted bug: it needs the machines and nothing else of the engine.

use cofferdam_explore::explore::{explore, Manner};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// More than any listed world needs.
const MEMORY_BYTES: u64 = 4 << 30;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
    let Some(seconds) = seconds else { return complain("how many seconds for each world?") };
    for description in arguments {
        let mut words = description.split(' ');
        let name = words.next().unwrap_or_default();
        let Some(mut world) = worlds::find(name) else { return complain(&format!("no world is called {name:?}")) };
        for bound in words {
            let Some((bound, value)) = bound.split_once('=') else { return complain(&format!("{bound:?} is not NAME=N")) };
            let Ok(value) = value.parse() else { return complain(&format!("{value:?} is no number")) };
            if let Err(error) = world.bounds.set(bound, value) {
                return complain(&error.to_string());
            }
        }
        let manner = Manner { time: Some(Duration::from_secs(seconds)), memory_bytes: Some(MEMORY_BYTES), ..Manner::default() };
        let report = explore(Setup::new(world), manner, |_, _, _| {});
        let found = report.found.as_ref();
        let line = json!({
            "world": description,
            "states": report.seen.states,
            "unique": report.seen.unique,
            "seconds": report.took.as_secs_f64(),
            "end": report.end.text(),
            "violated": found.map(|found| &found.violated),
            "witness": found.map(|found| &found.witness),
            "never_met": report.not_met().iter().map(|situation| situation.name()).collect::<Vec<_>>(),
            "steps": found.map(|found| found.actions.len()),
        });
        println!("{line}");
        if !report.is_green() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn complain(what: &str) -> ExitCode {
    eprintln!("{what}");
    ExitCode::from(2)
}
