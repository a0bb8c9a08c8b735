//! Input that is found while the job runs, in the real cluster: files appear, processes die, and each line is there once.

use crate::binary;
use crate::copy_for_real::published;
use crate::kill_for_real::{figure, kill_nine, Launcher};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// Numbered, so that one that is lost or doubled is told by its name.
fn lines(file: usize, count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "file {file:02} line {number:06} {}", "x".repeat(number % 50)).expect("writing to a String does not fail");
        text
    })
}

/// Whole at once, as the folder's readers want it.
fn appear(folder: &Path, name: &str, text: &str) {
    let hidden = folder.join(format!(".{name}"));
    std::fs::write(&hidden, text).expect("written");
    std::fs::rename(hidden, folder.join(name)).expect("renamed");
}

#[test]
fn files_that_appear_while_processes_die_are_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("text"), folder.path().join("out"));
    std::fs::create_dir(&input).expect("made");
    let texts: Vec<String> = (0..8).map(|file| lines(file, 5000)).collect();
    let expected: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    texts[..3].iter().enumerate().for_each(|(file, text)| appear(&input, &file.to_string(), text));
    let checkpoints = folder.path().join("checkpoints");
    let checkpoints = checkpoints.to_str().expect("temporary folders are UTF-8");
    let extra = ["--workers", "2", "--parallelism", "3", "--throttle", "60", "--watch", "100ms"];
    let mut launcher = Launcher::start_job("copy", folder.path(), checkpoints, &extra, &[]);
    let address = launcher.wait_for_address();
    let coordinator = launcher.wait_for_pid("coordinator");
    let worker = launcher.wait_for_pid("worker 1");
    let completed = launcher.wait_for_checkpoints(1);
    appear(&input, "3", &texts[3]);
    kill_nine(worker);
    launcher.wait_for_pid("worker 1");
    launcher.wait_for_checkpoints(completed + 1);
    appear(&input, "4", &texts[4]);
    kill_nine(coordinator);
    appear(&input, "5", &texts[5]);
    launcher.wait_for_pid("coordinator");
    launcher.wait_for_checkpoints(1);
    has_an_enumerator(folder.path(), &address);
    // Whoever fills the folder says when it is done.
    texts.iter().enumerate().skip(6).for_each(|(file, text)| appear(&input, &file.to_string(), text));
    std::fs::write(input.join("_SUCCESS"), "").expect("written");
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    let found = published(&output, &expected);
    let missing = expected.iter().find(|line| !found.contains(**line));
    assert_eq!(missing, None, "{} of {} lines:\n{log}", found.len(), expected.len());
    assert_eq!(figure(&stdout, "lines").replace(',', ""), expected.len().to_string());
}

/// A savepoint says what the coordinator has of the source, and `inspect` shows it.
fn has_an_enumerator(folder: &Path, address: &str) {
    let target = folder.join("savepoints");
    let taken = binary::run(["savepoint", address, target.to_str().expect("UTF-8")]);
    assert!(taken.status.success(), "{}", binary::stderr(&taken));
    let savepoint = binary::stdout(&taken);
    let shown = binary::run(["inspect", savepoint.trim_end(), "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&binary::stdout(&shown)).expect("JSON");
    assert!(shown["enumerators"]["files"].as_u64().is_some_and(|size_bytes| size_bytes > 0), "{shown}");
    let said = binary::stdout(&binary::run(["inspect", savepoint.trim_end()]));
    assert!(said.lines().any(|line| line.trim_start().starts_with("enumerator ") && line.ends_with(" bytes of files")), "{said}");
}

#[test]
fn all_files_of_a_folder_are_read_and_then_the_job_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("text");
    std::fs::create_dir(&input).expect("made");
    let texts: Vec<String> = (0..5).map(|file| lines(file, 700)).collect();
    texts.iter().enumerate().for_each(|(file, text)| appear(&input, &file.to_string(), text));
    let expected: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    let checkpoints = folder.path().join("checkpoints");
    let extra = ["--workers", "2", "--parallelism", "4"];
    let launcher = Launcher::start_job("copy", folder.path(), checkpoints.to_str().expect("UTF-8"), &extra, &[]);
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    assert_eq!(published(&folder.path().join("out"), &expected).len(), expected.len(), "{log}");
    assert_eq!(figure(&stdout, "lines"), "3,500");
}
