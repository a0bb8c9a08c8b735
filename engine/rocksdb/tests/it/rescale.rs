//! Stores made of parts of former ones.

use crate::stores::{apply, apply_to, backend, contents, fetch, groups, keep, key, part, place, put, Columns, Kept, EXPLICIT};
use cofferdam_engine::state::cold::{Change, ColdBackend, ColdPart, ColumnIndex, Loaded, LoadedFile};
use cofferdam_protocol::KeyGroupRange;
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A store with these columns filled, in two to four checkpoints, and what it has. The third of them merges the tables. Most
/// groups are empty, so that tables end before what is held does.
fn former(backend: &RocksDbBackend, name: &str, held: KeyGroupRange, columns: u16, salt: u16) -> (Kept, Columns) {
    let store = backend.create(&place(name, columns, held)).expect("there is room");
    let mut model: Columns = vec![BTreeMap::new(); usize::from(columns)];
    let mut kept = None;
    for round in 0..2 + salt % 3 {
        let all = (0..columns).flat_map(|column| (held.first.0..=held.last.0).map(move |group| (column, group)));
        let changes: Vec<Change> = all
            .filter(|(_, group)| group % 8 < 3)
            .flat_map(|(column, group)| {
                // The shortest key that a group can have, and ordinary ones; later some of them go.
                ["", "a", "b"].into_iter().zip(0..).filter_map(move |(name, n)| match (round, (group + n + salt + round) % 3) {
                    (0, _) => Some(put(column, &key(group, name), &format!("{column} {group} {n}"))),
                    (_, 0) => Some(Change { column: ColumnIndex(column), key: key(group, name), value: None }),
                    (_, 1) => Some(put(column, &key(group, name), &format!("{column} {group} {n} {round}"))),
                    (_, _) => None,
                })
            })
            .collect();
        apply(&*store, &changes);
        apply_to(&mut model, &changes);
        kept = Some(keep(&store.checkpoint().expect("there is room")));
    }
    (kept.expect("there were some"), model)
}

/// What of a column is in these groups.
fn within(column: &BTreeMap<Vec<u8>, Vec<u8>>, groups: KeyGroupRange) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let inside = |key: &[u8]| (groups.first.0..=groups.last.0).contains(&u16::from_be_bytes([key[0], key[1]]));
    column.iter().filter(|(key, _)| inside(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_of_stores_are_what_was_in_those_parts(
        boundaries in prop::collection::btree_set(1..24_u16, 0..4),
        (one, other) in (0..24_u16, 0..24_u16),
        explicit in any::<bool>(),
        in_memory in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("there is room");
        let backend = backend(folder.path(), if explicit { EXPLICIT } else { RocksDbMode::Automatic });
        let starts: Vec<u16> = std::iter::once(0).chain(boundaries).collect();
        let ends = starts.iter().skip(1).copied().chain([24]);
        let wanted = groups(one.min(other), one.max(other));
        let place = place("new", 2, wanted);
        let mut expected: Columns = vec![BTreeMap::new(); 2];
        let mut parts = Vec::new();
        for (&start, end) in starts.iter().zip(ends) {
            let held = groups(start, end - 1);
            let (kept, model) = former(&backend, &format!("former {start}"), held, 2, start);
            if let Some(taken) = held.intersection(wanted) {
                for (expected, column) in expected.iter_mut().zip(&model) {
                    expected.extend(within(column, taken));
                }
                let files = if in_memory {
                    let file = |(name, shared, bytes)| LoadedFile { name, shared, content: Loaded::Bytes(bytes) };
                    kept.into_iter().map(file).collect()
                } else {
                    fetch(&backend, &place, parts.len(), &kept).expect("there is room")
                };
                parts.push(part(taken, held, 2, files));
            }
        }
        let as_it_was = parts.len() == 1 && parts[0].groups == parts[0].held;
        let (restored, whole) = backend.restore(&place, parts).expect("intact");
        prop_assert_eq!(whole, as_it_was);
        prop_assert_eq!(&contents(&*restored, 2).expect("readable"), &expected);

        // And what has been made of parts is itself something to restore.
        let kept = keep(&restored.checkpoint().expect("there is room"));
        drop(restored);
        let files = fetch(&backend, &place, 0, &kept).expect("there is room");
        let (again, whole) = backend.restore(&place, vec![part(wanted, wanted, 2, files)]).expect("intact");
        prop_assert!(whole);
        prop_assert_eq!(&contents(&*again, 2).expect("readable"), &expected);
    }
}

/// Restores one whole former store of two columns into one with other columns.
fn with_columns(columns: &[Option<u16>]) -> (Columns, Columns, bool) {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let held = groups(0, 5);
    let (kept, model) = former(&backend, "former", held, 2, 0);
    let count = u16::try_from(columns.len()).expect("few");
    let place = place("new", count, held);
    let files = fetch(&backend, &place, 0, &kept).expect("there is room");
    let columns: Vec<_> = columns.iter().map(|column| column.map(ColumnIndex)).collect();
    let part = ColdPart { groups: held, held, columns, column_count: 2, files };
    let (restored, whole) = backend.restore(&place, vec![part]).expect("intact");
    let found = contents(&*restored, count).expect("readable");
    let again = restored.checkpoint().expect("there is room");
    drop(restored);
    let files = fetch(&backend, &place, 0, &keep(&again)).expect("there is room");
    let part = crate::stores::part(held, held, count, files);
    let (restored, _) = backend.restore(&place, vec![part]).expect("intact");
    assert_eq!(contents(&*restored, count).expect("readable"), found);
    (found, model, whole)
}

#[test]
fn a_state_that_is_new_is_empty() {
    let (found, model, whole) = with_columns(&[Some(0), Some(1), None]);
    assert_eq!(found, vec![model[0].clone(), model[1].clone(), BTreeMap::new()]);
    assert!(!whole);
}

#[test]
fn a_state_that_is_no_longer_wanted_is_gone() {
    let (found, model, whole) = with_columns(&[Some(0)]);
    assert_eq!(found, vec![model[0].clone()]);
    assert!(!whole);
}

#[test]
fn states_may_change_places() {
    let (found, model, whole) = with_columns(&[None, Some(1), Some(0)]);
    assert_eq!(found, vec![BTreeMap::new(), model[1].clone(), model[0].clone()]);
    assert!(!whole);
}

#[test]
fn no_parts_are_an_empty_store() {
    let folder = tempfile::tempdir().expect("there is room");
    let (store, whole) = backend(folder.path(), EXPLICIT).restore(&place("new", 1, groups(0, 0)), Vec::new()).expect("there is room");
    assert_eq!(contents(&*store, 1).expect("readable"), vec![BTreeMap::new()]);
    assert!(!whole);
}
