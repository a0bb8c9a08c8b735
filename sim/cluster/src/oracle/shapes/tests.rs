use super::*;
use crate::jobs::Log;
use crate::oracle::decode::InFlight;
use cofferdam_protocol::block::{write_block, write_end, write_header, FileKind};

/// Records of key k1 in a file.
fn file(names: &[&str]) -> Vec<u8> {
    let mut payload = Vec::new();
    for name in names {
        let mut record = Vec::new();
        ciborium::into_writer(&("k1", name, 0, 1, 2), &mut record).expect("texts and numbers");
        payload.extend_from_slice(&u32::try_from(record.len()).expect("short").to_le_bytes());
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

fn code(side: u64, name: &str) -> u64 {
    let origin = Origin { key: "k1".into(), name: name.into() };
    let (partition, line) = origin.place().expect("well-formed");
    side << 60 | u64::from(origin.source() == "b") << 56 | partition << 32 | (line + 1)
}

/// What key k1 has seen, by side; what is under way, by edge.
fn checkpoint(seen: &[(u64, &str)], under_way: &[(&str, &[&str])]) -> Checkpoint {
    let codes = seen.iter().map(|(side, name)| code(*side, name)).collect();
    let states = State::from([("seen".to_owned(), BTreeMap::from([("k1".to_owned(), Value::List(codes))]))]);
    let on_edge = |(edge, names): &(&str, &[&str])| {
        let uid = edge.split(['>', '#']).nth(1).unwrap_or("").to_owned();
        ((uid, 0), vec![InFlight { edge: (*edge).to_owned(), records: names.len() as u64, file: file(names) }])
    };
    Checkpoint {
        keyed: BTreeMap::from([("gather".to_owned(), states)]),
        in_flight: under_way.iter().map(on_edge).collect(),
        ..Checkpoint::default()
    }
}

fn prefix() -> Prefix<'static> {
    Prefix::from([("a", vec!["k1 a0-0", "k1 a0-1", "k1 a1-0"]), ("b", vec!["k1 b0-0"])])
}

fn cut(shape: Shape, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
    judge(shape, Mode::ExactlyOnce, &prefix(), checkpoint)
}

const DIAMOND: [&str; 2] = ["a->left#0", "chain-2->gather#0"];

/// Everything on both sides of a diamond, but for what is under way.
fn diamond(left: &[&str], right: &[&str], under_way: &[(&str, &[&str])]) -> Checkpoint {
    let sides = left.iter().map(|name| (0, *name)).chain(right.iter().map(|name| (1, *name)));
    let mut checkpoint = checkpoint(&sides.collect::<Vec<_>>(), under_way);
    let mut passed: BTreeMap<String, Value> = BTreeMap::new();
    for name in left {
        let Value::Number(count) = passed.entry(lane_of(name)).or_insert(Value::Number(0)) else { unreachable!() };
        *count += 1;
    }
    checkpoint.keyed.insert("left".into(), State::from([("passed".to_owned(), passed)]));
    checkpoint
}

#[test]
fn each_way_of_a_record_is_judged_by_itself() {
    let all = ["a0-0", "a0-1", "a1-0"];
    assert_eq!(cut(Shape::Diamond, &diamond(&all, &all, &[])), Ok(()));
    let under_way: [(&str, &[&str]); 2] = [(DIAMOND[0], &["a0-1"]), (DIAMOND[1], &["a1-0"])];
    assert_eq!(cut(Shape::Diamond, &diamond(&["a0-0", "a1-0"], &["a0-0", "a0-1"], &under_way)), Ok(()));
}

#[test]
fn a_record_that_is_lost_doubled_or_from_behind_the_cut_is_red() {
    let all = ["a0-0", "a0-1", "a1-0"];
    assert!(cut(Shape::Diamond, &diamond(&all, &all[..2], &[])).is_err_and(|red| red.contains("neither")));
    assert!(cut(Shape::Diamond, &diamond(&all, &all, &[(DIAMOND[1], &["a1-0"])])).is_err_and(|red| red.contains("and under way")));
    assert!(cut(Shape::Diamond, &diamond(&all, &["a0-0", "a0-1", "a1-0", "a1-0"], &[])).is_err_and(|red| red.contains("more than once")));
    assert!(cut(Shape::Diamond, &diamond(&all, &all, &[(DIAMOND[1], &["a1-7"])])).is_err_and(|red| red.contains("positions")));
    assert!(cut(Shape::Union, &checkpoint(&[(0, "a0-0"), (0, "a0-1"), (0, "a1-0")], &[])).is_err_and(|red| red.contains("b0-0")));
}

#[test]
fn counts_between_two_exchanges_are_judged_too() {
    let all = ["a0-0", "a0-1", "a1-0"];
    let mut wrong = diamond(&all, &all, &[]);
    wrong.keyed.get_mut("left").expect("it is there").clear();
    assert!(cut(Shape::Diamond, &wrong).is_err_and(|red| red.contains("left has passed on")));
}

#[test]
fn at_least_once_may_repeat_and_must_not_lose() {
    let judge = |seen: &[(u64, &str)]| judge(Shape::Join, Mode::AtLeastOnce, &prefix(), &checkpoint(seen, &[]));
    let all = [(0, "a0-0"), (0, "a0-1"), (0, "a0-0"), (0, "a1-0"), (1, "b0-0")];
    assert_eq!(judge(&all), Ok(()));
    assert!(judge(&all[..4]).is_err());
}

#[test]
fn a_channel_keeps_its_order_and_channels_need_not() {
    let judge = |seen: &[(u64, &str)], under_way: &[(&str, &[&str])]| order::judge(Shape::Union, &checkpoint(seen, under_way));
    assert_eq!(judge(&[(0, "a1-0"), (0, "a0-0"), (0, "b0-0"), (0, "a0-1")], &[]), Ok(()));
    assert!(judge(&[(0, "a0-1"), (0, "a0-0")], &[]).is_err());
    let onward = "chain-2->gather#0";
    assert_eq!(judge(&[(0, "a0-1")], &[(onward, &["a1-0", "a0-2", "a0-3"])]), Ok(()));
    assert!(judge(&[(0, "a0-1")], &[(onward, &["a0-3", "a0-2"])]).is_err());
    assert!(judge(&[(0, "a0-2")], &[(onward, &["a0-1"])]).is_err_and(|red| red.contains("went ahead")));
}

#[test]
fn where_another_key_is_in_between_only_that_keeps_its_order() {
    let judge = |seen: &[(u64, &str)]| order::judge(Shape::Diamond, &checkpoint(seen, &[]));
    assert_eq!(judge(&[(0, "a0-1"), (0, "a0-0")]), Ok(()));
    assert!(judge(&[(0, "a0-6"), (0, "a0-1")]).is_err());
    assert!(judge(&[(1, "a0-1"), (1, "a0-0")]).is_err());
    assert_eq!(order::judge(Shape::Shuffle, &checkpoint(&[(0, "a0-6"), (0, "a0-1")], &[])), Ok(()));
}

/// Rows of a table: each record and the one before it.
fn merged(rows: &[(&str, &str)], whole: bool) -> Result<(), Contradiction> {
    let logs = [
        Log { source: "a", partitions: vec![("p".into(), vec!["k1 a0-0".into(), "k1 a0-1".into()])] },
        Log { source: "b", partitions: vec![("q".into(), vec!["k1 b0-0".into()])] },
    ];
    let number = |name: &str| if name == "-" { 0 } else { code(u64::from(name.starts_with('b')), name) };
    let rows = rows.iter().map(|(name, before)| (format!("k1/{}", number(name)), number(before).to_string())).collect();
    merge::judge(Shape::Join, Mode::ExactlyOnce, whole, &logs, &rows)
}

#[test]
fn every_order_in_which_channels_can_be_read_is_accepted() {
    assert_eq!(merged(&[("a0-0", "-"), ("a0-1", "a0-0"), ("b0-0", "a0-1")], true), Ok(()));
    assert_eq!(merged(&[("a0-0", "-"), ("b0-0", "a0-0"), ("a0-1", "b0-0")], true), Ok(()));
    assert_eq!(merged(&[("b0-0", "-"), ("a0-0", "b0-0"), ("a0-1", "a0-0")], true), Ok(()));
}

#[test]
fn rows_of_two_different_orders_are_explained_by_none() {
    assert!(merged(&[("a0-0", "-"), ("a0-1", "a0-0"), ("b0-0", "a0-0")], true).is_err_and(|red| red.contains("right behind")));
    assert!(merged(&[("a0-0", "-"), ("a0-1", "b0-0"), ("b0-0", "a0-1")], true).is_err_and(|red| red.contains("circle")));
    assert!(merged(&[("a0-1", "-"), ("a0-0", "a0-1"), ("b0-0", "a0-0")], true).is_err_and(|red| red.contains("same channel")));
    assert!(merged(&[("a0-0", "-"), ("b0-0", "a0-0")], true).is_err_and(|red| red.contains("no row")));
}

#[test]
fn a_job_that_goes_on_has_the_end_of_each_channel() {
    assert_eq!(merged(&[("b0-0", "a0-0"), ("a0-1", "b0-0")], false), Ok(()));
    assert_eq!(merged(&[], false), Ok(()));
    assert!(merged(&[("a0-0", "b0-0")], false).is_err_and(|red| red.contains("came before")));
    assert!(merged(&[("b0-0", "a0-0"), ("a0-1", "b0-0")], true).is_err());
}
