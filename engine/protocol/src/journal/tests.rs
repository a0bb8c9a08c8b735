//! Facts about journal entries.

use super::*;
use alloc::format;
use proptest::prelude::*;

fn entry() -> JournalEntry {
    let journal = Journal {
        epoch: Epoch(3),
        reserved: CheckpointId(16),
        completed: BTreeSet::from([CheckpointId(11), CheckpointId(14)]),
        origin: Some(Origin { path: "/s".into(), checkpoint: CheckpointId(3), claim: ClaimMode::Claim }),
        ended: Some(Ended::Failed("gone".into())),
        ..Journal::default()
    };
    JournalEntry { number: 9, writer: 0x1122_3344_5566_7788, journal }
}

/// With what is new in the second version.
fn entry_with_leftovers() -> JournalEntry {
    let mut entry = entry();
    entry.journal.begun = BTreeMap::from([(CheckpointId(15), "/t".into()), (CheckpointId(16), "s3://b/t".into())]);
    entry.journal.discarding = entry.journal.origin.take();
    entry
}

#[test]
fn an_entry_has_the_bytes_it_always_had() {
    let hex: String = entry().to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444a524e4c00010000006d09291d4e0000009ca1d65d090000000000000088776655443322110300000000000000",
            "1000000000000000020000000b000000000000000e0000000000000001020000002f7303000000000000000101010400",
            "0000676f6e6500000000b016c2474e00000000000000",
        )
    );
}

#[test]
fn an_entry_with_leftovers_has_the_bytes_it_always_had() {
    let hex: String = entry_with_leftovers().to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444a524e4c000200000083a69c0f750000001a7458e8090000000000000088776655443322110300000000000000",
            "1000000000000000020000000b000000000000000e0000000000000000010104000000676f6e65020000000f00000000",
            "000000020000002f7410000000000000000800000073333a2f2f622f7401020000002f73030000000000000001000000",
            "009b59659f7500000000000000",
        )
    );
}

/// With what is new in the third version.
fn entry_with_stop() -> JournalEntry {
    let mut entry = entry();
    entry.journal.completed.clear();
    let stopped = StoppedWith { checkpoint: CheckpointId(15), target: "/t".into(), drained: true };
    entry.journal.ended = Some(Ended::Stopped(stopped));
    entry
}

#[test]
fn an_entry_of_a_stopped_job_has_the_bytes_it_always_had() {
    let hex: String = entry_with_stop().to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444a524e4c0003000000e6c120b74a000000d0378410090000000000000088776655443322110300000000000000",
            "10000000000000000000000001020000002f7303000000000000000101030f00000000000000020000002f7401000000",
            "0000000000004a1888c34a00000000000000",
        )
    );
}

#[test]
fn no_older_version_has_room_for_a_stop() {
    let mut encoding = Vec::new();
    (7_u64, 8_u64).write(&mut encoding);
    entry_with_stop().journal.write(&mut encoding);
    for version in [1, 2] {
        let file = frame_as(FileKind::Journal, version, &encoding);
        assert!(JournalEntry::from_file(&file).is_err(), "version {version}");
    }
}

#[test]
fn every_damage_is_an_error() {
    for entry in [entry(), entry_with_leftovers(), entry_with_stop()] {
        damage(&entry);
    }
}

fn damage(entry: &JournalEntry) {
    let bytes = entry.to_file();
    assert_eq!(JournalEntry::from_file(&bytes).as_ref(), Ok(entry));
    for length in 0..bytes.len() {
        assert!(JournalEntry::from_file(&bytes[..length]).is_err(), "cut to {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(JournalEntry::from_file(&bent).is_err(), "bit {bit}");
    }
}

fn ended() -> impl Strategy<Value = Option<Ended>> {
    prop_oneof![
        Just(None),
        Just(Some(Ended::Finished)),
        Just(Some(Ended::Cancelled)),
        ".{0,20}".prop_map(|cause| Some(Ended::Failed(cause))),
        (any::<u64>(), ".{0,9}", any::<bool>()).prop_map(|(checkpoint, target, drained)| {
            Some(Ended::Stopped(StoppedWith { checkpoint: CheckpointId(checkpoint), target, drained }))
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(
        number in any::<u64>(),
        writer in any::<u64>(),
        epoch in any::<u64>(),
        reserved in any::<u64>(),
        completed in prop::collection::btree_set(any::<u64>().prop_map(CheckpointId), 0..5),
        origin in prop::option::of((".{0,9}", any::<u64>(), any::<bool>())),
        ended in ended(),
        begun in prop::collection::btree_map(any::<u64>().prop_map(CheckpointId), ".{0,9}", 0..3),
        discarding in prop::option::of((".{0,9}", any::<u64>(), any::<bool>())),
    ) {
        let origin_of = |(path, checkpoint, claimed)| {
            let claim = if claimed { ClaimMode::Claim } else { ClaimMode::NoClaim };
            Origin { path, checkpoint: CheckpointId(checkpoint), claim }
        };
        let (origin, discarding) = (origin.map(origin_of), discarding.map(origin_of));
        let journal = Journal { epoch: Epoch(epoch), reserved: CheckpointId(reserved), completed, origin, begun, discarding, ended };
        let entry = JournalEntry { number, writer, journal };
        prop_assert_eq!(JournalEntry::from_file(&entry.to_file()), Ok(entry));
    }

    #[test]
    fn arbitrary_bytes_in_a_good_frame_are_never_a_panic(version in 1..=3_u16, encoding in prop::collection::vec(any::<u8>(), 0..80)) {
        let file = frame_as(FileKind::Journal, version, &encoding);
        if let Ok(entry) = JournalEntry::from_file(&file) {
            prop_assert_eq!(entry.to_file(), file);
        }
    }
}
