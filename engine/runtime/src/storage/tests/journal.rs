//! Facts about the journal: what is durable stays, and of two coordinators one at most writes.

use super::disk::{run, Fault, TestEnv, Unsynced};
use crate::env::Files;
use crate::storage::journal::JournalStore;
use crate::storage::StorageError;
use cofferdam_protocol::coordinator::{Journal, Written};
use cofferdam_protocol::{CheckpointId, Epoch};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

const ROOT: &str = "disk/job";
const ALONE: &str = "nobody else is there, and nothing fails";

fn journal(reserved: u64) -> Journal {
    Journal { epoch: Epoch(1), reserved: CheckpointId(reserved), ..Journal::default() }
}

fn open(env: &TestEnv) -> (JournalStore, Option<Journal>) {
    run(JournalStore::open(env, ROOT)).expect(ALONE)
}

fn append(env: &TestEnv, store: &mut JournalStore, reserved: u64) -> Written {
    run(store.append(env, &journal(reserved)))
}

fn names(env: &TestEnv) -> Vec<String> {
    env.paths().iter().filter_map(|path| path.strip_prefix("disk/job/journal/")).map(Into::into).collect()
}

#[test]
fn the_newest_entry_is_read_and_the_newest_two_are_kept() {
    let env = TestEnv::default();
    let (mut store, found) = open(&env);
    assert_eq!(found, None);
    for reserved in 1..=5 {
        assert_eq!(append(&env, &mut store, reserved), Written::Durable);
        assert_eq!(open(&env).1, Some(journal(reserved)));
    }
    assert_eq!(names(&env), ["0000000000000000004", "0000000000000000005"]);
}

#[test]
fn a_deposed_coordinator_is_fenced_for_ever() {
    for ahead in 1..=5 {
        let env = TestEnv::default();
        append(&env, &mut open(&env).0, 1);
        let (mut deposed, _) = open(&env);
        let (mut elected, _) = open(&env);
        for reserved in 1..=ahead {
            assert_eq!(append(&env, &mut elected, 10 + reserved), Written::Durable);
        }
        // With two or more ahead, the number that the deposed one wants may have been removed again.
        assert_eq!(append(&env, &mut deposed, 99), Written::Fenced, "{ahead} ahead");
        let before = env.operation_count();
        assert_eq!(append(&env, &mut deposed, 99), Written::Fenced);
        assert_eq!(env.operation_count(), before, "it touches nothing any more");
        assert_eq!(open(&env).1, Some(journal(10 + ahead)));
        assert_eq!(append(&env, &mut elected, 50), Written::Durable);
        assert_eq!(names(&env).len(), 2, "what the deposed one left is cleared away");
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
    let newest = "disk/job/journal/0000000000000000002";
    let whole = env.bytes(newest);
    for damage in 0..whole.len() * 9 {
        let mut bytes = whole.clone();
        if damage < whole.len() {
            bytes.truncate(damage);
        } else {
            let bit = damage - whole.len();
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        env.set_bytes(newest, bytes);
        let error = run(JournalStore::open(&env, ROOT)).expect_err("damaged");
        assert!(matches!(&error, StorageError::Corrupt { path, .. } if path == newest), "{error}");
        assert!(error.is_permanent());
    }
    env.set_bytes(newest, env.bytes("disk/job/journal/0000000000000000001"));
    assert!(matches!(run(JournalStore::open(&env, ROOT)), Err(StorageError::Corrupt { .. })), "another number inside");
}

#[test]
fn an_entry_that_is_garbled_on_its_way_is_read_again() {
    let env = TestEnv::default();
    let mut store = open(&env).0;
    append(&env, &mut store, 7);
    for reads in 1..=2 {
        env.garble(reads);
        assert_eq!(open(&env).1, Some(journal(7)), "{reads} garbled reads");
    }
    env.garble(1000);
    assert!(matches!(run(JournalStore::open(&env, ROOT)), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_crash_at_any_operation_loses_no_durable_entry_and_invents_none() {
    let quiet = TestEnv::default();
    let script = |env: &TestEnv| {
        let mut outcomes = Vec::new();
        if let Ok((mut store, _)) = run(JournalStore::open(env, ROOT)) {
            outcomes.extend((1..=4).map(|reserved| append(env, &mut store, reserved)));
        }
        outcomes
    };
    assert_eq!(script(&quiet), [Written::Durable; 4]);
    for operation in 0..quiet.operation_count() {
        for unsynced in Unsynced::ALL {
            let env = TestEnv::default();
            env.fail(operation, Fault::Halt);
            let outcomes = script(&env);
            assert!(!outcomes.contains(&Written::Fenced), "there is nobody else");
            let durable = outcomes.iter().filter(|outcome| **outcome == Written::Durable).count() as u64;
            env.crash(unsynced);
            let (mut store, found) = open(&env);
            let found = found.map_or(0, |journal| journal.reserved.0);
            assert!((durable..=durable + 1).contains(&found), "{durable} were durable, {found} was found");
            assert!(!names(&env).iter().any(|name| name.starts_with("tmp-")), "leftovers are removed");
            assert_eq!(append(&env, &mut store, 9), Written::Durable);
            env.crash(Unsynced::Lost);
            assert_eq!(open(&env).1, Some(journal(9)));
        }
    }
}

#[test]
fn an_error_at_any_operation_is_survived_without_a_restart() {
    let quiet = TestEnv::default();
    let mut store = open(&quiet).0;
    let begin = quiet.operation_count();
    for reserved in 1..=4 {
        append(&quiet, &mut store, reserved);
    }
    for operation in begin..quiet.operation_count() {
        for fault in [Fault::Before, Fault::After] {
            let env = TestEnv::default();
            let mut store = open(&env).0;
            env.fail(operation, fault);
            let outcomes: Vec<Written> = (1..=6).map(|reserved| append(&env, &mut store, reserved)).collect();
            let unknown = outcomes.iter().filter(|outcome| **outcome == Written::Unknown).count();
            assert!(!outcomes.contains(&Written::Fenced) && unknown <= 1, "{operation} {fault:?}: {outcomes:?}");
            env.crash(Unsynced::Lost);
            assert_eq!(open(&env).1, Some(journal(6)));
        }
    }
}

#[test]
fn an_entry_that_was_read_is_not_lost_any_more() {
    let env = TestEnv::default();
    let mut store = open(&env).0;
    {
        let mut context = Context::from_waker(Waker::noop());
        let linked = journal(1);
        let mut dropped = Box::pin(store.append(&env, &linked));
        while !names(&env).contains(&"0000000000000000001".into()) {
            assert!(dropped.as_mut().poll(&mut context).is_pending(), "there is something after the link");
        }
    }
    assert_eq!(open(&env).1, Some(journal(1)));
    env.crash(Unsynced::Lost);
    assert_eq!(open(&env).1, Some(journal(1)));
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
                assert!(steps > 6, "there was something to drop");
                return;
            }
        }
        assert_eq!(append(&env, &mut store, 3), Written::Durable, "dropped after {steps}");
        env.crash(Unsynced::Lost);
        assert_eq!(open(&env).1, Some(journal(3)));
    }
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
    let Ok((mut store, found)) = JournalStore::open(&env, ROOT).await else { return };
    let mut journal = found.unwrap_or_default();
    assert!(journal.completed.is_superset(&promised), "{:?} was promised, {:?} was found", promised, journal.completed);
    journal.epoch = journal.epoch.next();
    for _ in 0..length {
        let token = {
            let mut tokens = tokens.lock().expect("no panic in here");
            *tokens += 1;
            CheckpointId(*tokens)
        };
        journal.completed.insert(token);
        match store.append(&env, &journal).await {
            Written::Durable => promises.lock().expect("no panic in here").extend(&journal.completed),
            // It stays in the journal: it may have happened.
            Written::Unknown => {}
            Written::Fenced => return,
        }
    }
}

#[test]
fn whatever_the_schedule_nothing_that_was_promised_is_lost() {
    let (mut lives, mut promised) = (0, 0);
    for seed in 1..=4000 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        for _ in 0..9 {
            dice.roll(2);
        }
        let (env, promises, tokens) = (TestEnv::default(), Promises::default(), Arc::default());
        let mut processes: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>> = (0..3).map(|_| None).collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut turn = 0;
        for _ in 0..400 {
            // Long bursts, so that one sleeps while another writes several entries.
            if dice.roll(12) == 0 {
                turn = usize::try_from(dice.roll(3)).expect("below 3");
            }
            match dice.roll(150) {
                0 => processes[turn] = None,
                1 => env.fail(env.operation_count(), Fault::Before),
                2 => env.fail(env.operation_count(), Fault::After),
                3 if dice.roll(4) == 0 => {
                    processes.iter_mut().for_each(|process| *process = None);
                    env.crash(Unsynced::ALL[usize::try_from(dice.roll(6)).expect("below 6")]);
                }
                _ => {}
            }
            let process = processes[turn].get_or_insert_with(|| {
                lives += 1;
                Box::pin(coordinator(env.clone(), Arc::clone(&promises), Arc::clone(&tokens), 1 + dice.roll(8)))
            });
            if let Poll::Ready(()) = process.as_mut().poll(&mut context) {
                processes[turn] = None;
            }
        }
        drop(processes);
        env.crash(Unsynced::Lost);
        let found = open(&env).1.unwrap_or_default().completed;
        let promises = promises.lock().expect("no panic in here");
        assert!(found.is_superset(&promises), "seed {seed}: {promises:?} was promised, {found:?} was found");
        promised += promises.len();
    }
    assert!(lives > 20_000 && promised > 20_000, "{lives} lives and {promised} promises are too few to mean anything");
}

#[test]
fn names_of_others_in_the_folder_are_let_be() {
    let env = TestEnv::default();
    let mut store = open(&env).0;
    for name in ["notes", "7", "00000000000000000x9"] {
        run(env.create_folder(&format!("disk/job/journal/{name}"))).expect(ALONE);
    }
    assert_eq!(append(&env, &mut store, 1), Written::Durable);
    assert_eq!(open(&env).1, Some(journal(1)));
    assert_eq!(names(&env).len(), 4);
}
