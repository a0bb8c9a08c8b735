//! A store answers as sorted maps do.

use crate::stores::{apply, apply_to, backend, contents, groups, key, place, put, Columns, EXPLICIT};
use cofferdam_engine::state::cold::{Change, ColdBackend, ColumnIndex};
use cofferdam_rocksdb::RocksDbMode;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: u16 = 3;

/// Sorted, each key once, as the engine hands them over.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = (0..COLUMNS, 0..4_u16, prop::collection::vec(any::<u8>(), 0..3));
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::btree_map(key, value, 0..60).prop_map(|changes: BTreeMap<_, _>| {
        let change = |((column, group, key), value): ((u16, u16, Vec<u8>), Option<Vec<u8>>)| Change {
            column: ColumnIndex(column),
            key: [&group.to_be_bytes()[..], &key].concat(),
            value,
        };
        changes.into_iter().map(change).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_answers_as_sorted_maps_do(
        history in prop::collection::vec((changes(), any::<bool>()), 1..8),
        (first, behind) in (0..4_u16, 0..5_u16),
        explicit in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("there is room");
        let backend = backend(folder.path(), if explicit { EXPLICIT } else { RocksDbMode::Automatic });
        let store = backend.create(&place("a", COLUMNS, groups(0, 3))).expect("there is room");
        let mut model: Columns = vec![BTreeMap::new(); usize::from(COLUMNS)];
        for (changes, checkpoint) in &history {
            apply(&*store, changes);
            apply_to(&mut model, changes);
            if *checkpoint {
                store.checkpoint().expect("there is room");
            }
            prop_assert_eq!(&contents(&*store, COLUMNS).expect("readable"), &model);
        }
        let ever: BTreeSet<&Vec<u8>> = history.iter().flat_map(|(changes, _)| changes).map(|change| &change.key).collect();
        for (column, entries) in (0..).map(ColumnIndex).zip(&model) {
            for key in &ever {
                let mut value = b"before ".to_vec();
                let found = store.get(column, key, &mut value).expect("readable");
                let expected = entries.get(*key);
                prop_assert_eq!(found, expected.is_some());
                prop_assert_eq!(&value[7..], expected.map_or(&[][..], Vec::as_slice));
            }
            let (from, to) = (first.to_be_bytes(), behind.to_be_bytes());
            let range: Vec<_> = store.scan(column, &from, Some(&to)).collect::<Result<_, _>>().expect("readable");
            let inside = |key: &[u8]| *key >= from[..] && *key < to[..];
            let expected = entries.iter().filter(|(key, _)| inside(key));
            prop_assert_eq!(range, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_scan_does_not_see_what_comes_after_it_began() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = backend(folder.path(), EXPLICIT).create(&place("a", 1, groups(0, 0))).expect("there is room");
    apply(&*store, &[put(0, &key(0, "a"), "1"), put(0, &key(0, "c"), "1")]);
    let mut scan = store.scan(ColumnIndex(0), &[], None);
    let mut next = || scan.next().map(|entry| entry.expect("readable").0);
    assert_eq!(next(), Some(key(0, "a")));
    apply(&*store, &[put(0, &key(0, "b"), "2"), Change { column: ColumnIndex(0), key: key(0, "c"), value: None }]);
    store.checkpoint().expect("there is room");
    assert_eq!(next(), Some(key(0, "c")));
    assert_eq!(next(), None);
    assert_eq!(next(), None);
}

#[test]
fn more_than_the_budget_goes_to_disk() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), RocksDbMode::Automatic);
    let stores: Vec<_> = ["a", "b"].iter().map(|name| backend.create(&place(name, 2, groups(0, 0))).expect("there is room")).collect();
    let (count, value) = (20_000_u32, "0123456789".repeat(100));
    for store in &stores {
        let changes = (0..2).flat_map(|column| (0..count).map(move |n| (column, n)));
        let mut changes = changes.map(|(column, n)| put(column, &key(0, &format!("{n:06}")), &value));
        store.apply(&mut changes).expect("the disk takes it");
    }
    for store in &stores {
        assert_eq!(store.scan(ColumnIndex(1), &[], None).filter(Result::is_ok).count(), 20_000);
    }
}
