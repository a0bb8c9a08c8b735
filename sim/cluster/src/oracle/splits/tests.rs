//! The judge of splits, with cuts that are right and cuts that are not.

use super::*;

fn log() -> Log {
    // Lines at 0, 3, 6, 9, and the end at 12.
    let lines = ["aa", "bb", "cc", "dd"].map(str::to_owned).to_vec();
    Log { source: "files", partitions: vec![("/in/one".into(), lines.clone()), ("/in/two".into(), lines)] }
}

fn split(name: &str, (start, end, offset): (u64, u64, u64), reader: Option<u32>) -> Split {
    Split { name: name.into(), start, end, offset, reader }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
    out.extend(text.as_bytes());
}

fn checkpoint(known: &[&str], splits: &[Split]) -> Checkpoint {
    let count = |count: usize| u32::try_from(count).expect("few").to_le_bytes();
    let mut state = vec![0];
    state.extend(count(known.len()));
    known.iter().for_each(|name| text(name, &mut state));
    let unassigned: Vec<&Split> = splits.iter().filter(|split| split.reader.is_none()).collect();
    state.extend(count(unassigned.len()));
    for split in unassigned {
        text(&split.name, &mut state);
        [split.start, split.end, split.offset].iter().for_each(|number| state.extend(number.to_le_bytes()));
    }
    let enumerators = [("files".to_owned(), state)].into();
    let splits = splits.iter().filter(|split| split.reader.is_some()).cloned().collect();
    Checkpoint { enumerators, splits, ..Checkpoint::default() }
}

fn read_lines(known: &[&str], splits: &[Split]) -> Result<Vec<String>, Contradiction> {
    let log = log();
    read("files", &log, &checkpoint(known, splits)).map(|lines| lines.into_iter().map(str::to_owned).collect())
}

#[test]
fn what_is_before_positions_or_in_no_split_any_more_is_read() {
    let splits = [split("one", (0, 5, 3), Some(0)), split("one", (5, 12, 5), None)];
    assert_eq!(read_lines(&["one"], &splits), Ok(vec!["aa".into()]));
    // A line belongs to the split that its first byte is in.
    let splits = [split("one", (0, 4, 6), Some(1)), split("one", (4, 12, 4), Some(0))];
    assert_eq!(read_lines(&["one"], &splits), Ok(vec!["aa".into(), "bb".into()]));
    assert_eq!(read_lines(&["two"], &[]).map(|lines| lines.len()), Ok(4), "read to the end");
    assert_eq!(read_lines(&[], &[]), Ok(Vec::new()), "not found yet");
}

#[test]
fn what_is_in_two_places_is_a_contradiction() {
    let twice = [split("one", (0, 12, 3), Some(0)), split("one", (0, 12, 0), Some(1))];
    assert!(read_lines(&["one"], &twice).is_err_and(|red| red.contains("both s1's and s0's")));
    let given_back = [split("one", (0, 12, 3), Some(0)), split("one", (0, 12, 0), None)];
    assert!(read_lines(&["one"], &given_back).is_err_and(|red| red.contains("the coordinator's and s0's")));
    assert!(read_lines(&[], &[split("one", (0, 12, 0), Some(0))]).is_err_and(|red| red.contains("never found")));
}

#[test]
fn a_position_that_no_line_begins_at_is_a_contradiction() {
    assert!(read_lines(&["one"], &[split("one", (0, 12, 4), Some(0))]).is_err_and(|red| red.contains("inside a line")));
    assert!(read_lines(&["one"], &[split("one", (0, 12, 3), None)]).is_err_and(|red| red.contains("gives it out")));
    assert!(read("files", &log(), &Checkpoint::default()).is_err(), "nothing of the enumerator");
}
