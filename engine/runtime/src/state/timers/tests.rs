use super::*;
use crate::state::{restore_block, KeyedSnapshot, Text};
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use proptest::prelude::*;

fn register(timers: &mut Timers<Text>, key: &str, event: i64) {
    timers.register_event(&Key::new(&Text::from(key)), event);
}

/// Through a snapshot and back.
fn restored<K: StateKey>(timers: &mut Timers<K>) -> Timers<K> {
    let max = MaxParallelism::default_for(1);
    let all = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(127) };
    let snapshot = KeyedSnapshot::take(max, all, |visit| timers.states(visit));
    let mut restored = Timers::new();
    for block in snapshot.blocks() {
        let block = block.expect("timers are small");
        restore_block(&block, 0, max, all, |visit| restored.states(visit)).expect("written just now");
    }
    restored
}

#[test]
fn timers_fire_by_time_and_then_by_key() {
    let mut timers = Timers::new();
    for (key, time) in [("b", 5), ("a", 5), ("c", 1), ("a", 9), ("a", -3)] {
        register(&mut timers, key, time);
    }
    let mut fired = Vec::new();
    while let Some((time, key)) = timers.pop_due_event(5) {
        fired.push(format!("{key}@{time}"));
    }
    assert_eq!(fired, ["a@-3", "c@1", "a@5", "b@5"]);
    assert_eq!(timers.next_event(), Some(9));
}

#[test]
fn a_timer_registered_twice_fires_once() {
    let mut timers = Timers::new();
    assert!(timers.register_event(&Key::new(&1_u64), 5));
    assert!(!timers.register_event(&Key::new(&1_u64), 5));
    assert_eq!(timers.pop_due_event(5), Some((5, 1)));
    assert_eq!(timers.pop_due_event(i64::MAX), None);
}

#[test]
fn a_timer_may_be_registered_again_once_it_has_fired() {
    let mut timers = Timers::new();
    timers.register_processing(&Key::new(&1_u64), 5);
    assert_eq!(timers.pop_due_processing(5), Some((5, 1)));
    assert!(timers.register_processing(&Key::new(&1_u64), 5));
}

#[test]
fn a_deleted_timer_does_not_fire() {
    let mut timers = Timers::new();
    timers.register_processing(&Key::new(&1_u64), 5);
    assert!(timers.delete_processing(&Key::new(&1_u64), 5));
    assert!(!timers.delete_processing(&Key::new(&1_u64), 5));
    assert_eq!(timers.next_processing(), None);
}

#[test]
fn the_two_kinds_of_time_do_not_mix() {
    let mut timers = Timers::new();
    timers.register_event(&Key::new(&1_u64), 5);
    assert_eq!(timers.pop_due_processing(i64::MAX), None);
    assert!(!timers.delete_processing(&Key::new(&1_u64), 5));
    assert_eq!(timers.next_event(), Some(5));
}

#[test]
fn restored_overdue_processing_timers_are_due_at_once() {
    let mut timers = Timers::new();
    timers.register_processing(&Key::new(&1_u64), 5);
    timers.register_processing(&Key::new(&2_u64), 5_000);
    let mut restored = restored(&mut timers);
    assert_eq!(restored.next_processing(), Some(5));
    assert_eq!(restored.pop_due_processing(1_000), Some((5, 1)));
    assert_eq!(restored.pop_due_processing(1_000), None);
    assert_eq!(restored.next_processing(), Some(5_000));
}

#[test]
fn a_restored_timer_is_not_registered_a_second_time() {
    let mut timers = Timers::new();
    timers.register_event(&Key::new(&1_u64), 5);
    assert!(!restored(&mut timers).register_event(&Key::new(&1_u64), 5));
}

/// What the property does to timers.
#[derive(Clone, Copy, Debug)]
enum Call {
    Register(u64, i64),
    Delete(u64, i64),
    Pop(i64),
    Restore,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..40_u64, -5..60_i64).prop_map(|(key, time)| Call::Register(key, time)),
        2 => (0..40_u64, -5..60_i64).prop_map(|(key, time)| Call::Delete(key, time)),
        2 => (-5..60_i64).prop_map(Call::Pop),
        1 => Just(Call::Restore),
    ]
}

proptest! {
    #[test]
    fn timers_are_what_a_set_of_times_and_keys_would_be(calls in prop::collection::vec(call(), 0..200)) {
        let (mut timers, mut expected) = (Timers::new(), BTreeSet::new());
        for call in calls {
            match call {
                Call::Register(key, time) => {
                    prop_assert_eq!(timers.register_event(&Key::new(&key), time), expected.insert((time, key)));
                }
                Call::Delete(key, time) => {
                    prop_assert_eq!(timers.delete_event(&Key::new(&key), time), expected.remove(&(time, key)));
                }
                Call::Pop(now) => {
                    let due = expected.first().copied().filter(|(time, _)| *time <= now);
                    due.map(|due| expected.remove(&due));
                    prop_assert_eq!(timers.pop_due_event(now), due);
                }
                Call::Restore => timers = restored(&mut timers),
            }
            prop_assert_eq!(timers.next_event(), expected.first().map(|(time, _)| *time));
            prop_assert_eq!(timers.event.len(), expected.len());
        }
        let mut fired = Vec::new();
        while let Some(timer) = timers.pop_due_event(i64::MAX) {
            fired.push(timer);
        }
        prop_assert!(fired.into_iter().eq(expected));
        prop_assert_eq!(timers.event.by_key.entry_count(), 0);
    }
}
