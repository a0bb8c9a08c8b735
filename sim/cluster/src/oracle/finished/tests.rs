use super::*;

fn logs() -> Vec<Log> {
    let partition = |index: u32| (format!("/shared/input/lines-{index}"), vec!["a b".to_owned(), "c".to_owned()]);
    vec![Log { source: "lines", partitions: (0..3).map(partition).collect() }]
}

/// Partition 1 is named, as far as this; these subtasks of these operators had finished.
fn checkpoint(offset: u64, finished: &[(&str, &[u32])]) -> Checkpoint {
    let positions = BTreeMap::from([("lines".to_owned(), BTreeMap::from([(1, offset)]))]);
    let finished = finished.iter().map(|(uid, gone)| ((*uid).to_owned(), gone.iter().copied().collect())).collect();
    Checkpoint { positions, finished, ..Checkpoint::default() }
}

#[test]
fn what_nobody_names_was_read_to_its_end_by_who_had_finished() {
    let mut read = checkpoint(4, &[("lines", &[0])]);
    complete(JobKind::WordCount, &logs(), &ReadOut::new(), &mut read);
    assert_eq!(read.positions["lines"], BTreeMap::from([(0, 6), (1, 4), (2, 6)]));
    assert_eq!(read.read_out, ReadOut::from([("lines".to_owned(), BTreeSet::from([0, 2]))]));
}

#[test]
fn where_nobody_had_finished_only_what_was_known_before_counts() {
    let mut read = checkpoint(4, &[]);
    complete(JobKind::WordCount, &logs(), &ReadOut::from([("lines".to_owned(), BTreeSet::from([2]))]), &mut read);
    assert_eq!(read.positions["lines"], BTreeMap::from([(1, 4), (2, 6)]), "partition 0 is missing");
}

#[test]
fn whoever_keeps_state_finishes_when_everything_has_come() {
    let judge = |offset, finished| {
        let mut read = checkpoint(offset, finished);
        complete(JobKind::WordCount, &logs(), &ReadOut::new(), &mut read);
        keepers(JobKind::WordCount, &logs(), &read)
    };
    assert_eq!(judge(6, &[("lines", &[0, 1]), ("count", &[0])]), Ok(true));
    assert_eq!(judge(4, &[("lines", &[0])]), Ok(false));
    assert!(judge(4, &[("lines", &[0]), ("count", &[0])]).is_err_and(|red| red.contains("read up to Some(4) of 6")));
}
