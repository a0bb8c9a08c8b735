//! Facts about state files: whole, or an error.

use super::disk::{run, Fault, TestEnv};
use crate::storage::filesystem::state_path;
use crate::storage::{CheckpointStorage, CheckpointStore, StateWriter, StorageError};
use cofferdam_protocol::block::BLOCK_LIMIT;
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::stored::StoredError;
use cofferdam_protocol::CheckpointId;
use proptest::prelude::*;

const CHECKPOINT: CheckpointId = CheckpointId(7);

fn storage() -> CheckpointStorage {
    CheckpointStorage::FileSystem { root: "disk/job".into() }
}

fn prepared() -> TestEnv {
    let env = TestEnv::default();
    run(async {
        let store = CheckpointStore::new(storage());
        storage().prepare(&env).await?;
        store.create_location(&env, CHECKPOINT).await
    })
    .expect("nothing fails");
    env
}

async fn write(env: &TestEnv, storage: &CheckpointStorage, blocks: &[Vec<u8>]) -> Result<StateLocation, StorageError> {
    let mut writer = storage.state_writer(env, CHECKPOINT, "count-0-a1.1").await?;
    for block in blocks {
        writer.block(block).await?;
    }
    writer.finish().await
}

async fn read(env: &TestEnv, location: &StateLocation) -> Result<Vec<Vec<u8>>, StorageError> {
    let mut reader = storage().open_state(env, location).await?;
    let mut blocks = Vec::new();
    while let Some((_, block)) = reader.next().await? {
        blocks.push(block);
    }
    assert!(reader.next().await?.is_none(), "the end stays the end");
    Ok(blocks)
}

#[test]
fn a_location_names_the_file_and_its_exact_size() {
    let env = prepared();
    let location = run(write(&env, &storage(), &[b"abc".to_vec()])).expect("nothing fails");
    let size_bytes = env.bytes("disk/job/chk-7/count-0-a1.1").len() as u64;
    assert_eq!(location, StateLocation::File { path: "chk-7/count-0-a1.1".into(), size_bytes });
}

#[test]
fn offsets_are_those_of_payloads_in_the_file() {
    let env = prepared();
    let location = run(write(&env, &storage(), &[b"abc".to_vec(), b"de".to_vec()])).expect("nothing fails");
    let bytes = env.bytes("disk/job/chk-7/count-0-a1.1");
    run(async {
        let mut reader = storage().open_state(&env, &location).await.expect("it is whole");
        while let Some((offset, block)) = reader.next().await.expect("it is whole") {
            let offset = usize::try_from(offset).expect("small");
            assert_eq!(bytes[offset..offset + block.len()], block);
        }
    });
}

#[test]
fn large_and_small_blocks_are_read_as_they_were_written() {
    let env = prepared();
    let sizes = [1, BLOCK_LIMIT, 5, 300_000, 1, BLOCK_LIMIT - 1, 262_144, 8];
    let blocks: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|at| u8::try_from(at % 253).expect("below 253")).collect()).collect();
    let location = run(write(&env, &storage(), &blocks)).expect("nothing fails");
    assert!(run(read(&env, &location)).expect("it is whole") == blocks);
}

#[test]
fn every_damage_of_a_file_is_an_error_that_names_it() {
    let env = prepared();
    let blocks = [b"first".to_vec(), b"second".to_vec()];
    let location = run(write(&env, &storage(), &blocks)).expect("nothing fails");
    let path = "disk/job/chk-7/count-0-a1.1";
    let whole = env.bytes(path);
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    damaged.push([whole.as_slice(), &[0]].concat());
    for bit in 0..whole.len() * 8 {
        let mut bent = whole.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        damaged.push(bent);
    }
    for bytes in damaged {
        env.set_bytes(path, bytes.clone());
        let error = run(read(&env, &location)).expect_err("damaged");
        assert!(matches!(&error, StorageError::Corrupt { path: named, .. } if named == path), "{error}");
        assert!(error.is_permanent());
        run(read(&env, &StateLocation::Inline(bytes))).expect_err("damaged");
    }
    assert_eq!(run(read(&env, &StateLocation::Inline(whole))).expect("it is whole"), blocks);
}

#[test]
fn what_is_garbled_on_its_way_is_read_again_and_only_what_is_wrong_each_time_is_damaged() {
    let env = prepared();
    let blocks = vec![vec![7; 300], vec![8; 5]];
    let location = run(write(&env, &storage(), &blocks)).expect("nothing fails");
    for reads in 1..=2 {
        env.garble(reads);
        assert_eq!(run(read(&env, &location)).expect("read again"), blocks, "{reads} garbled reads");
    }
    env.garble(1000);
    let error = run(read(&env, &location)).expect_err("damaged, as far as anybody can tell");
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let env = prepared();
    let location = run(write(&env, &storage(), &vec![vec![1; 200_000]; 4])).expect("nothing fails");
    run(async {
        let mut reader = storage().open_state(&env, &location).await.expect("it is whole");
        reader.next().await.expect("the first block is there");
        env.set_bytes("disk/job/chk-7/count-0-a1.1", Vec::new());
        let error = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the end is not there"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StorageError::Corrupt { source: StoredError::Truncated { .. }, .. }), "{error}");
    });
}

#[test]
fn a_file_that_failed_is_never_finished_and_does_not_stay() {
    let blocks = vec![vec![1; 200_000]; 4];
    let quiet = prepared();
    let begin = quiet.operation_count();
    run(write(&quiet, &storage(), &blocks)).expect("nothing fails");
    for operation in begin..quiet.operation_count() {
        for fault in [Fault::Before, Fault::After] {
            let env = prepared();
            env.fail(operation, fault);
            run(async {
                let Ok(mut writer) = storage().state_writer(&env, CHECKPOINT, "count-0-a1.1").await else { return };
                for block in &blocks {
                    // Goes on after an error, which nobody should.
                    let _ = writer.block(block).await;
                }
                writer.finish().await.expect_err("an operation failed");
                assert!(!env.paths().contains(&"disk/job/chk-7/count-0-a1.1".into()));
            });
        }
    }
}

#[test]
fn state_in_memory_has_a_limit() {
    let env = TestEnv::default();
    let location = run(write(&env, &CheckpointStorage::Memory { limit_bytes: 64 }, &[vec![1; 24]])).expect("64 bytes");
    assert_eq!(run(read(&env, &location)).expect("it is whole"), [vec![1; 24]]);
    let error = run(write(&env, &CheckpointStorage::Memory { limit_bytes: 63 }, &[vec![1; 24]])).expect_err("64 bytes");
    assert!(matches!(error, StorageError::InlineTooLarge { size_bytes: 64, limit_bytes: 63, .. }), "{error}");
    assert_eq!(env.operation_count(), 0);
}

#[test]
fn a_block_that_cannot_be_is_refused_and_leaves_no_trace() {
    for storage in [storage(), CheckpointStorage::Memory { limit_bytes: 100 << 20 }] {
        let env = prepared();
        let location = run(async {
            let mut writer: StateWriter<TestEnv> = storage.state_writer(&env, CHECKPOINT, "x").await?;
            for bad in [Vec::new(), vec![0; BLOCK_LIMIT + 1]] {
                let error = writer.block(&bad).await.expect_err("0 and more than 1 MiB are no blocks");
                assert!(matches!(error, StorageError::BlockSize { .. }), "{error}");
            }
            writer.block(b"good").await?;
            writer.finish().await
        });
        let blocks = run(read(&env, &location.expect("nothing fails"))).expect("it is whole");
        assert_eq!(blocks, [b"good".to_vec()]);
    }
}

#[test]
fn a_stored_path_does_not_lead_out_of_the_folder_of_the_job() {
    let env = prepared();
    for path in ["../other/chk-1/x", "/etc/../passwd", "chk-1/../../x", "chk-1//x", "", ".", "chk-1/x\0"] {
        let location = StateLocation::File { path: path.into(), size_bytes: 1 };
        assert!(matches!(run(read(&env, &location)), Err(StorageError::BadPath { .. })), "{path:?}");
        assert!(matches!(run(storage().discard_location(&env, &location)), Err(StorageError::BadPath { .. })), "{path:?}");
    }
    // Of a snapshot that somebody else took: it may be read, and is deleted by nobody who was not told that it is ours.
    let location = StateLocation::File { path: "/etc/passwd".into(), size_bytes: 1 };
    assert!(matches!(run(storage().discard_location(&env, &location)), Err(StorageError::BadPath { .. })));
}

#[test]
fn a_state_file_can_be_discarded_twice() {
    let env = prepared();
    let location = run(write(&env, &storage(), &[b"late".to_vec()])).expect("nothing fails");
    for _ in 0..2 {
        run(storage().discard_location(&env, &location)).expect("gone is gone");
    }
    let error = run(read(&env, &location)).expect_err("gone");
    assert!(error.is_permanent(), "{error}");
}

#[test]
fn a_plain_name_stays_readable() {
    assert_eq!(state_path(CHECKPOINT, "word_count-0-a1.2"), "chk-7/word_count-0-a1.2");
    assert_eq!(state_path(CHECKPOINT, "_metadata"), "chk-7/%5fmetadata");
    assert_eq!(state_path(CHECKPOINT, "../x"), "chk-7/%2e.%2fx");
}

proptest! {
    #[test]
    fn names_given_by_users_become_different_harmless_file_names(one in ".{0,200}", other in ".{0,200}") {
        let (left, right) = (state_path(CHECKPOINT, &one), state_path(CHECKPOINT, &other));
        let name = left.strip_prefix("chk-7/").expect("it stands in its checkpoint's folder");
        prop_assert!(!name.is_empty() && name.len() <= 255);
        prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.starts_with("_metadata"));
        prop_assert_eq!(left == right, one == other);
    }
}
