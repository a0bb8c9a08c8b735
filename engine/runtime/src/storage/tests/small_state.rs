//! Facts about state that is small.

use super::checkpoints::metadata;
use super::disk::{run, TestEnv};
use crate::storage::streams::{Sharers, INLINE_LIMIT_BYTES, INLINE_TOTAL_LIMIT_BYTES};
use crate::storage::{CheckpointStorage, CheckpointStore, SmallState, SnapshotStreams, StateWriter, StorageError};
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, WorkerId};
use proptest::prelude::*;

const C7: CheckpointId = CheckpointId(7);

fn storages() -> [CheckpointStorage; 2] {
    [CheckpointStorage::FileSystem { root: "disk/job".into() }, CheckpointStorage::Object { root: "s3://bucket/job".into() }]
}

fn prepared(storage: &CheckpointStorage) -> TestEnv {
    let env = TestEnv::default();
    run(async {
        storage.prepare(&env).await?;
        CheckpointStore::new(storage.clone()).create_location(&env, C7).await
    })
    .expect("nothing fails");
    env
}

fn streams(env: &TestEnv, storage: &CheckpointStorage, small: SmallState) -> SnapshotStreams<TestEnv> {
    let attempt = AttemptId { epoch: Epoch(1), number: 1 };
    SnapshotStreams::new(env, storage, small, Sharers { worker: WorkerId(1), attempt, tasks: 2 })
}

async fn fill(writer: Result<StateWriter<TestEnv>, StorageError>, blocks: &[Vec<u8>]) -> Result<StateLocation, StorageError> {
    let mut writer = writer?;
    for block in blocks {
        writer.block(block).await?;
    }
    writer.finish().await
}

async fn write(env: &TestEnv, storage: &CheckpointStorage, below: u32, blocks: &[Vec<u8>]) -> Result<StateLocation, StorageError> {
    let streams = streams(env, storage, SmallState { inline_below_bytes: below, merge: None });
    fill(streams.state_writer(C7, "count-0-a1.1", 0).await, blocks).await
}

async fn read(env: &TestEnv, storage: &CheckpointStorage, location: &StateLocation) -> Result<Vec<Vec<u8>>, StorageError> {
    let mut reader = storage.open_state(env, location).await?;
    let mut blocks = Vec::new();
    while let Some((_, block)) = reader.next().await? {
        blocks.push(block);
    }
    Ok(blocks)
}

#[test]
fn state_below_the_threshold_is_inlined_and_leaves_no_file() {
    // Header and end are 16 bytes each, the head of a block 8.
    for storage in storages() {
        for (below, inlined) in [(0, false), (32, false), (64, false), (65, true)] {
            let env = prepared(&storage);
            let begin = env.operation_count() + env.store.operation_count();
            let location = run(write(&env, &storage, below, &[vec![1; 24]])).expect("nothing fails");
            assert_eq!(location.inline_bytes(), if inlined { 64 } else { 0 }, "below {below}");
            let idle = env.operation_count() + env.store.operation_count() == begin;
            assert_eq!(idle, inlined, "nothing is asked of the storage");
            assert_eq!(run(read(&env, &storage, &location)).expect("it is whole"), [vec![1; 24]]);
        }
    }
}

#[test]
fn a_savepoint_has_its_small_state_in_its_metadata() {
    let [storage, _] = storages();
    let env = prepared(&storage);
    let streams = streams(&env, &storage, SmallState { inline_below_bytes: 100, merge: None });
    let small = run(async { fill(streams.savepoint_writer("disk/sp", "x").await, &[vec![1; 24]]).await }).expect("no folder is needed");
    assert_eq!(small.inline_bytes(), 64);
    let error = run(async { fill(streams.savepoint_writer("disk/sp", "x").await, &[vec![1; 240]]).await }).expect_err("no folder");
    assert!(error.is_gone(), "{error}");
}

#[test]
fn a_threshold_without_bounds_is_refused() {
    let small = |inline_below_bytes| SmallState { inline_below_bytes, merge: None }.validated(&storages()[0]);
    small(INLINE_LIMIT_BYTES).expect("it is within bounds");
    assert!(matches!(small(INLINE_LIMIT_BYTES + 1), Err(StorageError::InlineLimit { .. })));
}

#[test]
fn metadata_does_not_grow_without_bounds() {
    for storage in storages() {
        let (env, store) = (prepared(&storage), CheckpointStore::new(storage));
        let size = usize::try_from(INLINE_TOTAL_LIMIT_BYTES).expect("16 MiB");
        let error = run(store.publish_metadata(&env, &metadata(C7, StateLocation::Inline(vec![0; size + 1])), |_| {}));
        assert!(matches!(error, Err(StorageError::InlineTotal { checkpoint: C7, .. })), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn state_that_grows_beyond_the_threshold_is_the_very_file_that_it_would_have_been(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
        below in 0..800_u32,
    ) {
        for storage in storages() {
            let (env, plain) = (prepared(&storage), prepared(&storage));
            let location = run(write(&env, &storage, below, &blocks)).expect("nothing fails");
            let whole = run(write(&plain, &storage, 0, &blocks)).expect("nothing fails");
            prop_assert_eq!(location.size_bytes(), whole.size_bytes());
            prop_assert_eq!(location.inline_bytes() > 0, whole.size_bytes() < u64::from(below));
            prop_assert_eq!(run(read(&env, &storage, &location)).expect("it is whole"), &*blocks);
            if location.inline_bytes() == 0 {
                prop_assert_eq!(location, whole);
            }
        }
    }
}
