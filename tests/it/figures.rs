//! Figures are made from runs in which every invariant holds.

use crate::binary::{run, stderr, stdout};
use serde_json::Value;

#[test]
fn unaligned_checkpoints_stay_fast_where_aligned_ones_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let plot = folder.path().join("alignment.svg");
    let output = run(["figure", "alignment", "--seeds", "0..1", "--json", "--plot", plot.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let points: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let median = |line: &str, slowness: u64| {
        let points = points.as_array().expect("a list").iter();
        let point = points.clone().find(|point| point["line"] == line && point["slowness_us"] == slowness);
        point.and_then(|point| point["median_ms"].as_f64()).expect("there is such a point")
    };
    // Virtual time: these are no measurements, and always the same.
    assert!(median("aligned", 16_000) > 4.0 * median("unaligned", 16_000));
    assert!(median("unaligned", 16_000) < 4.0 * median("unaligned", 0));
    assert!(median("within 200 ms", 16_000) > 200.0 && median("within 200 ms", 16_000) < median("aligned", 16_000));
    assert!(std::fs::read_to_string(plot).expect("a plot").contains("<svg"));
}
