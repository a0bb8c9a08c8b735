use super::*;

const ALL: u64 = 1000 * 34;
const PER_RUN: u64 = 600;

fn size_of_file(path: &str) -> u64 {
    if path.contains("all") {
        ALL
    } else {
        PER_RUN
    }
}

fn checkpoint(number: u64, files: &[&str]) -> Checkpoint {
    // Of a thousand words ten are counted anew each time.
    let count = |key: u64| Value::Number(if key % 100 == number % 100 { number } else { 0 });
    let counts = (0..1000).map(|key| (format!("word-{key:05}"), count(key))).collect();
    Checkpoint {
        number,
        keyed: BTreeMap::from([("count".to_owned(), State::from([("count".to_owned(), counts)]))]),
        shared: files.iter().map(|file| ((format!("shared/{file}"), 0), size_of_file(file))).collect(),
        ..Checkpoint::default()
    }
}

#[test]
fn what_changed_is_allowed_and_all_of_it_now_and_then() {
    let mut account = Account::default();
    for number in 1..40 {
        let merged = format!("all-{}", number / 5);
        let runs: Vec<String> = (number / 5 * 5 + 1..=number).map(|run| format!("run-{run}")).collect();
        let files: Vec<&str> = runs.iter().map(String::as_str).chain([merged.as_str()]).collect();
        assert_eq!(account.completed(&checkpoint(number, &files), None), Ok(()));
    }
}

#[test]
fn all_of_it_each_time_is_found() {
    let mut account = Account::default();
    let found = (1..40).find_map(|number| {
        let file = format!("all-{number}");
        account.completed(&checkpoint(number, &[&file]), None).err()
    });
    assert!(found.is_some_and(|witness| witness.contains("bytes changed since checkpoint")));
}

#[test]
fn numbers_that_came_to_nothing_may_have_uploaded_their_part() {
    let mut account = Account::default();
    assert_eq!(account.completed(&checkpoint(1, &["all-1"]), None), Ok(()));
    let late = checkpoint(4, &["all-1", "run-2", "run-3", "run-4"]);
    assert_eq!(account.completed(&late, None), Ok(()));
}

#[test]
fn after_a_restore_the_rest_is_what_differs_from_it() {
    let mut account = Account::default();
    let first = checkpoint(1, &["all-1"]);
    assert_eq!(account.completed(&first, None), Ok(()));
    account.restored(&first, false);
    assert_eq!(account.completed(&checkpoint(2, &["all-1", "run-2"]), None), Ok(()));
}

#[test]
fn after_a_restore_what_is_there_already_is_not_uploaded_again() {
    let mut account = Account::default();
    let found = (1..10).find_map(|number| {
        let name = format!("all-{number}");
        let completed = checkpoint(number, &[&name]);
        let judged = account.completed(&completed, None);
        account.restored(&completed, false);
        judged.err()
    });
    assert!(found.is_some(), "all of it after each restore");
}

#[test]
fn segments_of_one_file_are_told_apart_and_what_is_left_of_it_may_be_written_again() {
    let segments = |number: u64, from: u64| {
        let size = |offset| if offset == from { ALL } else { PER_RUN };
        let shared = (from..=number).map(|offset| (("shared/merged".to_owned(), offset), size(offset))).collect();
        Checkpoint { shared, ..checkpoint(number, &[]) }
    };
    let mut account = Account::default();
    for number in 1..5 {
        assert_eq!(account.completed(&segments(number, 1), Some(2)), Ok(()));
    }
    let found = (5..40).find_map(|number| account.completed(&segments(number, number), Some(2)).err());
    assert!(found.is_some(), "all of it each time, in one file");
}
