//! Facts about whole checkpoints, with a crash or an error at every single operation.

use super::disk::{run, Fault, TestEnv, Unsynced};
use crate::env::{File, Files};
use crate::observe::Moment;
use crate::storage::{CheckpointStorage, CheckpointStore, StorageError};
use cofferdam_protocol::metadata::{CheckpointMetadata, OperatorShape, SnapshotKind};
use cofferdam_protocol::snapshot::{KeyedHandle, Layout, OperatorSnapshot, StateLocation, TaskSnapshot};
use cofferdam_protocol::{AttemptId, CheckpointId, KeyGroup, KeyGroupRange, MaxParallelism, TaskId, VertexId};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

const C7: CheckpointId = CheckpointId(7);
const METADATA: &str = "disk/job/chk-7/_metadata";

fn store() -> CheckpointStore {
    CheckpointStore::new(CheckpointStorage::FileSystem { root: "disk/job".into() })
}

fn prepared() -> (TestEnv, CheckpointStore) {
    let (env, store) = (TestEnv::default(), store());
    run(store.storage().prepare(&env)).expect("nothing fails");
    (env, store)
}

pub fn metadata(checkpoint: CheckpointId, location: StateLocation) -> CheckpointMetadata {
    let groups = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(7) };
    let max_parallelism = MaxParallelism::new(8).expect("between 1 and 32768");
    let (states, inputs, publishes) = (Vec::new(), Vec::new(), false);
    let shape = OperatorShape { uid: "count".into(), parallelism: 1, max_parallelism, vertex: VertexId(0), states, inputs, publishes };
    let part = OperatorSnapshot {
        uid: "count".into(),
        states: Vec::new(),
        keyed: vec![KeyedHandle { groups, location, layout: Layout::Blocks }],
        lists: Vec::new(),
        in_flight: Vec::new(),
    };
    let snapshots = BTreeMap::from([(TaskId::new(0, 0), TaskSnapshot { operators: vec![part] })]);
    CheckpointMetadata::collect("job", checkpoint, AttemptId::default(), SnapshotKind::Checkpoint, &[shape], &snapshots, &BTreeSet::new())
        .expect("all is there")
}

/// A whole checkpoint, as far as it gets.
pub async fn take(env: &TestEnv, store: &CheckpointStore, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
    store.create_location(env, checkpoint).await?;
    let mut writer = store.storage().state_writer(env, checkpoint, "count-0-a1.1").await?;
    writer.block(b"state").await?;
    let metadata = metadata(checkpoint, writer.finish().await?);
    store.publish_metadata(env, &metadata, |_| {}).await?;
    Ok(metadata)
}

pub async fn read_all_state(env: &TestEnv, store: &CheckpointStore, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
    for location in metadata.locations() {
        let mut reader = store.storage().open_state(env, location).await?;
        while reader.next().await?.is_some() {}
    }
    Ok(())
}

/// Runs `act` on a fresh disk once for every operation that it does, with that operation failing, and once with none; then
/// the power goes off.
pub fn at_every_operation<T>(
    setup: impl Fn() -> (TestEnv, CheckpointStore),
    act: impl Fn(&TestEnv, &CheckpointStore) -> T,
    check: impl Fn(&TestEnv, &CheckpointStore, T),
) {
    let (env, store) = setup();
    let begin = env.operation_count();
    act(&env, &store);
    let end = env.operation_count();
    assert!(begin < end, "it does something");
    for operation in begin..=end {
        for fault in [Fault::Before, Fault::After, Fault::Halt] {
            for unsynced in Unsynced::ALL {
                let (env, store) = setup();
                env.fail(operation, fault);
                let outcome = act(&env, &store);
                env.crash(unsynced);
                check(&env, &store, outcome);
            }
        }
    }
}

#[test]
fn a_checkpoint_that_was_published_survives_and_one_that_was_not_is_whole_or_absent() {
    let act = |env: &TestEnv, store: &CheckpointStore| run(take(env, store, C7));
    at_every_operation(prepared, act, |env, store, outcome| {
        match run(store.read_metadata(env, C7)) {
            Ok(found) => {
                run(read_all_state(env, store, &found)).expect("what metadata names is durable before it");
                assert!(outcome.is_err() || outcome.is_ok_and(|published| published == found));
            }
            Err(error) => {
                assert!(outcome.is_err(), "published, and then {error}");
                assert!(matches!(&error, StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound), "{error}");
            }
        }
        run(store.discard(env, C7)).expect("whatever is there can be discarded");
        assert_eq!(env.paths(), ["disk", "disk/job", "disk/job/shared", "disk/job/taskowned"]);
    });
}

#[test]
fn folders_that_were_prepared_survive_and_can_be_prepared_again() {
    let fresh = || (TestEnv::default(), store());
    let act = |env: &TestEnv, store: &CheckpointStore| run(store.storage().prepare(env));
    at_every_operation(fresh, act, |env, store, outcome| {
        if outcome.is_ok() {
            assert_eq!(env.paths(), ["disk", "disk/job", "disk/job/shared", "disk/job/taskowned"]);
        }
        run(store.storage().prepare(env)).expect("nothing fails any more");
        env.crash(Unsynced::Lost);
        assert_eq!(env.paths(), ["disk", "disk/job", "disk/job/shared", "disk/job/taskowned"]);
    });
}

#[test]
fn folders_that_somebody_else_made_and_did_not_sync_are_synced() {
    for made in ["a", "a/b", "a/b/job"] {
        let env = TestEnv::default();
        for (at, _) in format!("{made}/").match_indices('/') {
            run(env.create_folder(&made[..at])).expect("nothing fails");
        }
        run(CheckpointStorage::FileSystem { root: "a/b/job".into() }.prepare(&env)).expect("nothing fails");
        env.crash(Unsynced::Lost);
        assert_eq!(env.paths(), ["a", "a/b", "a/b/job", "a/b/job/shared", "a/b/job/taskowned"], "{made} was there");
    }
}

#[test]
fn missing_folders_above_are_made_as_well() {
    let env = TestEnv::default();
    let storage = CheckpointStorage::FileSystem { root: "a/b/c/job".into() };
    run(storage.prepare(&env)).expect("nothing fails");
    env.crash(Unsynced::Lost);
    assert_eq!(env.paths(), ["a", "a/b", "a/b/c", "a/b/c/job", "a/b/c/job/shared", "a/b/c/job/taskowned"]);
}

#[test]
fn no_crash_in_a_discard_leaves_metadata_of_state_that_is_gone() {
    let setup = || {
        let (env, store) = prepared();
        run(take(&env, &store, C7)).expect("nothing fails");
        (env, store)
    };
    let act = |env: &TestEnv, store: &CheckpointStore| run(store.discard(env, C7));
    at_every_operation(setup, act, |env, store, outcome| {
        if let Ok(found) = run(store.read_metadata(env, C7)) {
            assert!(outcome.is_err(), "discarded, and then it is there");
            run(read_all_state(env, store, &found)).expect("what looks complete is complete");
        }
        run(store.discard(env, C7)).expect("nothing fails any more");
        env.crash(Unsynced::Lost);
        assert!(!env.paths().contains(&"disk/job/chk-7".into()));
    });
}

#[test]
fn a_discard_gets_the_better_of_a_writer_that_races_it() {
    let mut context = Context::from_waker(Waker::noop());
    for head_start in 0.. {
        let (env, store) = prepared();
        run(take(&env, &store, C7)).expect("nothing fails");
        let mut discard = pin!(store.discard(&env, C7));
        for _ in 0..head_start {
            if let std::task::Poll::Ready(outcome) = discard.as_mut().poll(&mut context) {
                outcome.expect("nothing fails");
                assert!(head_start > 4, "there was time for a race");
                return;
            }
        }
        // Another file, or the folder is gone already.
        let _ = run(env.create("disk/job/chk-7/late"));
        run(discard).expect("nothing fails");
        assert!(!env.paths().iter().any(|path| path.starts_with("disk/job/chk-7")), "head start {head_start}");
    }
}

#[test]
fn a_number_is_never_used_twice() {
    let (env, store) = prepared();
    run(store.create_location(&env, C7)).expect("the first time");
    let error = run(store.create_location(&env, C7)).expect_err("the second time");
    assert!(matches!(&error, StorageError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists), "{error}");
}

#[test]
fn moments_are_told_when_they_are_true() {
    let (env, store) = prepared();
    run(store.create_location(&env, C7)).expect("nothing fails");
    let metadata = metadata(C7, StateLocation::Inline(Vec::new()));
    let seen = Mutex::new(Vec::new());
    let observe = |moment| {
        let paths = env.paths().into_iter().filter(|path| path.starts_with("disk/job/chk-7/")).collect::<Vec<_>>();
        seen.lock().expect("no panic in here").push((moment, paths));
    };
    run(store.publish_metadata(&env, &metadata, observe)).expect("nothing fails");
    let expected = [(Moment::MetadataWritten, vec![format!("{METADATA}.tmp")]), (Moment::MetadataRenamed, vec![METADATA.to_owned()])];
    assert_eq!(seen.into_inner().expect("no panic in there"), expected);
}

#[test]
fn every_damage_of_metadata_is_an_error_that_names_it() {
    let (env, store) = prepared();
    run(take(&env, &store, C7)).expect("nothing fails");
    let whole = env.bytes(METADATA);
    for damage in 0..whole.len() * 9 {
        let mut bytes = whole.clone();
        if damage < whole.len() {
            bytes.truncate(damage);
        } else {
            let bit = damage - whole.len();
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        env.set_bytes(METADATA, bytes);
        let error = run(store.read_metadata(&env, C7)).expect_err("damaged");
        assert!(matches!(&error, StorageError::Corrupt { path, .. } if path == METADATA), "{error}");
    }
}

#[test]
fn metadata_under_the_wrong_number_is_an_error() {
    let (env, store) = prepared();
    run(take(&env, &store, C7)).expect("nothing fails");
    run(take(&env, &store, C7.next())).expect("nothing fails");
    env.set_bytes("disk/job/chk-8/_metadata", env.bytes(METADATA));
    assert!(matches!(run(store.read_metadata(&env, C7.next())), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_sweep_takes_what_is_neither_kept_nor_newer_nor_foreign() {
    let (env, store) = prepared();
    for number in 1..=5 {
        run(take(&env, &store, CheckpointId(number))).expect("nothing fails");
    }
    for foreign in ["disk/job/chk-x", "disk/job/chk-02", "disk/job/chk-+2"] {
        run(env.create_folder(foreign)).expect("nothing fails");
    }
    run(store.sweep(&env, &BTreeSet::from([CheckpointId(2)]), CheckpointId(4))).expect("nothing fails");
    let folders: Vec<String> = env.paths().into_iter().filter(|path| path.contains("/chk-") && path.matches('/').count() == 2).collect();
    assert_eq!(folders, ["disk/job/chk-+2", "disk/job/chk-02", "disk/job/chk-2", "disk/job/chk-5", "disk/job/chk-x"]);
}

#[test]
fn a_sweep_goes_on_after_an_error_and_reports_it() {
    let (env, store) = prepared();
    for number in 1..=3 {
        run(take(&env, &store, CheckpointId(number))).expect("nothing fails");
    }
    // The listing of the root succeeds, that of the first folder fails.
    env.fail(env.operation_count() + 1, Fault::Before);
    run(store.sweep(&env, &BTreeSet::new(), CheckpointId(3))).expect_err("one failed");
    let left: Vec<String> = env.paths().into_iter().filter(|path| path.ends_with("/_metadata")).collect();
    assert_eq!(left, ["disk/job/chk-1/_metadata"]);
    run(store.sweep(&env, &BTreeSet::new(), CheckpointId(3))).expect("nothing fails any more");
}

#[test]
fn memory_answers_the_same_calls() {
    let env = TestEnv::default();
    let store = CheckpointStore::new(CheckpointStorage::Memory { limit_bytes: 1000 });
    run(store.storage().prepare(&env)).expect("nothing to do");
    let taken: Vec<CheckpointMetadata> =
        (1..=4).map(|number| run(take(&env, &store, CheckpointId(number))).expect("nothing fails")).collect();
    assert_eq!(run(store.clone().read_metadata(&env, CheckpointId(2))).expect("clones share it"), taken[1]);
    run(read_all_state(&env, &store, &taken[1])).expect("it is in there");
    run(store.discard(&env, CheckpointId(4))).expect("nothing to fail");
    run(store.sweep(&env, &BTreeSet::from([CheckpointId(2)]), CheckpointId(2))).expect("nothing to fail");
    let there: Vec<u64> = (1..=4).filter(|&number| run(store.read_metadata(&env, CheckpointId(number))).is_ok()).collect();
    assert_eq!(there, [2, 3]);
    let error = run(store.read_metadata(&env, C7)).expect_err("never published");
    assert!(error.is_permanent(), "{error}");
    assert_eq!(env.operation_count(), 0);
}

/// Both folder syncs and appends are what the disk of the tests is about: it must lose what it should.
#[test]
fn the_disk_of_these_tests_forgets_what_is_not_synced() {
    let env = TestEnv::default();
    run(async {
        env.create_folder("a").await?;
        let mut file = env.create("a/x").await?;
        file.append(b"1").await?;
        file.sync().await?;
        env.sync_folder("a").await?;
        env.sync_folder(".").await?;
        file.append(b"2").await?;
        env.create("a/y").await?;
        env.remove("a/x").await
    })
    .expect("nothing fails");
    env.crash(Unsynced::Lost);
    assert_eq!(env.paths(), ["a", "a/x"]);
    assert_eq!(env.bytes("a/x"), b"1");
}
