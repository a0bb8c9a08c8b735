//! Facts about checkpoints as objects, with a lost request, a lost answer or a crash at every single request.

use super::checkpoints::{metadata, read_all_state, take};
use super::disk::{run, Fault, TestEnv};
use super::objects::PART_SIZE;
use crate::env::ObjectError;
use crate::observe::Moment;
use crate::storage::object::check;
use crate::storage::{CheckpointStorage, CheckpointStore, StorageError};
use cofferdam_protocol::block::BLOCK_LIMIT;
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

const C7: CheckpointId = CheckpointId(7);
const ROOT: &str = "s3://bucket/job";
const METADATA: &str = "s3://bucket/job/chk-7/_metadata";
const STATE: &str = "s3://bucket/job/chk-7/count-0-a1.1";

fn store() -> CheckpointStore {
    CheckpointStore::new(CheckpointStorage::Object { root: ROOT.into() })
}

fn found(error: &StorageError) -> &ObjectError {
    match error {
        StorageError::Object { source, .. } => source,
        other => panic!("not about an object: {other}"),
    }
}

/// Runs `act` on a fresh store once for every request that it makes, with that request failing, and once with none.
pub fn at_every_request<T>(setup: impl Fn() -> TestEnv, act: impl Fn(&TestEnv) -> T, check: impl Fn(&TestEnv, Option<Fault>, T)) {
    let env = setup();
    let begin = env.store.operation_count();
    check(&env, None, act(&env));
    let end = env.store.operation_count();
    assert!(begin < end, "it does something");
    for request in begin..end {
        for fault in [Fault::Before, Fault::After, Fault::Halt] {
            let env = setup();
            env.store.fail(request, fault);
            let outcome = act(&env);
            env.store.heal();
            check(&env, Some(fault), outcome);
        }
    }
}

#[test]
fn one_lost_request_or_answer_is_no_failure_and_a_crash_leaves_a_checkpoint_whole_or_absent() {
    let act = |env: &TestEnv| run(take(env, &store(), C7));
    at_every_request(TestEnv::default, act, |env, fault, outcome| {
        let store = store();
        match run(store.read_metadata(env, C7)) {
            Ok(found) => {
                run(read_all_state(env, &store, &found)).expect("what metadata names is there before it");
                assert!(outcome.is_err() || outcome.is_ok_and(|published| published == found));
            }
            Err(error) => {
                assert_eq!(fault, Some(Fault::Halt), "{error}");
                assert!(outcome.is_err(), "published, and then {error}");
                assert_eq!(found(&error), &ObjectError::NotFound);
            }
        }
        run(store.discard(env, C7)).expect("whatever is there can be discarded");
        assert_eq!(env.store.names(), [""; 0]);
        assert_eq!(env.store.uploads().1, 0, "no part of an upload stays");
    });
}

#[test]
fn no_crash_in_a_discard_leaves_metadata_of_state_that_is_gone() {
    let setup = || {
        let env = TestEnv::default();
        run(take(&env, &store(), C7)).expect("nothing fails");
        env
    };
    let act = |env: &TestEnv| run(store().discard(env, C7));
    at_every_request(setup, act, |env, fault, outcome| {
        assert!(outcome.is_ok() || fault == Some(Fault::Halt), "{outcome:?}");
        if let Ok(found) = run(store().read_metadata(env, C7)) {
            assert!(outcome.is_err(), "discarded, and then it is there");
            run(read_all_state(env, &store(), &found)).expect("what looks complete is complete");
        }
        run(store().discard(env, C7)).expect("nothing fails any more");
        assert_eq!(env.store.names(), [""; 0]);
    });
}

#[test]
fn a_discard_finds_by_name_what_a_listing_does_not_show() {
    let env = TestEnv::default();
    env.store.freeze_listings();
    run(take(&env, &store(), C7)).expect("nothing fails");
    run(store().discard(&env, C7)).expect("nothing fails");
    assert_eq!(env.store.names(), [""; 0]);
}

#[test]
fn nothing_is_listed_but_to_clean_up() {
    let env = TestEnv::default();
    let published = run(take(&env, &store(), C7)).expect("nothing fails");
    assert_eq!(run(store().read_metadata(&env, C7)).expect("it is there"), published);
    run(read_all_state(&env, &store(), &published)).expect("it is there");
    assert_eq!(env.store.list_count(), 0);
}

#[test]
fn somebody_elses_metadata_is_neither_overwritten_nor_taken_for_ours() {
    let env = TestEnv::default();
    run(store().create_location(&env, C7)).expect("the first time");
    env.store.set_bytes(METADATA, &b"theirs"[..]);
    let error = run(store().publish_metadata(&env, &metadata(C7, StateLocation::Inline(Vec::new())), |_| {})).expect_err("theirs");
    assert_eq!(found(&error), &ObjectError::AlreadyExists);
    assert_eq!(env.store.bytes(METADATA), b"theirs");
}

#[test]
fn a_number_is_never_used_twice() {
    let env = TestEnv::default();
    run(store().create_location(&env, C7)).expect("the first time");
    let error = run(store().create_location(&env, C7)).expect_err("the second time");
    assert_eq!(found(&error), &ObjectError::AlreadyExists);
}

/// Writes state of so many bytes, as far as `steps` polls get, then lets go of it.
fn write_for(env: &TestEnv, size: usize, steps: u32) -> Option<Result<StateLocation, StorageError>> {
    let storage = store().storage().clone();
    let mut writing = pin!(async {
        let mut writer = storage.state_writer(env, C7, "count-0-a1.1").await?;
        writer.block(&vec![1; size]).await?;
        writer.finish().await
    });
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..steps {
        if let Poll::Ready(outcome) = writing.as_mut().poll(&mut context) {
            return Some(outcome);
        }
    }
    None
}

#[test]
fn a_writer_that_is_dropped_half_way_leaves_nothing() {
    for size in [1, PART_SIZE, 5 * PART_SIZE] {
        for steps in 0.. {
            let env = TestEnv::default();
            run(store().create_location(&env, C7)).expect("nothing fails");
            if write_for(&env, size, steps).is_some() {
                assert!(steps > 2, "there was something to drop");
                break;
            }
            assert_eq!(env.store.names(), ["s3://bucket/job/chk-7/_location"], "{size} bytes, {steps} steps");
            assert_eq!(env.store.uploads().1, 0, "{size} bytes, {steps} steps");
        }
    }
}

#[test]
fn an_upload_whose_writer_died_is_aborted_by_the_discard() {
    for steps in 0.. {
        let env = TestEnv::default();
        run(store().create_location(&env, C7)).expect("nothing fails");
        let before = env.store.operation_count();
        // The process dies: from some request on nothing of it gets through, not even its cleaning up.
        env.store.fail(before + steps, Fault::Halt);
        let outcome = write_for(&env, 5 * PART_SIZE, 1000);
        env.store.heal();
        if outcome.is_some_and(|outcome| outcome.is_ok()) {
            assert!(steps > 6, "there was something to die in");
            return;
        }
        run(store().discard(&env, C7)).expect("nothing fails any more");
        assert_eq!(env.store.names(), [""; 0]);
        assert_eq!(env.store.uploads().1, 0, "after {steps} requests");
    }
}

#[test]
fn a_discard_gets_the_better_of_a_writer_that_races_it() {
    let mut context = Context::from_waker(Waker::noop());
    for head_start in 0..40 {
        let env = TestEnv::default();
        run(store().create_location(&env, C7)).expect("nothing fails");
        let storage = store();
        let mut discard = pin!(storage.discard(&env, C7));
        let mut discarded = false;
        for _ in 0..head_start {
            discarded = discarded || discard.as_mut().poll(&mut context).is_ready();
        }
        // Whatever the order, the state is gone, and its writer knows.
        let written = write_for(&env, 1, 1000).expect("it comes to an end");
        if !discarded {
            run(discard).expect("nothing fails");
        }
        assert_eq!(env.store.names(), [""; 0], "head start {head_start}, {written:?}");
        if discarded {
            assert_eq!(found(&written.expect_err("too late")), &ObjectError::NotFound);
        }
    }
}

#[test]
fn metadata_of_a_checkpoint_that_was_discarded_in_the_meantime_does_not_stay() {
    let env = TestEnv::default();
    let error = run(store().publish_metadata(&env, &metadata(C7, StateLocation::Inline(Vec::new())), |_| {})).expect_err("discarded");
    assert_eq!(found(&error), &ObjectError::NotFound);
    assert_eq!(env.store.names(), [""; 0]);
}

#[test]
fn moments_are_told_when_they_are_true() {
    let env = TestEnv::default();
    run(store().create_location(&env, C7)).expect("nothing fails");
    let metadata = metadata(C7, StateLocation::Inline(Vec::new()));
    let seen = Mutex::new(Vec::new());
    let observe = |moment| seen.lock().expect("no panic in here").push((moment, env.store.names().contains(&METADATA.into())));
    run(store().publish_metadata(&env, &metadata, observe)).expect("nothing fails");
    let expected = [(Moment::MetadataWritten, false), (Moment::MetadataRenamed, true)];
    assert_eq!(seen.into_inner().expect("no panic in there"), expected);
}

#[test]
fn every_damage_is_an_error_that_names_the_object() {
    for damaged in [METADATA, STATE] {
        let env = TestEnv::default();
        let published = run(take(&env, &store(), C7)).expect("nothing fails");
        let whole = env.store.bytes(damaged);
        for damage in 0..whole.len() * 9 {
            let mut bytes = whole.clone();
            if damage < whole.len() {
                bytes.truncate(damage);
            } else {
                let bit = damage - whole.len();
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            env.store.set_bytes(damaged, bytes);
            let read = run(store().read_metadata(&env, C7)).and_then(|_| run(read_all_state(&env, &store(), &published)));
            let error = read.expect_err("damaged");
            assert!(matches!(&error, StorageError::Corrupt { path, .. } if path == damaged), "{error}");
            assert!(error.is_permanent());
        }
        run(store().discard(&env, C7)).expect("damaged or not");
        assert_eq!(env.store.names(), [""; 0]);
    }
}

#[test]
fn large_and_small_blocks_are_read_as_they_were_written() {
    let env = TestEnv::default();
    run(store().create_location(&env, C7)).expect("nothing fails");
    let sizes = [1, 5, 300_000, 1, 5000, 8];
    assert!(sizes.iter().all(|size| *size <= BLOCK_LIMIT));
    let blocks: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|at| u8::try_from(at % 253).expect("below 253")).collect()).collect();
    run(async {
        let storage = store().storage().clone();
        // Few enough parts: the number of parts is limited.
        let mut writer = storage.state_writer(&env, C7, "x").await?;
        for block in blocks.iter().filter(|block| block.len() < 100_000) {
            writer.block(block).await?;
        }
        let location = writer.finish().await?;
        let mut reader = storage.open_state(&env, &location).await?;
        for block in blocks.iter().filter(|block| block.len() < 100_000) {
            assert_eq!(&reader.next().await?.expect("another block").1, block);
        }
        assert!(reader.next().await?.is_none());
        let mut writer = storage.state_writer(&env, C7, "y").await?;
        let error = writer.block(&blocks[2]).await.expect_err("more parts than stores can number");
        assert!(error.is_permanent(), "{error}");
        Ok::<(), StorageError>(())
    })
    .expect("nothing fails");
}

#[test]
fn a_sweep_takes_what_is_neither_kept_nor_newer_nor_foreign() {
    let env = TestEnv::default();
    for number in 1..=5 {
        run(take(&env, &store(), CheckpointId(number))).expect("nothing fails");
    }
    for foreign in ["chk-x/1", "chk-02/1", "chk-+2/1", "journal/chk-1", "chk-1"] {
        env.store.set_bytes(&format!("{ROOT}/{foreign}"), &b"foreign"[..]);
    }
    env.store.set_bytes("s3://bucket/job2/chk-1/x", &b"foreign"[..]);
    run(store().sweep(&env, &BTreeSet::from([CheckpointId(2)]), CheckpointId(4))).expect("nothing fails");
    let names = env.store.names();
    let folders: BTreeSet<&str> =
        names.iter().filter_map(|name| name.strip_prefix(ROOT)?.rsplit_once('/').map(|(folder, _)| folder)).collect();
    assert_eq!(folders, BTreeSet::from(["", "/chk-+2", "/chk-02", "/chk-2", "/chk-5", "/chk-x", "/journal", "2/chk-1"]));
}

#[test]
fn a_stored_path_does_not_lead_out_of_the_jobs_place() {
    let env = TestEnv::default();
    for path in ["../other/chk-1/x", "/etc/../passwd", "chk-1/../../x", "chk-1//x", "", ".", "chk-1/x\0"] {
        let location = StateLocation::File { path: path.into(), size_bytes: 1 };
        let storage = store().storage().clone();
        assert!(matches!(run(storage.open_state(&env, &location)), Err(StorageError::BadPath { .. })), "{path:?}");
        assert!(matches!(run(storage.discard_location(&env, &location)), Err(StorageError::BadPath { .. })), "{path:?}");
    }
    assert_eq!(env.store.operation_count(), 0);
}

#[test]
fn a_store_that_is_down_is_asked_a_few_times_and_then_declined() {
    let env = TestEnv::default();
    run(store().create_location(&env, C7)).expect("nothing fails");
    let before = env.store.operation_count();
    env.store.fail(before, Fault::Halt);
    let error = write_for(&env, 1, 1000).expect("it comes to an end").expect_err("it is down");
    assert!(!error.is_permanent(), "{error}");
    assert!((2..40).contains(&(env.store.operation_count() - before)));
}

#[test]
fn a_fit_store_passes_the_check_whatever_answer_is_lost() {
    at_every_request(
        TestEnv::default,
        |env| run(check(env, ROOT)),
        |env, fault, outcome| {
            // The first request is not repeated.
            assert!(outcome.is_ok() || fault == Some(Fault::Halt) || env.store.operation_count() == 1, "{outcome:?}");
            assert!(env.store.names().is_empty() || fault == Some(Fault::Halt));
        },
    );
}
