//! The entry functions of the fuzz target, on bytes that the fuzzer would begin with: any, and those of small files with any damage.

use cofferdam_engine::cluster::message::{Command, ToCoordinator, ToWorker};
use cofferdam_engine::codec;
use cofferdam_protocol::block::{frame, BlockWriter, FileKind};
use cofferdam_protocol::coordinator::Journal;
use cofferdam_protocol::journal::JournalEntry;
use cofferdam_protocol::metadata::{CheckpointMetadata, Finished, OperatorState, SnapshotKind, SubtaskState};
use cofferdam_protocol::snapshot::{InFlightHandle, KeyedHandle, Layout, Segment, SharedFile, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, KeyGroup, KeyGroupRange, MaxParallelism, SubtaskIndex};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[path = "../../fuzz/src/decoders.rs"]
mod entry;

/// With state of every kind of place.
fn metadata() -> CheckpointMetadata {
    let groups = |first, last| KeyGroupRange { first: KeyGroup(first), last: KeyGroup(last) };
    let part = |first, last, location, layout| SubtaskState {
        keyed: vec![KeyedHandle { groups: groups(first, last), location, layout }],
        lists: Vec::new(),
        in_flight: vec![InFlightHandle {
            edge: "source->count#0".into(),
            location: StateLocation::File { path: format!("chk-7/count-in-flight-{first}"), size_bytes: 40 },
            records: 3,
        }],
    };
    let shared = vec![
        SharedFile {
            name: "1.run".into(),
            path: "shared/a1.2-count-1-1".into(),
            size_bytes: 70,
            segment: Some(Segment { offset: 30, file_bytes: 100 }),
        },
        SharedFile { name: "2.run".into(), path: "shared/a1.2-count-1-2".into(), size_bytes: 700, segment: None },
    ];
    let store = Layout::Store { backend: "sorted-runs".into(), columns: vec!["total".into()], shared };
    let merged = StateLocation::Segment { path: "chk-7/merged-w1-a1.2-0".into(), offset: 64, size_bytes: 99 };
    let whole = StateLocation::File { path: "chk-7/count-2-a1.2".into(), size_bytes: 5 };
    CheckpointMetadata {
        job: "j".into(),
        checkpoint: CheckpointId(7),
        attempt: AttemptId { epoch: Epoch(1), number: 2 },
        kind: SnapshotKind::Checkpoint,
        hooks: Vec::new(),
        enumerators: Vec::new(),
        operators: vec![OperatorState {
            uid: "count".into(),
            parallelism: 3,
            max_parallelism: MaxParallelism::new(8).expect("between 1 and 32768"),
            states: Vec::new(),
            subtasks: BTreeMap::from([
                (SubtaskIndex(0), part(0, 2, merged, Layout::Blocks)),
                (SubtaskIndex(1), part(3, 5, StateLocation::Inline(vec![1, 2, 3]), store)),
                (SubtaskIndex(2), part(6, 7, whole, Layout::Blocks)),
            ]),
            finished: Finished::Nobody,
        }],
    }
}

fn journal() -> JournalEntry {
    let begun = [(CheckpointId(8), "s3://bucket/savepoints".to_owned())].into();
    JournalEntry {
        number: 3,
        writer: 9,
        journal: Journal { epoch: Epoch(2), completed: [CheckpointId(7)].into(), begun, ..Journal::default() },
    }
}

fn run_file() -> Vec<u8> {
    // Magic, column, one entry: key group and key, a value.
    let mut bytes = b"CFDRUN1\0".to_vec();
    bytes.extend_from_slice(&[0, 0, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[3, 0, 0, 0, 0, 1, b'k', 1, 1, 0, 0, 0, b'v']);
    bytes
}

fn framed(message: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("it is small");
    bytes.split_off(4)
}

/// Small files and messages as they are meant to be.
fn samples() -> Vec<Vec<u8>> {
    let mut state = BlockWriter::new(FileKind::State);
    state.block(b"state").expect("five bytes");
    let block = [&[0, 0, 1][..], &[4, 0, 0, 0], b"last", &[1, 0, 0, 0], &[1, 0, 0, 0], b"k", &[1, 0, 0, 0], b"v"].concat();
    vec![
        metadata().to_file(),
        metadata().encode(),
        journal().to_file(),
        state.finish(),
        block,
        run_file(),
        b"0 1.run\n".to_vec(),
        framed(&ToCoordinator::Command(Command::Checkpoint)),
        framed(&ToWorker::Welcome { epoch: Epoch(3) }),
    ]
}

#[test]
fn every_decoder_answers_every_cut_and_every_flipped_bit_of_every_small_file() {
    for sample in samples() {
        let cuts = (0..=sample.len()).map(|length| sample[..length].to_vec());
        let flips = (0..sample.len() * 8).map(|bit| {
            let mut bent = sample.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            bent
        });
        for bytes in cuts.chain(flips) {
            entry::DECODERS.iter().for_each(|(_, decode)| decode(&bytes));
        }
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_what_has_a_checksum_is_an_error() {
    let (metadata, journal) = (metadata(), journal());
    assert_eq!(CheckpointMetadata::from_file(&metadata.to_file()), Ok(metadata.clone()));
    assert_eq!(JournalEntry::from_file(&journal.to_file()), Ok(journal.clone()));
    let is_error = |bytes: &[u8]| CheckpointMetadata::from_file(bytes).is_err() && JournalEntry::from_file(bytes).is_err();
    for whole in [metadata.to_file(), journal.to_file(), frame(FileKind::State, b"state")] {
        for length in 0..whole.len() {
            assert!(is_error(&whole[..length]), "cut to {length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(is_error(&bent), "bit {bit}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        entry::DECODERS.iter().for_each(|(_, decode)| decode(&bytes));
    }

    #[test]
    fn no_damage_makes_a_decoder_panic(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6),
    ) {
        let samples = samples();
        let mut bytes = samples[which.index(samples.len())].clone();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.splice(at.., []); }
            }
        }
        entry::DECODERS.iter().for_each(|(_, decode)| decode(&bytes));
    }
}
