//! Facts about the journal as objects: what is durable stays, and of two coordinators one at most writes.

use super::disk::{run, Fault, TestEnv};
use super::objects::TestObjects;
use crate::env::objects::{Objects, PutMode};
use crate::storage::object::journal::ObjectJournal;
use crate::storage::StorageError;
use cofferdam_protocol::coordinator::{Journal, Written};
use cofferdam_protocol::{CheckpointId, Epoch};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

const ROOT: &str = "s3://bucket/job";
const ALONE: &str = "nobody else is there, and nothing fails";

fn journal(reserved: u64) -> Journal {
    Journal { epoch: Epoch(1), reserved: CheckpointId(reserved), ..Journal::default() }
}

fn open(env: &TestEnv) -> (ObjectJournal, Option<Journal>) {
    run(ObjectJournal::open(env, ROOT)).expect(ALONE)
}

fn append(env: &TestEnv, store: &mut ObjectJournal, reserved: u64) -> Written {
    run(store.append(env, &journal(reserved)))
}

#[test]
fn the_newest_entry_is_read_without_a_listing_and_few_others_are_kept() {
    let env = TestEnv::default();
    let (mut store, found) = open(&env);
    assert_eq!(found, None);
    for reserved in 1..=300 {
        assert_eq!(append(&env, &mut store, reserved), Written::Durable);
        assert_eq!(open(&env).1, Some(journal(reserved)));
    }
    assert_eq!(env.store.list_count(), 0);
    assert!(env.store.names().len() <= 18, "{:?}", env.store.names());
}

#[test]
fn a_deposed_coordinator_is_fenced_for_ever() {
    for before in 0..=9 {
        for ahead in 1..=20 {
            let env = TestEnv::default();
            let mut first = open(&env).0;
            for reserved in 0..before {
                assert_eq!(append(&env, &mut first, reserved), Written::Durable);
            }
            let (mut deposed, _) = open(&env);
            let (mut elected, _) = open(&env);
            for reserved in 1..=ahead {
                assert_eq!(append(&env, &mut elected, 100 + reserved), Written::Durable);
            }
            // One that has written, and one that has only opened.
            for deposed in [&mut deposed, &mut first] {
                assert_eq!(append(&env, deposed, 99), Written::Fenced, "{before} before, {ahead} ahead");
                let count = env.store.operation_count();
                assert_eq!(append(&env, deposed, 99), Written::Fenced);
                assert_eq!(env.store.operation_count(), count, "it touches nothing any more");
            }
            assert_eq!(open(&env).1, Some(journal(100 + ahead)));
            assert_eq!(append(&env, &mut elected, 50), Written::Durable);
        }
    }
}

#[test]
fn one_that_opened_while_another_goes_on_is_fenced_however_far_that_gets() {
    for before in 1..=9 {
        for ahead in 1..=40 {
            let env = TestEnv::default();
            let mut leading = open(&env).0;
            for reserved in 0..before {
                append(&env, &mut leading, reserved);
            }
            let (mut late, _) = open(&env);
            for reserved in 1..=ahead {
                assert_eq!(append(&env, &mut leading, 100 + reserved), Written::Durable);
            }
            // Its number may have been written and deleted by now, so that its put succeeds.
            assert_eq!(append(&env, &mut late, 99), Written::Fenced, "{before} before, {ahead} ahead");
            assert_eq!(open(&env).1, Some(journal(100 + ahead)), "{before} before, {ahead} ahead");
            assert_eq!(append(&env, &mut leading, 200), Written::Durable);
            assert_eq!(open(&env).1, Some(journal(200)));
        }
    }
}

#[test]
fn two_that_would_write_the_same_words_do_not_take_each_other_for_themselves() {
    let env = TestEnv::default();
    let ((mut one, _), (mut other, _)) = (open(&env), open(&env));
    assert_eq!(append(&env, &mut one, 1), Written::Durable);
    assert_eq!(append(&env, &mut other, 1), Written::Fenced);
}

#[test]
fn a_damaged_newest_entry_is_fatal_however_good_the_older_one_is() {
    let env = TestEnv::default();
    let mut store = open(&env).0;
    for reserved in 1..=2 {
        append(&env, &mut store, reserved);
    }
    let newest = "s3://bucket/job/journal/0000000000000000002";
    let whole = env.store.bytes(newest);
    for damage in 0..whole.len() * 9 {
        let mut bytes = whole.clone();
        if damage < whole.len() {
            bytes.truncate(damage);
        } else {
            let bit = damage - whole.len();
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        env.store.set_bytes(newest, bytes);
        let error = run(ObjectJournal::open(&env, ROOT)).expect_err("damaged");
        assert!(matches!(&error, StorageError::Corrupt { path, .. } if path == newest), "{error}");
        assert!(error.is_permanent());
    }
    env.store.set_bytes(newest, env.store.bytes("s3://bucket/job/journal/0000000000000000001"));
    assert!(matches!(run(ObjectJournal::open(&env, ROOT)), Err(StorageError::Corrupt { .. })), "another number inside");
}

#[test]
fn one_lost_request_or_answer_is_not_even_unknown_and_a_crash_loses_no_durable_entry() {
    let script = |env: &TestEnv| {
        let mut outcomes = Vec::new();
        if let Ok((mut store, _)) = run(ObjectJournal::open(env, ROOT)) {
            outcomes.extend((1..=9).map(|reserved| append(env, &mut store, reserved)));
        }
        outcomes
    };
    let quiet = TestEnv::default();
    assert_eq!(script(&quiet), [Written::Durable; 9]);
    for operation in 0..quiet.store.operation_count() {
        for fault in [Fault::Before, Fault::After] {
            let env = TestEnv::default();
            env.store.fail(operation, fault);
            assert_eq!(script(&env), [Written::Durable; 9], "{operation} {fault:?}");
        }
        let env = TestEnv::default();
        env.store.fail(operation, Fault::Halt);
        let outcomes = script(&env);
        assert!(!outcomes.contains(&Written::Fenced), "there is nobody else");
        let durable = outcomes.iter().filter(|outcome| **outcome == Written::Durable).count() as u64;
        env.store.heal();
        let (mut store, found) = open(&env);
        let found = found.map_or(0, |journal| journal.reserved.0);
        assert!((durable..=durable + 1).contains(&found), "{durable} were durable, {found} was found");
        assert_eq!(append(&env, &mut store, 99), Written::Durable);
        assert_eq!(open(&env).1, Some(journal(99)));
    }
}

#[test]
fn an_append_that_is_dropped_half_way_is_resolved_by_the_next() {
    for steps in 0.. {
        let env = TestEnv::default();
        let mut store = open(&env).0;
        append(&env, &mut store, 1);
        {
            let mut context = Context::from_waker(Waker::noop());
            let dropped = journal(2);
            let mut dropped = Box::pin(store.append(&env, &dropped));
            if (0..steps).any(|_| dropped.as_mut().poll(&mut context).is_ready()) {
                assert!(steps > 1, "there was something to drop");
                return;
            }
        }
        assert_eq!(append(&env, &mut store, 3), Written::Durable, "dropped after {steps}");
        assert_eq!(open(&env).1, Some(journal(3)));
    }
}

#[test]
fn a_put_of_ours_that_lands_late_takes_the_number_and_the_next_entry_the_one_behind() {
    let env = TestEnv::default();
    let mut store = open(&env).0;
    append(&env, &mut store, 1);
    // The answer to the second entry is lost, and it is sent again: a copy is still under way.
    let second = {
        env.store.fail(env.store.operation_count(), Fault::After);
        assert_eq!(append(&env, &mut store, 2), Written::Durable);
        env.store.bytes("s3://bucket/job/journal/0000000000000000002")
    };
    // As if it had not arrived yet, and did after others have written and deleted that number.
    for reserved in 3..=6 {
        assert_eq!(append(&env, &mut store, reserved), Written::Durable);
    }
    assert!(!env.store.names().contains(&"s3://bucket/job/journal/0000000000000000005".into()), "5 is deleted by 6");
    env.store.set_bytes("s3://bucket/job/journal/0000000000000000005", second);
    assert_eq!(open(&env).1, Some(journal(6)), "what lands where something was deleted is never looked at");
    assert_eq!(append(&env, &mut store, 7), Written::Durable);
    assert_eq!(open(&env).1, Some(journal(7)));
}

/// A small generator: the schedule is all the randomness that there is.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What coordinators were promised: every token of an append that was durable.
type Promises = Arc<Mutex<BTreeSet<CheckpointId>>>;

/// One coordinator process: takes over and writes on, each entry with everything before it and one token more.
async fn coordinator(env: TestEnv, promises: Promises, tokens: Arc<Mutex<u64>>, length: u64) {
    let promised = promises.lock().expect("no panic in here").clone();
    let Ok((mut store, found)) = ObjectJournal::open(&env, ROOT).await else { return };
    let mut journal = found.unwrap_or_default();
    journal.epoch = journal.epoch.next();
    let mut reigns = false;
    for _ in 0..length {
        let token = {
            let mut tokens = tokens.lock().expect("no panic in here");
            *tokens += 1;
            CheckpointId(*tokens)
        };
        journal.completed.insert(token);
        match store.append(&env, &journal).await {
            Written::Durable => {
                // Only one that reigns must have seen what was promised when it began.
                assert!(
                    reigns || journal.completed.is_superset(&promised),
                    "{promised:?} was promised, {:?} is written",
                    journal.completed
                );
                reigns = true;
                promises.lock().expect("no panic in here").extend(&journal.completed);
            }
            // It stays in the journal: it may have happened.
            Written::Unknown => {}
            Written::Fenced => return,
        }
    }
}

/// Whatever a process has sent may arrive long after it has died.
fn late_put(store: &TestObjects, dice: &mut Dice, sent: &mut Vec<(String, Vec<u8>)>) {
    for name in store.names() {
        if dice.roll(3) == 0 {
            let bytes = store.bytes(&name);
            sent.push((name, bytes));
        }
    }
    if !sent.is_empty() {
        let at = usize::try_from(dice.roll(sent.len() as u64)).expect("below the length");
        let (name, bytes) = sent.swap_remove(at);
        // It exists already, as a rule.
        let _ = run(store.put(&name, bytes.into(), PutMode::Create));
    }
}

#[test]
fn whatever_the_schedule_nothing_that_was_promised_is_lost() {
    let (mut lives, mut promised) = (0, 0);
    for seed in 1..=3000 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        for _ in 0..9 {
            dice.roll(2);
        }
        let (env, promises, tokens) = (TestEnv::default(), Promises::default(), Arc::default());
        let mut sent = Vec::new();
        let mut processes: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>> = (0..3).map(|_| None).collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut turn = 0;
        for _ in 0..600 {
            // Long bursts, so that one sleeps while another writes several entries.
            if dice.roll(12) == 0 {
                turn = usize::try_from(dice.roll(3)).expect("below 3");
            }
            match dice.roll(100) {
                0 => processes[turn] = None,
                1 => env.store.fail(env.store.operation_count(), Fault::Before),
                2 => env.store.fail(env.store.operation_count(), Fault::After),
                3 => late_put(&env.store, &mut dice, &mut sent),
                _ => {}
            }
            let process = processes[turn].get_or_insert_with(|| {
                lives += 1;
                Box::pin(coordinator(env.clone(), Arc::clone(&promises), Arc::clone(&tokens), 1 + dice.roll(12)))
            });
            if let Poll::Ready(()) = process.as_mut().poll(&mut context) {
                processes[turn] = None;
            }
        }
        drop(processes);
        env.store.heal();
        let found = open(&env).1.unwrap_or_default().completed;
        let promises = promises.lock().expect("no panic in here");
        assert!(found.is_superset(&promises), "seed {seed}: {promises:?} was promised, {found:?} was found");
        promised += promises.len();
    }
    assert!(lives > 20_000 && promised > 20_000, "{lives} lives and {promised} promises are too few to mean anything");
}
