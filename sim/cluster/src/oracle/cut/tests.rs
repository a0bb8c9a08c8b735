use super::*;

fn log() -> Vec<Log> {
    vec![Log { source: "lines", partitions: vec![("p".into(), vec!["a b".into(), "a".into()])] }]
}

fn checkpoint(offset: u64, counts: &[(&str, u64)]) -> Checkpoint {
    let counts = counts.iter().map(|(key, count)| ((*key).to_owned(), Value::Number(*count))).collect();
    Checkpoint {
        number: 1,
        positions: BTreeMap::from([("lines".to_owned(), BTreeMap::from([(0, offset)]))]),
        keyed: BTreeMap::from([("count".to_owned(), State::from([("count".to_owned(), counts)]))]),
        ..Checkpoint::default()
    }
}

fn judged(mode: Mode, offset: u64, counts: &[(&str, u64)]) -> Result<(), Contradiction> {
    let clocks = Clocks { agree: true, latest_ms: 0, cleaned_ms: None };
    judge(JobKind::WordCount, mode, &log(), &checkpoint(offset, counts), &clocks)
}

#[test]
fn a_cut_between_two_lines_holds_the_first() {
    assert_eq!(judged(Mode::ExactlyOnce, 4, &[("a", 1), ("b", 1)]), Ok(()));
}

#[test]
fn a_record_counted_twice_is_found_with_its_key() {
    let verdict = judged(Mode::ExactlyOnce, 4, &[("a", 2), ("b", 1)]);
    assert!(verdict.is_err_and(|witness| witness.contains("key a")));
}

#[test]
fn a_lost_record_is_found_in_either_mode() {
    for mode in [Mode::ExactlyOnce, Mode::AtLeastOnce] {
        assert!(judged(mode, 6, &[("a", 1), ("b", 1)]).is_err());
    }
}

#[test]
fn at_least_once_may_count_twice() {
    assert_eq!(judged(Mode::AtLeastOnce, 4, &[("a", 2), ("b", 1)]), Ok(()));
}

#[test]
fn a_position_inside_a_line_is_no_cut() {
    assert!(judged(Mode::ExactlyOnce, 3, &[("a", 1), ("b", 1)]).is_err());
}
