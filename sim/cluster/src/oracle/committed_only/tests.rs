use super::*;

fn logs() -> Vec<Log> {
    let lines = |partition: u32| (0..4).map(|index| format!("k{index} {partition}-{index}")).collect();
    vec![Log { source: "parcels", partitions: (0..2).map(|partition| (format!("/in/{partition}"), lines(partition))).collect() }]
}

/// Each line has 7 bytes with its end.
fn positions(first: u64, second: u64) -> BTreeMap<String, BTreeMap<u32, u64>> {
    BTreeMap::from([("parcels".to_owned(), BTreeMap::from([(0, first * 7), (1, second * 7)]))])
}

fn look(judge: &mut CommittedOnly, files: &[(&str, &str)]) -> Result<(), String> {
    let names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    judge.look(&names, &|name| {
        let found = files.iter().find(|(other, _)| *other == name);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "gone".to_owned())
    })
}

#[test]
fn what_is_before_the_positions_of_a_completed_checkpoint_may_be_seen() {
    let mut judge = CommittedOnly::default();
    look(&mut judge, &[]).expect("nothing is there");
    judge.completed(&logs(), &positions(2, 1), &BTreeSet::new());
    look(&mut judge, &[("a", "k0 0-0\nk1 0-1\n")]).expect("both are before");
    assert!(judge.all_is_published(&logs()).is_err_and(|missing| missing.contains("0") && missing.contains("k0 1-0")));
    look(&mut judge, &[("a", "k0 0-0\nk1 0-1\n"), ("b", "k0 1-0\n")]).expect("as well");
    judge.all_is_published(&logs()).expect("all three");
}

#[test]
fn a_row_behind_the_positions_is_red() {
    let mut judge = CommittedOnly::default();
    assert!(look(&mut judge, &[("a", "k0 0-0\n")]).is_err(), "no checkpoint is complete");
    judge.completed(&logs(), &positions(2, 0), &BTreeSet::new());
    let witness = look(&mut judge, &[("c", "k0 0-0\nk2 0-2\n")]);
    assert!(witness.is_err_and(|witness| witness.contains("k2 0-2")));
    // An older checkpoint takes nothing back.
    judge.completed(&logs(), &positions(1, 0), &BTreeSet::new());
    look(&mut judge, &[("b", "k1 0-1\n")]).expect("it was complete before");
}

#[test]
fn a_row_that_is_there_twice_is_red_also_in_two_files() {
    let mut judge = CommittedOnly::default();
    judge.completed(&logs(), &positions(4, 4), &BTreeSet::new());
    look(&mut judge, &[("a", "k0 0-0\n")]).expect("once");
    assert!(look(&mut judge, &[("a", "k0 0-0\n"), ("b", "k0 0-0\n")]).is_err());
    assert!(look(&mut judge, &[("c", "k0 0-0\nk0 0-0\n")]).is_err());
}

#[test]
fn a_file_that_is_torn_or_strange_is_red() {
    let mut judge = CommittedOnly::default();
    judge.completed(&logs(), &positions(4, 4), &BTreeSet::new());
    assert!(look(&mut judge, &[("a", "k0 0-0\nk1 0")]).is_err());
    assert!(look(&mut judge, &[("a", "hello\n")]).is_err());
}

#[test]
fn at_the_end_each_record_is_there_exactly_once() {
    let all: String = logs().iter().flat_map(|log| &log.partitions).flat_map(|(_, lines)| lines).map(|line| format!("{line}\n")).collect();
    let judged = |files: &[&str]| delivered(&logs(), files.iter().map(|text| ("a", text.as_bytes())));
    judged(&[&all]).expect("all of them");
    assert!(judged(&[&all[7..]]).is_err(), "one is missing");
    assert!(judged(&[&all, "k0 0-0\n"]).is_err(), "one is there twice");
    assert!(judged(&[&all, "k9 9-9\n"]).is_err(), "one is too much");
}

#[test]
fn a_row_that_is_under_way_may_not_be_seen_before_a_checkpoint_has_it_behind_it() {
    let mut judge = CommittedOnly::default();
    let under_way = BTreeSet::from(["k1 0-1".to_owned()]);
    judge.completed(&logs(), &positions(3, 0), &under_way);
    look(&mut judge, &[("a", "k0 0-0\nk2 0-2\n")]).expect("both are before, and not under way");
    judge.all_is_published(&logs()).expect("the third is held back");
    let witness = look(&mut judge, &[("a", "k0 0-0\nk2 0-2\n"), ("b", "k1 0-1\n")]);
    assert!(witness.is_err_and(|witness| witness.contains("k1 0-1")));
    judge.completed(&logs(), &positions(3, 1), &BTreeSet::from(["k0 1-0".to_owned()]));
    look(&mut judge, &[("a", "k0 0-0\nk2 0-2\n"), ("b", "k1 0-1\n")]).expect("it is behind this one");
    assert!(look(&mut judge, &[("c", "k0 1-0\n")]).is_err(), "another one is under way now");
}
