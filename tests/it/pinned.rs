//! Failures that were understood and mended stay so: each file in scenarios/seeds is run. `cofferdam pin` puts them there.

use crate::binary::{run, stderr, stdout};
use crate::parallel;
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use std::path::{Path, PathBuf};

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/seeds");

fn pinned() -> Vec<PathBuf> {
    let paths = std::fs::read_dir(SEEDS).expect("the folder is there").map(|entry| entry.expect("readable").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    paths.sort();
    paths
}

#[test]
fn what_was_mended_stays_mended() {
    let pinned = pinned();
    assert!(!pinned.is_empty(), "nothing is pinned in {SEEDS}");
    parallel::map(&pinned, |path| {
        let ScenarioFile { seed, scenario, .. } = file::read(path).expect("a scenario");
        let seed = seed.unwrap_or_else(|| panic!("{} has no seed", path.display()));
        assert!(!scenario.story.is_empty(), "{} has no story", path.display());
        let found = simulate(&scenario, seed, Keep::default()).violation;
        assert_eq!(found, None, "{}: {}\ncargo run --release -- replay {0}", path.display(), scenario.story);
    });
}

/// A failure that is mended: the scenario that it was found in, with what did not hold.
fn mended(folder: &Path) -> String {
    let scenario = (cofferdam_scenarios::find("worker-crashes").expect("built in").expand)(0);
    let path = folder.join("failure.toml");
    file::write(&path, &ScenarioFile { seed: Some(5), violated: Some("liveness".into()), scenario }).expect("written");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_mended_failure_is_pinned_under_the_name_of_its_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let (failure, into) = (mended(folder.path()), folder.path().to_str().expect("text"));
    let pin = |extra: &[&str]| run(["pin", &failure, "--story", "A worker dies, twice.", "--folder", into].iter().chain(extra));
    let output = pin(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = folder.path().join("a-worker-dies-twice.toml");
    assert!(stdout(&output).contains(path.to_str().expect("text")), "{}", stdout(&output));
    let file = file::read(&path).expect("a scenario");
    assert_eq!((file.seed, file.violated.as_deref(), file.scenario.story.as_str()), (Some(5), Some("liveness"), "A worker dies, twice."));
    assert_eq!(file.scenario.name, "a-worker-dies-twice");
    let again = pin(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    assert_eq!(pin(&["--name", "another"]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_pinned_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().to_str().expect("text").to_owned();
    let refused = |arguments: &[&str], expected: &str| {
        let output = run(["pin"].iter().chain(arguments).chain(&["--folder", &into]));
        assert_eq!(output.status.code(), Some(2), "{arguments:?} said {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?} said {}", stderr(&output));
    };
    let red = folder.path().join("red.toml");
    let canary = (cofferdam_scenarios::find("canary").expect("built in").expand)(0);
    file::write(&red, &ScenarioFile { seed: Some(0), violated: Some("expected-end".into()), scenario: canary }).expect("written");
    refused(&[red.to_str().expect("text"), "--story", "A canary."], "still fails: expected-end");
    let explored = folder.path().join("explored.toml");
    let text = "world = \"aligned\"\nviolated = \"never-stuck\"\nwitness = \"\"\nactions = []\n[bounds]\n";
    std::fs::write(&explored, text).expect("written");
    refused(&[explored.to_str().expect("text"), "--story", "A path."], "exploration");
    let mended = mended(folder.path());
    refused(&[&mended, "--story", " "], "one line");
    refused(&[&mended, "--story", "two\nlines"], "one line");
    refused(&[&mended, "--story", "Fine.", "--name", "Not/A-Name"], "Not/A-Name");
    refused(&["missing.toml", "--story", "Nothing."], "missing.toml");
    let nowhere = run(["pin", &mended, "--story", "Fine.", "--folder", "no/such/folder"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(stderr(&nowhere).contains("no/such/folder"), "{}", stderr(&nowhere));
    let kept: Vec<_> = std::fs::read_dir(folder.path()).expect("there").map(|entry| entry.expect("readable").file_name()).collect();
    assert_eq!(kept.len(), 3, "nothing was pinned: {kept:?}");
}
