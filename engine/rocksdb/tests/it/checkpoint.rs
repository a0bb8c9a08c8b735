//! What a checkpoint keeps, and for how long.

use crate::stores::{apply, backend, contents, fetch, groups, keep, key, names, part, place, put, Columns, EXPLICIT};
use cofferdam_engine::state::cold::{ColdBackend, ColdCheckpoint};
use cofferdam_rocksdb::RocksDbMode;
use std::collections::BTreeMap;
use std::fs;

fn one(value: &str) -> Columns {
    vec![BTreeMap::from([(key(1, "a"), value.as_bytes().to_vec())])]
}

#[test]
fn a_checkpoint_is_not_touched_by_what_is_applied_later() {
    for mode in [EXPLICIT, RocksDbMode::Automatic] {
        let folder = tempfile::tempdir().expect("there is room");
        let backend = backend(folder.path(), mode);
        let store = backend.create(&place("a", 1, groups(0, 3))).expect("there is room");
        apply(&*store, &[put(0, &key(1, "a"), "before")]);
        let checkpoint = store.checkpoint().expect("there is room");
        let at_once = keep(&checkpoint);
        for round in 0..4 {
            apply(&*store, &[put(0, &key(1, "a"), &format!("after {round}"))]);
            store.checkpoint().expect("there is room");
        }
        let later = keep(&checkpoint);
        assert_eq!(at_once, later);

        let place = place("b", 1, groups(0, 3));
        let files = fetch(&backend, &place, 0, &later).expect("there is room");
        let (restored, whole) = backend.restore(&place, vec![part(groups(0, 3), groups(0, 3), 1, files)]).expect("intact");
        assert!(whole);
        assert_eq!(contents(&*restored, 1).expect("readable"), one("before"));
        assert_eq!(contents(&*store, 1).expect("readable"), one("after 3"));
    }
}

#[test]
fn files_come_in_the_order_of_their_names_and_only_tables_are_shared() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = backend(folder.path(), EXPLICIT).create(&place("a", 2, groups(0, 3))).expect("there is room");
    apply(&*store, &[put(0, &key(1, "a"), "1"), put(1, &key(1, "a"), "1")]);
    let checkpoint = store.checkpoint().expect("there is room");
    assert!(names(&checkpoint).is_sorted());
    let kinds = |shared| checkpoint.files.iter().filter(move |file| file.shared == shared).map(|file| file.name.as_str());
    assert!(kinds(true).all(|name| name.ends_with(".sst")));
    assert_eq!(kinds(true).count(), 2);
    let others: Vec<_> = kinds(false).collect();
    assert!(matches!(others[..], ["CURRENT", manifest] if manifest.starts_with("MANIFEST-")), "{others:?}");
}

#[test]
fn a_store_that_is_restored_whole_shares_its_tables_with_the_next_checkpoint() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let store = backend.create(&place("a", 2, groups(0, 3))).expect("there is room");
    apply(&*store, &[put(0, &key(1, "a"), "1"), put(1, &key(1, "a"), "1")]);
    let first = store.checkpoint().expect("there is room");
    let tables = |checkpoint: &ColdCheckpoint| -> BTreeMap<String, u64> {
        checkpoint.files.iter().filter(|file| file.shared).map(|file| (file.name.clone(), file.size_bytes)).collect()
    };

    let place = place("a again", 2, groups(0, 3));
    let files = fetch(&backend, &place, 0, &keep(&first)).expect("there is room");
    let (restored, whole) = backend.restore(&place, vec![part(groups(0, 3), groups(0, 3), 2, files)]).expect("intact");
    assert!(whole);
    apply(&*restored, &[put(0, &key(2, "b"), "2")]);
    let second = restored.checkpoint().expect("there is room");
    let (first, second) = (tables(&first), tables(&second));
    assert!(first.iter().all(|(name, size)| second.get(name) == Some(size)), "{first:?} {second:?}");
    assert_eq!(second.len(), first.len() + 1);
}

#[test]
fn what_no_checkpoint_has_is_gone_with_the_store() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let place = place("a", 1, groups(0, 3));
    let store = backend.create(&place).expect("there is room");
    apply(&*store, &[put(0, &key(1, "a"), "kept")]);
    let kept = keep(&store.checkpoint().expect("there is room"));
    apply(&*store, &[put(0, &key(1, "a"), "lost")]);
    drop(store);

    let files = fetch(&backend, &place, 0, &kept).expect("there is room");
    let (restored, _) = backend.restore(&place, vec![part(groups(0, 3), groups(0, 3), 1, files)]).expect("intact");
    assert_eq!(contents(&*restored, 1).expect("readable"), one("kept"));
    drop(restored);
    let fresh = backend.create(&place).expect("there is room");
    assert_eq!(contents(&*fresh, 1).expect("readable"), vec![BTreeMap::new()]);
}

#[test]
fn a_checkpoint_outlives_its_store_and_then_nothing_is_left() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let store = backend.create(&place("a", 1, groups(0, 3))).expect("there is room");
    apply(&*store, &[put(0, &key(1, "a"), "kept")]);
    let (checkpoint, dropped) = (store.checkpoint().expect("there is room"), store.checkpoint().expect("there is room"));
    drop((store, dropped));
    assert_eq!(keep(&checkpoint).len(), 3);
    drop(checkpoint);
    let left = fs::read_dir(folder.path().join("rocksdb")).expect("the backend made it").count();
    assert_eq!(left, 0);
}

#[test]
fn a_new_backend_removes_what_a_former_process_left() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = backend(folder.path(), EXPLICIT).create(&place("a", 1, groups(0, 3))).expect("there is room");
    // As if it had been killed.
    std::mem::forget(store);
    backend(folder.path(), EXPLICIT);
    assert_eq!(fs::read_dir(folder.path().join("rocksdb")).expect("the backend made it").count(), 0);
}
