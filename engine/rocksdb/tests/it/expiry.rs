//! What has expired goes when tables are merged, in columns that expire and in no others.

use crate::stores::{apply, backend, contents, fetch, groups, keep, key, part, place, put, EXPLICIT};
use cofferdam_engine::state::cold::{Change, ColdBackend, ColdPlace, ColumnIndex};

/// A value that was last accessed at a time.
fn stamped(column: u16, name: &str, at_ms: i64) -> Change {
    let value = [&at_ms.to_le_bytes()[..], b"value"].concat();
    Change { column: ColumnIndex(column), key: key(1, name), value: Some(value) }
}

fn expiring(name: &str) -> ColdPlace {
    ColdPlace { expiring: [ColumnIndex(1)].into(), ..place(name, 2, groups(0, 3)) }
}

#[test]
fn a_merge_drops_what_has_expired_before_and_behind_a_restore() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let store = backend.create(&expiring("a")).expect("there is room");
    // All tables are merged at each third checkpoint.
    apply(&*store, &[stamped(0, "a", 10), stamped(1, "a", 10), stamped(1, "b", 30)]);
    store.checkpoint().expect("there is room");
    store.expire(ColumnIndex(1), 10);
    store.checkpoint().expect("there is room");
    assert_eq!(contents(&*store, 2).expect("readable")[1].len(), 2, "nothing was merged yet");
    let merged = store.checkpoint().expect("there is room");
    let left = contents(&*store, 2).expect("readable");
    assert_eq!(left[0].len(), 1, "this column does not expire");
    assert_eq!(left[1].keys().collect::<Vec<_>>(), [&key(1, "b")]);

    let place = expiring("b");
    let files = fetch(&backend, &place, 0, &keep(&merged)).expect("there is room");
    let (restored, whole) = backend.restore(&place, vec![part(groups(0, 3), groups(0, 3), 2, files)]).expect("intact");
    assert!(whole);
    restored.expire(ColumnIndex(1), 30);
    for _ in 0..3 {
        apply(&*restored, &[stamped(1, "c", 50), put(0, &key(1, "d"), "value")]);
        restored.checkpoint().expect("there is room");
    }
    let left = contents(&*restored, 2).expect("readable");
    assert_eq!((left[0].len(), left[1].keys().collect::<Vec<_>>()), (2, vec![&key(1, "c")]));
}

#[test]
fn a_column_that_is_new_behind_a_restore_expires_at_once() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let before = backend.create(&place("a", 1, groups(0, 3))).expect("there is room");
    apply(&*before, &[stamped(0, "a", 10)]);
    let taken = before.checkpoint().expect("there is room");

    let after = expiring("b");
    let files = fetch(&backend, &after, 0, &keep(&taken)).expect("there is room");
    let mut added = part(groups(0, 3), groups(0, 3), 1, files);
    added.columns = vec![Some(ColumnIndex(0)), None];
    let (restored, _) = backend.restore(&after, vec![added]).expect("intact");
    apply(&*restored, &[stamped(1, "b", 10), stamped(1, "c", 30)]);
    restored.expire(ColumnIndex(1), 10);
    for _ in 0..3 {
        restored.checkpoint().expect("there is room");
    }
    let left = contents(&*restored, 2).expect("readable");
    assert_eq!((left[0].len(), left[1].keys().collect::<Vec<_>>()), (1, vec![&key(1, "c")]));
}

/// What is older must not come to light where the newest is dropped.
#[test]
fn a_value_that_was_replaced_does_not_come_back() {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let store = backend.create(&expiring("a")).expect("there is room");
    apply(&*store, &[stamped(1, "a", 90)]);
    store.checkpoint().expect("there is room");
    // A clock that went back: the newer value was accessed at an earlier time.
    apply(&*store, &[stamped(1, "a", 20)]);
    store.expire(ColumnIndex(1), 50);
    store.checkpoint().expect("there is room");
    store.checkpoint().expect("there is room");
    assert!(contents(&*store, 2).expect("readable")[1].is_empty());
}
