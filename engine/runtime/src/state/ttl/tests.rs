use super::kept::trim_stored;
use super::*;
use crate::state::backend::restore::restore_block_as;
use crate::state::cold::{Change, ColdBackend, ColdPlace, ColumnIndex};
use crate::state::sorted_runs::{SortedRuns, RUNS_MAX};
use crate::state::table::FirstError;
use crate::state::*;
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use cofferdam_protocol::snapshot::StateShape;
use cofferdam_protocol::stored::Reader;
use proptest::prelude::*;
use std::collections::BTreeMap;

const AFTER: i64 = 100;

fn ttl(update: TtlUpdate) -> Ttl {
    Ttl { after: Duration::from_millis(AFTER.unsigned_abs()), update }
}

type Fold = fn(&mut u64, u64);

#[derive(Default)]
struct Count;

impl Aggregate for Count {
    type In = ();
    type Accumulator = u64;
    type Out = u64;
    fn add(&self, count: &mut u64, (): ()) {
        *count += 1;
    }
    fn get(&self, count: &u64) -> u64 {
        *count
    }
}

/// A state of every kind, all with the same lifetime and clock.
struct Every<L: Lifetime> {
    clock: Clock,
    value: ValueState<u64, u64, L>,
    list: ListState<u64, u64, L>,
    map: MapState<u64, u64, u64, L>,
    sum: ReducingState<u64, u64, Fold, L>,
    count: AggregatingState<u64, Count, L>,
}

fn add(sum: &mut u64, next: u64) {
    *sum += next;
}

fn forever() -> Every<Forever> {
    let (value, list, map) = (ValueState::new(), ListState::new(), MapState::new());
    Every { clock: Clock::default(), value, list, map, sum: ReducingState::new(add as Fold), count: AggregatingState::new(Count) }.set_up()
}

fn expiring(update: TtlUpdate) -> Every<Expiring> {
    let (every, ttl) = (forever(), ttl(update));
    let Every { clock, value, list, map, sum, count } = every;
    let (value, list, map) = (value.with_ttl(ttl), list.with_ttl(ttl), map.with_ttl(ttl));
    Every { clock, value, list, map, sum: sum.with_ttl(ttl), count: count.with_ttl(ttl) }.set_up()
}

fn max() -> MaxParallelism {
    MaxParallelism::new(8).expect("in range")
}

fn all_groups() -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(0), last: KeyGroup(7) }
}

struct EachTable<F>(F);

impl<F: FnMut(&'static str, &mut dyn StateTable<u64>)> StateVisitor<u64> for EachTable<F> {
    fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<u64>) {
        (self.0)(name, table);
    }
}

impl<L: Lifetime> Every<L> {
    fn set_up(mut self) -> Self {
        let clock = self.clock.clone();
        self.states(&mut EachTable(|_, state: &mut dyn StateTable<u64>| state.table().set_clock(&clock)));
        self
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<u64>) {
        visit.visit("value", &mut self.value);
        visit.visit("list", &mut self.list);
        visit.visit("map", &mut self.map);
        visit.visit("sum", &mut self.sum);
        visit.visit("count", &mut self.count);
    }

    fn at(&mut self, now_ms: i64) -> &mut Self {
        self.clock.set_ms(now_ms);
        self
    }

    fn write(&mut self, key: u64, number: u64) {
        let key = &Key::new(&key);
        self.value.set(key, number);
        self.list.push(key, number);
        self.map.insert(key, number, number);
        self.sum.add(key, number);
        self.count.add(key, ());
    }

    /// All that is returned: value, list, map, sum, count.
    fn read(&mut self, key: u64) -> Content {
        let key = &Key::new(&key);
        let map = self.map.iter(key).map(|(inner, value)| (*inner, *value)).collect();
        Content {
            value: self.value.get(key).copied(),
            list: self.list.get(key).to_vec(),
            map,
            sum: self.sum.get(key).copied(),
            count: self.count.get(key),
        }
    }

    fn shapes(&mut self) -> Vec<StateShape> {
        let mut shapes = Vec::new();
        self.states(&mut EachTable(|name, state: &mut dyn StateTable<u64>| {
            shapes.push(state.value_type().declared(name, state.kind().code(), <u64 as Typed>::type_version()).shape);
        }));
        shapes
    }

    fn blocks(&mut self) -> Vec<Vec<u8>> {
        let snapshot = KeyedSnapshot::take(max(), all_groups(), |visit| self.states(visit));
        let blocks = snapshot.blocks().collect::<Result<Vec<_>, _>>().expect("small");
        blocks
    }

    fn restore(&mut self, blocks: &[Vec<u8>], shapes: &[StateShape]) -> usize {
        let restored = |block: &Vec<u8>| restore_block_as(block, 0, max(), all_groups(), shapes, |visit| self.states(visit));
        blocks.iter().map(restored).sum::<Result<usize, _>>().expect("just written")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    value: Option<u64>,
    list: Vec<u64>,
    map: BTreeMap<u64, u64>,
    sum: Option<u64>,
    count: Option<u64>,
}

fn content(number: u64) -> Content {
    Content { value: Some(number), list: vec![number], map: [(number, number)].into(), sum: Some(number), count: Some(1) }
}

#[test]
fn what_was_written_is_there_until_the_last_millisecond_and_not_in_the_next() {
    for update in [TtlUpdate::OnCreateAndWrite, TtlUpdate::OnReadAndWrite] {
        let mut state = expiring(update);
        state.at(1000).write(1, 7);
        // A copy of each, so that one question does not answer the next.
        let (blocks, shapes) = (state.blocks(), state.shapes());
        for (now_ms, wanted) in [(1000, content(7)), (1099, content(7)), (1100, Content::default()), (i64::MAX, Content::default())] {
            let mut state = expiring(update);
            state.at(1000).restore(&blocks, &shapes);
            assert_eq!(state.at(now_ms).read(1), wanted, "at {now_ms}");
        }
    }
}

#[test]
fn a_read_prolongs_a_life_only_where_reads_count() {
    for (update, prolonged) in [(TtlUpdate::OnCreateAndWrite, false), (TtlUpdate::OnReadAndWrite, true)] {
        let mut state = expiring(update);
        state.at(1000).write(1, 7);
        assert_eq!(state.at(1060).read(1), content(7));
        let wanted = if prolonged { content(7) } else { Content::default() };
        assert_eq!(state.at(1159).read(1), wanted, "{update:?}");
    }
}

#[test]
fn a_map_counts_the_entry_that_is_read_and_no_other() {
    let mut map = MapState::<u64, u64, u64>::new().with_ttl(ttl(TtlUpdate::OnReadAndWrite));
    let (clock, key) = (Clock::default(), &Key::new(&1));
    map.table().set_clock(&clock);
    map.insert(key, 1, 10);
    map.insert(key, 2, 20);
    clock.set_ms(AFTER - 1);
    assert_eq!(map.get(key, &1), Some(&10));
    clock.set_ms(AFTER);
    assert_eq!((map.get(key, &1).copied(), map.get(key, &2).copied()), (Some(10), None));
    assert!(!map.is_empty(key));
}

#[test]
fn entries_of_a_map_and_elements_of_a_list_expire_one_by_one() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    state.at(0).write(1, 7);
    state.at(50).write(1, 8);
    let later = state.at(120).read(1);
    // The others were changed at 50, and are one thing.
    assert_eq!(later, Content { value: Some(8), list: vec![8], map: [(8, 8)].into(), sum: Some(15), count: Some(2) });
    assert_eq!(state.at(150).read(1), Content::default());
    assert_eq!(state.map.table().entry_count() + state.list.table().entry_count(), 0, "nothing is kept of what is empty");
}

#[test]
fn a_change_of_what_has_expired_begins_anew() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    state.at(0).write(1, 7);
    state.at(AFTER).write(1, 8);
    assert_eq!(state.read(1), content(8));
    let key = &Key::new(&2);
    state.value.update(key, |value| *value += 1);
    assert_eq!(state.at(3 * AFTER).value.update(key, |value| *value), 0);
    assert_eq!(state.at(5 * AFTER).value.get_mut(key), None);
}

#[test]
fn a_list_that_is_never_read_does_not_grow_for_ever() {
    let mut list = ListState::<u64, u64>::new().with_ttl(ttl(TtlUpdate::OnCreateAndWrite));
    let clock = Clock::default();
    list.table().set_clock(&clock);
    for now_ms in 0..10 * AFTER {
        clock.set_ms(now_ms);
        list.push(&Key::new(&1), 0);
    }
    let held = list.kept.table.get(&Key::new(&1)).map(|list| list.as_slice().len());
    assert_eq!(held, Some(usize::try_from(AFTER).expect("small")));
}

#[test]
fn a_clock_that_jumps_back_lets_things_live_longer_and_brings_nothing_back() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    state.at(1000).write(1, 7);
    state.at(1000).write(2, 8);
    assert_eq!(state.at(1100).read(1), Content::default());
    assert_eq!(state.at(500).read(1), Content::default(), "it was gone");
    assert_eq!(state.at(500).read(2), content(8));
    assert_eq!(state.at(1099).read(2), content(8), "nobody came upon it when it was due");
    assert_eq!(state.at(1100).read(2), Content::default());
}

#[test]
fn entries_that_nobody_asks_for_go_while_others_are_used() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    for key in 0..2000 {
        state.at(0).write(key, 1);
    }
    for turn in 0..4000 {
        state.at(AFTER).write(5000, turn % 3);
    }
    let mut left = 0;
    state.states(&mut EachTable(|_, table: &mut dyn StateTable<u64>| left += table.table().entry_count()));
    assert_eq!(left, 5);
}

#[test]
fn a_snapshot_leaves_out_what_has_expired() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    state.at(0).write(1, 7);
    state.at(50).write(1, 8);
    state.at(0).write(2, 9);
    let (blocks, shapes) = (state.at(120).blocks(), state.shapes());
    let mut restored = expiring(TtlUpdate::OnCreateAndWrite);
    assert_eq!(restored.at(0).restore(&blocks, &shapes), 5, "key 2 is not there");
    // By this clock all of it would be alive.
    let there = restored.at(0).read(1);
    assert_eq!(there, Content { value: Some(8), list: vec![8], map: [(8, 8)].into(), sum: Some(15), count: Some(2) });
}

#[test]
fn what_was_stored_without_a_time_gets_that_of_the_restore() {
    let mut plain = forever();
    plain.write(1, 7);
    let (blocks, shapes) = (plain.blocks(), plain.shapes());
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    assert_eq!(state.at(5000).restore(&blocks, &shapes), 5);
    assert_eq!(state.at(5099).read(1), content(7));
    assert_eq!(state.at(5100).read(1), Content::default());
}

#[test]
fn time_to_live_can_be_switched_off() {
    let mut state = expiring(TtlUpdate::OnCreateAndWrite);
    state.at(1000).write(1, 7);
    let (blocks, shapes) = (state.blocks(), state.shapes());
    let mut plain = forever();
    assert_eq!(plain.restore(&blocks, &shapes), 5);
    assert_eq!(plain.at(i64::MAX).read(1), content(7));
    assert_eq!(plain.blocks(), {
        let mut written = forever();
        written.write(1, 7);
        written.blocks()
    });
}

#[test]
fn both_are_called_twins_in_the_plan() {
    let (with, without) = (expiring(TtlUpdate::OnReadAndWrite).map.value_type(), forever().map.value_type());
    assert_eq!(with.own.name, "(u64, expiring<u64>)");
    assert_eq!((with.twin.as_ref(), without.twin.as_ref()), (Some(&without.own.name), Some(&with.own.name)));
}

/// A store behind the state, which is told what may go.
#[test]
fn a_store_drops_what_has_expired_when_it_merges() {
    let place = ColdPlace { name: "test".into(), columns: 1, groups: all_groups(), expiring: [ColumnIndex(0)].into() };
    let store = SortedRuns::default().create(&place).expect("it is in memory");
    let mut map = MapState::<u64, u64, u64>::new().with_ttl(ttl(TtlUpdate::OnCreateAndWrite));
    let clock = Clock::default();
    map.table().set_clock(&clock);
    map.table().attach(table::Cold { store: store.clone(), column: ColumnIndex(0), max: max(), errors: FirstError::default() });
    let mut checkpoints = 0;
    let mut settle = |map: &mut MapState<u64, u64, u64, Expiring>| {
        let frozen = map.table().freeze().expect("it is before a store");
        store.apply(&mut frozen.changes().into_iter()).expect("it is in memory");
        frozen.applied();
        store.expire(ColumnIndex(0), map.table().expiry().expect("it expires").deadline_ms);
        checkpoints += 1;
        store.checkpoint().expect("it is in memory");
        store.entry_count().expect("it knows")
    };
    for key in 0..10 {
        map.insert(&Key::new(&key), 1, key);
    }
    assert_eq!(settle(&mut map), 10);
    clock.set_ms(AFTER);
    for turn in 1..=RUNS_MAX as u64 {
        map.insert(&Key::new(&100), turn, turn);
        let held = settle(&mut map);
        assert_eq!(held, if turn < RUNS_MAX as u64 { 11 } else { 1 }, "in turn {turn}");
    }
    assert_eq!(map.iter(&Key::new(&100)).count(), RUNS_MAX);
    assert!(map.is_empty(&Key::new(&3)));
}

/// Both ways, in a store, where old and new stand in one column.
#[test]
fn what_is_in_a_store_gets_times_or_loses_them() {
    let place = ColdPlace { name: "test".into(), columns: 1, groups: all_groups(), expiring: [ColumnIndex(0)].into() };
    let store = SortedRuns::default().create(&place).expect("it is in memory");
    let cold = || table::Cold { store: store.clone(), column: ColumnIndex(0), max: max(), errors: FirstError::default() };
    let mut plain = ListState::<u64, u64>::new();
    plain.table().attach(cold());
    for key in 0..3000_u64 {
        plain.push(&Key::new(&key), key);
    }
    let apply = |changes: Vec<Change>| store.apply(&mut changes.into_iter()).expect("it is in memory");
    apply(plain.table().freeze().expect("it is before a store").changes());
    let mut shape = plain.value_type().declared("list", StateKind::List.code(), <u64 as Typed>::type_version()).shape;
    let mut list = ListState::<u64, u64>::new().with_ttl(ttl(TtlUpdate::OnCreateAndWrite));
    let clock = Clock::default();
    list.table().set_clock(&clock);
    list.table().attach(cold());
    clock.set_ms(5000);
    let written = list.value_type().written(&shape, 5000);
    list.table().migrate(written).expect("just written");
    clock.set_ms(5000 + AFTER - 1);
    assert_eq!(list.get(&Key::new(&2999)), &[2999]);
    list.push(&Key::new(&7), 8);
    apply(list.table().freeze().expect("it is before a store").changes());
    clock.set_ms(5000 + AFTER);
    assert_eq!(list.get(&Key::new(&7)), &[8]);
    assert!(list.get(&Key::new(&1)).is_empty());
    shape.value = list.value_type().own;
    let mut plain = ListState::<u64, u64>::new();
    plain.table().attach(cold());
    let written = plain.value_type().written(&shape, 0);
    plain.table().migrate(written).expect("just written");
    assert_eq!(plain.get(&Key::new(&7)), &[7, 8]);
    assert_eq!(plain.get(&Key::new(&1)), &[1]);
}

#[test]
fn a_snapshot_out_of_a_store_has_what_is_alive_of_each_value() {
    let mut list = StampedList::default();
    for number in 0..10_u64 {
        Elements::push(&mut list, number, number.cast_signed());
    }
    let mut stored = Vec::new();
    Cell::write(&list, i64::MIN, &mut stored);
    for deadline_ms in -1..12 {
        let mut left = Vec::new();
        let alive = trim_stored::<StampedList<u64>>(&stored, deadline_ms, &mut left).expect("just written");
        assert_eq!(alive, deadline_ms < 9);
        let numbers: Vec<u64> = (0..10).filter(|number: &u64| number.cast_signed() > deadline_ms).collect();
        if alive {
            let list = StampedList::<u64>::read(&mut Reader::new(&left, 0)).expect("just written");
            assert_eq!(list.as_slice(), numbers);
        }
    }
}

#[test]
fn a_time_that_is_not_that_of_its_elements_is_refused() {
    let mut stored = Vec::new();
    Cell::write(&StampedList::at(vec![1_u64], 5), i64::MIN, &mut stored);
    stored[0] ^= 1;
    assert!(StampedList::<u64>::read(&mut Reader::new(&stored, 0)).is_err());
}

/// A list and map per key, by the book: nothing is ever taken out, all is judged when it is asked for.
#[derive(Default)]
struct Model {
    list: Vec<(i64, u64)>,
    map: BTreeMap<u64, (i64, u64)>,
    value: Option<(i64, u64)>,
}

proptest! {
    /// A clock that only goes on: then what is expired stays expired, whether or not it was taken out.
    #[test]
    fn nothing_expired_is_returned_and_nothing_else_is_lost(
        steps in prop::collection::vec((0..3_u64, 0..5_u64, 0..60_i64, any::<bool>(), any::<bool>()), 1..120)
    ) {
        let mut state = expiring(TtlUpdate::OnCreateAndWrite);
        let mut models: BTreeMap<u64, Model> = BTreeMap::new();
        let mut now_ms = 0;
        for (key, number, passes, writes, restores) in steps {
            now_ms += passes;
            state.at(now_ms);
            let model = models.entry(key).or_default();
            if writes {
                state.write(key, number);
                model.list.push((now_ms, number));
                model.map.insert(number, (now_ms, number));
                model.value = Some((now_ms, number));
            }
            if restores {
                let (blocks, shapes) = (state.blocks(), state.shapes());
                state = expiring(TtlUpdate::OnCreateAndWrite);
                state.at(now_ms).restore(&blocks, &shapes);
            }
            let alive = |at_ms: i64| at_ms + AFTER > now_ms;
            let found = state.read(key);
            prop_assert_eq!(found.value, model.value.filter(|(at_ms, _)| alive(*at_ms)).map(|(_, value)| value));
            let list: Vec<u64> = model.list.iter().filter(|(at_ms, _)| alive(*at_ms)).map(|(_, value)| *value).collect();
            prop_assert_eq!(found.list, list);
            let entries = model.map.iter().filter(|(_, (at_ms, _))| alive(*at_ms));
            let map: BTreeMap<u64, u64> = entries.map(|(inner, (_, value))| (*inner, *value)).collect();
            prop_assert_eq!(found.map, map);
        }
    }
}
