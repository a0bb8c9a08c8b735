//! What may be done to the formats by whoever writes their bytes: anything, and the answer is a value or an error, never a panic.
//!
//! What is read can be written, and is then read as the same.

use cofferdam_engine::cluster::message::{CommandAnswer, ToCoordinator, ToWorker};
use cofferdam_engine::codec;
use cofferdam_engine::record::Element;
use cofferdam_engine::state::backend::restore::restore_block;
use cofferdam_engine::state::backend::StateVisitor;
use cofferdam_engine::state::cold::{ColdBackend, ColdPart, ColdPlace, ColumnIndex, Loaded, LoadedFile};
use cofferdam_engine::state::sorted_runs::SortedRuns;
use cofferdam_engine::state::{ListState, MapState, Text, ValueState};
use cofferdam_protocol::block::{frame, frame_as, unframe, BlockReader, BlockWriter, FileKind};
use cofferdam_protocol::journal::JournalEntry;
use cofferdam_protocol::local::LocalSnapshot;
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::{KeyGroup, KeyGroupRange, MaxParallelism};
use std::collections::BTreeSet;

/// What is to be done with bytes, whatever they are.
pub type Decoder = fn(&[u8]);

/// Each by its name.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("metadata", metadata),
    ("metadata inside a good frame", metadata_in_frame),
    ("journal", journal),
    ("journal inside a good frame", journal_in_frame),
    ("local copy", local_copy),
    ("local copy inside a good frame", local_copy_in_frame),
    ("blocks", blocks),
    ("a block of keyed state", state_block),
    ("a sorted run", sorted_run),
    ("the manifest of sorted runs", manifest),
    ("frames", frames),
];

/// What was read is written, and read as the same.
fn same<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(read: Result<T, E>, again: impl FnOnce(&T) -> Result<T, E>) {
    if let Ok(read) = read {
        let again = again(&read).expect("what was read can be written and read");
        assert_eq!(read, again);
    }
}

fn metadata(bytes: &[u8]) {
    same(CheckpointMetadata::from_file(bytes), |read| CheckpointMetadata::from_file(&read.to_file()));
}

fn metadata_in_frame(bytes: &[u8]) {
    for version in 1..=FileKind::Metadata.newest() {
        same(CheckpointMetadata::decode(version, bytes), |read| CheckpointMetadata::decode(version, &read.encode()));
        metadata(&frame_as(FileKind::Metadata, version, bytes));
    }
}

fn journal(bytes: &[u8]) {
    same(JournalEntry::from_file(bytes), |read| JournalEntry::from_file(&read.to_file()));
}

fn journal_in_frame(bytes: &[u8]) {
    for version in 1..=FileKind::Journal.newest() {
        journal(&frame_as(FileKind::Journal, version, bytes));
    }
}

fn local_copy(bytes: &[u8]) {
    same(LocalSnapshot::from_file(bytes), |read| LocalSnapshot::from_file(&read.to_file()));
}

fn local_copy_in_frame(bytes: &[u8]) {
    local_copy(&frame(FileKind::LocalCopy, bytes));
}

fn blocks(bytes: &[u8]) {
    for kind in [FileKind::Metadata, FileKind::State, FileKind::Journal, FileKind::LocalCopy] {
        let Ok(mut reader) = BlockReader::new(kind, bytes) else { continue };
        let mut writer = BlockWriter::new_as(kind, reader.version());
        let end = loop {
            match reader.next_block() {
                Ok(Some(block)) => writer.block(block).expect("it was a block"),
                other => break other,
            }
        };
        if end.is_ok() {
            // There is one way only to write the same blocks, behind a header that may be of another version.
            assert_eq!(writer.finish(), bytes);
        }
        // Never more than there is.
        assert!(unframe(kind, bytes).map_or(0, |encoding| encoding.len()) <= bytes.len());
    }
}

fn state_block(bytes: &[u8]) {
    let max = MaxParallelism::new(8).expect("between 1 and 32768");
    let all = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(7) };
    let (mut last, mut seen) = (ValueState::<Text, String>::default(), ListState::<Text, u64>::default());
    let mut words = MapState::<Text, u32, String>::default();
    // Nothing is known of bytes that nobody wrote, but that they are no panic.
    let _ = restore_block(bytes, 0, max, all, |visit: &mut dyn StateVisitor<Text>| {
        visit.visit("last", &mut last);
        visit.visit("seen", &mut seen);
        visit.visit("words", &mut words);
    });
}

fn restore_runs(manifest: &[u8], run: &[u8]) {
    let groups = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(7) };
    let place = ColdPlace { name: "fuzz".into(), columns: 1, groups, expiring: BTreeSet::new() };
    let file = |name: &str, shared, bytes: &[u8]| LoadedFile { name: name.into(), shared, content: Loaded::Bytes(bytes.to_vec()) };
    let files = vec![file("MANIFEST", false, manifest), file("1.run", true, run)];
    let part = ColdPart { groups, held: groups, columns: vec![Some(ColumnIndex(0))], column_count: 1, files };
    if let Ok((store, _)) = SortedRuns::new(1).restore(&place, vec![part]) {
        store.checkpoint().expect("what was restored can be written");
    }
}

fn sorted_run(bytes: &[u8]) {
    restore_runs(b"0 1.run\n", bytes);
}

fn manifest(bytes: &[u8]) {
    restore_runs(bytes, b"");
}

fn frames(bytes: &[u8]) {
    // A frame has no checksum: bent bytes may be another message.
    let _ = codec::decode::<ToCoordinator>(bytes);
    let _ = codec::decode::<ToWorker>(bytes);
    let _ = codec::decode::<CommandAnswer>(bytes);
    let _ = codec::decode::<Element<(u64, String)>>(bytes);
}
