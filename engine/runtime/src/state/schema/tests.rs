use super::*;
use crate::state::cold::{ColdBackend, ColdPlace, ColumnIndex};
use crate::state::sorted_runs::SortedRuns;
use crate::state::table::{Cold, FirstError};
use crate::state::{restore_block_as, Key, KeyedSnapshot, MapState, StateKind, StateTable, StateVisitor, ValueState};
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use proptest::prelude::*;

stored_struct! {
    /// As it was.
    #[derive(Clone, Debug, PartialEq)]
    struct First as "visits" (version 1, oldest 1) {
        count: u64,
        seconds: u32,
    }
}

stored_struct! {
    /// Seconds have become milliseconds.
    #[derive(Clone, Debug, PartialEq)]
    struct Second as "visits" (version 2, oldest 1) {
        count: u64,
        spent_ms: u64,
    }
    from 1 |old: First| Second { count: old.count, spent_ms: u64::from(old.seconds) * 1000 };
}

stored_struct! {
    /// Two fields have come since.
    #[derive(Clone, Debug, PartialEq)]
    struct Third as "visits" (version 3, oldest 1) {
        count: u64,
        spent_ms: u64,
        rank: u32 [since 3] = 9,
        tags: Vec<u32> [since 3],
    }
    from 1 |old: First| Third { count: old.count, spent_ms: u64::from(old.seconds) * 1000, rank: 9, tags: Vec::new() };
}

stored_struct! {
    /// Holds one that has changed.
    #[derive(Clone, Debug, PartialEq)]
    struct Holder as "holder" (version 1, oldest 1) {
        third: Third,
        first: First,
    }
}

fn bytes(value: &impl Stored) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    bytes
}

fn read<T: Stored>(bytes: &[u8], version: u32) -> Result<T, StoredError> {
    let mut input = Reader::new(bytes, 0).written(Written { version: Some(version), ..Written::default() });
    let value = T::read(&mut input)?;
    input.finish("a value")?;
    Ok(value)
}

proptest! {
    #[test]
    fn every_older_version_becomes_the_present_one(count in any::<u64>(), seconds in any::<u32>(), rank in any::<u32>()) {
        let spent_ms = u64::from(seconds) * 1000;
        let (first, second) = (First { count, seconds }, Second { count, spent_ms });
        let third = Third { count, spent_ms, rank: 9, tags: Vec::new() };
        prop_assert_eq!(&read::<Second>(&bytes(&first), 1), &Ok(second.clone()));
        prop_assert_eq!(&read::<Third>(&bytes(&first), 1), &Ok(third.clone()));
        prop_assert_eq!(&read::<Third>(&bytes(&second), 2), &Ok(third.clone()));
        let changed = Third { rank, tags: vec![rank], ..third };
        prop_assert_eq!(&read::<Third>(&bytes(&changed), 3), &Ok(changed.clone()));
    }
}

#[test]
fn a_version_of_the_whole_is_not_that_of_its_parts() {
    let third = Third { count: 1, spent_ms: 2, rank: 3, tags: vec![4] };
    let pair = (third.clone(), First { count: 5, seconds: 6 });
    assert_eq!(read::<(Third, First)>(&bytes(&pair), 1), Ok(pair.clone()));
    let holder = Holder { third, first: pair.1 };
    assert_eq!(read::<Holder>(&bytes(&holder), 1), Ok(holder.clone()));
    assert_eq!(Holder::type_version().to_string(), "holder {third: visits v3} v1");
}

/// A value and a map of whatever version.
struct States<V: crate::state::StateValue> {
    value: ValueState<u64, V>,
    map: MapState<u64, u64, V>,
}

impl<V: crate::state::StateValue> States<V> {
    fn filled(value: impl Fn(u64) -> V) -> Self {
        let mut states = Self { value: ValueState::new(), map: MapState::new() };
        for number in 0..50 {
            states.value.set(&Key::new(&number), value(number));
            states.map.insert(&Key::new(&(number % 7)), number, value(number));
        }
        states
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<u64>) {
        visit.visit("value", &mut self.value);
        visit.visit("map", &mut self.map);
    }

    fn shapes(&self) -> Vec<StateShape> {
        let key = <u64 as Typed>::type_version();
        let value = self.value.value_type().declared("value", StateKind::Value.code(), key.clone());
        vec![value.shape, self.map.value_type().declared("map", StateKind::Map.code(), key).shape]
    }
}

fn everything() -> (MaxParallelism, KeyGroupRange) {
    (MaxParallelism::new(4).expect("in range"), KeyGroupRange { first: KeyGroup(0), last: KeyGroup(3) })
}

#[test]
fn a_snapshot_of_an_older_version_is_read_by_its_migration() {
    let (max, groups) = everything();
    let seconds = |number: u64| First { count: number, seconds: u32::try_from(number).expect("small") };
    let third = |number: u64| Third { count: number, spent_ms: number * 1000, rank: 9, tags: Vec::new() };
    let mut old = States::filled(seconds);
    let snapshot = KeyedSnapshot::take(max, groups, |visit| old.states(visit));
    let mut new = States::<Third> { value: ValueState::new(), map: MapState::new() };
    for block in snapshot.blocks() {
        let block = block.expect("small");
        restore_block_as(&block, 0, max, groups, &old.shapes(), |visit| new.states(visit)).expect("there is a migration");
    }
    let blocks = |states: &mut States<Third>| KeyedSnapshot::take(max, groups, |visit| states.states(visit)).blocks().collect::<Vec<_>>();
    assert_eq!(blocks(&mut new), blocks(&mut States::filled(third)));
}

#[test]
fn a_store_of_an_older_version_is_written_anew() {
    let (max, groups) = everything();
    let place = ColdPlace { name: "test".into(), columns: 1, groups, expiring: Default::default() };
    let store = SortedRuns::default().create(&place).expect("it is in memory");
    let cold = || Cold { store: store.clone(), column: ColumnIndex(0), max, errors: FirstError::default() };
    let mut old = MapState::<u64, u64, First>::new();
    old.table().attach(cold());
    for number in 0..3000 {
        old.insert(&Key::new(&number), 1, First { count: number, seconds: 5 });
    }
    store.apply(&mut old.table().freeze().expect("it is before a store").changes().into_iter()).expect("it is in memory");
    store.checkpoint().expect("it is in memory");
    let shape = old.value_type().declared("map", StateKind::Map.code(), <u64 as Typed>::type_version()).shape;
    let mut new = MapState::<u64, u64, Third>::new();
    new.table().attach(cold());
    let written = new.value_type().written(&shape, 0);
    new.table().migrate(written).expect("there is a migration");
    assert_eq!(new.table().hot_bytes(), 0, "it went past memory");
    // The older run is still there, and the newer one before it.
    assert_eq!(store.checkpoint().expect("it is in memory").files.len(), 3);
    let third = |count| Third { count, spent_ms: 5000, rank: 9, tags: Vec::new() };
    for number in [0, 1023, 1024, 2999] {
        assert_eq!(new.get(&Key::new(&number), &1), Some(&third(number)));
    }
}
