//! What a sweep writes: progress that another process goes on from, and JUnit's XML.

use crate::binary::{run, stderr, stdout};
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};
use serde_json::Value;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}

/// Everything that is not about how long something took, or who did it.
fn without_times(json: &str) -> Value {
    let mut figures: Value = serde_json::from_str(&std::fs::read_to_string(json).expect("written")).expect("JSON");
    let times = ["elapsed_s", "core_s", "seeds_per_core_s", "events_per_core_s", "jobs", "after_s"];
    fn drop_keys(value: &mut Value, keys: &[&str]) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !keys.contains(&key.as_str()));
                map.values_mut().for_each(|value| drop_keys(value, keys));
            }
            Value::Array(list) => list.iter_mut().for_each(|value| drop_keys(value, keys)),
            _ => {}
        }
    }
    drop_keys(&mut figures, &times);
    figures
}

const SWEEP: &[&str] = &["sweep", "worker-crashes", "steady-run", "canary", "--seeds", "0..5", "--no-shrink"];

#[test]
fn a_sweep_that_was_stopped_again_and_again_tells_what_one_that_was_not_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let (whole, parts, progress, failure) = (path("whole.json"), path("parts.json"), path("progress.json"), path("failure.toml"));
    let sweep = |json: &str, extra: &[&str]| run(SWEEP.iter().chain(&["--failure", &failure, "--jobs", "1", "--json", json]).chain(extra));
    assert_eq!(sweep(&whole, &[]).status.code(), Some(1), "the canary is red");
    // No run begins after this time: each process does a few and leaves the rest to the next.
    let mut stops = 0;
    while stops < 200 {
        let stopped = sweep(&parts, &["--resume", &progress, "--for", "100ms"]);
        assert!(matches!(stopped.status.code(), Some(0 | 1)), "{}", stderr(&stopped));
        if without_times(&parts)["total"]["runs"] == without_times(&whole)["total"]["runs"] {
            break;
        }
        stops += 1;
    }
    assert!(stops > 0, "it was never stopped");
    assert_eq!(without_times(&parts), without_times(&whole));
    // There is nothing left to do, and everything to tell.
    let over = sweep(&parts, &["--resume", &progress]);
    assert_eq!(over.status.code(), Some(1), "{}", stdout(&over));
    assert_eq!(without_times(&parts), without_times(&whole));
    let refused = |arguments: &[&str], why: &str| {
        let output = run(arguments.iter().chain(&["--resume", &progress]));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(why), "{arguments:?} said {}", stderr(&output));
    };
    refused(&["sweep", "steady-run", "--seeds", "0..5"], "other scenarios");
    refused(&["sweep", "worker-crashes", "steady-run", "canary", "--seeds", "0..6"], "other seeds");
    refused(&["sweep", "worker-crashes", "steady-run", "canary", "--seeds", "0..5", "--police", "3"], "done twice");
    std::fs::write(&progress, "{").expect("written");
    refused(SWEEP, "cannot be gone on from");
}

/// The elements with their attributes, if it is well formed.
fn elements(xml: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut reader = Reader::from_str(xml);
    let (mut found, mut open) = (Vec::new(), Vec::new());
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error} at {}:\n{xml}", reader.buffer_position()));
        let started = match &event {
            Event::Start(start) | Event::Empty(start) => start,
            Event::End(end) => {
                assert_eq!(open.pop().as_deref(), Some(end.name().as_ref()), "{xml}");
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        let attributes = started.attributes().map(|attribute| {
            let attribute = attribute.expect("an attribute");
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).expect("escaped").into_owned();
            (String::from_utf8_lossy(attribute.key.as_ref()).into_owned(), value)
        });
        let name = String::from_utf8_lossy(started.name().as_ref()).into_owned();
        found.push((name, attributes.collect()));
        if matches!(event, Event::Start(_)) {
            open.push(started.name().as_ref().to_vec());
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed:\n{xml}");
    found
}

#[test]
fn junit_has_a_suite_per_scenario_and_a_case_per_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let (junit, failure) = (folder.path().join("sweep.xml"), folder.path().join("failure.toml"));
    let files = ["--failure", text(&failure), "--junit", text(&junit)];
    let arguments = ["sweep", "canary", "steady-run", "--seeds", "3..5", "--no-shrink", "--require-coverage"];
    assert_eq!(run(arguments.iter().chain(&files)).status.code(), Some(1));
    let xml = std::fs::read_to_string(&junit).expect("written");
    let elements = elements(&xml);
    let of = |name: &str| elements.iter().filter(|(element, _)| element == name).map(|(_, attributes)| attributes).collect::<Vec<_>>();
    let attribute = |attributes: &[(String, String)], name: &str| {
        attributes.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name} in {attributes:?}")).1.clone()
    };
    let suites: Vec<String> = of("testsuite").into_iter().map(|suite| attribute(suite, "name")).collect();
    assert_eq!(suites, ["canary", "steady-run", "coverage"]);
    let cases = of("testcase");
    let failing = |class: &str| cases.iter().filter(|case| attribute(case, "classname") == class).count();
    assert_eq!((failing("canary"), failing("steady-run")), (3, 1), "{xml}");
    let failures = of("failure");
    let kinds: Vec<String> = failures.iter().map(|failure| attribute(failure, "type")).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "expected-end").count(), 2, "{kinds:?}");
    assert!(kinds.iter().filter(|kind| *kind == "not-reached").count() > 20, "two runs do not reach everything: {kinds:?}");
    let whole = of("testsuites")[0];
    assert_eq!(attribute(whole, "failures"), failures.len().to_string());
    assert_eq!(attribute(whole, "tests"), cases.len().to_string());
}
