//! Snapshots as users handle them: savepoints and retained checkpoints of real jobs, begun from, looked at, damaged, disposed of.

use crate::kill_for_real::{assert_same, figure, kill_nine, output, Launcher};
use crate::{binary, text};
use cofferdam_protocol::block::{BlockWriter, FileKind};
use cofferdam_protocol::metadata::{CheckpointMetadata, Finished, OperatorState, SnapshotKind, SubtaskState};
use cofferdam_protocol::snapshot::{InFlightHandle, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, MaxParallelism, SubtaskIndex};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

/// With [`SLOWLY`] more than ten seconds of work for four subtasks, of which a test waits for two.
const TEXT_SIZE_BYTES: usize = 3 << 20;
const SLOWLY: [&str; 2] = ["--throttle", "250"];

/// Several jobs over one text.
pub struct Jobs {
    folder: tempfile::TempDir,
    text: Vec<u8>,
}

impl Jobs {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text::generate(TEXT_SIZE_BYTES);
        std::fs::write(folder.path().join("text"), &text).expect("written");
        Self { folder, text }
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A job's folder, with the text in it, and checkpoints and output to be.
    fn job(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        std::fs::hard_link(self.folder.path().join("text"), folder.join("text")).expect("linked");
        folder
    }

    pub fn start(&self, name: &str, extra: &[&str]) -> Launcher {
        let folder = self.job(name);
        let checkpoints = path(&folder.join("checkpoints")).to_owned();
        Launcher::start_with(&folder, &checkpoints, extra, &[])
    }

    /// A savepoint of a job that is in the middle of the text, and is cancelled then.
    fn savepoint(&self, name: &str, format: &str, extra: &[&str]) -> PathBuf {
        let mut launcher = self.start(name, &[&SLOWLY[..], extra].concat());
        let address = launcher.wait_for_address();
        launcher.wait_for_checkpoints(1);
        let taken = ok(["savepoint", &address, path(&self.folder.path().join("savepoints")), "--format", format]);
        assert_eq!(taken.lines().count(), 1, "the folder and nothing else: {taken}");
        ok(["cancel", &address]);
        let (status, _, log) = launcher.finish();
        assert_eq!(status.code(), Some(3), "{log}");
        let savepoint = PathBuf::from(taken.trim_end());
        assert!(savepoint.starts_with(self.folder.path().join("savepoints")) && savepoint.join("_metadata").is_file(), "{taken}");
        savepoint
    }

    /// The folder of a job that was cancelled, and its last checkpoint.
    fn retained(&self, name: &str, extra: &[&str]) -> (PathBuf, PathBuf) {
        let retained = ["--retention", "retain-on-cancellation"];
        let mut launcher = self.start(name, &[&SLOWLY[..], &retained, extra].concat());
        let address = launcher.wait_for_address();
        launcher.wait_for_checkpoints(3);
        ok(["cancel", &address]);
        let (status, stdout, log) = launcher.finish();
        assert_eq!(status.code(), Some(3), "{log}");
        let chk = figure(&stdout, "kept").split_whitespace().next().expect("a name").trim_end_matches(',').to_owned();
        let mut below = std::fs::read_dir(self.folder.path().join(name).join("checkpoints")).expect("readable");
        let job = below.next().expect("one job").expect("readable").path();
        let kept = job.join(chk);
        (job, kept)
    }

    /// A job that begins from a snapshot, and gives all counts though it does not read all of the text.
    pub fn finishes_from(&self, name: &str, snapshot: &Path, extra: &[&str]) {
        let (status, stdout, log) = self.start(name, &[&["--from", path(snapshot)], extra].concat()).finish();
        assert!(status.success(), "{status}:\n{log}");
        assert_same(&output(&self.folder.path().join(name).join("out")), &text::count(&self.text), &log);
        let lines = self.text.iter().filter(|byte| **byte == b'\n').count() + 1;
        let read: usize = digits(figure(&stdout, "records"));
        assert!(read > 0 && read < lines, "{read} of {lines} lines were left to be read:\n{stdout}");
    }
}

fn digits(text: &str) -> usize {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders are UTF-8")
}

fn ok<const N: usize>(arguments: [&str; N]) -> String {
    let output = binary::run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", binary::stderr(&output));
    binary::stdout(&output)
}

fn json<const N: usize>(arguments: [&str; N]) -> Value {
    serde_json::from_str(&ok(arguments)).expect("JSON")
}

/// Exit code 2 and one line on stderr, which is returned.
fn refused(output: &Output) -> String {
    let line = binary::stderr(output);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(binary::stdout(output).is_empty(), "{}", binary::stdout(output));
    line
}

/// Every file below a folder, with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).expect("readable"));
        }
    }
    files
}

fn unchanged(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let now = tree(folder);
    let names = |tree: &BTreeMap<PathBuf, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&now), names(before));
    let changed = now.iter().find(|(path, bytes)| before.get(*path) != Some(bytes));
    assert!(changed.is_none(), "{changed:?}");
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// What `inspect --json` says of an operator, and the sizes of its subtasks' keyed state.
fn operator<'a>(shown: &'a Value, uid: &str) -> &'a Value {
    let found = list(&shown["operators"]).iter().find(|operator| operator["uid"] == uid);
    found.unwrap_or_else(|| panic!("no operator {uid} in {shown}"))
}

/// Source positions, sizes and formats agree with the job that it was taken of, and with the files.
fn is_of_a_word_count_in_the_middle(snapshot: &Path, kind: &str, format: &str) {
    let shown = json(["inspect", path(snapshot), "--json", "--verify"]);
    assert_eq!((shown["kind"].as_str(), shown["path"].as_str()), (Some(kind), Some(path(snapshot))));
    let (lines, count) = (operator(&shown, "lines"), operator(&shown, "count"));
    for operator in [lines, count] {
        assert_eq!((number(&operator["parallelism"]), number(&operator["max_parallelism"])), (4, 128), "{operator}");
        assert_eq!(list(&operator["subtasks"]).len(), 4, "{operator}");
    }
    let positions = list(&lines["subtasks"]).iter().flat_map(|subtask| subtask["positions"].as_object().expect("positions"));
    let positions: BTreeMap<usize, u64> = positions.map(|(partition, at)| (digits(partition), number(at))).collect();
    assert_eq!(positions.keys().copied().collect::<Vec<_>>(), (0..64).collect::<Vec<_>>(), "every partition once");
    assert!(positions.values().all(|at| *at <= TEXT_SIZE_BYTES as u64 + 8192), "{positions:?}");
    assert!(positions[&63] < TEXT_SIZE_BYTES as u64, "the last partition of the last subtask is not read yet: {positions:?}");
    let states = list(&count["states"]);
    assert!(states.iter().any(|state| state.as_str().is_some_and(|state| state.starts_with("count: "))), "{count}");
    let keyed: Vec<&Value> = list(&count["subtasks"]).iter().flat_map(|subtask| list(&subtask["keyed"])).collect();
    assert!(keyed.len() >= 4 && keyed.iter().all(|handle| handle["format"] == format), "{count}");
    let sizes: u64 = keyed.iter().map(|handle| number(&handle["size_bytes"])).sum();
    assert!(sizes > 100_000 && sizes <= number(&shown["size_bytes"]), "{sizes} in {shown}");
    assert!(number(&shown["verified_bytes"]) > 100_000, "{shown}");
}

#[test]
fn a_canonical_savepoint_of_sorted_runs_is_begun_from_on_hash_tables_with_other_subtasks_and_workers() {
    let jobs = Jobs::new();
    let savepoint = jobs.savepoint("before", "canonical", &["--backend", "sorted-runs", "--inline-below", "0"]);
    let files = tree(&savepoint);
    is_of_a_word_count_in_the_middle(&savepoint, "savepoint", "canonical");
    jobs.finishes_from("after", &savepoint, &["--backend", "hash-map", "--parallelism", "6", "--workers", "3"]);
    unchanged(&savepoint, &files);
    text_says_what_json_says(&savepoint);
    damage_is_found_and_named(&savepoint);
    disposal_leaves_nothing(&savepoint);
    what_is_no_snapshot_is_refused(&jobs);
}

fn text_says_what_json_says(savepoint: &Path) {
    let said = ok(["inspect", path(savepoint)]);
    assert!(said.starts_with("savepoint "), "{said}");
    for line in ["operator lines: 4 subtasks, 128 key groups", "operator count: 4 subtasks, 128 key groups"] {
        assert!(said.lines().any(|found| found == line), "{line} is not in:\n{said}");
    }
    let verified = ok(["inspect", path(savepoint), "--verify"]);
    let (before, last) = verified.trim_end().rsplit_once('\n').expect("several lines");
    assert_eq!(before, said.trim_end());
    assert!(last.starts_with("verified: ") && last.ends_with("every checksum is right"), "{last}");
}

/// Any byte of any file: the first, one in the middle, the last.
fn damage_is_found_and_named(savepoint: &Path) {
    for (file, bytes) in tree(savepoint) {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&file, &damaged).expect("written");
            let line = refused(&binary::run(["inspect", path(savepoint), "--verify"]));
            assert!(line.contains(path(&file)), "byte {at} of {} of {}: {line}", bytes.len(), file.display());
        }
        let shorter = &bytes[..bytes.len() - 1];
        std::fs::write(&file, shorter).expect("written");
        let line = refused(&binary::run(["inspect", path(savepoint), "--verify"]));
        assert!(line.contains(path(&file)), "a byte is missing from {}: {line}", file.display());
        std::fs::write(&file, &bytes).expect("written");
    }
    let state = tree(savepoint).into_keys().find(|file| !file.ends_with("_metadata")).expect("state in files");
    let bytes = std::fs::read(&state).expect("readable");
    std::fs::remove_file(&state).expect("removed");
    let line = refused(&binary::run(["inspect", path(savepoint), "--verify"]));
    assert!(line.contains(path(&state)), "{line}");
    std::fs::write(&state, bytes).expect("written");
    ok(["inspect", path(savepoint), "--verify"]);
}

fn disposal_leaves_nothing(savepoint: &Path) {
    let siblings = savepoint.parent().expect("a folder of savepoints").to_owned();
    ok(["dispose", path(savepoint)]);
    assert!(!savepoint.exists(), "{:?}", tree(savepoint).keys());
    assert!(siblings.is_dir(), "that is the user's");
    let line = refused(&binary::run(["dispose", path(savepoint)]));
    assert!(line.contains("no savepoint or checkpoint"), "{line}");
}

fn what_is_no_snapshot_is_refused(jobs: &Jobs) {
    let folder = jobs.job("nothing");
    let (input, out, checkpoints) = (folder.join("text"), folder.join("out"), folder.join("checkpoints"));
    let run = ["run", "wordcount", "--input", path(&input), "--output", path(&out), "--checkpoints", path(&checkpoints)];
    for arguments in [&["inspect"][..], &["inspect", "--verify"], &["dispose"], &[&run[..], &["--from"]].concat()] {
        let line = refused(&binary::run(arguments.iter().copied().chain([path(&folder)])));
        assert!(line.contains("is no savepoint or checkpoint: there is no file _metadata in it"), "{arguments:?}: {line}");
    }
    assert!(!out.exists() && !checkpoints.exists(), "nothing was begun");
    let line = refused(&binary::run(["inspect", "--orphans", path(&folder)]));
    assert!(line.contains("is not the folder of a job"), "{line}");
    assert!(input.is_file(), "nothing was deleted");
}

#[test]
fn a_canonical_savepoint_of_hash_tables_is_begun_from_on_sorted_runs_with_other_subtasks_and_workers() {
    a_canonical_savepoint_is_begun_from("hash-map", &["--backend", "sorted-runs", "--parallelism", "3", "--workers", "1"]);
}

/// Of one backend, by a job with these options.
pub fn a_canonical_savepoint_is_begun_from(backend: &str, other: &[&str]) {
    let jobs = Jobs::new();
    let savepoint = jobs.savepoint("before", "canonical", &["--backend", backend]);
    let files = tree(&savepoint);
    is_of_a_word_count_in_the_middle(&savepoint, "savepoint", "canonical");
    jobs.finishes_from("after", &savepoint, other);
    unchanged(&savepoint, &files);
}

#[test]
fn a_native_savepoint_is_for_its_own_backend_and_whoever_claims_it_deletes_it() {
    a_native_savepoint_is_for("sorted-runs");
}

pub fn a_native_savepoint_is_for(backend: &str) {
    let jobs = Jobs::new();
    let savepoint = jobs.savepoint("before", "native", &["--backend", backend]);
    let files = tree(&savepoint);
    is_of_a_word_count_in_the_middle(&savepoint, "savepoint", backend);
    let (status, _, log) = jobs.start("refused", &["--from", path(&savepoint), "--backend", "hash-map"]).finish();
    assert_eq!(status.code(), Some(1), "{log}");
    let why = log.lines().last().expect("a last line");
    assert!(why.starts_with("cofferdam: the job failed: ") && why.contains(backend), "{why}");
    unchanged(&savepoint, &files);
    let other = ["--backend", backend, "--parallelism", "3", "--workers", "3", "--claim"];
    jobs.finishes_from("after", &savepoint, &other);
    assert!(!savepoint.exists(), "nobody needs it any more: {:?}", tree(&savepoint).keys());
}

#[test]
fn a_retained_checkpoint_of_an_incremental_job_is_begun_from_and_has_no_orphans_but_those_put_there() {
    a_retained_checkpoint_is_begun_from("sorted-runs");
}

/// With more subtasks, and again with fewer.
pub fn a_retained_checkpoint_is_begun_from(backend: &str) {
    let jobs = Jobs::new();
    let (job, kept) = jobs.retained("before", &["--backend", backend]);
    is_of_a_word_count_in_the_middle(&kept, "checkpoint", backend);
    let shared = json(["inspect", path(&kept), "--json"]);
    assert!(number(&shared["shared_bytes"]) > 0, "it was incremental: {shared}");
    let files = tree(&job);
    what_a_test_puts_there_is_all_that_is_deleted(&job, &kept);
    unchanged(&job, &files);
    jobs.finishes_from("beside", &kept, &["--backend", backend, "--parallelism", "6", "--workers", "3"]);
    unchanged(&job, &files);
    jobs.finishes_from("instead", &kept, &["--backend", backend, "--parallelism", "3", "--claim"]);
    assert!(!kept.exists(), "nobody needs it any more: {:?}", tree(&kept).keys());
    let left = json(["inspect", "--orphans", "--json", path(&job)]);
    assert!(number(&left["snapshots"]) == 0 && list(&left["orphans"]).is_empty(), "{left}");
}

#[test]
fn a_retained_checkpoint_of_merged_files_is_shown_begun_from_and_disposed_of() {
    let jobs = Jobs::new();
    let (job, kept) = jobs.retained("before", &["--backend", "sorted-runs", "--merge-files", "1048576"]);
    is_of_a_word_count_in_the_middle(&kept, "checkpoint", "sorted-runs");
    let shown = json(["inspect", path(&kept), "--json"]);
    assert!(number(&shown["inline_bytes"]) > 0, "what is small is in the metadata: {shown}");
    let merged = shown["merged"].as_object().expect("files by name");
    // Right after a merge of its runs a subtask has one segment: how many there are depends on the moment of the cancellation.
    assert!(!merged.is_empty(), "what is not small enough for that is in merged files: {shown}");
    for (file, used) in merged {
        let (used, there) = (number(&used["used_bytes"]), number(&used["file_bytes"]));
        let size = std::fs::metadata(file).expect("the file is there").len();
        assert!(there == size && used <= size, "{file}: {used} of {there}, which are {size}");
    }
    assert!(ok(["inspect", path(&kept)]).contains("bytes used (amplification "), "text says so, too");
    let files = tree(&job);
    what_a_test_puts_there_is_all_that_is_deleted(&job, &kept);
    let other = ["--backend", "sorted-runs", "--parallelism", "6", "--workers", "3", "--merge-files", "65536"];
    jobs.finishes_from("beside", &kept, &other);
    unchanged(&job, &files);
    ok(["dispose", path(&kept)]);
    assert!(!kept.exists() && tree(&job.join("shared")).is_empty(), "{:?}", tree(&job).keys());
}

#[test]
fn what_cannot_be_merged_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text"), "a b\n").expect("written");
    let (text, out) = (folder.path().join("text"), folder.path().join("out"));
    let refusal = |checkpoints: &str, extra: [&str; 2]| {
        let job = ["run", "wordcount", "--input", path(&text), "--output", path(&out), "--checkpoints", checkpoints];
        refused(&binary::run(job.iter().chain(&extra)))
    };
    let below = path(folder.path());
    assert!(refusal("s3://bucket/job", ["--merge-files", "65536"]).contains("can only be merged on a file system"));
    assert!(refusal(below, ["--merge-files", "10"]).contains("at least 1024 are needed"));
    assert!(refusal(below, ["--inline-below", "2000000"]).contains("the threshold is at most 1048576 bytes"));
    assert!(!out.exists(), "nothing was begun");
}

fn what_a_test_puts_there_is_all_that_is_deleted(job: &Path, kept: &Path) {
    let found = |extra: &[&str]| -> Value {
        let output = binary::run(["inspect", "--orphans", "--json", path(job)].iter().chain(extra));
        serde_json::from_str(&binary::stdout(&output)).expect("JSON")
    };
    let none = found(&[]);
    assert!(number(&none["snapshots"]) == 1 && list(&none["orphans"]).is_empty(), "{none}");
    let strays = [kept.join("stray"), job.join("shared").join("stray")];
    for stray in &strays {
        std::fs::write(stray, "nobody's").expect("written");
    }
    let some = found(&[]);
    let paths: Vec<&str> = list(&some["orphans"]).iter().filter_map(|orphan| orphan["path"].as_str()).collect();
    assert_eq!(paths, strays.each_ref().map(|stray| path(stray)), "{some}");
    assert!(list(&some["orphans"]).iter().all(|orphan| orphan["size_bytes"] == 8) && some["deleted"] == false, "{some}");
    assert!(strays.iter().all(|stray| stray.is_file()), "nobody has asked to delete them");
    let said = ok(["inspect", "--orphans", path(job)]);
    assert!(said.ends_with("2 files, 16 bytes not needed by any snapshot; 1 snapshots looked at\n"), "{said}");
    let deleted = found(&["--delete"]);
    assert!(list(&deleted["orphans"]) == list(&some["orphans"]) && deleted["deleted"] == true, "{deleted}");
    ok(["inspect", "--verify", path(kept)]);
}

#[test]
fn a_worker_killed_between_incremental_checkpoints_leaves_the_counts_exact() {
    a_killed_worker_leaves_the_counts_exact("sorted-runs");
}

pub fn a_killed_worker_leaves_the_counts_exact(backend: &str) {
    let jobs = Jobs::new();
    let mut launcher = jobs.start("killed", &["--backend", backend, "--throttle", "150", "--interval", "200ms"]);
    let worker = launcher.wait_for_pid("worker 1");
    launcher.wait_for_checkpoints(2);
    kill_nine(worker);
    launcher.wait_for_pid("worker 1");
    let (status, stdout, log) = launcher.finish();
    assert!(status.success(), "{status}:\n{log}");
    assert_same(&output(&jobs.folder.path().join("killed/out")), &text::count(&jobs.text), &log);
    let restores: u64 = figure(&stdout, "restores").parse().expect("a number");
    assert!(restores >= 1, "{stdout}\n{log}");
}

/// A checkpoint that has nothing but records in flight, in a file and inline.
fn of_records_in_flight(job: &Path) -> PathBuf {
    let folder = job.join("chk-7");
    std::fs::create_dir_all(&folder).expect("made");
    let file = |text: &[u8]| {
        let mut blocks = BlockWriter::new(FileKind::State);
        blocks.block(text).expect("a few bytes");
        blocks.finish()
    };
    let (records, few) = (file(b"three records"), file(b"one"));
    let path = "chk-7/count-0-a1.1-in-flight";
    std::fs::write(job.join(path), &records).expect("written");
    let handle = |edge: &str, location, records| InFlightHandle { edge: edge.into(), location, records };
    let in_flight = vec![
        handle("source->count#0", StateLocation::File { path: path.into(), size_bytes: records.len() as u64 }, 3),
        handle("rules->count#0", StateLocation::Inline(few), 1),
    ];
    let operator = OperatorState {
        uid: "count".into(),
        parallelism: 1,
        max_parallelism: MaxParallelism::new(8).expect("between 1 and 32768"),
        states: Vec::new(),
        subtasks: BTreeMap::from([(SubtaskIndex(0), SubtaskState { in_flight, ..SubtaskState::default() })]),
        finished: Finished::Nobody,
    };
    let metadata = CheckpointMetadata {
        job: "job".into(),
        checkpoint: CheckpointId(7),
        attempt: AttemptId::default(),
        kind: SnapshotKind::Checkpoint,
        hooks: Vec::new(),
        enumerators: Vec::new(),
        operators: vec![operator],
    };
    std::fs::write(folder.join("_metadata"), metadata.to_file()).expect("written");
    folder
}

#[test]
fn what_is_in_flight_is_shown_verified_and_disposed_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = of_records_in_flight(&folder.path().join("job"));
    let shown = json(["inspect", path(&snapshot), "--json", "--verify"]);
    let in_flight = list(&list(&operator(&shown, "count")["subtasks"])[0]["in_flight"]);
    assert_eq!((in_flight[0]["edge"].as_str(), number(&in_flight[0]["records"])), (Some("source->count#0"), 3));
    let sizes: u64 = in_flight.iter().map(|handle| number(&handle["size_bytes"])).sum();
    assert_eq!(number(&shown["size_bytes"]), sizes, "{shown}");
    assert!(number(&shown["inline_bytes"]) > 0 && number(&shown["verified_bytes"]) == 16, "{shown}");
    let said = ok(["inspect", path(&snapshot)]);
    assert!(said.contains("in flight on source->count#0: 3 records"), "{said}");
    damage_is_found_and_named(&snapshot);
    disposal_leaves_nothing(&snapshot);
}
