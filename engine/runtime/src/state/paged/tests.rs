use super::*;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

fn put(table: &mut PagedTable<u64, u64>, key: u64, value: u64) {
    table.insert(&Key::new(&key), value);
}

fn model(entries: impl Iterator<Item = (u64, u64)>) -> BTreeMap<u64, u64> {
    entries.collect()
}

fn contents(snapshot: &PagedSnapshot<u64, u64>) -> BTreeMap<u64, u64> {
    let found = model(snapshot.iter().copied());
    assert_eq!(found.len(), snapshot.len());
    found
}

/// A key of which the test chooses the hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chosen {
    number: u64,
    hash: u64,
}

impl Stored for Chosen {
    fn write(&self, out: &mut Vec<u8>) {
        (self.number, self.hash).write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { number: u64::read(input)?, hash: u64::read(input)? })
    }
}

impl crate::state::Typed for Chosen {
    fn type_name() -> String {
        "chosen".into()
    }
}

impl StateKey for Chosen {
    fn hash64(&self) -> u64 {
        self.hash
    }
}

/// Counts how often it is cloned.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

#[test]
fn pages_split_and_stay_within_the_bound() {
    let mut table = PagedTable::default();
    for key in 0..100_000 {
        put(&mut table, key, key);
    }
    assert!(table.pages.iter().all(|slot| slot.read().len() <= PAGE_ENTRIES && slot.read().num_buckets() <= 512));
    assert!(table.page_count() < 100_000 / PAGE_ENTRIES * 3, "{} pages", table.page_count());
    for key in 0..100_000 {
        assert_eq!(table.get(&Key::new(&key)), Some(&key));
    }
    assert_eq!(table.get(&Key::new(&100_000)), None);
    assert_eq!(table.len(), 100_000);
}

#[test]
fn every_place_of_the_directory_leads_to_a_page_of_its_hashes() {
    let mut table = PagedTable::default();
    for key in 0..50_000 {
        put(&mut table, key, key);
    }
    for (place, number) in table.directory.iter().enumerate() {
        let slot = &table.pages[*number as usize];
        let mask = (1 << slot.depth) - 1;
        assert!(slot.read().iter().all(|(key, _)| place_of(key.hash64()) & mask == place & mask));
    }
}

#[test]
fn keys_of_one_hash_share_a_page_that_outgrows_the_bound() {
    let mut table = PagedTable::default();
    let keys: Vec<_> = (0..3_000).map(|number| Chosen { number, hash: 0x1234_5678_9abc_def0 }).collect();
    for key in &keys {
        table.insert(&Key::new(key), key.number);
    }
    assert!(keys.iter().all(|key| table.get(&Key::new(key)) == Some(&key.number)));
    assert!(table.directory.len() <= 2 * PLACES_PER_PAGE * table.page_count());
    assert_eq!(table.len(), 3_000);
}

#[test]
fn keys_that_differ_only_above_the_directory_bits_are_all_found() {
    let mut table = PagedTable::default();
    let keys: Vec<_> = (0..5_000).map(|number| Chosen { number, hash: number << 32 }).collect();
    for key in &keys {
        table.insert(&Key::new(key), key.number);
    }
    assert!(keys.iter().all(|key| table.get(&Key::new(key)) == Some(&key.number)));
}

#[test]
fn removed_keys_are_gone_and_come_back() {
    let mut table = PagedTable::default();
    for key in 0..10_000 {
        put(&mut table, key, key);
    }
    for key in (0..10_000).step_by(2) {
        assert_eq!(table.remove(&Key::new(&key)), Some(key));
        assert_eq!(table.remove(&Key::new(&key)), None);
    }
    assert_eq!(table.len(), 5_000);
    put(&mut table, 4, 5);
    assert_eq!(model(table.iter().map(|(key, value)| (*key, *value))).len(), 5_001);
    assert_eq!(table.get(&Key::new(&4)), Some(&5));
    assert_eq!(table.get(&Key::new(&6)), None);
}

#[test]
fn keys_that_come_and_go_need_no_more_pages() {
    let mut table = PagedTable::default();
    for key in 0..200_000_u64 {
        put(&mut table, key, key);
        if let Some(old) = key.checked_sub(300) {
            table.remove(&Key::new(&old));
        }
    }
    assert_eq!(table.len(), 300);
    assert_eq!(table.page_count(), 1);
}

#[test]
fn the_writer_goes_on_while_two_snapshots_live_and_go_in_any_order() {
    for older_goes_first in [true, false] {
        let mut table = PagedTable::default();
        for key in 0..5_000 {
            put(&mut table, key, 1);
        }
        let first = table.snapshot();
        for key in 0..5_000 {
            put(&mut table, key, 2);
        }
        let second = table.snapshot();
        for key in 2_500..10_000 {
            put(&mut table, key, 3);
        }
        for key in 0..100 {
            table.remove(&Key::new(&key));
        }
        let (ones, twos) = (model((0..5_000).map(|key| (key, 1))), model((0..5_000).map(|key| (key, 2))));
        assert_eq!((contents(&first), contents(&second)), (ones.clone(), twos.clone()));
        if older_goes_first {
            drop(first);
            put(&mut table, 7, 4);
            assert_eq!(contents(&second), twos);
        } else {
            drop(second);
            put(&mut table, 7, 4);
            assert_eq!(contents(&first), ones);
        }
        assert_eq!(table.len(), 9_901);
        assert_eq!(table.get(&Key::new(&7)), Some(&4));
        assert_eq!(table.get(&Key::new(&200)), Some(&2));
    }
}

#[test]
fn a_snapshot_is_read_on_another_thread_while_the_table_changes() {
    let mut table = PagedTable::default();
    for key in 0..20_000 {
        put(&mut table, key, 1);
    }
    let snapshot = table.snapshot();
    std::thread::scope(|scope| {
        let sums: Vec<_> = (0..2)
            .map(|_| {
                let snapshot = snapshot.clone();
                scope.spawn(move || snapshot.iter().map(|(_, value)| value).sum::<u64>())
            })
            .collect();
        for key in 0..20_000 {
            put(&mut table, key, 2);
        }
        for sum in sums {
            assert_eq!(sum.join().expect("the reader does not panic"), 20_000);
        }
    });
}

#[test]
fn only_a_page_that_is_written_is_copied() {
    let (mut table, clones) = (PagedTable::default(), Arc::new(AtomicUsize::new(0)));
    for key in 0..10_000_u64 {
        table.insert(&Key::new(&key), Counted(Arc::clone(&clones)));
    }
    let snapshot = table.snapshot();
    assert_eq!(clones.load(Ordering::Relaxed), 0);
    assert!(table.get_mut(&Key::new(&1)).is_some());
    let copied = clones.load(Ordering::Relaxed);
    assert!((1..=PAGE_ENTRIES).contains(&copied), "{copied} copied");
    assert!(table.get_mut(&Key::new(&1)).is_some());
    assert_eq!(clones.load(Ordering::Relaxed), copied, "a page is copied once");
    drop(snapshot);
}

#[test]
fn looking_for_what_is_not_there_copies_nothing() {
    let (mut table, clones) = (PagedTable::default(), Arc::new(AtomicUsize::new(0)));
    for key in 0..1_000_u64 {
        table.insert(&Key::new(&key), Counted(Arc::clone(&clones)));
    }
    let snapshot = table.snapshot();
    assert!(table.get(&Key::new(&5_000)).is_none());
    assert!(table.get_mut(&Key::new(&5_000)).is_none());
    assert!(table.remove(&Key::new(&5_000)).is_none());
    assert_eq!(clones.load(Ordering::Relaxed), 0);
    drop(snapshot);
}

#[test]
fn once_the_snapshot_is_gone_pages_are_taken_back_uncopied() {
    let (mut table, clones) = (PagedTable::default(), Arc::new(AtomicUsize::new(0)));
    for key in 0..1_000_u64 {
        table.insert(&Key::new(&key), Counted(Arc::clone(&clones)));
    }
    drop(table.snapshot());
    for key in 0..1_000_u64 {
        assert!(table.get_mut(&Key::new(&key)).is_some());
    }
    assert_eq!(clones.load(Ordering::Relaxed), 0);
}

#[test]
fn clearing_leaves_snapshots_alone() {
    let mut table = PagedTable::default();
    put(&mut table, 1, 1);
    let snapshot = table.snapshot();
    table.clear();
    assert!(table.is_empty());
    assert_eq!(contents(&snapshot), model([(1, 1)].into_iter()));
}

/// What the property does to a table.
#[derive(Clone, Copy, Debug)]
enum Call {
    Put(u64, u64),
    Add(u64, u64),
    Remove(u64),
    Snapshot,
    Release(usize),
}

fn call(keys: u64) -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => (0..keys, any::<u64>()).prop_map(|(key, value)| Call::Put(key, value)),
        8 => (0..keys, 0..9_u64).prop_map(|(key, value)| Call::Add(key, value)),
        6 => (0..keys).prop_map(Call::Remove),
        1 => Just(Call::Snapshot),
        1 => (0..4_usize).prop_map(Call::Release),
    ]
}

fn apply(table: &mut PagedTable<u64, u64>, call: Call) {
    match call {
        Call::Put(key, value) => put(table, key, value),
        Call::Add(key, value) => {
            let sum = table.entry_or_insert_with(&Key::new(&key), || 0);
            *sum = sum.wrapping_add(value);
        }
        Call::Remove(key) => {
            table.remove(&Key::new(&key));
        }
        Call::Snapshot | Call::Release(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_and_its_snapshots_are_what_a_map_would_be(calls in prop::collection::vec(call(1_500), 0..6_000)) {
        let (mut table, mut expected) = (PagedTable::default(), BTreeMap::new());
        let mut live: Vec<(PagedSnapshot<u64, u64>, BTreeMap<u64, u64>)> = Vec::new();
        for call in calls {
            apply(&mut table, call);
            match call {
                Call::Put(key, value) => { expected.insert(key, value); }
                Call::Add(key, value) => {
                    let sum: &mut u64 = expected.entry(key).or_default();
                    *sum = sum.wrapping_add(value);
                }
                Call::Remove(key) => { expected.remove(&key); }
                Call::Snapshot => live.push((table.snapshot(), expected.clone())),
                Call::Release(index) if index < live.len() => {
                    let (snapshot, then) = live.remove(index);
                    prop_assert_eq!(contents(&snapshot), then);
                }
                Call::Release(_) => {}
            }
        }
        prop_assert_eq!(table.len(), expected.len());
        prop_assert_eq!(model(table.iter().map(|(key, value)| (*key, *value))), expected);
        for (snapshot, then) in live {
            prop_assert_eq!(contents(&snapshot), then);
        }
    }

    #[test]
    fn the_order_of_iteration_is_the_same_with_and_without_snapshots(calls in prop::collection::vec(call(900), 0..4_000)) {
        let (mut quiet, mut watched, mut live) = (PagedTable::default(), PagedTable::default(), Vec::new());
        for call in calls {
            apply(&mut quiet, call);
            apply(&mut watched, call);
            match call {
                Call::Snapshot => live.push(watched.snapshot()),
                Call::Release(index) if index < live.len() => drop(live.remove(index)),
                Call::Put(..) | Call::Add(..) | Call::Remove(_) | Call::Release(_) => {}
            }
        }
        prop_assert!(quiet.iter().eq(watched.iter()));
    }
}
