use super::super::cut::judge;
use super::super::decode::{InFlight, State, Value as Stored};
use super::super::expiry::Clocks;
use super::*;
use crate::jobs::Log;
use cofferdam_protocol::block::{write_block, write_end, write_header, FileKind};
use cofferdam_protocol::settings::Mode;

fn file(words: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for word in words {
        let mut record = Vec::new();
        ciborium::into_writer(word, &mut record).expect("text");
        payload.extend_from_slice(&(record.len() as u32).to_le_bytes());
        payload.extend(record);
    }
    let mut file = Vec::new();
    write_header(FileKind::State, &mut file);
    if !payload.is_empty() {
        write_block(&payload, &mut file).expect("small");
    }
    write_end(payload.len() as u64, &mut file);
    file
}

/// The input is `a b` and `a`; both lines are before the positions.
fn judged(counts: &[(&str, u64)], under_way: &[&str], said: u64) -> Result<(), Contradiction> {
    let logs = [Log { source: "lines", partitions: vec![("p".into(), vec!["a b".into(), "a".into()])] }];
    let counts = counts.iter().map(|(key, count)| ((*key).to_owned(), Stored::Number(*count))).collect();
    let in_flight = InFlight { edge: "lines->count#0".into(), records: said, file: file(under_way) };
    let checkpoint = Checkpoint {
        number: 1,
        positions: BTreeMap::from([("lines".to_owned(), BTreeMap::from([(0, 6)]))]),
        keyed: BTreeMap::from([("count".to_owned(), State::from([("count".to_owned(), counts)]))]),
        in_flight: BTreeMap::from([(("count".to_owned(), 0), vec![in_flight])]),
        ..Checkpoint::default()
    };
    let clocks = Clocks { agree: true, latest_ms: 0, cleaned_ms: None };
    judge(JobKind::WordCount, Mode::ExactlyOnce, &logs, &checkpoint, &clocks)
}

#[test]
fn a_record_is_in_the_state_or_under_way() {
    assert_eq!(judged(&[("a", 1), ("b", 1)], &["a"], 1), Ok(()));
    assert_eq!(judged(&[], &["a", "a", "b"], 3), Ok(()));
}

#[test]
fn one_that_is_in_both_is_found() {
    assert!(judged(&[("a", 2), ("b", 1)], &["a"], 1).is_err_and(|red| red.contains("key a")));
}

#[test]
fn one_that_is_in_neither_is_found() {
    assert!(judged(&[("a", 1)], &["a"], 1).is_err_and(|red| red.contains("key b")));
}

#[test]
fn one_that_never_came_is_found() {
    assert!(judged(&[("a", 2), ("b", 1)], &["c"], 1).is_err_and(|red| red.contains("\"c\"")));
    assert!(judged(&[], &["b", "b"], 2).is_err_and(|red| red.contains("\"b\"")));
}

#[test]
fn as_many_are_under_way_as_are_said_to_be() {
    assert!(judged(&[("a", 1), ("b", 1)], &["a"], 2).is_err_and(|red| red.contains("said")));
}
