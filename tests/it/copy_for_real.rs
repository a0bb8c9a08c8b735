//! Transactional output in the real cluster: processes die, and what readers see is there once and whole, at any moment.

use crate::kill_for_real::{figure, kill_nine, Launcher};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// Numbered, so that one that is lost or doubled is told by its name.
pub fn input(lines: usize) -> String {
    (0..lines).fold(String::new(), |mut text, number| {
        writeln!(text, "line {number:06} {}", "x".repeat(number % 50)).expect("writing to a String does not fail");
        text
    })
}

/// What is published. A line that is there twice, or that is torn, fails.
pub fn published(folder: &Path, expected: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.path().is_file() {
            continue;
        }
        // The launcher tries whether it may write there.
        let Some(text) = std::fs::read_to_string(entry.path()).ok().filter(|text| !text.is_empty()) else { continue };
        assert!(text.ends_with('\n'), "{} is torn", entry.path().display());
        for line in text.lines() {
            assert!(expected.contains(line), "{line:?} is not of the input");
            assert!(found.insert(line.to_owned()), "{line:?} is published twice");
        }
    }
    found
}

#[test]
fn killed_processes_leave_every_line_exactly_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = input(60_000);
    std::fs::write(folder.path().join("text"), &text).expect("written");
    let expected: BTreeSet<&str> = text.lines().collect();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("out"));
    let checkpoints = checkpoints.to_str().expect("temporary folders are UTF-8");
    let extra = ["--workers", "2", "--parallelism", "4", "--throttle", "300"];
    let mut launcher = Launcher::start_job("copy", folder.path(), checkpoints, &extra, &[]);
    let coordinator = launcher.wait_for_pid("coordinator");
    let first = launcher.wait_for_pid("worker 1");
    let second = launcher.wait_for_pid("worker 2");
    let completed = launcher.wait_for_checkpoints(1);
    kill_nine(first);
    published(&output, &expected);
    launcher.wait_for_pid("worker 1");
    let completed = launcher.wait_for_checkpoints(completed + 1);
    let before = published(&output, &expected);
    assert!(!before.is_empty(), "nothing is published while the job runs");
    kill_nine(second);
    launcher.wait_for_pid("worker 2");
    launcher.wait_for_checkpoints(completed + 1);
    kill_nine(coordinator);
    launcher.wait_for_pid("coordinator");
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    let found = published(&output, &expected);
    assert!(before.is_subset(&found), "what was published stays");
    let missing = expected.iter().find(|line| !found.contains(**line));
    assert_eq!(missing, None, "{} of {} lines:\n{log}", found.len(), expected.len());
    assert!(!output.join("_staged").exists(), "what was staged is gone");
    assert_eq!(figure(&stdout, "lines").replace(',', ""), "60000");
}
