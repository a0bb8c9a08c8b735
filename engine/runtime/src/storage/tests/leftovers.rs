//! Facts about what is deleted outside of a job's own folder, with a crash or an error at every single operation and request.

use super::checkpoints::{at_every_operation, metadata};
use super::disk::{run, Fault, TestEnv, Unsynced};
use super::object_checkpoints::at_every_request;
use crate::env::Files;
use crate::storage::{object, survey, CheckpointStorage, CheckpointStore, StorageError};
use cofferdam_protocol::metadata::{CheckpointMetadata, SnapshotKind};
use cofferdam_protocol::snapshot::{Layout, SharedFile, StateLocation};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;

const C7: CheckpointId = CheckpointId(7);

/// The storage of the job that the snapshot is of; that of the next job stands elsewhere, and does not matter here.
fn of_files() -> CheckpointStore {
    CheckpointStore::new(CheckpointStorage::FileSystem { root: "disk/job".into() })
}

fn of_objects() -> CheckpointStore {
    CheckpointStore::new(CheckpointStorage::Object { root: "s3://bucket/job".into() })
}

/// A checkpoint of a store: a file of its own, and two that it shares.
async fn incremental(env: &TestEnv, store: &CheckpointStore) -> Result<(), StorageError> {
    match store.storage() {
        CheckpointStorage::Object { root } => object::prepare(env, root).await?,
        CheckpointStorage::FileSystem { .. } | CheckpointStorage::Memory { .. } => store.storage().prepare(env).await?,
    }
    store.create_location(env, C7).await?;
    let mut own = store.storage().state_writer(env, C7, "count-0-a1.1").await?;
    own.block(b"manifest").await?;
    let mut metadata = metadata(C7, own.finish().await?);
    let mut shared = Vec::new();
    for name in ["a1.1-x", "a1.1-y"] {
        let mut file = store.storage().shared_writer(env, name).await?;
        file.block(b"run").await?;
        let StateLocation::File { path, size_bytes } = file.finish().await? else { unreachable!("it is a file") };
        shared.push(SharedFile { name: name.into(), path, size_bytes, segment: None });
    }
    let handles = metadata.operators.iter_mut().flat_map(|operator| operator.subtasks.values_mut()).flat_map(|state| &mut state.keyed);
    for handle in handles {
        handle.layout = Layout::Store { backend: "runs".into(), columns: vec!["count".into()], shared: shared.clone() };
    }
    store.publish_metadata(env, &metadata, |_| {}).await
}

/// Whatever looks like a snapshot is one, to the last file.
fn whole(env: &TestEnv, store: &CheckpointStore, folder: &str) {
    if let Ok(found) = run(store.read_origin(env, folder)) {
        for path in survey::needed(&found) {
            assert!(run(survey::size(env, &path)).expect("nothing fails").is_some(), "{path} is gone");
        }
    }
}

#[test]
fn no_crash_leaves_a_claimed_checkpoint_that_looks_whole_and_is_not_and_who_follows_leaves_nothing() {
    let folder = "disk/job/chk-7";
    let setup = || {
        let env = TestEnv::default();
        run(incremental(&env, &of_files())).expect("nothing fails");
        (env, of_files())
    };
    let act = |env: &TestEnv, store: &CheckpointStore| run(delete_origin(env, store, folder));
    at_every_operation(setup, act, |env, store, outcome| {
        whole(env, store, folder);
        let before = env.paths();
        assert!(outcome.is_err() || !before.contains(&folder.into()), "{before:?}");
        run(delete_origin(env, store, folder)).expect("nothing fails any more");
        env.crash(Unsynced::Lost);
        assert_eq!(env.paths().iter().filter(|path| path.contains("chk-7") || path.contains("a1.1")).count(), 0, "{before:?}");
    });
}

async fn delete_origin(env: &TestEnv, store: &CheckpointStore, folder: &str) -> Result<(), StorageError> {
    store.discard_origin(env, folder, || {}).await?;
    store.forget_origin(env, folder).await
}

#[test]
fn the_same_with_objects() {
    let folder = "s3://bucket/job/chk-7";
    let setup = || {
        let env = TestEnv::default();
        run(incremental(&env, &of_objects())).expect("nothing fails");
        env
    };
    let act = |env: &TestEnv| run(delete_origin(env, &of_objects(), folder));
    at_every_request(setup, act, |env, fault, outcome| {
        whole(env, &of_objects(), folder);
        assert!(outcome.is_ok() || fault == Some(Fault::Halt), "{outcome:?}");
        run(delete_origin(env, &of_objects(), folder)).expect("nothing fails any more");
        assert_eq!(env.store.names(), ["s3://bucket/job/shared/_location"]);
    });
}

#[test]
fn what_a_claimed_checkpoint_shares_is_there_and_is_no_orphan_until_it_is_forgotten() {
    for (store, job) in [(of_files(), "disk/job"), (of_objects(), "s3://bucket/job")] {
        let (env, folder) = (TestEnv::default(), format!("{job}/chk-7"));
        run(incremental(&env, &store)).expect("nothing fails");
        let needed = survey::needed(&run(store.read_origin(&env, &folder)).expect("it is there"));
        run(store.discard_origin(&env, &folder, || {})).expect("nothing fails");
        assert!(!run(survey::is_snapshot(&env, &folder)).expect("nothing fails"));
        assert_eq!(run(survey::snapshots(&env, job)).expect("nothing fails").len(), 0);
        assert_eq!(survey::needed(&run(store.read_claimed(&env, &folder)).expect("its names are known")), needed);
        assert_eq!(survey::needed(&run(store.read_kept(&env, C7)).expect("to its own job as well")).len(), needed.len());
        let left: BTreeSet<String> =
            needed.into_iter().filter(|path| run(survey::size(&env, path)).expect("nothing fails").is_some()).collect();
        assert_eq!(left, BTreeSet::from([format!("{job}/shared/a1.1-x"), format!("{job}/shared/a1.1-y")]));
        assert_eq!(run(survey::orphans(&env, job)).expect("nothing fails").files.len(), 0);
        run(store.forget_origin(&env, &folder)).expect("nothing fails");
        assert_eq!(run(survey::orphans(&env, job)).expect("nothing fails").files.len(), 0);
        assert!(left.iter().all(|path| run(survey::size(&env, path)).expect("nothing fails").is_none()));
    }
}

/// A savepoint, as far as its metadata.
async fn begin_savepoint(env: &TestEnv, store: &CheckpointStore, folder: &str) -> Result<CheckpointMetadata, StorageError> {
    store.create_savepoint(env, folder).await?;
    let mut writer = store.storage().savepoint_writer(env, folder, "count-0-a1.1").await?;
    writer.block(b"state").await?;
    let mut metadata = metadata(C7, writer.finish().await?);
    metadata.kind = SnapshotKind::Savepoint;
    Ok(metadata)
}

#[test]
fn an_unfinished_savepoint_goes_whoever_dies_and_a_finished_one_stays() {
    let folder = "disk/savepoints/savepoint-7-job";
    for finished in [false, true] {
        let setup = || {
            let env = TestEnv::default();
            let metadata = run(begin_savepoint(&env, &of_files(), folder)).expect("nothing fails");
            if finished {
                run(of_files().publish_savepoint(&env, folder, &metadata, |_| {})).expect("nothing fails");
            } else {
                run(env.create(&format!("{folder}/_metadata.tmp"))).expect("nothing fails");
            }
            (env, of_files())
        };
        let act = |env: &TestEnv, store: &CheckpointStore| run(store.settle_savepoint(env, folder));
        at_every_operation(setup, act, |env, store, outcome| {
            assert!(outcome.is_err() || outcome.is_ok_and(|stays| stays == finished));
            whole(env, store, folder);
            assert_eq!(run(store.settle_savepoint(env, folder)).expect("nothing fails any more"), finished);
            env.crash(Unsynced::Lost);
            assert_eq!(env.paths().contains(&folder.into()), finished);
            assert_eq!(run(store.read_origin(env, folder)).is_ok(), finished);
        });
    }
}

#[test]
fn the_same_with_savepoints_in_objects() {
    let folder = "s3://bucket/savepoints/savepoint-7-job";
    for finished in [false, true] {
        let setup = || {
            let env = TestEnv::default();
            let metadata = run(begin_savepoint(&env, &of_objects(), folder)).expect("nothing fails");
            if finished {
                run(of_objects().publish_savepoint(&env, folder, &metadata, |_| {})).expect("nothing fails");
            }
            env
        };
        let act = |env: &TestEnv| run(of_objects().settle_savepoint(env, folder));
        at_every_request(setup, act, |env, _, outcome| {
            assert!(outcome.is_err() || outcome.is_ok_and(|stays| stays == finished));
            whole(env, &of_objects(), folder);
            assert_eq!(run(of_objects().settle_savepoint(env, folder)).expect("nothing fails any more"), finished);
            assert_eq!(env.store.names().is_empty(), !finished, "{:?}", env.store.names());
        });
    }
}

#[test]
fn metadata_that_comes_while_a_savepoint_is_being_deleted_goes_with_it() {
    let (env, folder) = (TestEnv::default(), "s3://bucket/savepoints/savepoint-7-job");
    run(begin_savepoint(&env, &of_objects(), folder)).expect("nothing fails");
    // Whoever began to delete it has died behind the first request; whoever began the savepoint goes on.
    let state = env.store.names().into_iter().find(|url| url.ends_with("a1.1")).expect("it is there");
    let location = format!("{folder}/_location");
    run(object::requests::delete(&env, &[location, state])).expect("nothing fails");
    env.store.set_bytes(&format!("{folder}/_metadata"), &b"of what is gone"[..]);
    assert!(!run(of_objects().settle_savepoint(&env, folder)).expect("nothing fails"));
    assert_eq!(env.store.names(), [""; 0]);
}

#[test]
fn what_another_job_has_claimed_is_never_taken_for_unfinished() {
    for (store, target) in [(of_files(), "disk/savepoints"), (of_objects(), "s3://bucket/savepoints")] {
        let (env, folder) = (TestEnv::default(), format!("{target}/savepoint-7-job"));
        let mut metadata = run(begin_savepoint(&env, &store, &folder)).expect("nothing fails");
        let mut file = run(store.storage().savepoint_writer(&env, &folder, "x")).expect("nothing fails");
        run(file.block(b"run")).expect("nothing fails");
        let Ok(StateLocation::File { path, size_bytes }) = run(file.finish()) else { unreachable!("it is a file") };
        let shared = vec![SharedFile { name: "x".into(), path, size_bytes, segment: None }];
        let handles = metadata.operators.iter_mut().flat_map(|operator| operator.subtasks.values_mut()).flat_map(|state| &mut state.keyed);
        handles.for_each(|handle| {
            handle.layout = Layout::Store { backend: "runs".into(), columns: vec!["count".into()], shared: shared.clone() }
        });
        run(store.publish_savepoint(&env, &folder, &metadata, |_| {})).expect("nothing fails");
        run(store.discard_origin(&env, &folder, || {})).expect("nothing fails");
        assert!(run(store.settle_savepoint(&env, &folder)).expect("nothing fails"));
        let needed = format!("{folder}/x");
        assert!(run(survey::size(&env, &needed)).expect("nothing fails").is_some(), "the other job may need it");
        let orphans = run(survey::unfinished_savepoints(&env, target)).expect("nothing fails").expect("there are some");
        assert!(orphans.files.is_empty(), "{:?}", orphans.files.keys());
        run(store.forget_origin(&env, &folder)).expect("nothing fails");
        assert!(run(survey::size(&env, &needed)).expect("nothing fails").is_none());
    }
}
