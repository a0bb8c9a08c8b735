//! Facts about who restores what.

use super::plan as plan_with;
use super::*;
use crate::ids::{AttemptId, KeyGroup, VertexId};
use crate::metadata::{SnapshotKind, SubtaskState};
use crate::snapshot::{Layout, StateLocation, TypeVersion};
use alloc::format;
use alloc::vec;
use proptest::prelude::*;

fn plan(metadata: &CheckpointMetadata, operators: &[OperatorShape]) -> Result<BTreeMap<TaskId, TaskRestore>, RestoreError> {
    plan_with(metadata, operators, UnclaimedState::Refuse)
}

fn max(count: u32) -> MaxParallelism {
    MaxParallelism::new(count).expect("between 1 and 32768")
}

fn shape(uid: &str, parallelism: u32, groups: u32, vertex: u32) -> OperatorShape {
    OperatorShape {
        uid: uid.into(),
        parallelism,
        max_parallelism: max(groups),
        vertex: VertexId(vertex),
        states: Vec::new(),
        inputs: Vec::new(),
        publishes: false,
    }
}

fn list(name: &str, items: impl IntoIterator<Item = u32>) -> ListState {
    ListState {
        name: name.into(),
        redistribution: Redistribution::Split,
        items: items.into_iter().map(|item| item.to_le_bytes().to_vec()).collect(),
    }
}

/// State as subtasks of the given parallelism take it: each group in its owner's handle.
fn state(uid: &str, parallelism: u32, groups: u32, lists: impl Fn(u32) -> Vec<ListState>) -> OperatorState {
    let subtasks = (0..parallelism).map(|index| {
        let owned = max(groups).range_of(SubtaskIndex(index), parallelism);
        let location = StateLocation::File { path: format!("chk-7/{uid}-{index}"), size_bytes: 1 };
        let keyed = owned.into_iter().map(|groups| KeyedHandle { groups, location: location.clone(), layout: Layout::Blocks }).collect();
        (SubtaskIndex(index), SubtaskState { keyed, lists: lists(index), in_flight: Vec::new() })
    });
    let (subtasks, finished) = (subtasks.collect(), Finished::Nobody);
    OperatorState { uid: uid.into(), parallelism, max_parallelism: max(groups), states: Vec::new(), subtasks, finished }
}

fn metadata(operators: Vec<OperatorState>) -> CheckpointMetadata {
    let (job, attempt) = (String::from("j"), AttemptId::default());
    CheckpointMetadata {
        job,
        checkpoint: CheckpointId(7),
        attempt,
        kind: SnapshotKind::Checkpoint,
        hooks: Vec::new(),
        enumerators: Vec::new(),
        operators,
    }
}

fn no_lists(_: u32) -> Vec<ListState> {
    Vec::new()
}

proptest! {
    #[test]
    fn every_key_group_of_every_operator_is_restored_once_by_its_owner(
        groups in 1u32..200, before in 1u32..40, after in 1u32..40, chained in any::<bool>(),
    ) {
        let other = if chained { 0 } else { 1 };
        let metadata = metadata(vec![state("a", before, groups, no_lists), state("b", before, groups, no_lists)]);
        let tasks = plan(&metadata, &[shape("a", after, groups, 0), shape("b", after, groups, other)]).expect("nothing is missing");
        prop_assert_eq!(tasks.len(), (after * if chained { 1 } else { 2 }) as usize);
        for uid in ["a", "b"] {
            let mut restored: BTreeMap<KeyGroup, (SubtaskIndex, KeyedHandle)> = BTreeMap::new();
            for (task, restore) in &tasks {
                for (handle, taken) in restore.operators.iter().filter(|part| part.uid == uid).flat_map(|part| &part.keyed) {
                    for group in (taken.first.0..=taken.last.0).map(KeyGroup) {
                        let twice = restored.insert(group, (task.subtask, handle.clone()));
                        prop_assert!(twice.is_none(), "{} is restored twice", group);
                    }
                }
            }
            prop_assert_eq!(restored.len(), groups as usize);
            for (group, (subtask, handle)) in restored {
                prop_assert_eq!(subtask, max(groups).owner(group, after));
                prop_assert!(handle.groups.contains(group));
            }
        }
    }

    #[test]
    fn list_items_are_neither_lost_nor_doubled_and_spread_evenly(
        sizes in prop::collection::vec((0u32..9, 0u32..9), 1..8), after in 1u32..8,
    ) {
        let before = u32::try_from(sizes.len()).expect("below 8");
        let item = |subtask: u32, at: u32| subtask * 100 + at;
        let metadata = metadata(vec![state("a", before, 8, |index| {
            let (x, y) = sizes[index as usize];
            vec![list("x", (0..x).map(|at| item(index, at))), list("y", (0..y).map(|at| item(index, at)))]
        })]);
        let tasks = plan(&metadata, &[shape("a", after, 8, 0)]).expect("nothing is missing");
        for name in ["x", "y"] {
            let all = |states: &mut dyn Iterator<Item = &ListState>| -> Vec<Vec<u8>> {
                let mut items: Vec<Vec<u8>> = states.filter(|list| list.name == name).flat_map(|list| list.items.clone()).collect();
                items.sort();
                items
            };
            let wanted = all(&mut metadata.operators[0].subtasks.values().flat_map(|state| &state.lists));
            let got = all(&mut tasks.values().flat_map(|task| &task.operators[0].lists));
            prop_assert_eq!(&got, &wanted);
            let shares: Vec<usize> = tasks.values().map(|task| {
                let lists: Vec<&ListState> = task.operators[0].lists.iter().filter(|list| list.name == name).collect();
                assert_eq!(lists.len(), 1, "every subtask knows the name, once");
                lists[0].items.len()
            }).collect();
            if before != after {
                let (least, most) = (shares.iter().min().expect("not empty"), shares.iter().max().expect("not empty"));
                prop_assert!(most - least <= 1, "{:?}", shares);
            }
        }
    }
}

#[test]
fn at_the_same_parallelism_lists_stay_where_they_were() {
    let lists = |index| vec![list("x", 0..index * 3)];
    let metadata = metadata(vec![state("a", 3, 8, lists)]);
    let tasks = plan(&metadata, &[shape("a", 3, 8, 0)]).expect("nothing is missing");
    for index in 0..3 {
        assert_eq!(tasks[&TaskId::new(0, index)].operators[0].lists, lists(index));
    }
}

#[test]
fn many_short_lists_do_not_all_go_to_the_first_subtask() {
    let metadata = metadata(vec![state("a", 1, 8, |_| vec![list("x", [1]), list("y", [2]), list("z", [3])])]);
    let tasks = plan(&metadata, &[shape("a", 3, 8, 0)]).expect("nothing is missing");
    for task in tasks.values() {
        assert_eq!(task.operators[0].lists.iter().map(|list| list.items.len()).sum::<usize>(), 1);
    }
}

#[test]
fn operators_of_a_chain_are_restored_in_its_order() {
    let metadata = metadata(vec![state("a", 1, 8, no_lists), state("z", 1, 8, no_lists)]);
    let tasks = plan(&metadata, &[shape("z", 1, 8, 4), shape("new", 1, 8, 4), shape("a", 1, 8, 4)]).expect("nothing is missing");
    let operators = &tasks[&TaskId::new(4, 0)].operators;
    let uids: Vec<&str> = operators.iter().map(|part| part.uid.as_str()).collect();
    assert_eq!(uids, ["z", "new", "a"]);
    assert!(operators[1].keyed.is_empty() && operators[1].lists.is_empty());
}

#[test]
fn another_max_parallelism_is_refused_with_both_numbers_where_there_are_keys() {
    let keyed = metadata(vec![state("a", 2, 8, no_lists)]);
    let error = plan(&keyed, &[shape("a", 2, 16, 0)]).expect_err("keys are not where they were");
    assert_eq!(error.to_string(), "a has max parallelism 16, but its state in c7 was taken with 8");
    let mut unkeyed = metadata(vec![state("a", 2, 8, |_| vec![list("x", [1])])]);
    for subtask in unkeyed.operators[0].subtasks.values_mut() {
        subtask.keyed.clear();
    }
    assert!(plan(&unkeyed, &[shape("a", 2, 16, 0)]).is_ok());
}

#[test]
fn state_of_an_operator_that_is_not_in_the_job_is_not_dropped() {
    let mut metadata = metadata(vec![state("a", 1, 8, no_lists), state("b", 1, 8, no_lists)]);
    let shapes = [shape("a", 1, 8, 0)];
    let error = plan(&metadata, &shapes).expect_err("b would be lost");
    assert_eq!(error, RestoreError::UnknownOperator { checkpoint: CheckpointId(7), uid: "b".into() });
    metadata.operators[1].subtasks.values_mut().for_each(|state| *state = SubtaskState::default());
    assert!(plan(&metadata, &shapes).is_ok(), "an operator without state may go");
}

#[test]
fn missing_state_of_a_subtask_is_an_error_whatever_the_parallelism_says() {
    let mut metadata = metadata(vec![state("a", 3, 8, no_lists)]);
    metadata.operators[0].subtasks.remove(&SubtaskIndex(1));
    let missing = |subtask| RestoreError::SubtaskMissing { checkpoint: CheckpointId(7), uid: "a".into(), subtask };
    assert_eq!(plan(&metadata, &[shape("a", 2, 8, 0)]), Err(missing(SubtaskIndex(1))));
    metadata.operators[0] = state("a", 3, 8, no_lists);
    metadata.operators[0].parallelism = u32::MAX;
    assert_eq!(plan(&metadata, &[shape("a", 2, 8, 0)]), Err(missing(SubtaskIndex(3))));
}

#[test]
fn contradictions_are_errors() {
    let mut overlapping = state("a", 2, 8, no_lists);
    overlapping.subtasks.get_mut(&SubtaskIndex(1)).expect("there are two").keyed[0].groups.first = KeyGroup(3);
    let error = plan(&metadata(vec![overlapping]), &[shape("a", 2, 8, 0)]).expect_err("k3 would be doubled");
    assert_eq!(error.to_string(), "c7: a: k3 is in two handles");
    let duplicate = Err(RestoreError::DuplicateOperator { uid: "a".into() });
    assert_eq!(plan(&metadata(Vec::new()), &[shape("a", 1, 8, 0), shape("a", 1, 8, 1)]), duplicate);
    assert_eq!(plan(&metadata(vec![state("a", 1, 8, no_lists), state("a", 1, 8, no_lists)]), &[shape("a", 1, 8, 0)]), duplicate);
    assert_eq!(plan(&metadata(Vec::new()), &[shape("a", 0, 8, 0)]), Err(RestoreError::NoSubtasks { uid: "a".into() }));
}

fn redistributed(name: &str, redistribution: Redistribution, items: impl IntoIterator<Item = u32>) -> ListState {
    ListState { redistribution, ..list(name, items) }
}

#[test]
fn everybody_gets_the_whole_of_a_union_list_also_at_the_same_parallelism() {
    let lists = |index: u32| vec![redistributed("u", Redistribution::Union, [index])];
    let metadata = metadata(vec![state("a", 2, 8, lists)]);
    for parallelism in [1, 2, 3] {
        let tasks = plan(&metadata, &[shape("a", parallelism, 8, 0)]).expect("nothing is missing");
        for restore in tasks.values() {
            assert_eq!(restore.operators[0].lists, vec![redistributed("u", Redistribution::Union, [0, 1])]);
        }
    }
}

#[test]
fn everybody_gets_one_copy_of_a_broadcast_list() {
    let lists = |index: u32| vec![redistributed("b", Redistribution::Broadcast, [index, 7])];
    let metadata = metadata(vec![state("a", 2, 8, lists)]);
    let tasks = plan(&metadata, &[shape("a", 3, 8, 0)]).expect("nothing is missing");
    let copies: Vec<_> = tasks.values().map(|restore| restore.operators[0].lists.clone()).collect();
    let copy = |index| vec![redistributed("b", Redistribution::Broadcast, [index, 7])];
    assert_eq!(copies, vec![copy(0), copy(1), copy(0)]);
}

#[test]
fn state_of_an_operator_that_is_gone_is_dropped_only_if_that_was_asked_for() {
    let metadata = metadata(vec![state("a", 1, 8, no_lists), state("gone", 1, 8, no_lists)]);
    assert!(matches!(plan(&metadata, &[shape("a", 1, 8, 0)]), Err(RestoreError::UnknownOperator { .. })));
    assert!(plan_with(&metadata, &[shape("a", 1, 8, 0)], UnclaimedState::Drop).is_ok());
}

#[test]
fn a_state_of_another_type_is_refused_with_both_versions_before_anything_starts() {
    let of = |value: &str, version| StateShape {
        name: "total".into(),
        kind: 1,
        key: TypeVersion { name: "u64".into(), version: 1 },
        value: TypeVersion { name: value.into(), version },
    };
    let taken = |value, version| {
        let mut operator = state("a", 1, 8, no_lists);
        operator.states = vec![of(value, version)];
        metadata(vec![operator])
    };
    let job = |oldest_readable| {
        let mut shape = shape("a", 1, 8, 0);
        shape.states = vec![DeclaredState { shape: of("Account", 3), oldest_readable, twin: Some("expiring<Account>".into()) }];
        vec![shape]
    };
    assert!(plan(&taken("Account", 3), &job(3)).is_ok());
    assert!(plan(&taken("Account", 2), &job(2)).is_ok(), "there is a migration");
    assert!(plan(&taken("expiring<Account>", 2), &job(2)).is_ok(), "time-to-live may be switched off");
    for metadata in [taken("Account", 2), taken("Account", 4), taken("Balance", 3), taken("expiring<Account>", 2)] {
        let error = plan(&metadata, &job(3)).expect_err("it would be misread").to_string();
        assert!(error.contains("state total of a") && error.contains("Account v3"), "{error}");
    }
}

#[test]
fn keys_and_kinds_of_state_do_not_migrate() {
    let version = |name: &str, version| TypeVersion { name: name.into(), version };
    let stored = StateShape { name: "total".into(), kind: 1, key: version("page", 1), value: version("Account", 2) };
    let mut operator = state("a", 1, 8, no_lists);
    operator.states = vec![stored.clone()];
    let metadata = metadata(vec![operator]);
    let planned = |wanted: StateShape| {
        let mut shape = shape("a", 1, 8, 0);
        shape.states = vec![DeclaredState { shape: wanted, oldest_readable: 1, twin: None }];
        plan(&metadata, &[shape])
    };
    assert!(planned(stored.clone()).is_ok());
    let error = planned(StateShape { key: version("page", 2), ..stored.clone() }).expect_err("keys are where their hash says").to_string();
    assert_eq!(error, "c7 has state total of a as Account v2 by page v1 (kind 1), the job reads Account v2 by page v2 (kind 1)");
    assert!(planned(StateShape { key: version("site", 1), ..stored.clone() }).is_err());
    assert!(planned(StateShape { kind: 2, ..stored }).is_err());
}

mod finished;
mod in_flight;
