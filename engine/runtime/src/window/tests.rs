use super::*;
use crate::operator::{KeyedOperator, KeyedProcess, Operator};
use crate::record::{EventTime, END_OF_TIME};
use crate::state::Aggregate;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Key, time, amount.
type Event = (u64, i64, u64);

#[derive(Clone, Copy, Default)]
struct Sum;

impl Aggregate for Sum {
    type In = Event;
    type Accumulator = u64;
    type Out = u64;
    fn add(&self, sum: &mut u64, (_, _, amount): Event) {
        *sum += amount;
    }
    fn get(&self, sum: &u64) -> u64 {
        *sum
    }
}

impl Merge for Sum {
    fn merge(&self, into: &mut u64, other: u64) {
        *into += other;
    }
}

fn time_of(event: &Event) -> EventTime {
    event.1
}

fn operator<P: KeyedProcess<Key = u64, In = Event>>(function: P) -> impl Operator<In = Event, Out = P::Out> {
    KeyedOperator::new("operator".into(), function, |event: &Event| event.0)
}

fn sums(windows: Windows, lateness_ms: u64) -> impl Operator<In = Event, Out = Timely<Fired<u64, u64>, Event>> {
    operator(WindowAggregate::new(windows, time_of, Sum).allowed_lateness(Duration::from_millis(lateness_ms)))
}

fn window(start_ms: i64, end_ms: i64) -> Window {
    Window { start_ms, end_ms }
}

fn ready(key: u64, window: Window, value: u64) -> Timely<Fired<u64, u64>, Event> {
    Timely::Ready(Fired { key, window, value })
}

fn given<O: Operator>(operator: &mut O, call: impl FnOnce(&mut O, &mut Vec<O::Out>)) -> Vec<O::Out> {
    let mut out = Vec::new();
    call(operator, &mut out);
    out
}

#[test]
fn windows_of_a_time() {
    let of = |windows: Windows, time| windows.of(time).collect::<Vec<_>>();
    let tumbling = Windows::tumbling(10).expect("positive");
    assert_eq!(of(tumbling, 0), [window(0, 10)]);
    assert_eq!(of(tumbling, 19), [window(10, 20)]);
    assert_eq!(of(tumbling, -1), [window(-10, 0)]);
    assert_eq!(of(tumbling.with_offset(3), 2), [window(-7, 3)]);
    let sliding = Windows::sliding(10, 4).expect("positive");
    assert_eq!(of(sliding, 9), [window(8, 18), window(4, 14), window(0, 10)]);
    assert_eq!(of(Windows::session(5).expect("positive"), 7), [window(7, 12)]);
}

#[test]
fn windows_that_cannot_be_are_named() {
    assert_eq!(Windows::tumbling(0).expect_err("no size").to_string(), "the size of a window is 0 ms, but at least 1 is needed");
    assert_eq!(Windows::sliding(5, 6).expect_err("gaps").to_string(), "windows of 5 ms every 6 ms leave gaps");
    assert_eq!(Windows::session(-1).expect_err("no gap").to_string(), "the gap of a window is -1 ms, but at least 1 is needed");
}

#[test]
fn a_window_gives_its_value_once_when_it_is_whole() {
    let mut sums = sums(Windows::tumbling(10).expect("positive"), 0);
    let out = given(&mut sums, |sums, out| {
        sums.push((1, 9, 5), out);
        sums.push((1, 3, 2), out);
        sums.push((2, 10, 7), out);
        sums.on_watermark(8, out);
    });
    assert_eq!(out, []);
    assert_eq!(given(&mut sums, |sums, out| sums.on_watermark(9, out)), [ready(1, window(0, 10), 7)]);
    assert_eq!(given(&mut sums, |sums, out| sums.push((1, 4, 1), out)), [Timely::Late((1, 4, 1))]);
    assert_eq!(given(&mut sums, |sums, out| sums.on_watermark(END_OF_TIME, out)), [ready(2, window(10, 20), 7)]);
}

#[test]
fn a_late_record_that_is_allowed_gives_the_value_again() {
    let mut sums = sums(Windows::tumbling(10).expect("positive"), 5);
    sums.push((1, 9, 5), &mut Vec::new());
    assert_eq!(given(&mut sums, |sums, out| sums.on_watermark(13, out)), [ready(1, window(0, 10), 5)]);
    assert_eq!(given(&mut sums, |sums, out| sums.push((1, 4, 1), out)), [ready(1, window(0, 10), 6)]);
    assert_eq!(given(&mut sums, |sums, out| sums.on_watermark(14, out)), [], "it goes without a word");
    assert_eq!(given(&mut sums, |sums, out| sums.push((1, 4, 1), out)), [Timely::Late((1, 4, 1))]);
}

#[test]
fn a_record_between_two_sessions_makes_them_one() {
    let mut sums = sums(Windows::session(5).expect("positive"), 0);
    let out = given(&mut sums, |sums, out| {
        sums.push((1, 0, 1), out);
        sums.push((1, 8, 2), out);
        sums.push((1, 4, 4), out);
        sums.push((1, 30, 8), out);
        // The two that were have no timer left, the one that is has.
        sums.on_watermark(11, out);
    });
    assert_eq!(out, []);
    assert_eq!(given(&mut sums, |sums, out| sums.on_watermark(12, out)), [ready(1, window(0, 13), 7)]);
}

/// A timer is a key and a time: the end of one window can be the end of the lateness of another.
#[test]
fn a_session_that_grows_leaves_others_their_timers() {
    let mut sums = sums(Windows::session(5).expect("positive"), 10);
    let out = given(&mut sums, |sums, out| {
        // Whole at 4, over at 14.
        sums.push((1, 0, 1), out);
        // Whole at 14 until it grows.
        sums.push((1, 10, 2), out);
        sums.push((1, 12, 4), out);
        sums.on_watermark(4, out);
        sums.on_watermark(14, out);
    });
    assert_eq!(out, [ready(1, window(0, 5), 1)]);
    assert_eq!(given(&mut sums, |sums, out| sums.push((1, 0, 9), out)), [Timely::Late((1, 0, 9))], "the first one was forgotten at 14");
}

/// The windows of one kind, without a thought for speed: everything is worked out anew from the records that were taken.
#[derive(Default)]
struct Model {
    taken: Vec<Event>,
    watermark: i64,
}

impl Model {
    /// The windows of a key, with what they amount to.
    fn windows(&self, windows: Windows, key: u64) -> BTreeMap<Window, u64> {
        let events: Vec<&Event> = self.taken.iter().filter(|event| event.0 == key).collect();
        let mut all: BTreeSet<Window> = events.iter().flat_map(|event| windows.of(event.1)).collect();
        if windows.merge() {
            loop {
                let pair = all.iter().flat_map(|one| all.iter().map(move |other| (*one, *other)));
                let Some((one, other)) =
                    pair.into_iter().find(|(one, other)| one != other && one.start_ms < other.end_ms && other.start_ms < one.end_ms)
                else {
                    break;
                };
                all.remove(&one);
                all.remove(&other);
                all.insert(window(one.start_ms.min(other.start_ms), one.end_ms.max(other.end_ms)));
            }
        }
        let inside = |window: &Window, event: &Event| event.1 >= window.start_ms && event.1 < window.end_ms;
        let sum = |window: &Window| events.iter().filter(|event| inside(window, event)).map(|event| event.2).sum();
        all.iter().map(|window| (*window, sum(window))).collect()
    }

    fn over(&self, window: &Window, lateness_ms: i64) -> bool {
        window.end_ms - 1 + lateness_ms <= self.watermark
    }
}

#[derive(Clone, Debug)]
enum Act {
    Record(Event),
    /// So much further.
    Watermark(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let record = (0..3_u64, 0..60_i64, 1..9_u64).prop_map(Act::Record);
    prop::collection::vec(prop_oneof![4 => record, 1 => (1..15_i64).prop_map(Act::Watermark)], 0..60)
}

proptest! {
    /// What the operator says is what the model says, at every step: tumbling, sliding and sessions, with and without lateness.
    #[test]
    fn every_value_is_that_of_the_records_taken(acts in acts(), kind in 0..3, lateness_ms in prop_oneof![Just(0_i64), 1..20_i64]) {
        let windows = match kind {
            0 => Windows::tumbling(10),
            1 => Windows::sliding(10, 4),
            _ => Windows::session(6),
        };
        let windows = windows.expect("positive");
        let mut operator = sums(windows, lateness_ms.unsigned_abs());
        let mut model = Model { taken: Vec::new(), watermark: i64::MIN };
        for act in acts {
            let mut out = Vec::new();
            match act {
                Act::Record(event) => {
                    operator.push(event, &mut out);
                    model.taken.push(event);
                    let live = |model: &Model, window: &Window| window.start_ms <= event.1 && event.1 < window.end_ms && !model.over(window, lateness_ms);
                    let mine: BTreeMap<Window, u64> = model.windows(windows, event.0).into_iter().filter(|(window, _)| live(&model, window)).collect();
                    if mine.is_empty() {
                        model.taken.pop();
                        prop_assert_eq!(out, vec![Timely::Late(event)]);
                        continue;
                    }
                    let again = mine.iter().filter(|(window, _)| window.end_ms - 1 <= model.watermark);
                    let expected: BTreeSet<(Window, u64)> = again.map(|(window, sum)| (*window, *sum)).collect();
                    let got: BTreeSet<(Window, u64)> = out.into_iter().filter_map(Timely::ready).map(|fired| (fired.window, fired.value)).collect();
                    prop_assert_eq!(got, expected);
                }
                Act::Watermark(further) => {
                    let before = model.watermark;
                    model.watermark = before.max(0) + further;
                    operator.on_watermark(model.watermark, &mut out);
                    let mut expected = BTreeSet::new();
                    for key in 0..3 {
                        for (window, sum) in model.windows(windows, key) {
                            if window.end_ms - 1 > before && window.end_ms - 1 <= model.watermark {
                                expected.insert((key, window, sum));
                            }
                        }
                    }
                    let fired: Vec<Fired<u64, u64>> = out.into_iter().filter_map(Timely::ready).collect();
                    prop_assert_eq!(fired.len(), expected.len(), "each once");
                    let got: BTreeSet<(u64, Window, u64)> = fired.into_iter().map(|fired| (fired.key, fired.window, fired.value)).collect();
                    prop_assert_eq!(got, expected);
                    if windows.merge() {
                        // What is over is forgotten, and cannot grow any more.
                        let over: Vec<(u64, Window)> = (0..3).flat_map(|key| {
                            model.windows(windows, key).into_keys().filter(|window| model.over(window, lateness_ms)).map(move |window| (key, window)).collect::<Vec<_>>()
                        }).collect();
                        model.taken.retain(|event| !over.iter().any(|(key, window)| *key == event.0 && window.start_ms <= event.1 && event.1 < window.end_ms));
                    }
                }
            }
        }
    }
}

fn sequence(within_ms: u64) -> impl Operator<In = Event, Out = Timely<Vec<Event>, Event>> {
    let steps = Sequence::new(Duration::from_millis(within_ms), time_of, |event: &Event| event.2 == 1)
        .followed_by(|event| event.2 == 2)
        .followed_by(|event| event.2 == 3);
    operator(steps)
}

#[test]
fn a_sequence_is_found_whatever_the_order_of_arrival() {
    let mut sequence = sequence(10);
    let out = given(&mut sequence, |sequence, out| {
        for event in [(1, 7, 3), (1, 5, 2), (1, 1, 1), (1, 3, 9), (2, 2, 1), (2, 6, 3)] {
            sequence.push(event, out);
        }
        sequence.on_watermark(6, out);
    });
    assert_eq!(out, []);
    let found = Timely::Ready(vec![(1, 1, 1), (1, 5, 2), (1, 7, 3)]);
    assert_eq!(given(&mut sequence, |sequence, out| sequence.on_watermark(7, out)), [found]);
    assert_eq!(given(&mut sequence, |sequence, out| sequence.push((1, 7, 3), out)), [Timely::Late((1, 7, 3))]);
}

#[test]
fn a_sequence_that_takes_too_long_is_given_up() {
    let mut sequence = sequence(10);
    let out = given(&mut sequence, |sequence, out| {
        for event in [(1, 1, 1), (1, 5, 2), (1, 11, 3), (1, 12, 1), (1, 13, 2), (1, 21, 3)] {
            sequence.push(event, out);
        }
        sequence.on_watermark(END_OF_TIME, out);
    });
    assert_eq!(out, [Timely::Ready(vec![(1, 12, 1), (1, 13, 2), (1, 21, 3)])]);
}

proptest! {
    /// Each event that begins a match finds what follows it, and nothing stays behind.
    #[test]
    fn sequences_are_those_of_the_sorted_events(mut events in prop::collection::vec((0..2_u64, 0..40_i64, 1..4_u64), 0..40), step in 1..10_i64) {
        // Times of one key are all different: how events of one millisecond follow each other depends on how they came.
        let mut seen = BTreeSet::new();
        events.retain(|event| seen.insert((event.0, event.1)));
        let mut operator = KeyedOperator::new("operator".into(), Sequence::new(Duration::from_millis(12), time_of, |event: &Event| event.2 == 1)
            .followed_by(|event| event.2 == 2), |event: &Event| event.0);
        let mut out = Vec::new();
        events.iter().for_each(|event| operator.push(*event, &mut out));
        (0..50 / step).for_each(|turn| operator.on_watermark(turn * step, &mut out));
        operator.on_watermark(END_OF_TIME, &mut out);
        let got: BTreeSet<Vec<Event>> = out.into_iter().filter_map(Timely::ready).collect();
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| event.1);
        let mut expected = BTreeSet::new();
        for first in sorted.iter().filter(|event| event.2 == 1) {
            let next = sorted.iter().find(|event| event.0 == first.0 && event.1 > first.1 && event.2 == 2);
            expected.extend(next.filter(|next| next.1 < first.1 + 12).map(|next| vec![*first, *next]));
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(crate::operator::Stateful::entry_count(&mut operator), 0);
    }
}
