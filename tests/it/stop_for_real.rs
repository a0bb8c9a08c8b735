//! Real jobs that their user stops with a savepoint, and goes on with later, on another number of subtasks.

use crate::binary;
use crate::copy_for_real::{input, published};
use crate::kill_for_real::{kill_nine, Launcher};
use crate::savepoints::Jobs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}

/// Stops the job, and gives the savepoint's folder once both the user and the job's launcher have said where it is.
fn stop(launcher: Launcher, address: &str, target: &Path, extra: &[&str]) -> PathBuf {
    let stopped = binary::run([&["stop", address, path(target)], extra].concat());
    assert!(stopped.status.success(), "{}", binary::stderr(&stopped));
    let folder = binary::stdout(&stopped).trim_end().to_owned();
    let (status, stdout, log) = launcher.finish();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(stdout.starts_with("stopped after "), "{stdout}");
    assert!(log.lines().last().is_some_and(|line| line.contains(&folder)), "the end names {folder}:\n{log}");
    assert!(Path::new(&folder).starts_with(target) && Path::new(&folder).join("_metadata").is_file(), "{folder}");
    PathBuf::from(folder)
}

/// One line on stderr, and this exit code.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = binary::run(arguments);
    let line = binary::stderr(&output);
    assert_eq!((output.status.code(), line.lines().count()), (Some(code), 1), "{line}");
    assert!(binary::stdout(&output).is_empty(), "{}", binary::stdout(&output));
    line
}

#[test]
fn a_stopped_count_goes_on_with_more_or_fewer_subtasks_and_is_exact() {
    let jobs = Jobs::new();
    let mut launcher = jobs.start("first", &["--throttle", "250", "--workers", "2", "--parallelism", "3"]);
    let address = launcher.wait_for_address();
    launcher.wait_for_checkpoints(1);
    let savepoint = stop(launcher, &address, &jobs.folder().join("savepoints"), &[]);
    let why = refused(&["stop", &address, path(&jobs.folder().join("again"))], 2);
    assert!(why.contains("nobody listens there"), "{why}");
    jobs.finishes_from("more", &savepoint, &["--parallelism", "5", "--workers", "3"]);
    jobs.finishes_from("fewer", &savepoint, &["--parallelism", "1", "--workers", "1", "--backend", "sorted-runs"]);
}

#[test]
fn a_copy_that_is_stopped_and_goes_on_has_every_line_exactly_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = input(40_000);
    std::fs::write(folder.path().join("text"), &text).expect("written");
    let expected: BTreeSet<&str> = text.lines().collect();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("out"));
    let mut launcher = Launcher::start_job("copy", folder.path(), path(&checkpoints), &["--parallelism", "4", "--throttle", "300"], &[]);
    let (address, worker) = (launcher.wait_for_address(), launcher.wait_for_pid("worker 1"));
    let completed = launcher.wait_for_checkpoints(1);
    // It is stopped in an attempt that is not its first.
    kill_nine(worker);
    launcher.wait_for_checkpoints(completed + 1);
    let savepoint = stop(launcher, &address, &folder.path().join("savepoints"), &["--format", "native"]);
    let first = published(&output, &expected);
    assert!(!first.is_empty() && first.len() < expected.len(), "{} of {} lines", first.len(), expected.len());
    let extra = ["--parallelism", "3", "--from", path(&savepoint)];
    let (status, _, log) = Launcher::start_job("copy", folder.path(), path(&checkpoints), &extra, &[]).finish();
    assert!(status.success(), "{status}:\n{log}");
    let both = published(&output, &expected);
    assert!(first.is_subset(&both), "what was published stays");
    assert_eq!(both.len(), expected.len(), "{log}");
}

#[test]
fn a_drained_job_has_all_of_its_output_and_no_other_goes_on_from_it() {
    let jobs = Jobs::new();
    let mut launcher = jobs.start("first", &["--throttle", "250"]);
    let address = launcher.wait_for_address();
    launcher.wait_for_checkpoints(1);
    let savepoint = stop(launcher, &address, &jobs.folder().join("savepoints"), &["--drain"]);
    let mut words = 0;
    for entry in std::fs::read_dir(jobs.folder().join("first").join("out")).expect("readable").flatten() {
        if entry.path().is_file() {
            let rows = std::fs::read_to_string(entry.path()).expect("UTF-8");
            words += rows.lines().filter_map(|row| row.split_once('\t')?.1.parse::<u64>().ok()).sum::<u64>();
        }
    }
    assert!(words > 0, "the table is finished");
    let (input, output) = (jobs.folder().join("text"), jobs.folder().join("out"));
    let places = ["--input", path(&input), "--output", path(&output), "--checkpoints", path(&jobs.folder().join("c"))].map(str::to_owned);
    let begin = |extra: &[&str]| -> Vec<String> {
        let words = ["run", "wordcount", "--from", path(&savepoint)].into_iter().chain(extra.iter().copied());
        words.map(str::to_owned).chain(places.clone()).collect()
    };
    let arguments = begin(&[]);
    let why = refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    assert!(why.contains("drained") && why.contains("--allow-drained"), "{why}");
    let anyway = binary::run(begin(&["--allow-drained"]));
    assert!(anyway.status.success(), "{}", binary::stderr(&anyway));
    let shown = binary::run(["inspect", path(&savepoint)]);
    assert!(binary::stdout(&shown).contains("savepoint of a drained job"), "{}", binary::stdout(&shown));
}

#[test]
fn a_savepoint_that_cannot_be_made_leaves_the_job_running() {
    let jobs = Jobs::new();
    let mut launcher = jobs.start("first", &["--throttle", "250"]);
    let address = launcher.wait_for_address();
    let completed = launcher.wait_for_checkpoints(1);
    // A file is no folder.
    let target = jobs.folder().join("text").join("below");
    let why = refused(&["stop", &address, path(&target)], 2);
    assert!(why.contains("was not stopped: io-exception"), "{why}");
    launcher.wait_for_checkpoints(completed + 1);
    stop(launcher, &address, &jobs.folder().join("savepoints"), &[]);
}
