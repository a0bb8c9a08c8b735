//! The real cluster: processes, TCP, files, and `kill -9`.

use crate::{binary, text};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Enough that a run with pauses meets several checkpoints.
const TEXT_SIZE_BYTES: usize = 6 << 20;
/// Longer than any machine should take.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A launcher at work, and what it says on stderr, line by line.
pub struct Launcher {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Launcher {
    fn start(folder: &Path, extra: &[&str]) -> Self {
        let checkpoints = folder.join("checkpoints");
        Self::start_with(folder, checkpoints.to_str().expect("temporary folders are UTF-8"), extra, &[])
    }

    /// With checkpoints anywhere, and variables in the environment.
    pub fn start_with(folder: &Path, checkpoints: &str, extra: &[&str], variables: &[(&str, String)]) -> Self {
        Self::start_job("wordcount", folder, checkpoints, extra, variables)
    }

    /// Any job.
    pub fn start_job(job: &str, folder: &Path, checkpoints: &str, extra: &[&str], variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(binary::path());
        command.args(["run", job, "--checkpoints", checkpoints]).args(extra);
        if !extra.contains(&"--interval") {
            command.args(["--interval", "300ms"]);
        }
        for (option, name) in [("--input", "text"), ("--output", "out")] {
            command.arg(option).arg(folder.join(name));
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that `pick` picks something from. Fails if the launcher ends before, or takes too long.
    fn wait_for<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let found = pick(&line);
            self.seen.push(line);
            if let Some(found) = found {
                return found;
            }
        }
        panic!("never came: {what}; it said:\n{}", self.seen.join("\n"));
    }

    /// The next start of a process.
    pub fn wait_for_pid(&mut self, process: &str) -> u32 {
        self.wait_for(process, |line| line.strip_prefix(process)?.strip_prefix(" pid ")?.parse().ok())
    }

    /// Where the coordinator listens.
    pub fn wait_for_address(&mut self) -> String {
        self.wait_for("the coordinator's address", |line| Some(line.strip_prefix("coordinator address ")?.to_owned()))
    }

    /// Waits until the job is seen running with at least so many completed checkpoints, since a coordinator's first.
    pub fn wait_for_checkpoints(&mut self, at_least: u64) -> u64 {
        self.wait_for("a completed checkpoint", |line| {
            let before = line.strip_prefix("running ")?.split_once(" checkpoints completed")?.0;
            before.rsplit(' ').next()?.parse().ok().filter(|completed| *completed >= at_least)
        })
    }

    pub fn finish(mut self) -> (ExitStatus, String, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    kill_nine(self.child.id());
                    panic!("the job does not end; it said:\n{}", self.seen.join("\n"));
                }
            }
        }
        let mut stdout = String::new();
        self.child.stdout.take().expect("stdout is piped").read_to_string(&mut stdout).expect("it speaks UTF-8");
        let status = self.child.wait().expect("it can be waited for");
        (status, stdout, self.seen.join("\n"))
    }
}

/// What stands behind a name in the closing summary.
pub fn figure<'a>(stdout: &'a str, name: &str) -> &'a str {
    let found = stdout.lines().find_map(|line| line.trim_start().strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in:\n{stdout}")).trim()
}

/// The file of statistics, checked for what holds at any time.
fn statistics(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("the file of statistics is there");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let checkpoints = report["checkpoints"].as_array().expect("a list");
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    for checkpoint in checkpoints {
        let subtasks = checkpoint["subtasks"].as_array().expect("a list");
        let most = |field: &str| subtasks.iter().map(|subtask| number(&subtask[field])).max().unwrap_or(0);
        for (longest, field) in [("alignment_us_max", "alignment_us"), ("sync_us_max", "sync_us"), ("async_us_max", "async_us")] {
            assert_eq!(number(&checkpoint[longest]), most(field), "{checkpoint}");
        }
        let size_bytes: u64 = subtasks.iter().map(|subtask| number(&subtask["size_bytes"])).sum();
        assert_eq!(number(&checkpoint["size_bytes"]), size_bytes, "{checkpoint}");
        assert!(number(&checkpoint["triggered_at_unix_ms"]) > 1_500_000_000_000, "{checkpoint}");
        match checkpoint["outcome"].as_str() {
            Some("completed") => assert!(number(&checkpoint["end_to_end_us"]) >= most("end_to_end_us"), "{checkpoint}"),
            Some("failed") => assert!(checkpoint["reason"].is_string(), "{checkpoint}"),
            Some("in-progress" | "coordinator-died") => {}
            _ => panic!("{checkpoint} ends in no known way"),
        }
    }
    report
}

fn of_outcome<'a>(report: &'a serde_json::Value, outcome: &str) -> Vec<&'a serde_json::Value> {
    let checkpoints = report["checkpoints"].as_array().expect("a list");
    checkpoints.iter().filter(|checkpoint| checkpoint["outcome"] == outcome).collect()
}

/// The folders of checkpoints below the only job's folder.
fn checkpoint_folders(folder: &Path) -> Vec<PathBuf> {
    let folders =
        |path: &Path| -> Vec<PathBuf> { std::fs::read_dir(path).expect("readable").map(|entry| entry.expect("readable").path()).collect() };
    let jobs = folders(&folder.join("checkpoints"));
    assert_eq!(jobs.len(), 1, "one job has run");
    let mut found = folders(&jobs[0]);
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("chk-")));
    found
}

/// `kill -9`.
pub fn kill_nine(pid: u32) {
    let killed = Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().expect("a shell can be started");
    assert!(killed.success(), "process {pid} was there to be killed");
}

/// All files together. A word in two of them would be an error of its own.
pub fn output(folder: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the output folder is there") {
        let path = entry.expect("readable").path();
        assert!(path.is_file(), "{} was left behind", path.display());
        for line in std::fs::read_to_string(&path).expect("UTF-8").lines() {
            let (word, count) = line.split_once('\t').expect("word<TAB>count");
            let before = counts.insert(word.to_owned(), count.parse().expect("a count"));
            assert_eq!(before, None, "{word} is in the output twice");
        }
    }
    counts
}

/// The right word is named if they differ.
pub fn assert_same(found: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>, log: &str) {
    let wrong = expected.keys().chain(found.keys()).find(|word| found.get(*word) != expected.get(*word));
    if let Some(word) = wrong {
        panic!("{word:?} counted {:?} times, not {:?}; the launcher said:\n{log}", found.get(word), expected.get(word));
    }
}

#[test]
fn without_failures_the_counts_are_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = text::generate(TEXT_SIZE_BYTES);
    std::fs::write(folder.path().join("text"), &input).expect("written");
    let file = folder.path().join("statistics.json");
    let extra = ["--workers", "3", "--parallelism", "4", "--throttle", "10", "--statistics", file.to_str().expect("UTF-8")];
    let (status, stdout, log) = Launcher::start(folder.path(), &extra).finish();
    assert!(status.success(), "{status}:\n{log}");
    assert!(stdout.starts_with("finished in "), "{stdout}");
    if figure(&stdout, "restores") == "0" {
        let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert_eq!(figure(&stdout, "records").replace(',', ""), format!("{lines} lines read"), "nothing was read again:\n{log}");
    }
    let report = statistics(&file);
    let completed = of_outcome(&report, "completed");
    assert_eq!(report["status"], "Finished");
    assert!(!completed.is_empty() && report["completed"] == completed.len(), "{report}");
    for checkpoint in completed {
        assert_eq!(checkpoint["subtasks"].as_array().map(Vec::len), Some(8), "sources and counts: {checkpoint}");
        assert!(stdout.contains("alignment max"), "{stdout}");
    }
    assert!(!file.with_extension("json.tmp").exists(), "it was renamed");
    assert_same(&output(&folder.path().join("out")), &text::count(&input), &log);
}

#[test]
fn killed_workers_and_a_killed_coordinator_leave_the_counts_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = text::generate(TEXT_SIZE_BYTES);
    std::fs::write(folder.path().join("text"), &input).expect("written");
    // About 96 chunks per subtask: long enough to be killed three times.
    let file = folder.path().join("statistics.json");
    let extra = ["--workers", "2", "--parallelism", "4", "--throttle", "100", "--statistics", file.to_str().expect("UTF-8")];
    let mut launcher = Launcher::start(folder.path(), &extra);
    let coordinator = launcher.wait_for_pid("coordinator");
    let first = launcher.wait_for_pid("worker 1");
    let second = launcher.wait_for_pid("worker 2");
    let completed = launcher.wait_for_checkpoints(1);
    kill_nine(first);
    launcher.wait_for_pid("worker 1");
    let completed = launcher.wait_for_checkpoints(completed + 1);
    kill_nine(second);
    launcher.wait_for_pid("worker 2");
    launcher.wait_for_checkpoints(completed + 1);
    kill_nine(coordinator);
    launcher.wait_for_pid("coordinator");
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    assert_same(&output(&folder.path().join("out")), &text::count(&input), &log);
    let restores: u64 = figure(&stdout, "restores").parse().expect("a number");
    assert!(restores >= 3, "three deaths are three restores:\n{stdout}\n{log}");
    assert!(figure(&stdout, "records").starts_with("at least "), "what the dead had read is not all known:\n{stdout}");
    let report = statistics(&file);
    assert_eq!(report["coordinators"], 2, "{report}");
    let of = |coordinator: u64| of_outcome(&report, "completed").iter().filter(|known| known["coordinator"] == coordinator).count();
    assert!(of(1) >= 3 && of(2) >= 1, "both have completed some: {report}");
}

/// Runs a job with local copies in which worker 1 is killed, `meanwhile` its disk is seen to, and it is started again.
fn killed_with_local_copies(backend: &str, meanwhile: impl FnOnce(&Path)) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let input = text::generate(TEXT_SIZE_BYTES);
    std::fs::write(folder.path().join("text"), &input).expect("written");
    let (file, local) = (folder.path().join("statistics.json"), folder.path().join("local"));
    let utf8 = |path: &Path| path.to_str().expect("temporary folders are UTF-8").to_owned();
    let (statistics_file, local_folder) = (utf8(&file), utf8(&local));
    let extra = ["--workers", "2", "--parallelism", "4", "--throttle", "100", "--backend", backend];
    let paths = ["--statistics", &statistics_file, "--local-recovery", &local_folder];
    let mut launcher = Launcher::start(folder.path(), &[&extra[..], &paths[..]].concat());
    let first = launcher.wait_for_pid("worker 1");
    let completed = launcher.wait_for_checkpoints(2);
    kill_nine(first);
    meanwhile(&local);
    launcher.wait_for_pid("worker 1");
    launcher.wait_for_checkpoints(completed + 1);
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    assert_same(&output(&folder.path().join("out")), &text::count(&input), &log);
    assert!(figure(&stdout, "local state").contains("subtasks from local copies"), "{stdout}");
    assert!(std::fs::read_dir(&local).expect("it is there").next().is_none(), "copies outlive their job");
    let statistics = statistics(&file);
    assert!(statistics["last_restore_ms"].as_u64() > Some(0), "{statistics}");
    assert!(figure(&stdout, "restores").contains("the last in "), "{stdout}");
    statistics["restored_from"].clone()
}

#[test]
fn a_killed_worker_finds_its_local_copies_again() {
    for backend in ["hash-map", "sorted-runs"] {
        let restored = killed_with_local_copies(backend, |_| {});
        // Four subtasks count words, two on each worker.
        assert!(restored["subtasks_local"].as_u64() >= Some(4), "{backend}: {restored}");
        assert!(restored["subtasks_remote"] == 0 && restored["bytes_local"].as_u64() > Some(0), "{backend}: {restored}");
    }
}

#[test]
fn local_copies_that_were_tampered_with_are_not_used() {
    let restored = killed_with_local_copies("hash-map", |local| {
        let mut tampered = 0;
        for job in std::fs::read_dir(local).expect("there are copies").flatten() {
            for copy in std::fs::read_dir(job.path().join("worker-1")).expect("worker 1 has some").flatten() {
                for file in std::fs::read_dir(copy.path()).into_iter().flatten().flatten() {
                    let Ok(mut bytes) = std::fs::read(file.path()) else { continue };
                    let middle = bytes.len() / 2;
                    let Some(byte) = bytes.get_mut(middle) else { continue };
                    *byte ^= 0x10;
                    std::fs::write(file.path(), bytes).expect("written");
                    tampered += 1;
                }
            }
        }
        assert!(tampered > 0, "there was nothing to tamper with");
    });
    assert!(restored["subtasks_remote"].as_u64() >= Some(2), "those of worker 1: {restored}");
    assert!(restored["subtasks_local"].as_u64() >= Some(2), "those of worker 2: {restored}");
}

#[test]
fn a_checkpoint_that_a_user_asks_for_is_taken_and_kept_when_the_job_is_cancelled() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text"), text::generate(1 << 20)).expect("written");
    let file = folder.path().join("statistics.json");
    let extra = ["--throttle", "300", "--interval", "1h", "--retention", "retain-on-cancellation"];
    let mut launcher = Launcher::start(folder.path(), &[&extra[..], &["--statistics", file.to_str().expect("UTF-8")]].concat());
    let address = launcher.wait_for_address();
    launcher.wait_for("the job to run", |line| line.starts_with("running ").then_some(()));
    let asked = binary::run(["checkpoint", &address]);
    assert!(asked.status.success(), "{}", binary::stderr(&asked));
    launcher.wait_for_checkpoints(1);
    let cancelled = binary::run(["cancel", &address]);
    assert!(cancelled.status.success(), "{}", binary::stderr(&cancelled));
    assert!(binary::stdout(&cancelled).contains(&address));
    let (status, stdout, log) = launcher.finish();
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(stdout.starts_with("cancelled after "), "{stdout}");
    assert!(log.ends_with("cofferdam: the job was cancelled; the output is not complete"), "{log}");
    let kept = checkpoint_folders(folder.path());
    assert!(kept.iter().any(|path| path.join("_metadata").is_file()), "{kept:?}\n{stdout}");
    assert!(figure(&stdout, "kept").starts_with("chk-"), "{stdout}");
    let report = statistics(&file);
    assert!(report["status"] == "Cancelled" && !of_outcome(&report, "completed").is_empty(), "{report}");
    let again = binary::run(["cancel", &address]);
    assert_eq!(again.status.code(), Some(2), "nobody is there any more");
}

#[test]
fn a_cancelled_job_keeps_no_checkpoint_unless_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text"), text::generate(1 << 20)).expect("written");
    let mut launcher = Launcher::start(folder.path(), &["--throttle", "300"]);
    let address = launcher.wait_for_address();
    launcher.wait_for_checkpoints(1);
    assert!(binary::run(["cancel", &address]).status.success());
    let (status, stdout, log) = launcher.finish();
    assert_eq!(status.code(), Some(3), "{log}");
    let kept = checkpoint_folders(folder.path());
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(figure(&stdout, "kept"), "no checkpoint");
}

#[test]
fn children_die_with_their_launcher() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text"), text::generate(1 << 20)).expect("written");
    let mut launcher = Launcher::start(folder.path(), &["--throttle", "60000"]);
    let children = [launcher.wait_for_pid("coordinator"), launcher.wait_for_pid("worker 1"), launcher.wait_for_pid("worker 2")];
    kill_nine(launcher.child.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    let alive = |pid: u32| {
        // A zombie that nobody has waited for is dead as well.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while children.into_iter().any(alive) {
        assert!(Instant::now() < deadline, "a child outlived its launcher");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Only now: waiting would reap the launcher, and the pipes' other ends are gone with it.
    launcher.child.wait().expect("it can be waited for");
}
