//! Facts about what is read of metadata, held against what the engine writes.

use super::*;
use cofferdam_protocol::block::{BlockWriter, FileKind};
use cofferdam_protocol::metadata::{CheckpointMetadata, Finished, OperatorState, SnapshotKind, SubtaskState};
use cofferdam_protocol::snapshot::{InFlightHandle, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, MaxParallelism, SubtaskIndex};

fn file(text: &[u8]) -> Vec<u8> {
    let mut blocks = BlockWriter::new(FileKind::State);
    blocks.block(text).expect("a few bytes");
    blocks.finish()
}

fn metadata(in_flight: Vec<InFlightHandle>) -> CheckpointMetadata {
    let operator = OperatorState {
        uid: "count".into(),
        parallelism: 2,
        max_parallelism: MaxParallelism::new(8).expect("between 1 and 32768"),
        states: Vec::new(),
        subtasks: BTreeMap::from([
            (SubtaskIndex(0), SubtaskState::default()),
            (SubtaskIndex(1), SubtaskState { in_flight, ..SubtaskState::default() }),
        ]),
        finished: Finished::Nobody,
    };
    CheckpointMetadata {
        job: "j".into(),
        checkpoint: CheckpointId(7),
        attempt: AttemptId::default(),
        kind: SnapshotKind::Checkpoint,
        hooks: Vec::new(),
        enumerators: Vec::new(),
        operators: vec![operator],
    }
}

fn handle(edge: &str, location: StateLocation, records: u64) -> InFlightHandle {
    InFlightHandle { edge: edge.into(), location, records }
}

fn read(metadata: &CheckpointMetadata, log: &[u8]) -> Result<Checkpoint, Broken> {
    let named = metadata.to_file();
    let files = |path: &str| match path {
        "chk-7/_metadata" => Ok(named.clone()),
        "chk-7/log" => Ok(log.to_vec()),
        other => Err(format!("{other} is not there")),
    };
    checkpoint(7, &files, &|_| None)
}

#[test]
fn what_is_in_flight_is_read_with_its_files() {
    let (log, inline) = (file(b"three records"), file(b"one"));
    let location = StateLocation::File { path: "chk-7/log".into(), size_bytes: log.len() as u64 };
    let metadata = metadata(vec![handle("a->count#0", location, 3), handle("b->count#0", StateLocation::Inline(inline.clone()), 1)]);
    let read_back = read(&metadata, &log).expect("it is whole");
    assert_eq!(read_back.files, ["chk-7/_metadata", "chk-7/log"]);
    let of = |edge: &str, records, file: &[u8]| InFlight { edge: edge.into(), records, file: file.to_vec() };
    let expected = BTreeMap::from([(("count".to_owned(), 1), vec![of("a->count#0", 3, &log), of("b->count#0", 1, &inline)])]);
    assert_eq!(read_back.in_flight, expected);
    let mut damaged = log.clone();
    damaged[20] ^= 1;
    assert!(read(&metadata, &damaged).is_err_and(|broken| broken.contains("chk-7/log")));
    assert!(read(&metadata, &log[1..]).is_err());
}

#[test]
fn where_nothing_is_in_flight_the_bytes_are_those_of_version_1() {
    let metadata = metadata(Vec::new());
    assert_eq!(metadata.to_file()[8..10], [1, 0]);
    assert!(read(&metadata, &[]).expect("it is whole").in_flight.is_empty());
}

#[test]
fn who_had_finished_is_read() {
    let mut some = metadata(Vec::new());
    some.operators[0].subtasks.remove(&SubtaskIndex(0));
    some.operators[0].finished = Finished::Some([SubtaskIndex(0)].into());
    let read_back = read(&some, &[]).expect("it is whole");
    assert_eq!(read_back.finished, BTreeMap::from([("count".to_owned(), [0].into())]));
    assert_eq!(some.to_file()[8..10], [4, 0]);
    let mut all = some.clone();
    all.operators[0].subtasks.clear();
    all.operators[0].finished = Finished::All;
    assert_eq!(read(&all, &[]).expect("it is whole").finished, BTreeMap::from([("count".to_owned(), [0, 1].into())]));
    some.operators[0].subtasks.clear();
    assert!(read(&some, &[]).is_err_and(|broken| broken.contains("subtask 1 of count has no part and had not finished")));
}
