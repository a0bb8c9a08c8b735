//! `cofferdam ablate`: with all assumptions on nothing fails, and each broken one comes to what is expected of it.

use crate::binary;
use cofferdam_scenarios::ablation::ASSUMPTIONS;
use serde_json::Value;

#[test]
fn every_broken_assumption_comes_to_the_verdict_that_is_expected() {
    let output = binary::run(["ablate", "--seeds", "0..4", "--json"]);
    let text = binary::stdout(&output);
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {}", binary::stderr(&output)));
    assert_eq!(rows.len(), 1 + ASSUMPTIONS.len(), "all of them, and none");
    for row in &rows {
        assert_eq!(row["as_expected"], true, "{row:#}");
        assert_eq!(row["violated"].as_object().is_some_and(serde_json::Map::is_empty), row["witness"].is_null(), "{row:#}");
    }
    assert_eq!(output.status.code(), Some(0));
    let violated = rows.iter().filter(|row| !row["witness"].is_null()).count();
    assert!(violated >= 4, "what has no counterexample is not needed");
}

#[test]
fn an_assumption_that_there_is_not_is_refused_with_those_that_there_are() {
    let output = binary::run(["ablate", "no-such"]);
    assert_eq!(output.status.code(), Some(2));
    let said = binary::stderr(&output);
    assert!(said.contains("no-such") && said.contains("fifo-channels"), "{said}");
}
