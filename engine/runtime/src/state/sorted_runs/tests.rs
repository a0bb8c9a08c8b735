//! Facts about sorted runs.

use super::*;
use cofferdam_protocol::{KeyGroup, KeyGroupRange};
use proptest::prelude::*;

fn groups(first: u16, last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(first), last: KeyGroup(last) }
}

fn place(first: u16, last: u16) -> ColdPlace {
    ColdPlace { name: "count-0".into(), columns: 2, groups: groups(first, last), expiring: Default::default() }
}

fn key(group: u16, key: u8) -> Vec<u8> {
    let mut bytes = group.to_be_bytes().to_vec();
    bytes.push(key);
    bytes
}

fn change(column: u16, group: u16, number: u8, value: Option<u8>) -> Change {
    Change { column: ColumnIndex(column), key: key(group, number), value: value.map(|value| vec![value]) }
}

fn loaded(checkpoint: &ColdCheckpoint) -> Vec<LoadedFile> {
    let load = |file: &ColdFile| {
        let mut bytes = vec![0; usize::try_from(file.size_bytes).expect("small")];
        assert_eq!(file.content.read_at(0, &mut bytes).expect("in memory"), bytes.len());
        LoadedFile { name: file.name.clone(), shared: file.shared, content: Loaded::Bytes(bytes) }
    };
    checkpoint.files.iter().map(load).collect()
}

fn part(checkpoint: &ColdCheckpoint, taken: KeyGroupRange, held: KeyGroupRange) -> ColdPart {
    let columns = vec![Some(ColumnIndex(0)), Some(ColumnIndex(1))];
    ColdPart { groups: taken, held, columns, column_count: 2, files: loaded(checkpoint) }
}

type Model = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

fn content(store: &dyn ColdStore, range: KeyGroupRange) -> Model {
    let (from, to) = cold_range(range);
    let column = |column: u16| {
        let entries = store.scan(ColumnIndex(column), &from, to.as_deref());
        entries.map(move |entry| entry.expect("readable")).map(move |(key, value)| ((column, key), value)).collect::<Vec<_>>()
    };
    (0..2).flat_map(column).collect()
}

fn names(checkpoint: &ColdCheckpoint) -> Vec<String> {
    checkpoint.files.iter().filter(|file| file.shared).map(|file| file.name.clone()).collect()
}

#[test]
fn a_checkpoint_brings_one_new_file_per_changed_state_and_keeps_the_others() {
    let store = SortedRuns::default().create(&place(0, 7)).expect("in memory");
    store.apply(&mut [change(0, 1, 1, Some(1)), change(1, 1, 1, Some(1))].into_iter()).expect("in memory");
    let first = names(&store.checkpoint().expect("in memory"));
    assert_eq!(names(&store.checkpoint().expect("in memory")), first, "nothing has changed");
    store.apply(&mut [change(1, 2, 1, Some(2))].into_iter()).expect("in memory");
    let second = names(&store.checkpoint().expect("in memory"));
    assert_eq!(second.len(), first.len() + 1);
    assert!(first.iter().all(|name| second.contains(name)));
}

#[test]
fn many_runs_become_one_and_deletions_go() {
    let store = SortedRuns::default().create(&place(0, 7)).expect("in memory");
    for round in 0..=u8::try_from(RUNS_MAX).expect("few") {
        let value = (round % 2 == 0).then_some(round);
        store.apply(&mut [change(0, 0, 1, value)].into_iter()).expect("in memory");
        store.checkpoint().expect("in memory");
    }
    assert_eq!(names(&store.checkpoint().expect("in memory")).len(), 1);
    assert_eq!(content(store.as_ref(), groups(0, 7)).len(), 1);
}

#[test]
fn every_truncation_and_flipped_bit_of_a_run_is_an_error_or_another_value_and_never_a_panic() {
    let rows = Rows::from([(key(0, 1), Some(vec![7])), (key(1, 2), None), (key(1, 3), Some(vec![8, 9]))]);
    let run = Run::new("000001.run".into(), 1, rows.clone());
    let (column, again) = Run::read("000001.run", run.bytes.to_vec()).expect("written just now");
    assert_eq!((column, again.rows.as_ref()), (1, &rows));
    for length in 0..run.bytes.len() {
        assert!(Run::read("r", run.bytes[..length].to_vec()).is_err(), "cut to {length}");
    }
    for bit in 0..run.bytes.len() * 8 {
        let mut bent = run.bytes.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        // The frame around the file has checksums; here it only matters that nothing is taken for the same.
        if let Ok((column, other)) = Run::read("r", bent) {
            assert!(column != 1 || *other.rows != rows, "bit {bit}");
        }
    }
}

#[test]
fn a_missing_run_is_an_error_that_names_it() {
    let backend = SortedRuns::default();
    let store = backend.create(&place(0, 7)).expect("in memory");
    store.apply(&mut [change(0, 1, 1, Some(1))].into_iter()).expect("in memory");
    let mut broken = part(&store.checkpoint().expect("in memory"), groups(0, 7), groups(0, 7));
    broken.files.retain(|file| file.name == MANIFEST);
    let Err(error) = backend.restore(&place(0, 7), vec![broken]) else { panic!("restored without its run") };
    assert!(error.to_string().contains("000001.run is missing"), "{error}");
}

proptest! {
    #[test]
    fn a_store_holds_what_was_put_into_it_wherever_it_is_restored(
        rounds in prop::collection::vec(prop::collection::btree_map((0..2_u16, 0..8_u16, 0..6_u8), prop::option::of(any::<u8>()), 0..12), 1..9),
        cut in 1..8_u16,
    ) {
        let backend = SortedRuns::default();
        let store = backend.create(&place(0, 7)).expect("in memory");
        let mut model = Model::new();
        for round in &rounds {
            for ((column, group, number), value) in round {
                match value {
                    Some(value) => { model.insert((*column, key(*group, *number)), vec![*value]); }
                    None => { model.remove(&(*column, key(*group, *number))); }
                }
            }
            store.apply(&mut round.iter().map(|(at, value)| change(at.0, at.1, at.2, *value))).expect("in memory");
            let checkpoint = store.checkpoint().expect("in memory");
            prop_assert_eq!(&content(store.as_ref(), groups(0, 7)), &model);
            for ((column, stored), expected) in &model {
                let mut value = Vec::new();
                prop_assert!(store.get(ColumnIndex(*column), stored, &mut value).expect("in memory"));
                prop_assert_eq!(&value, expected);
            }
            let (whole, shares) = backend.restore(&place(0, 7), vec![part(&checkpoint, groups(0, 7), groups(0, 7))]).expect("whole");
            prop_assert!(shares);
            prop_assert_eq!(names(&whole.checkpoint().expect("in memory")), names(&checkpoint));
            prop_assert_eq!(&content(whole.as_ref(), groups(0, 7)), &model);
            // Apart, and together again.
            let (low, high) = (groups(0, cut - 1), groups(cut, 7));
            let mut halves = Vec::new();
            for half in [low, high] {
                let at = place(half.first.0, half.last.0);
                let (half_store, shares) = backend.restore(&at, vec![part(&checkpoint, half, groups(0, 7))]).expect("half");
                prop_assert!(!shares);
                halves.push(part(&half_store.checkpoint().expect("in memory"), half, half));
            }
            let (again, _) = backend.restore(&place(0, 7), halves).expect("both");
            prop_assert_eq!(&content(again.as_ref(), groups(0, 7)), &model);
        }
    }
}
