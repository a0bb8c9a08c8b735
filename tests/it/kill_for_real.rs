//! The real cluster: processes, TCP, files, and `kill -9`.

use crate::{binary, text};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
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
        let mut command = Command::new(binary::path());
        command.args(["run", "wordcount", "--interval", "300ms", "--checkpoints", checkpoints]).args(extra);
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
    let (status, stdout, log) = Launcher::start(folder.path(), &["--workers", "3", "--parallelism", "4"]).finish();
    assert!(status.success(), "{status}:\n{log}");
    assert!(stdout.starts_with("finished in "), "{stdout}");
    assert_same(&output(&folder.path().join("out")), &text::count(&input), &log);
}

#[test]
fn killed_workers_and_a_killed_coordinator_leave_the_counts_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = text::generate(TEXT_SIZE_BYTES);
    std::fs::write(folder.path().join("text"), &input).expect("written");
    // About 96 chunks per subtask: long enough to be killed three times.
    let mut launcher = Launcher::start(folder.path(), &["--workers", "2", "--parallelism", "4", "--throttle", "100"]);
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
    let restores = stdout.lines().find_map(|line| line.trim().strip_prefix("restores")?.trim().parse::<u64>().ok());
    assert!(restores.is_some_and(|restores| restores >= 3), "three deaths are three restores:\n{stdout}\n{log}");
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
