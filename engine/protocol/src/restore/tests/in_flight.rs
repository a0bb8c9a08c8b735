//! Facts about who takes what was in flight.

use super::*;
use crate::metadata::{InputShape, Spread};
use crate::snapshot::InFlightHandle;

/// How many key groups.
const GROUPS: u32 = 8;

fn input(edge: &str, spread: Spread) -> InputShape {
    InputShape { edge: edge.into(), spread }
}

fn with_inputs(uid: &str, parallelism: u32, inputs: Vec<InputShape>) -> OperatorShape {
    OperatorShape { inputs, ..shape(uid, parallelism, GROUPS, 0) }
}

fn handle(edge: &str, subtask: u32, records: u64) -> InFlightHandle {
    let location = StateLocation::File { path: format!("chk-7/{edge}-{subtask}"), size_bytes: 1 };
    InFlightHandle { edge: edge.into(), location, records }
}

/// An operator without other state, and with something in flight to each subtask on each of these edges.
fn in_flight(uid: &str, parallelism: u32, edges: &[&str]) -> OperatorState {
    let subtask = |index| {
        let in_flight = edges.iter().map(|edge| handle(edge, index, GROUPS.into())).collect();
        (SubtaskIndex(index), SubtaskState { in_flight, ..SubtaskState::default() })
    };
    let subtasks = (0..parallelism).map(subtask).collect();
    let finished = Finished::Nobody;
    OperatorState { uid: uid.into(), parallelism, max_parallelism: max(GROUPS), states: Vec::new(), subtasks, finished }
}

/// What each subtask takes of the operator `a`, in order.
fn taken(metadata: &CheckpointMetadata, shape: OperatorShape) -> Vec<Vec<(InFlightHandle, Option<KeyGroupRange>)>> {
    let tasks = plan(metadata, &[shape]).expect("nothing would be lost");
    tasks.into_values().map(|mut task| task.operators.remove(0).in_flight).collect()
}

const RESCALINGS: [(u32, u32); 8] = [(1, 2), (2, 1), (2, 3), (3, 2), (1, 8), (8, 1), (5, 7), (3, 3)];

#[test]
fn by_key_each_record_goes_to_the_owner_of_its_group_and_to_nobody_else() {
    for (before, after) in RESCALINGS {
        let taken = taken(&metadata(vec![in_flight("a", before, &["e"])]), with_inputs("a", after, vec![input("e", Spread::ByKey)]));
        // A record of each group was in flight to the group's owner.
        for group in (0..GROUPS as u16).map(KeyGroup) {
            let held = handle("e", max(GROUPS).owner(group, before).0, GROUPS.into());
            let keeps = |owned: &Option<KeyGroupRange>| owned.is_none_or(|owned| owned.contains(group));
            let takers: Vec<usize> = (0..taken.len())
                .flat_map(|at| taken[at].iter().filter(|(handle, owned)| *handle == held && keeps(owned)).map(move |_| at))
                .collect();
            assert_eq!(takers, [max(GROUPS).owner(group, after).0 as usize], "{group} from {before} to {after}");
        }
        for (handle, owned) in taken.iter().flatten() {
            assert_eq!(owned.is_none(), before == after, "{handle:?} is {owned:?} from {before} to {after}");
        }
    }
}

#[test]
fn by_key_nobody_reads_what_has_nothing_for_him() {
    let taken = taken(&metadata(vec![in_flight("a", 2, &["e"])]), with_inputs("a", 4, vec![input("e", Spread::ByKey)]));
    let handles: Vec<usize> = taken.iter().map(Vec::len).collect();
    assert_eq!(handles, [1, 1, 1, 1]);
    assert_eq!(taken[1][0].0, handle("e", 0, GROUPS.into()));
    assert_eq!(taken[1][0].1.map(|owned| owned.to_string()).as_deref(), Some("k2..=k3"));
}

#[test]
fn in_turns_each_handle_goes_to_one_subtask_whole() {
    for (before, after) in RESCALINGS {
        let taken = taken(&metadata(vec![in_flight("a", before, &["e"])]), with_inputs("a", after, vec![input("e", Spread::RoundRobin)]));
        assert!(taken.iter().flatten().all(|(_, owned)| owned.is_none()));
        for subtask in 0..before {
            let takers = taken.iter().flatten().filter(|(taken, _)| *taken == handle("e", subtask, GROUPS.into())).count();
            assert_eq!(takers, 1, "s{subtask} from {before} to {after}");
        }
        let shares: Vec<usize> = taken.iter().map(Vec::len).collect();
        assert!(shares.iter().max() <= shares.iter().min().map(|least| least + 1).as_ref(), "{shares:?} from {before} to {after}");
    }
}

#[test]
fn at_the_same_parallelism_everybody_has_his_own() {
    for spread in [Spread::ByKey, Spread::RoundRobin, Spread::Never] {
        let taken = taken(&metadata(vec![in_flight("a", 3, &["e"])]), with_inputs("a", 3, vec![input("e", spread)]));
        for (index, taken) in (0..).zip(taken) {
            assert_eq!(taken, [(handle("e", index, GROUPS.into()), None)]);
        }
    }
}

#[test]
fn what_is_bound_to_its_subtask_refuses_another_parallelism() {
    let shape = |parallelism| with_inputs("a", parallelism, vec![input("e", Spread::Never)]);
    let error = plan(&metadata(vec![in_flight("a", 2, &["e"])]), &[shape(3)]).expect_err("nobody knows who wants them");
    assert_eq!(error.to_string(), "c7 has records in flight to a on e, which 3 subtasks cannot take from 2");
    let mut nothing = metadata(vec![in_flight("a", 2, &["e"])]);
    nothing.operators[0].subtasks.values_mut().flat_map(|state| &mut state.in_flight).for_each(|handle| handle.records = 0);
    assert!(plan(&nothing, &[shape(3)]).is_ok(), "where nothing is in flight nothing is asked");
    let elsewhere = metadata(vec![in_flight("a", 2, &["other"])]);
    let inputs = vec![input("e", Spread::Never), input("other", Spread::ByKey)];
    assert!(plan(&elsewhere, &[with_inputs("a", 3, inputs)]).is_ok(), "nor where it is in flight on another edge (FLINK-38267)");
}

#[test]
fn an_edge_that_is_gone_is_not_dropped_unless_that_was_asked_for() {
    let metadata = metadata(vec![in_flight("a", 2, &["gone"])]);
    for parallelism in [2, 3] {
        let shapes = [with_inputs("a", parallelism, vec![input("e", Spread::ByKey)])];
        let error = plan(&metadata, &shapes).expect_err("its records would be lost");
        assert_eq!(error.to_string(), "c7 has records in flight to a on gone, which is not in the job");
        let tasks = plan_with(&metadata, &shapes, UnclaimedState::Drop).expect("that was asked for");
        assert!(tasks.values().all(|task| task.operators[0].in_flight.is_empty()));
    }
    // An operator that is no longer the first of its chain has no edges; one that is gone altogether has state.
    assert!(matches!(plan(&metadata, &[with_inputs("a", 2, Vec::new())]), Err(RestoreError::UnknownEdge { .. })));
    assert!(matches!(plan(&metadata, &[shape("b", 2, GROUPS, 0)]), Err(RestoreError::UnknownOperator { .. })));
}

#[test]
fn edges_are_found_by_their_names_and_each_is_spread_in_its_own_way() {
    let metadata = metadata(vec![in_flight("a", 1, &["keyed", "any"])]);
    // Another order than before, and one more.
    let inputs = vec![input("new", Spread::Never), input("any", Spread::RoundRobin), input("keyed", Spread::ByKey)];
    let taken = taken(&metadata, with_inputs("a", 2, inputs));
    let edges = |at: usize| taken[at].iter().map(|(handle, owned)| (handle.edge.as_str(), owned.is_some())).collect::<Vec<_>>();
    assert_eq!(edges(0), [("keyed", true), ("any", false)]);
    assert_eq!(edges(1), [("keyed", true)]);
}

#[test]
fn keys_in_flight_need_the_same_key_groups() {
    let metadata = metadata(vec![in_flight("a", 2, &["e"])]);
    let with = |spread| OperatorShape { max_parallelism: max(16), ..with_inputs("a", 2, vec![input("e", spread)]) };
    let error = plan(&metadata, &[with(Spread::ByKey)]).expect_err("keys have other owners");
    assert_eq!(error.to_string(), "a has max parallelism 16, but its state in c7 was taken with 8");
    assert!(plan(&metadata, &[with(Spread::RoundRobin)]).is_ok());
}
