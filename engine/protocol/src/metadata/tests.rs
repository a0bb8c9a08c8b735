//! Facts about checkpoint metadata.

use super::*;
use crate::ids::TaskId;
use crate::snapshot::Segment;
use crate::snapshot::TaskSnapshot;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use proptest::prelude::*;

fn max(count: u32) -> MaxParallelism {
    MaxParallelism::new(count).expect("between 1 and 32768")
}

fn groups(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(first), last: KeyGroup(last) }
}

fn file(path: &str, size_bytes: u64) -> StateLocation {
    StateLocation::File { path: path.into(), size_bytes }
}

fn shape(uid: &str, parallelism: u32, vertex: u32) -> OperatorShape {
    OperatorShape {
        uid: uid.into(),
        parallelism,
        max_parallelism: max(8),
        vertex: VertexId(vertex),
        states: Vec::new(),
        inputs: Vec::new(),
        publishes: false,
    }
}

fn part(uid: &str, keyed: Vec<KeyedHandle>) -> OperatorSnapshot {
    OperatorSnapshot { uid: uid.into(), states: Vec::new(), keyed, lists: Vec::new(), in_flight: Vec::new() }
}

use crate::snapshot::OperatorSnapshot;

const NOBODY: BTreeSet<TaskId> = BTreeSet::new();

const ATTEMPT: AttemptId = AttemptId { epoch: Epoch(2), number: 5 };

fn total() -> StateShape {
    let of = |name: &str, version| TypeVersion { name: name.into(), version };
    StateShape { name: "total".into(), kind: 1, key: of("text", 1), value: of("u64", 2) }
}

fn sample() -> CheckpointMetadata {
    let count = |first, last, location| SubtaskState {
        keyed: vec![KeyedHandle { groups: groups(first, last), location, layout: Layout::Blocks }],
        lists: Vec::new(),
        in_flight: Vec::new(),
    };
    let source = SubtaskState {
        keyed: Vec::new(),
        lists: vec![ListState { name: "splits".into(), redistribution: Redistribution::Split, items: vec![b"x".to_vec(), Vec::new()] }],
        in_flight: Vec::new(),
    };
    let shared = vec![SharedFile { name: "000007.sst".into(), path: "shared/count-1-a2.4-0".into(), size_bytes: 300, segment: None }];
    let layout = Layout::Store { backend: "rocksdb".into(), columns: vec!["total".into()], shared };
    let stored = KeyedHandle { groups: groups(4, 7), location: StateLocation::Inline(vec![1, 2, 3]), layout };
    CheckpointMetadata {
        job: "j".into(),
        checkpoint: CheckpointId(7),
        attempt: ATTEMPT,
        kind: SnapshotKind::Savepoint,
        hooks: vec![HookState { name: "hook".into(), bytes: vec![9] }],
        enumerators: Vec::new(),
        operators: vec![
            OperatorState {
                uid: "count".into(),
                parallelism: 2,
                max_parallelism: max(8),
                states: vec![total()],
                subtasks: BTreeMap::from([
                    (SubtaskIndex(0), count(0, 3, file("chk-7/count-0-a2.5", 99))),
                    (SubtaskIndex(1), SubtaskState { keyed: vec![stored], ..SubtaskState::default() }),
                ]),
                finished: Finished::Nobody,
            },
            OperatorState {
                uid: "source".into(),
                parallelism: 1,
                max_parallelism: max(128),
                states: Vec::new(),
                subtasks: BTreeMap::from([(SubtaskIndex(0), source)]),
                finished: Finished::Nobody,
            },
        ],
    }
}

#[test]
fn metadata_has_the_bytes_it_always_had() {
    let hex: String = sample().to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444d4554410001000000c88c06703b0100001a577f1e010000006a07000000000000000200000000000000050000",
            "00010100000004000000686f6f6b01000000090200000005000000636f756e7402000000080000000100000005000000",
            "746f74616c01040000007465787401000000030000007536340200000002000000000000000100000000000300001200",
            "000063686b2d372f636f756e742d302d61322e3563000000000000000000000000010000000100000004000700010300",
            "00000102030107000000726f636b7364620100000005000000746f74616c010000000a0000003030303030372e737374",
            "150000007368617265642f636f756e742d312d61322e342d302c010000000000000000000006000000736f7572636501",
            "0000008000000000000000010000000000000000000000010000000600000073706c6974730002000000010000007800",
            "00000000000000f08205053b01000000000000",
        )
    );
}

/// The same with something in flight, in files and inline.
fn sample_in_flight() -> CheckpointMetadata {
    let mut metadata = CheckpointMetadata { kind: SnapshotKind::Checkpoint, ..sample() };
    let handle = |edge: &str, location, records| InFlightHandle { edge: edge.into(), location, records };
    let count = metadata.operators[0].subtasks.get_mut(&SubtaskIndex(1)).expect("there are two");
    count.in_flight = vec![
        handle("source->count#0", file("chk-7/count-1-a2.5-in-flight", 48), 3),
        handle("rules->count#0", StateLocation::Inline(vec![4, 5]), 1),
    ];
    metadata
}

#[test]
fn metadata_with_data_in_flight_has_the_bytes_of_version_2() {
    let hex: String = sample_in_flight().to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444d45544100020000002623b362ac010000aea04053010000006a07000000000000000200000000000000050000",
            "00000100000004000000686f6f6b01000000090200000005000000636f756e7402000000080000000100000005000000",
            "746f74616c01040000007465787401000000030000007536340200000002000000000000000100000000000300001200",
            "000063686b2d372f636f756e742d302d61322e3563000000000000000000000000000000000100000001000000040007",
            "0001030000000102030107000000726f636b7364620100000005000000746f74616c010000000a000000303030303037",
            "2e737374150000007368617265642f636f756e742d312d61322e342d302c0100000000000000000000020000000f0000",
            "00736f757263652d3e636f756e742330001c00000063686b2d372f636f756e742d312d61322e352d696e2d666c696768",
            "74300000000000000003000000000000000e00000072756c65732d3e636f756e74233001020000000405010000000000",
            "000006000000736f75726365010000008000000000000000010000000000000000000000010000000600000073706c69",
            "747300020000000100000078000000000000000000000000183f4020ac01000000000000",
        )
    );
}

#[test]
fn what_is_in_flight_is_part_of_everything_that_is_said_of_a_checkpoint() {
    let mut metadata = sample_in_flight();
    assert_eq!((sample().version(), metadata.version()), (1, 2));
    assert_eq!(metadata.inline_bytes(), sample().inline_bytes() + 2);
    let mut paths = Vec::new();
    metadata.for_each_path(|path| paths.push(path.clone()));
    assert_eq!(paths, ["chk-7/count-0-a2.5", "chk-7/count-1-a2.5-in-flight", "shared/count-1-a2.4-0"]);
    let sizes: Vec<u64> = metadata.locations().map(StateLocation::size_bytes).collect();
    assert_eq!(sizes, [99, 3, 48, 2]);
    let only = SubtaskState { in_flight: metadata.operators[0].subtasks[&SubtaskIndex(1)].in_flight.clone(), ..SubtaskState::default() };
    assert!(!only.is_empty(), "a subtask without other state has some then");
}

fn sample_with_enumerators() -> CheckpointMetadata {
    let enumerators = vec![EnumeratorState { uid: "source".into(), bytes: vec![4, 2] }];
    CheckpointMetadata { enumerators, ..sample_in_flight() }
}

#[test]
fn metadata_with_enumerators_has_the_bytes_of_version_3() {
    let (without, with) = (sample_in_flight().encode(), sample_with_enumerators().encode());
    // Right behind the hooks: a count, a name, and what the enumerator has.
    let hooks = [&b"hook"[..], &[1, 0, 0, 0, 9]].concat();
    let at = without.windows(hooks.len()).position(|bytes| bytes == hooks).expect("the hook is there") + hooks.len();
    let own = [&[1, 0, 0, 0, 6, 0, 0, 0][..], b"source", &[2, 0, 0, 0, 4, 2]].concat();
    assert_eq!(with, [&without[..at], &own, &without[at..]].concat());
    assert_eq!(sample_with_enumerators().to_file()[8..10], [3, 0]);
    assert_eq!(CheckpointMetadata::from_file(&sample_with_enumerators().to_file()), Ok(sample_with_enumerators()));
}

#[test]
fn enumerators_out_of_order_are_an_error() {
    let one = |uid: &str| EnumeratorState { uid: uid.into(), bytes: Vec::new() };
    for uids in [["b", "a"], ["a", "a"]] {
        let metadata = CheckpointMetadata { enumerators: uids.map(one).into(), ..sample() };
        assert!(matches!(CheckpointMetadata::from_file(&metadata.to_file()), Err(StoredError::Invalid { .. })), "{uids:?}");
    }
}

#[test]
fn nothing_is_said_in_another_version_than_its_own() {
    let cases = [
        (sample(), 2),
        (sample_in_flight(), 1),
        (sample(), 3),
        (sample_in_flight(), 3),
        (sample_with_enumerators(), 2),
        (sample_with_enumerators(), 1),
        (sample(), 4),
        (sample_finished(), 3),
        (sample(), 5),
        (sample(), 0),
    ];
    for (metadata, other) in cases {
        let file = frame_as(FileKind::Metadata, other, &metadata.encode());
        assert!(CheckpointMetadata::from_file(&file).is_err(), "{} as {other}", metadata.version());
    }
    let later = frame_as(FileKind::Metadata, 5, &sample().encode());
    assert_eq!(CheckpointMetadata::from_file(&later), Err(StoredError::Version { found: 5, newest: 4 }));
    // With room for it, and nothing in it.
    let mut encoding = sample().encode();
    encoding.truncate(encoding.len() - 4);
    assert!(CheckpointMetadata::decode(2, &encoding).is_err());
}

#[test]
fn every_damage_is_an_error() {
    every_damage_of(&sample());
    every_damage_of(&sample_in_flight());
    every_damage_of(&sample_with_enumerators());
    every_damage_of(&sample_finished());
}

fn every_damage_of(metadata: &CheckpointMetadata) {
    let bytes = metadata.to_file();
    assert_eq!(CheckpointMetadata::from_file(&bytes).as_ref(), Ok(metadata));
    for length in 0..bytes.len() {
        assert!(CheckpointMetadata::from_file(&bytes[..length]).is_err(), "cut to {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(CheckpointMetadata::from_file(&bent).is_err(), "bit {bit}");
    }
}

/// Behind a good checksum, as a bug or a malicious writer would produce it.
#[test]
fn every_truncated_encoding_is_an_error() {
    for metadata in [sample(), sample_in_flight(), sample_with_enumerators()] {
        let (version, encoding) = (metadata.version(), metadata.encode());
        for length in 0..encoding.len() {
            assert!(CheckpointMetadata::decode(version, &encoding[..length]).is_err(), "cut to {length}");
        }
        let mut longer = encoding;
        longer.push(0);
        assert!(matches!(CheckpointMetadata::decode(version, &longer), Err(StoredError::Invalid { .. })));
    }
}

#[test]
fn operators_out_of_order_are_an_error() {
    let mut metadata = sample();
    metadata.operators.truncate(1);
    let mut bytes = metadata.encode();
    let mut one = Vec::new();
    metadata.operators[0].write(VERSION, &mut one);
    let at = bytes.len() - one.len() - 4;
    bytes.truncate(at);
    2u32.write(&mut bytes);
    bytes.extend([one.clone(), one].concat());
    let error = CheckpointMetadata::decode(VERSION, &bytes).expect_err("the same uid twice");
    assert_eq!(error.to_string(), format!("at offset {at}: operators are not sorted by uid"));
}

#[test]
fn collected_metadata_has_every_operator_in_order_with_or_without_state() {
    let handle = KeyedHandle { groups: groups(0, 3), location: file("chk-1/z-0", 1), layout: Layout::Blocks };
    let snapshots = BTreeMap::from([
        (TaskId::new(0, 0), TaskSnapshot { operators: vec![part("z", vec![handle.clone()])] }),
        (TaskId::new(0, 1), TaskSnapshot::default()),
    ]);
    let shapes = [shape("z", 2, 0), shape("a", 2, 0)];
    let metadata = CheckpointMetadata::collect("j", CheckpointId(1), ATTEMPT, SnapshotKind::Checkpoint, &shapes, &snapshots, &NOBODY)
        .expect("all tasks are there");
    let uids: Vec<&str> = metadata.operators.iter().map(|operator| operator.uid.as_str()).collect();
    assert_eq!(uids, ["a", "z"]);
    assert!(!metadata.operators[0].has_state());
    assert_eq!(metadata.operators[1].subtasks[&SubtaskIndex(0)].keyed, [handle]);
    assert!(metadata.operators[1].subtasks[&SubtaskIndex(1)].is_empty());
    assert_eq!(CheckpointMetadata::from_file(&metadata.to_file()), Ok(metadata));
}

#[test]
fn what_does_not_make_up_a_checkpoint_is_not_collected() {
    let collect = |shapes: &[OperatorShape], snapshots: Vec<(TaskId, Vec<OperatorSnapshot>)>| {
        let snapshots = snapshots.into_iter().map(|(task, operators)| (task, TaskSnapshot { operators })).collect();
        CheckpointMetadata::collect("j", CheckpointId(1), ATTEMPT, SnapshotKind::Checkpoint, shapes, &snapshots, &NOBODY)
            .expect_err("not a checkpoint")
    };
    let handle =
        |first, last| KeyedHandle { groups: groups(first, last), location: StateLocation::Inline(Vec::new()), layout: Layout::Blocks };
    let (zero, one) = (TaskId::new(0, 0), TaskId::new(0, 1));
    assert_eq!(collect(&[shape("a", 2, 0)], vec![(zero, vec![])]), CollectError::TaskMissing { task: one });
    assert_eq!(collect(&[shape("a", 1, 0), shape("a", 1, 0)], vec![(zero, vec![])]), CollectError::DuplicateOperator { uid: "a".into() });
    let unexpected = |task, uid: &str| CollectError::UnexpectedState { task, uid: uid.into() };
    assert_eq!(collect(&[shape("a", 1, 0)], vec![(zero, vec![part("b", vec![])])]), unexpected(zero, "b"));
    assert_eq!(collect(&[shape("a", 1, 0)], vec![(zero, vec![]), (one, vec![part("a", vec![])])]), unexpected(one, "a"));
    assert_eq!(collect(&[shape("a", 1, 0)], vec![(zero, vec![part("a", vec![]), part("a", vec![])])]), unexpected(zero, "a"));
    let twice = vec![(zero, vec![part("a", vec![handle(0, 4)])]), (one, vec![part("a", vec![handle(4, 7)])])];
    assert_eq!(
        collect(&[shape("a", 2, 0)], twice),
        CollectError::Inconsistent(Inconsistent::GroupTwice { uid: "a".into(), group: KeyGroup(4) })
    );
    let outside = Inconsistent::GroupsOutside { uid: "a".into(), groups: groups(4, 8), max_parallelism: max(8) };
    assert_eq!(collect(&[shape("a", 1, 0)], vec![(zero, vec![part("a", vec![handle(4, 8)])])]), CollectError::Inconsistent(outside));
}

#[test]
fn savepoints_have_nothing_in_flight() {
    let in_flight = vec![InFlightHandle { edge: "source->a#0".into(), location: file("chk-1/in-flight", 1), records: 1 }];
    let snapshot = TaskSnapshot { operators: vec![OperatorSnapshot { in_flight: in_flight.clone(), ..part("a", vec![]) }] };
    let snapshots = BTreeMap::from([(TaskId::new(0, 0), snapshot)]);
    let collect = |kind| CheckpointMetadata::collect("j", CheckpointId(1), ATTEMPT, kind, &[shape("a", 1, 0)], &snapshots, &NOBODY);
    let metadata = collect(SnapshotKind::Checkpoint).expect("a checkpoint may have");
    assert_eq!(metadata.operators[0].subtasks[&SubtaskIndex(0)].in_flight, in_flight);
    let error = collect(SnapshotKind::Savepoint).expect_err("who would take them");
    assert_eq!(error, CollectError::InFlightInSavepoint { task: TaskId::new(0, 0), uid: "a".into() });
}

fn location() -> impl Strategy<Value = StateLocation> {
    prop_oneof![
        (".{0,20}", any::<u64>()).prop_map(|(path, size_bytes)| StateLocation::File { path, size_bytes }),
        (".{0,20}", any::<u32>(), any::<u32>()).prop_map(|(path, offset, size_bytes)| StateLocation::Segment {
            path,
            offset: offset.into(),
            size_bytes: size_bytes.into()
        }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(StateLocation::Inline),
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    let segment = prop::option::of((0..1000_u64, 0..1000_u64));
    let file = (".{0,6}", ".{0,20}", 0..1000_u64, segment).prop_map(|(name, path, size_bytes, segment)| {
        let segment = segment.map(|(offset, more)| Segment { offset, file_bytes: offset + size_bytes + more });
        SharedFile { name, path, size_bytes, segment }
    });
    let store = (".{0,6}", prop::collection::vec(".{0,6}", 0..3), prop::collection::vec(file, 0..3));
    prop_oneof![Just(Layout::Blocks), store.prop_map(|(backend, columns, shared)| Layout::Store { backend, columns, shared })]
}

fn states() -> impl Strategy<Value = Vec<StateShape>> {
    let types = || (".{0,6}", any::<u32>()).prop_map(|(name, version)| TypeVersion { name, version });
    let shape = (".{0,6}", any::<u8>(), types(), types()).prop_map(|(name, kind, key, value)| StateShape { name, kind, key, value });
    prop::collection::vec(shape, 0..3)
}

fn list() -> impl Strategy<Value = ListState> {
    let items = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4);
    let ways = prop_oneof![Just(Redistribution::Split), Just(Redistribution::Union), Just(Redistribution::Broadcast)];
    (".{0,6}", ways, items).prop_map(|(name, redistribution, items)| ListState { name, redistribution, items })
}

fn in_flight() -> impl Strategy<Value = Vec<InFlightHandle>> {
    let handle = (".{0,6}", location(), any::<u64>()).prop_map(|(edge, location, records)| InFlightHandle { edge, location, records });
    prop::collection::vec(handle, 0..2)
}

fn operator() -> impl Strategy<Value = OperatorState> {
    (".{0,8}", 1u32..5, 1u32..40).prop_flat_map(|(uid, parallelism, groups)| {
        let count = parallelism as usize;
        let keyed = prop::collection::vec(prop::option::of((location(), layout())), count);
        let lists = prop::collection::vec((prop::collection::vec(list(), 0..3), in_flight()), count);
        let finished = prop::collection::btree_set((0..parallelism).prop_map(SubtaskIndex), 0..=count);
        (keyed, lists, states(), prop_oneof![3 => Just(BTreeSet::new()), 1 => finished]).prop_map(
            move |(keyed, lists, states, finished)| {
                let max_parallelism = max(groups);
                let subtasks = (0..parallelism).map(SubtaskIndex).zip(keyed.into_iter().zip(lists));
                let subtasks = subtasks.map(|(subtask, (handle, (lists, in_flight)))| {
                    let owned = max_parallelism.range_of(subtask, parallelism).zip(handle);
                    let keyed = owned.into_iter().map(|(groups, (location, layout))| KeyedHandle { groups, location, layout }).collect();
                    (subtask, SubtaskState { keyed, lists, in_flight })
                });
                let subtasks = subtasks.filter(|(subtask, _)| !finished.contains(subtask)).collect();
                let finished = Finished::of(finished.clone(), parallelism);
                OperatorState { uid: uid.clone(), parallelism, max_parallelism, states, subtasks, finished }
            },
        )
    })
}

fn metadata() -> impl Strategy<Value = CheckpointMetadata> {
    let ids = (any::<u64>(), any::<u64>(), any::<u32>(), 0..3_usize);
    let hooks = prop::collection::btree_map(".{0,4}", prop::collection::vec(any::<u8>(), 0..5), 0..3);
    let operators = prop::collection::vec(operator(), 0..4);
    let enumerators = prop::collection::btree_map(".{0,4}", prop::collection::vec(any::<u8>(), 0..5), 0..3);
    (".{0,8}", ids, (hooks, enumerators), operators).prop_map(
        |(job, (checkpoint, epoch, number, kind), (hooks, enumerators), operators)| {
            let operators: BTreeMap<String, OperatorState> = operators.into_iter().map(|state| (state.uid.clone(), state)).collect();
            CheckpointMetadata {
                job,
                checkpoint: CheckpointId(checkpoint),
                attempt: AttemptId { epoch: Epoch(epoch), number },
                kind: [SnapshotKind::Checkpoint, SnapshotKind::Savepoint, SnapshotKind::Drained][kind],
                hooks: hooks.into_iter().map(|(name, bytes)| HookState { name, bytes }).collect(),
                enumerators: enumerators.into_iter().map(|(uid, bytes)| EnumeratorState { uid, bytes }).collect(),
                operators: operators.into_values().collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(metadata in metadata()) {
        prop_assert_eq!(CheckpointMetadata::decode(metadata.version(), &metadata.encode()), Ok(metadata.clone()));
        prop_assert_eq!(CheckpointMetadata::from_file(&metadata.to_file()), Ok(metadata));
    }

    /// One value has one encoding: what is accepted at all is written back as it was.
    #[test]
    fn a_bent_encoding_is_refused_or_is_that_of_another_value(metadata in metadata(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut encoding = metadata.encode();
        let at = at.index(encoding.len());
        encoding[at] ^= 1 << bit;
        if let Ok(other) = CheckpointMetadata::decode(metadata.version(), &encoding) {
            prop_assert_eq!(other.encode(), encoding);
        }
    }
}

/// The sample where the source had finished, and one of two subtasks behind it.
fn sample_finished() -> CheckpointMetadata {
    let mut metadata = sample();
    metadata.operators[0].subtasks.remove(&SubtaskIndex(0));
    metadata.operators[0].finished = Finished::Some(BTreeSet::from([SubtaskIndex(0)]));
    metadata.operators[1].subtasks.clear();
    metadata.operators[1].finished = Finished::All;
    metadata
}

#[test]
fn metadata_with_finished_subtasks_has_the_bytes_it_always_had() {
    let metadata = sample_finished();
    assert_eq!(metadata.version(), 4);
    let hex: String = metadata.to_file().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4346444d4554410004000000fa7cd847f9000000018e8eec010000006a070000000000000002000000000000000500",
            "0000010100000004000000686f6f6b0100000009000000000200000005000000636f756e7402000000080000000100",
            "000005000000746f74616c010400000074657874010000000300000075363402000000010000000100000001000000",
            "0400070001030000000102030107000000726f636b7364620100000005000000746f74616c010000000a0000003030",
            "303030372e737374150000007368617265642f636f756e742d312d61322e342d302c01000000000000000000000000",
            "000001010000000000000006000000736f757263650100000080000000000000000000000002000000000ec9f19bf9",
            "00000000000000",
        )
    );
    assert_eq!(CheckpointMetadata::from_file(&metadata.to_file()), Ok(metadata));
}

#[test]
fn what_is_said_of_the_finished_is_said_in_one_way() {
    let refused = |change: fn(&mut CheckpointMetadata)| {
        let mut metadata = sample_finished();
        change(&mut metadata);
        CheckpointMetadata::decode(4, &metadata.encode()).expect_err("it contradicts itself").to_string()
    };
    let all = refused(|metadata| metadata.operators[0].finished = Finished::All);
    assert!(all.contains("of 2 subtasks all had finished"), "{all}");
    let nobody = refused(|metadata| metadata.operators[0].finished = Finished::Some(BTreeSet::new()));
    assert!(nobody.contains("does not fit"), "{nobody}");
    let outside = refused(|metadata| metadata.operators[0].finished = Finished::Some(BTreeSet::from([SubtaskIndex(7)])));
    assert!(outside.contains("s7") && outside.contains("2 subtasks"), "{outside}");
    let twice = refused(|metadata| metadata.operators[0].finished = Finished::Some(BTreeSet::from([SubtaskIndex(1)])));
    assert!(twice.contains("s1 had finished"), "{twice}");
    let older = CheckpointMetadata::decode(3, &sample_finished().encode()).expect_err("that version cannot say so");
    assert!(!older.to_string().is_empty());
}

#[test]
fn whoever_has_finished_puts_nothing_in_and_is_named() {
    let (zero, one, other) = (TaskId::new(0, 0), TaskId::new(0, 1), TaskId::new(1, 0));
    let snapshots = BTreeMap::from([(one, TaskSnapshot { operators: vec![part("a", vec![])] })]);
    let finished = BTreeSet::from([zero, other]);
    let shapes = [shape("a", 2, 0), shape("b", 1, 1)];
    let metadata = CheckpointMetadata::collect("j", CheckpointId(1), ATTEMPT, SnapshotKind::Checkpoint, &shapes, &snapshots, &finished)
        .expect("the others are there");
    let [a, b] = &metadata.operators[..] else { panic!("two operators") };
    assert_eq!((&a.finished, a.subtasks.len()), (&Finished::Some(BTreeSet::from([SubtaskIndex(0)])), 1));
    assert_eq!((&b.finished, b.subtasks.len(), b.parallelism), (&Finished::All, 0, 1));
}

#[test]
fn a_union_list_of_which_a_part_is_gone_makes_no_checkpoint() {
    let (zero, one) = (TaskId::new(0, 0), TaskId::new(0, 1));
    let lists = vec![ListState { name: "all".into(), redistribution: Redistribution::Union, items: Vec::new() }];
    let part = OperatorSnapshot { lists, ..part("a", vec![]) };
    let snapshots = BTreeMap::from([(one, TaskSnapshot { operators: vec![part.clone()] })]);
    let collect = |publishes, snapshots: &BTreeMap<TaskId, TaskSnapshot>, finished: &[TaskId]| {
        let shapes = [OperatorShape { publishes, ..shape("a", 2, 0) }];
        let finished = finished.iter().copied().collect();
        CheckpointMetadata::collect("j", CheckpointId(1), ATTEMPT, SnapshotKind::Checkpoint, &shapes, snapshots, &finished).err()
    };
    let refused = CollectError::PartiallyFinishedUnion { uid: "a".into(), list: "all".into() };
    assert_eq!(collect(false, &snapshots, &[zero]), Some(refused));
    assert_eq!(collect(true, &snapshots, &[zero]), None, "all that it named is published");
    assert_eq!(collect(false, &BTreeMap::new(), &[zero, one]), None, "nobody is left who would miss it");
    let both = BTreeMap::from([(zero, TaskSnapshot { operators: vec![part.clone()] }), (one, TaskSnapshot { operators: vec![part] })]);
    assert_eq!(collect(false, &both, &[]), None);
}
