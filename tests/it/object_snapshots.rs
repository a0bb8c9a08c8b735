//! Snapshots in an S3 server, as users handle them: looked at, verified, cleaned up after, begun from, disposed of.

use crate::binary;
use crate::kill_for_real::{assert_same, figure, kill_nine, output, Launcher};
use crate::s3_server::{S3Server, BUCKET};
use crate::text;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const TEXT_SIZE_BYTES: usize = 2 << 20;

/// One server, one text, several jobs.
struct World {
    folder: tempfile::TempDir,
    server: S3Server,
    text: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text::generate(TEXT_SIZE_BYTES);
        let server = S3Server::start(folder.path(), &[], Duration::ZERO);
        Self { folder, server, text }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary::path());
        command.args(arguments).envs(self.server.variables());
        command.output().expect("the binary can be started")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", binary::stderr(&output));
        binary::stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).expect("JSON")
    }

    /// Exit code 2 and one line on stderr, in which nothing is secret.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let line = binary::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
        assert!(line.lines().count() == 1 && !line.contains("verysecretindeed"), "{line}");
        line
    }

    fn job(&self, name: &str) -> std::path::PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(folder.join("text"), &self.text).expect("written");
        folder
    }

    fn start(&self, folder: &Path, extra: &[&str]) -> Launcher {
        Launcher::start_with(folder, &format!("s3://{BUCKET}/jobs/"), extra, &self.server.variables())
    }

    /// The URLs of a job that was cancelled, its last checkpoint, and a savepoint of it.
    fn snapshots(&self) -> (String, String, String) {
        let folder = self.job("first");
        let extra = ["--backend", "sorted-runs", "--inline-below", "0", "--retention", "retain-on-cancellation", "--throttle", "250"];
        let mut launcher = self.start(&folder, &extra);
        let address = launcher.wait_for_address();
        launcher.wait_for_checkpoints(2);
        let savepoint = self.ok(&["savepoint", &address, &format!("s3://{BUCKET}/savepoints/")]).trim_end().to_owned();
        assert!(savepoint.starts_with(&format!("s3://{BUCKET}/savepoints/savepoint-")), "{savepoint}");
        launcher.wait_for_checkpoints(3);
        self.ok(&["cancel", &address]);
        let (status, stdout, log) = launcher.finish();
        assert_eq!(status.code(), Some(3), "{log}");
        let chk = figure(&stdout, "kept").split_whitespace().next().expect("a name").trim_end_matches(',').to_owned();
        let metadata = format!("/{chk}/_metadata");
        let objects = self.server.objects();
        let found = objects.iter().find_map(|name| name.strip_suffix(&metadata)).unwrap_or_else(|| panic!("no {metadata} in {objects:?}"));
        let job = format!("s3://{BUCKET}/{found}");
        (job.clone(), format!("{job}/{chk}"), savepoint)
    }

    /// All counts, though not all of the text is read again.
    fn assert_finished(&self, folder: &Path, launcher: Launcher) {
        let (status, _, log) = launcher.finish();
        assert!(status.success(), "{status}:\n{log}");
        assert_same(&output(&folder.join("out")), &text::count(&self.text), &log);
    }
}

fn orphans_of(found: &Value) -> Vec<String> {
    let rows = found["orphans"].as_array().expect("a list");
    rows.iter().map(|row| row["path"].as_str().expect("a path").to_owned()).collect()
}

#[test]
fn snapshots_in_a_bucket_are_shown_verified_begun_from_and_disposed_of() {
    let world = World::new();
    let (job, kept, savepoint) = world.snapshots();
    for (snapshot, kind) in [(&kept, "checkpoint"), (&savepoint, "savepoint")] {
        let shown = world.json(&["inspect", snapshot, "--verify", "--json"]);
        assert_eq!(shown["kind"], kind, "{shown}");
        assert_eq!(shown["path"], snapshot.as_str(), "{shown}");
        assert!(shown["verified_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{shown}");
    }
    assert!(world.ok(&["inspect", &kept, "--verify"]).contains("every checksum is right"));
    strays_are_found_and_deleted(&world, &job, &kept);
    what_is_not_there_is_refused(&world, &kept);
    let second = world.job("second");
    let launcher = world.start(&second, &["--from", &kept, "--backend", "sorted-runs"]);
    world.assert_finished(&second, launcher);
    a_claimed_savepoint_may_be_gone_when_a_coordinator_follows(&world, &savepoint);
    assert_eq!(world.ok(&["dispose", &kept]).trim_end(), format!("{kept} is gone"));
    assert!(world.refused(&["dispose", &kept]).contains("is no savepoint or checkpoint: there is no object _metadata in it"));
    let left = |name: &String| !name.contains("/journal/") && !name.ends_with("/shared/_location");
    let left: Vec<String> = world.server.objects().into_iter().filter(left).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn strays_are_found_and_deleted(world: &World, job: &str, kept: &str) {
    let find = |extra: &[&str]| world.json(&[&["inspect", "--orphans", "--json", job], extra].concat());
    let before = world.server.objects();
    assert_eq!(orphans_of(&find(&[])), Vec::<String>::new());
    let below = job.strip_prefix(&format!("s3://{BUCKET}/")).expect("a URL of the bucket");
    let strays = ["chk-7777/_location", "chk-7777/state", "shared/a9.9-stray"];
    for stray in strays {
        world.server.put(&format!("{below}/{stray}"), b"nobody's");
    }
    let expected: Vec<String> = strays.iter().map(|stray| format!("{job}/{stray}")).collect();
    assert_eq!(orphans_of(&find(&[])), expected);
    let said = world.ok(&["inspect", "--orphans", job]);
    assert!(said.contains("3 files, 24 bytes not needed by any snapshot; 1 snapshots looked at"), "{said}");
    let deleted = find(&["--delete"]);
    assert!(orphans_of(&deleted) == expected && deleted["deleted"] == true, "{deleted}");
    assert_eq!(world.server.objects(), before, "all that is needed is still there");
    world.server.put("savepoints/savepoint-99-died/_location", b"mark");
    world.server.put("savepoints/savepoint-99-died/count-0-a1.1", b"state");
    let unfinished = world.ok(&["inspect", "--orphans", "--delete", &format!("s3://{BUCKET}/savepoints")]);
    assert!(unfinished.contains("2 files, 9 bytes deleted; 1 snapshots looked at"), "{unfinished}");
    assert_eq!(world.server.objects(), before, "the savepoint that is complete is still there");
    world.ok(&["inspect", "--verify", kept]);
}

fn what_is_not_there_is_refused(world: &World, kept: &str) {
    let nothing = format!("s3://{BUCKET}/nothing");
    let elsewhere = kept.replace(BUCKET, "no-such-bucket");
    for missing in [&nothing, &elsewhere] {
        for command in [&["inspect"][..], &["inspect", "--verify"], &["dispose"]] {
            let line = world.refused(&[command, &[missing]].concat());
            assert!(line.contains(missing.as_str()), "{line}");
        }
    }
    assert!(world.refused(&["inspect", "--orphans", &nothing]).contains("is not the folder of a job"));
    let mut denied = Command::new(binary::path());
    denied.args(["inspect", kept]).envs(world.server.variables()).env("AWS_SECRET_ACCESS_KEY", "anothersecretindeed");
    let denied = denied.output().expect("the binary can be started");
    let line = binary::stderr(&denied);
    assert_eq!(denied.status.code(), Some(2), "{line}");
    assert!(line.contains(kept) && !line.contains("secretindeed"), "{line}");
}

fn a_claimed_savepoint_may_be_gone_when_a_coordinator_follows(world: &World, savepoint: &str) {
    let folder = world.job("third");
    let mut launcher = world.start(&folder, &["--from", savepoint, "--claim", "--throttle", "100"]);
    let coordinator = launcher.wait_for_pid("coordinator");
    launcher.wait_for_checkpoints(3);
    assert!(!world.server.objects().iter().any(|name| name.starts_with("savepoints/")), "checkpoints have taken its place");
    kill_nine(coordinator);
    launcher.wait_for_pid("coordinator");
    world.assert_finished(&folder, launcher);
}
