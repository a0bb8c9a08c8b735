use super::*;
use crate::ids::KeyGroup;
use crate::restore::OperatorRestore;
use crate::snapshot::{Layout, SharedFile};
use alloc::vec;

fn groups(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(first), last: KeyGroup(last) }
}

fn copy() -> LocalCopy {
    let attempt = AttemptId { epoch: Epoch(2), number: 3 };
    LocalCopy { task: TaskId::new(1, 0), taken: Taken { checkpoint: CheckpointId(7), attempt } }
}

fn file(name: &str, size_bytes: u64) -> LocalFile {
    LocalFile { name: name.into(), size_bytes, checksum: 0xfeed_beef }
}

fn handle() -> KeyedHandle {
    let shared = vec![SharedFile { name: "run-1".into(), path: "shared/a2.3-count-0-1".into(), size_bytes: 40, segment: None }];
    let layout = Layout::Store { backend: "sorted-runs".into(), columns: vec!["count".into()], shared };
    let location = StateLocation::File { path: "chk-7/count-0-a2.3".into(), size_bytes: 30 };
    KeyedHandle { groups: groups(0, 7), location, layout }
}

fn snapshot() -> LocalSnapshot {
    let operator =
        LocalOperator { uid: "count".into(), handle: handle(), private: Some(file("count-0", 30)), shared: vec![file("count-1", 40)] };
    LocalSnapshot { copy: copy(), operators: vec![operator] }
}

fn planned(handle: KeyedHandle, groups: KeyGroupRange) -> OperatorRestore {
    OperatorRestore { uid: "count".into(), keyed: vec![(handle, groups)], ..OperatorRestore::default() }
}

#[test]
fn the_name_of_a_folder_says_whose_copy_it_is() {
    assert_eq!(copy().folder(), "v1.s0-c7-a2.3");
    assert_eq!(LocalCopy::of_folder("v1.s0-c7-a2.3"), Some(copy()));
    for other in ["", "v1.s0", "v01.s0-c7-a2.3", "v1.s0-c7-a2.3-", "v1.s0-c+7-a2.3", "1.s0-c7-a2.3", "v1.s0-c7-a2", "v1.0-c7-a2.3"] {
        assert_eq!(LocalCopy::of_folder(other), None, "{other:?}");
    }
}

/// The bytes of version 1.
#[test]
fn the_stored_format_is_frozen() {
    let bytes = snapshot().to_file();
    assert_eq!(&bytes[..8], b"CFDLOCAL");
    assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (FROZEN_SIZE, FROZEN_CHECKSUM));
    assert_eq!(LocalSnapshot::from_file(&bytes), Ok(snapshot()));
}

const FROZEN_SIZE: usize = 242;
const FROZEN_CHECKSUM: u32 = 1_494_420_176;

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = snapshot().to_file();
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        assert!(LocalSnapshot::from_file(&broken).is_err(), "byte {at}");
        assert!(LocalSnapshot::from_file(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_file_of_a_copy_is_in_its_folder() {
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b"] {
        let mut snapshot = snapshot();
        snapshot.operators[0].private = Some(file(name, 1));
        assert!(LocalSnapshot::from_file(&snapshot.to_file()).is_err(), "{name:?}");
    }
}

#[test]
fn a_copy_of_the_very_snapshot_stands_in() {
    let snapshot = snapshot();
    let found = stand_in(&planned(handle(), groups(0, 7)), groups(0, 7), copy(), &snapshot);
    assert_eq!(found, Ok(&snapshot.operators[0]));
    assert_eq!(found.map(LocalOperator::size_bytes), Ok(70));
}

#[test]
fn a_copy_of_the_same_number_by_another_attempt_does_not() {
    let mut wanted = copy();
    wanted.taken.attempt = AttemptId { epoch: Epoch(3), number: 1 };
    let found = stand_in(&planned(handle(), groups(0, 7)), groups(0, 7), wanted, &snapshot()).cloned();
    assert_eq!(found, Err(Mismatch::OtherCopy { found: copy(), wanted }));
}

#[test]
fn a_copy_that_stands_for_other_files_does_not() {
    let other_path = {
        let mut handle = handle();
        handle.location = StateLocation::File { path: "chk-7/count-0-a2.4".into(), size_bytes: 30 };
        handle
    };
    let other_size = {
        let mut handle = handle();
        handle.location = StateLocation::File { path: "chk-7/count-0-a2.3".into(), size_bytes: 31 };
        handle
    };
    let other_shared = {
        let mut handle = handle();
        if let Layout::Store { shared, .. } = &mut handle.layout {
            shared[0].path = "shared/a2.3-count-0-2".into();
        }
        handle
    };
    for handle in [other_path, other_size, other_shared] {
        let found = stand_in(&planned(handle, groups(0, 7)), groups(0, 7), copy(), &snapshot()).cloned();
        assert_eq!(found, Err(Mismatch::OtherHandle { uid: "count".into() }));
    }
}

#[test]
fn at_another_parallelism_no_copy_stands_in() {
    let narrower = planned(handle(), groups(0, 3));
    let both = OperatorRestore { keyed: vec![(handle(), groups(0, 7)), (handle(), groups(8, 15))], ..planned(handle(), groups(0, 7)) };
    for (planned, own) in [(narrower, groups(0, 3)), (both, groups(0, 15)), (planned(handle(), groups(0, 7)), groups(0, 15))] {
        let found = stand_in(&planned, own, copy(), &snapshot()).cloned();
        assert_eq!(found, Err(Mismatch::OtherGroups { uid: "count".into(), groups: own }));
    }
}

#[test]
fn a_copy_that_lacks_a_file_or_an_operator_does_not_stand_in() {
    let (mut without_private, mut without_shared, mut without) = (snapshot(), snapshot(), snapshot());
    without_private.operators[0].private = None;
    without_shared.operators[0].shared.clear();
    without.operators.clear();
    for snapshot in [without_private, without_shared, without] {
        let found = stand_in(&planned(handle(), groups(0, 7)), groups(0, 7), copy(), &snapshot).cloned();
        assert_eq!(found, Err(Mismatch::NotWhole { uid: "count".into() }));
    }
}
