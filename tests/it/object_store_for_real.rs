//! The real cluster with checkpoints in an S3 server, and `kill -9` in the middle of what it writes there.

use crate::kill_for_real::{assert_same, kill_nine, output, Launcher, PATIENCE};
use crate::s3_server::{S3Server, BUCKET};
use crate::text;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Long enough to kill whoever has sent a request before it is served.
const HOLD: Duration = Duration::from_millis(250);
/// So many words of 24 letters are more than one part of an upload.
const WORDS: u64 = 300_000;

/// Each word twice, the second time long after the first.
fn many_words() -> (String, BTreeMap<String, u64>) {
    let (mut text, mut counts) = (String::new(), BTreeMap::new());
    for number in (0..WORDS).chain(0..WORDS) {
        let word = format!("word{:020}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        write!(text, "{word}{}", if number % 8 == 7 { "\n" } else { " " }).expect("writing to a string does not fail");
        *counts.entry(word).or_insert(0) += 1;
    }
    (text, counts)
}

/// Nothing is left but the journal: no state, no metadata, no part of an upload.
fn assert_clean(server: &S3Server, log: &str) {
    let left: Vec<String> = server.objects().into_iter().filter(|name| !name.contains("/journal/")).collect();
    assert!(left.is_empty(), "{left:?} are left:\n{log}");
    let uploads = server.unfinished_uploads();
    assert!(uploads.is_empty(), "{uploads:?} are left:\n{log}");
}

#[test]
fn killed_in_the_middle_of_uploads_and_journal_entries_the_counts_are_exact_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, expected) = many_words();
    std::fs::write(folder.path().join("text"), &input).expect("written");
    let server = S3Server::start(folder.path(), &["partNumber=", "/journal/"], HOLD);
    let url = format!("s3://{BUCKET}/jobs");
    let extra = ["--workers", "1", "--parallelism", "1", "--throttle", "5"];
    let mut launcher = Launcher::start_with(folder.path(), &url, &extra, &server.variables());
    let coordinator = launcher.wait_for_pid("coordinator");
    let worker = launcher.wait_for_pid("worker 1");
    // Its second part: the first is there, and nobody will ever complete the upload.
    server.wait_for(&["PUT", "partNumber=2"], PATIENCE);
    kill_nine(worker);
    let worker = launcher.wait_for_pid("worker 1");
    launcher.wait_for_checkpoints(1);
    server.forget();
    server.wait_for(&["PUT", "partNumber=1"], PATIENCE);
    kill_nine(worker);
    launcher.wait_for_pid("worker 1");
    server.forget();
    server.wait_for(&["PUT", "/journal/"], PATIENCE);
    kill_nine(coordinator);
    launcher.wait_for_pid("coordinator");
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    assert_same(&output(&folder.path().join("out")), &expected, &log);
    let restores = stdout.lines().find_map(|line| line.trim().strip_prefix("restores")?.trim().parse::<u64>().ok());
    assert!(restores.is_some_and(|restores| restores >= 2), "a worker and a coordinator died with checkpoints there:\n{stdout}\n{log}");
    assert_clean(&server, &log);
}

#[test]
fn without_failures_the_counts_are_exact_wherever_objects_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = text::generate(2 << 20);
    std::fs::write(folder.path().join("text"), &input).expect("written");
    let server = S3Server::start(folder.path(), &[], Duration::ZERO);
    let files = format!("file://{}/objects", folder.path().display());
    for url in [format!("s3://{BUCKET}/jobs/"), files] {
        let launcher = Launcher::start_with(folder.path(), &url, &["--throttle", "5"], &server.variables());
        let (status, _, log) = launcher.finish();
        assert!(status.success(), "{status}:\n{log}");
        assert_same(&output(&folder.path().join("out")), &text::count(&input), &log);
        assert_clean(&server, &log);
        std::fs::remove_dir_all(folder.path().join("out")).expect("it is there");
    }
    assert!(server.objects().iter().any(|name| name.contains("/journal/")), "the journal tells how the job ended");
}
