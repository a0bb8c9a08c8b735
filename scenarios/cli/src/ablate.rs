//! `cofferdam ablate`: the assumptions of the protocol's proof, broken one by one.
//!
//! With all of them on no invariant may fail. A broken one must come to the verdict that is expected of it: a counterexample, a job that
//! ends and says why, or nothing at all and the reason for that.

use crate::args::AblateArguments;
use crate::console;
use crate::failure::{Failure, Outcome};
use cofferdam_scenarios::ablation::{intact, Assumption, Verdict, ASSUMPTIONS};
use cofferdam_scenarios::Scenario;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of one assumption over all seeds.
#[derive(Debug, Serialize)]
struct Row {
    assumption: &'static str,
    text: &'static str,
    broken: &'static str,
    expected: String,
    found: String,
    as_expected: bool,
    /// How many runs.
    runs: u64,
    /// In how many of them each invariant did not hold.
    violated: BTreeMap<&'static str, u64>,
    /// Of the shortest witness.
    seed: Option<u64>,
    invariant: Option<&'static str>,
    witness: Option<String>,
}

/// Breaks them and tells what came of it.
///
/// # Errors
/// An assumption that there is not.
pub fn ablate(arguments: &AblateArguments) -> Result<Outcome, Failure> {
    let chosen = chosen(&arguments.assumptions)?;
    let mut rows = vec![row("none", "", "All assumptions hold.", Verdict::Tolerated("nothing is broken"), &intact(), arguments)];
    rows.extend(
        chosen.iter().map(|assumption| {
            row(assumption.name, assumption.text, assumption.broken, assumption.expected, &assumption.ablated(), arguments)
        }),
    );
    if arguments.json {
        console::say(serde_json::to_string_pretty(&rows).expect("rows have text keys"));
    } else {
        console::say(table(&rows));
    }
    Ok(if rows.iter().all(|row| row.as_expected) { Outcome::Green } else { Outcome::Red })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Assumption>, Failure> {
    if names.is_empty() {
        return Ok(ASSUMPTIONS.iter().collect());
    }
    let find = |name: &String| ASSUMPTIONS.iter().find(|assumption| assumption.name == name);
    let known = || ASSUMPTIONS.iter().map(|assumption| assumption.name).collect::<Vec<_>>().join(", ");
    names.iter().map(|name| find(name).ok_or_else(|| Failure::UnknownAssumption { name: name.clone(), known: known() })).collect()
}

fn row(
    assumption: &'static str,
    text: &'static str,
    broken: &'static str,
    expected: Verdict,
    scenario: &Scenario,
    arguments: &AblateArguments,
) -> Row {
    let mut violated: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut shortest: Option<(u64, &'static str, String)> = None;
    let seeds = arguments.seeds;
    for seed in seeds.first..seeds.end {
        let Some(violation) = simulate(scenario, seed, Keep::default()).violation else { continue };
        *violated.entry(violation.invariant).or_default() += 1;
        if shortest.as_ref().is_none_or(|(.., witness)| violation.witness.len() < witness.len()) {
            shortest = Some((seed, violation.invariant, violation.witness));
        }
    }
    let runs = seeds.end - seeds.first;
    let counts = || violated.iter().map(|(invariant, count)| format!("{invariant} {count}")).collect::<Vec<_>>().join(", ");
    let found = match (violated.is_empty(), expected) {
        (true, Verdict::Refused(_)) => format!("refused in all of {runs} runs"),
        (true, Verdict::Tolerated(_) | Verdict::Violated(_)) => format!("no violation in {runs} runs"),
        (false, _) => format!("of {runs} runs: {}", counts()),
    };
    let as_expected = match expected {
        Verdict::Violated(invariants) => !violated.is_empty() && violated.keys().all(|found| invariants.contains(found)),
        // A run that does not end as its scenario says is a violation.
        Verdict::Refused(_) | Verdict::Tolerated(_) => violated.is_empty(),
    };
    let expected = match expected {
        Verdict::Violated(invariants) => format!("violated: {}", invariants.join(" or ")),
        Verdict::Refused(why) => format!("refused: {why}"),
        Verdict::Tolerated(why) => format!("tolerated: {why}"),
    };
    let (seed, invariant, witness) = match shortest {
        Some((seed, invariant, witness)) => (Some(seed), Some(invariant), Some(witness)),
        None => (None, None, None),
    };
    Row { assumption, text, broken, expected, found, as_expected, runs, violated, seed, invariant, witness }
}

fn table(rows: &[Row]) -> String {
    let mut table = console::table();
    table.set_header(["assumption", "broken by", "expected", "found", "seed", "shortest witness"]);
    for row in rows {
        let found = if row.as_expected { row.found.clone() } else { format!("NOT AS EXPECTED: {}", row.found) };
        table.add_row([
            row.assumption.to_owned(),
            row.broken.to_owned(),
            row.expected.clone(),
            found,
            row.seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string()),
            row.invariant
                .zip(row.witness.as_ref())
                .map_or_else(|| "-".to_owned(), |(invariant, witness)| format!("{invariant}: {witness}")),
        ]);
    }
    table.to_string()
}
