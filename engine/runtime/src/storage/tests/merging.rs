//! Facts about files that many pieces of state lie in, on a disk that can fail at every operation.

use super::disk::{run, Fault, TestEnv, Unsynced};
use crate::storage::streams::Sharers;
use crate::storage::{CheckpointStorage, CheckpointStore, SmallState, SnapshotStreams, StorageError};
use cofferdam_protocol::segments::{Merging, MergingError};
use cofferdam_protocol::snapshot::{SharedFile, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, WorkerId};

const C7: CheckpointId = CheckpointId(7);
const MERGING: Merging = Merging { max_file_bytes: 2048, across_checkpoints: true, max_space_amplification: 2 };

fn storage() -> CheckpointStorage {
    CheckpointStorage::FileSystem { root: "disk/job".into() }
}

fn prepared() -> TestEnv {
    let env = TestEnv::default();
    run(async {
        storage().prepare(&env).await?;
        CheckpointStore::new(storage()).create_location(&env, C7).await
    })
    .expect("nothing fails");
    env
}

fn streams(env: &TestEnv, tasks: u64) -> SnapshotStreams<TestEnv> {
    let sharers = Sharers { worker: WorkerId(3), attempt: AttemptId { epoch: Epoch(1), number: 2 }, tasks };
    SnapshotStreams::new(env, &storage(), SmallState { inline_below_bytes: 0, merge: Some(MERGING) }, sharers)
}

/// What a task writes: so many bytes, which say whose they are.
async fn write(streams: &SnapshotStreams<TestEnv>, task: u8, before: u64, size: usize) -> Result<StateLocation, StorageError> {
    let mut writer = streams.state_writer(C7, &format!("count-{task}-a1.2"), before).await?;
    writer.block(&vec![task; size]).await?;
    writer.finish().await
}

async fn read(env: &TestEnv, location: &StateLocation) -> Result<Vec<u8>, StorageError> {
    let mut reader = storage().open_state(env, location).await?;
    let mut bytes = Vec::new();
    while let Some((_, block)) = reader.next().await? {
        bytes.extend_from_slice(&block);
    }
    Ok(bytes)
}

fn files(env: &TestEnv) -> Vec<String> {
    env.paths().into_iter().filter(|path| path.starts_with("disk/job/chk-7/") || path.starts_with("disk/job/shared/")).collect()
}

#[test]
fn all_tasks_of_a_worker_share_one_file() {
    let env = prepared();
    let streams = streams(&env, 3);
    let locations = run(async { tokio::join!(write(&streams, 0, 0, 20), write(&streams, 1, 0, 30), write(&streams, 2, 0, 40)) });
    assert_eq!(files(&env), ["disk/job/chk-7/merged-w3-a1.2-0"]);
    for (task, location) in [locations.0, locations.1, locations.2].into_iter().enumerate() {
        let location = location.expect("nothing fails");
        assert!(matches!(location, StateLocation::Segment { .. }), "{location:?}");
        let bytes = run(read(&env, &location)).expect("it is whole");
        assert_eq!(bytes, vec![u8::try_from(task).expect("few"); 20 + 10 * task]);
    }
}

#[test]
fn what_is_too_large_to_be_merged_has_a_file_of_its_own() {
    let env = prepared();
    let streams = streams(&env, 2);
    let location = run(write(&streams, 1, 0, 600)).expect("nothing fails");
    assert!(matches!(&location, StateLocation::File { path, .. } if path == "chk-7/count-1-a1.2"), "{location:?}");
    assert_eq!(run(read(&env, &location)).expect("it is whole").len(), 600);
}

#[test]
fn which_file_a_segment_is_in_does_not_depend_on_who_comes_first() {
    let path_of = |order: &[u8]| {
        let env = prepared();
        let streams = streams(&env, 2);
        let mut paths: Vec<_> = order
            .iter()
            .map(|task| {
                // The second task has put a lot into its first file.
                let location = run(write(&streams, *task, u64::from(*task) * 600, 100)).expect("nothing fails");
                (*task, location.path().map(ToOwned::to_owned))
            })
            .collect();
        paths.sort();
        paths
    };
    assert_eq!(path_of(&[0, 1]), path_of(&[1, 0]));
    assert_ne!(path_of(&[0, 1])[0].1, path_of(&[0, 1])[1].1);
}

/// With every operation of two tasks that write at once failing, and then a power loss.
#[test]
fn a_segment_that_was_answered_for_survives() {
    let count = {
        let env = prepared();
        let begin = env.operation_count();
        let streams = streams(&env, 2);
        let _ = run(async { tokio::join!(write(&streams, 0, 0, 20), write(&streams, 1, 0, 30)) });
        begin..=env.operation_count()
    };
    for operation in count {
        for fault in [Fault::Before, Fault::After, Fault::Halt] {
            for unsynced in Unsynced::ALL {
                let env = prepared();
                env.fail(operation, fault);
                let streams = streams(&env, 2);
                let both = run(async { tokio::join!(write(&streams, 0, 0, 20), write(&streams, 1, 0, 30)) });
                env.crash(unsynced);
                for (task, location) in [both.0, both.1].into_iter().enumerate() {
                    let Ok(location) = location else { continue };
                    let bytes = run(read(&env, &location)).unwrap_or_else(|error| panic!("{operation} {fault:?} {unsynced:?}: {error}"));
                    assert!(bytes.iter().all(|byte| usize::from(*byte) == task), "of another task");
                }
                run(CheckpointStore::new(storage()).discard(&env, C7)).expect("a checkpoint goes with its merged files");
                assert_eq!(files(&env), [""; 0]);
            }
        }
    }
}

#[test]
fn files_of_a_checkpoint_that_is_over_are_not_written_to() {
    let env = prepared();
    let streams = streams(&env, 1);
    run(write(&streams, 0, 0, 20)).expect("nothing fails");
    streams.close_up_to(C7);
    let error = run(write(&streams, 0, 0, 20)).expect_err("the file is there and closed");
    assert!(matches!(error, StorageError::Io { operation: "create", .. }), "{error}");
}

#[test]
fn a_segment_of_a_damaged_file_is_an_error_that_names_it() {
    let env = prepared();
    let streams = streams(&env, 2);
    let (first, second) = run(async { tokio::join!(write(&streams, 0, 0, 20), write(&streams, 1, 0, 30)) });
    let (first, second) = (first.expect("nothing fails"), second.expect("nothing fails"));
    let path = format!("disk/job/{}", first.path().expect("it is in a file"));
    let whole = env.bytes(&path);
    let (StateLocation::Segment { size_bytes, .. }, StateLocation::Segment { offset, .. }) = (&first, &second) else { panic!("segments") };
    assert_eq!(size_bytes, offset, "one behind the other");
    for bit in 0..whole.len() * 8 {
        let mut bent = whole.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        env.set_bytes(&path, bent);
        let in_first = (bit / 8) < usize::try_from(*offset).expect("small");
        assert_eq!(run(read(&env, &first)).is_err(), in_first, "bit {bit}");
        assert_eq!(run(read(&env, &second)).is_err(), !in_first, "bit {bit}");
    }
    for length in 0..whole.len() {
        env.set_bytes(&path, whole[..length].to_vec());
        let error = run(read(&env, &second)).expect_err("it is cut off");
        assert!(matches!(&error, StorageError::Corrupt { path: named, .. } if named.starts_with(&path)), "{error}");
    }
}

/// Takes files of a store into its subtask's segments, as a snapshot does.
async fn share(
    env: &TestEnv,
    known: &mut Vec<SharedFile>,
    streams: &SnapshotStreams<TestEnv>,
    new: &[(&str, usize)],
) -> Result<(), StorageError> {
    let shared = streams.segments("count", 0).expect("files are merged");
    let mut shared = shared.lock().await;
    let again = shared.begin(known);
    let mut names: Vec<(String, usize)> = new.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    for file in known.iter().filter(|file| again.contains(&file.name)) {
        names.push((file.name.clone(), usize::try_from(file.size_bytes).expect("small")));
    }
    known.retain(|file| !again.contains(&file.name));
    for (name, size) in names {
        let number = env.operation_count();
        let (path, segment) = shared.append(&vec![7; size], || format!("a1.2-count-0-{number}")).await?;
        known.push(SharedFile { name, path, size_bytes: size as u64, segment: Some(segment) });
    }
    shared.sync().await?;
    shared.measure(known);
    Ok(())
}

#[test]
fn segments_of_several_checkpoints_lie_in_one_file_until_too_little_of_it_is_used() {
    let env = prepared();
    let streams = streams(&env, 1);
    let mut known = Vec::new();
    run(share(&env, &mut known, &streams, &[("a", 100), ("b", 100)])).expect("nothing fails");
    run(share(&env, &mut known, &streams, &[("c", 100)])).expect("nothing fails");
    assert_eq!(files(&env).len(), 1, "{:?}", files(&env));
    assert!(known.iter().all(|file| file.segment.is_some_and(|segment| segment.file_bytes == 300)), "{known:?}");
    known.retain(|file| file.name == "a");
    let before = known[0].path.clone();
    run(share(&env, &mut known, &streams, &[])).expect("nothing fails");
    assert!(known[0].path != before && known[0].segment.is_some_and(|segment| segment.file_bytes == 100), "{known:?}");
}

#[test]
fn after_an_error_a_file_gets_no_byte_more_and_what_was_durable_in_it_stays() {
    let env = prepared();
    let streams = streams(&env, 1);
    let mut known = Vec::new();
    run(share(&env, &mut known, &streams, &[("a", 100)])).expect("nothing fails");
    let mut failed = known.clone();
    env.fail(env.operation_count(), Fault::After);
    run(share(&env, &mut failed, &streams, &[("b", 100)])).expect_err("the append says that it failed");
    run(share(&env, &mut known, &streams, &[("c", 100)])).expect("nothing fails any more");
    assert_ne!(known[0].path, known[1].path);
    env.crash(Unsynced::Lost);
    for file in &known {
        assert!(env.bytes(&format!("disk/job/{}", file.path)).len() >= 100, "{file:?}");
    }
}

#[test]
fn merging_needs_files_and_sizes_that_merge_something() {
    let small = |merge| SmallState { inline_below_bytes: 0, merge: Some(merge) };
    small(MERGING).validated(&storage()).expect("files can be merged");
    for storage in [CheckpointStorage::Object { root: "s3://b/j".into() }, CheckpointStorage::Memory { limit_bytes: 100 }] {
        assert!(matches!(small(MERGING).validated(&storage), Err(StorageError::MergingNeedsFiles)));
    }
    let error = small(Merging { max_file_bytes: 1, ..MERGING }).validated(&storage()).expect_err("nothing fits");
    assert!(matches!(error, StorageError::Merging(MergingError::FileSize(1))), "{error}");
}
