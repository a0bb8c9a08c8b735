//! Who had finished, at any parallelism.

use super::*;
use crate::restore::finished;

fn which(subtasks: &[u32]) -> BTreeSet<SubtaskIndex> {
    subtasks.iter().copied().map(SubtaskIndex).collect()
}

/// State of an operator of which these had finished.
fn without(uid: &str, parallelism: u32, gone: &[u32]) -> OperatorState {
    let mut state = state(uid, parallelism, 8, |index| vec![list("positions", [index * 10, index * 10 + 1])]);
    state.subtasks.retain(|subtask, _| !gone.contains(&subtask.0));
    state.finished = Finished::of(which(gone), parallelism);
    state
}

fn tasks(vertex: u32, subtasks: impl IntoIterator<Item = u32>) -> BTreeSet<TaskId> {
    subtasks.into_iter().map(|subtask| TaskId::new(vertex, subtask)).collect()
}

/// Who reads from whom where everybody gets records of everybody.
fn all_to_all(from: u32, to: u32) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
    tasks(1, 0..to).into_iter().map(|task| (task, tasks(0, 0..from))).collect()
}

#[test]
fn a_chain_that_had_finished_has_at_any_parallelism() {
    for parallelism in 1..5 {
        let stored = metadata(vec![without("a", 2, &[0, 1]), without("b", 2, &[])]);
        let shapes = [shape("a", parallelism, 8, 0), shape("b", 2, 8, 1)];
        assert_eq!(finished(&stored, &shapes, &all_to_all(parallelism, 2)), Ok(tasks(0, 0..parallelism)));
        assert!(plan(&stored, &shapes).is_ok(), "nothing is missing");
    }
}

#[test]
fn of_one_that_had_in_part_nobody_has_at_another_parallelism() {
    let stored = metadata(vec![without("a", 3, &[1])]);
    assert_eq!(finished(&stored, &[shape("a", 3, 8, 0)], &BTreeMap::new()), Ok(tasks(0, [1])));
    assert_eq!(finished(&stored, &[shape("a", 2, 8, 0)], &BTreeMap::new()), Ok(BTreeSet::new()));
}

/// What the finished one had read is nobody's, at the same parallelism and at any other.
#[test]
fn what_had_been_read_to_its_end_falls_to_nobody() {
    let stored = metadata(vec![without("a", 3, &[1])]);
    for parallelism in 1..5 {
        let restored = plan(&stored, &[shape("a", parallelism, 8, 0)]).expect("nothing is missing");
        let items = restored.values().flat_map(|task| &task.operators).flat_map(|operator| &operator.lists).flat_map(|list| &list.items);
        let mut read: Vec<u32> = items.map(|item| u32::from_le_bytes(item[..].try_into().expect("four bytes"))).collect();
        read.sort_unstable();
        assert_eq!(read, [0, 1, 20, 21], "with {parallelism}");
    }
    let same = plan(&stored, &[shape("a", 3, 8, 0)]).expect("nothing is missing");
    assert_eq!(same[&TaskId::new(0, 2)].operators[0].lists, [list("positions", [20, 21])], "each keeps its own");
}

#[test]
fn a_graph_in_which_somebody_would_give_to_who_is_gone_is_refused() {
    let stored = metadata(vec![without("a", 2, &[1]), without("b", 2, &[0, 1])]);
    let refused = finished(&stored, &[shape("a", 2, 8, 0), shape("b", 2, 8, 1)], &all_to_all(2, 2));
    let (task, before) = (TaskId::new(1, 0), TaskId::new(0, 0));
    assert_eq!(refused, Err(RestoreError::FinishedBehindOthers { checkpoint: CheckpointId(7), task, before }));
    // A source that is new in the job has everything to give.
    let stored = metadata(vec![without("b", 2, &[0, 1])]);
    assert!(finished(&stored, &[shape("new", 2, 8, 0), shape("b", 2, 8, 1)], &all_to_all(2, 2)).is_err());
}

#[test]
fn a_chain_of_what_had_finished_and_what_had_not_is_refused() {
    let stored = metadata(vec![without("a", 2, &[0, 1]), without("b", 2, &[])]);
    let refused = finished(&stored, &[shape("a", 2, 8, 0), shape("b", 2, 8, 0)], &BTreeMap::new());
    let (finished_one, other) = ("a".into(), "b".into());
    assert_eq!(refused, Err(RestoreError::FinishedInPart { checkpoint: CheckpointId(7), finished: finished_one, other }));
    let with_a_new_one = finished(&stored, &[shape("new", 2, 8, 0), shape("a", 2, 8, 0)], &BTreeMap::new());
    assert!(with_a_new_one.is_err(), "it would never be opened");
}
