//! Who loads what when a job starts from a checkpoint (Flink: `StateAssignmentOperation`).
//!
//! Lives here: the way from state as it was taken to tasks as they are now, at any parallelism.
//! Never here: reading the state.
//!
//! Keyed state goes by key group: a subtask takes from every handle the groups that it owns now. Operator list state stays
//! where it is as long as the parallelism does; otherwise the items of each name are dealt out evenly, in order, and the
//! next name begins where the last one left off, so that many short lists do not all end up with the first subtasks
//! (`RoundRobinOperatorStateRepartitioner`). Union lists go to everybody, whole; broadcast lists are copies, one for each. What was in
//! flight goes edge by edge (`in_flight`).

use crate::ids::{CheckpointId, SubtaskIndex, TaskId};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::metadata::{CheckpointMetadata, DeclaredState, Finished, Inconsistent, OperatorShape, OperatorState, SubtaskState};
use crate::snapshot::{InFlightHandle, KeyedHandle, ListState, Redistribution, StateShape};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What to do with state that no operator of the job claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnclaimedState {
    /// It would be lost: refuse.
    #[default]
    Refuse,
    /// The user wants it dropped (`execution.state-recovery.ignore-unclaimed-state`).
    Drop,
}

/// What one task loads before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskRestore {
    /// One for each operator of its chain, in the order of the shapes, also where there is nothing to load.
    pub operators: Vec<OperatorRestore>,
}

/// What one subtask of one operator loads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorRestore {
    /// The operator's stable name.
    pub uid: String,
    /// The keyed states and the types that they were written with, by name.
    pub states: Vec<StateShape>,
    /// Keyed state: the handle, and which key groups to take of what it holds.
    pub keyed: Vec<(KeyedHandle, KeyGroupRange)>,
    /// Operator list state. A name that is known but of which nothing fell to this subtask is here with no items.
    pub lists: Vec<ListState>,
    /// What was in flight, to be processed before anything that is new: the handle, and whose records of it to take; `None`: all.
    pub in_flight: Vec<(InFlightHandle, Option<KeyGroupRange>)>,
}

/// A checkpoint that this job cannot start from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The number of key groups has changed, so keys are not where they were. Set max parallelism back to what it was.
    #[error("{uid} has max parallelism {wanted}, but its state in {checkpoint} was taken with {stored}")]
    MaxParallelism {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        uid: String,
        /// As in the checkpoint.
        stored: MaxParallelism,
        /// As in the job.
        wanted: MaxParallelism,
    },
    /// There is state of an operator that the job does not have; starting without would lose it. Give the operator its
    /// uid back.
    #[error("{checkpoint} has state of {uid}, which is not in the job")]
    UnknownOperator {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        uid: String,
    },
    /// The state of a subtask is missing. Restore another checkpoint; file a bug.
    #[error("{checkpoint} lacks the state of {uid} {subtask}")]
    SubtaskMissing {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        uid: String,
        /// The subtask, as it was.
        subtask: SubtaskIndex,
    },
    /// Two operators have the same name, in the job or in the checkpoint. Give each its own.
    #[error("two operators are called {uid}")]
    DuplicateOperator {
        /// The name.
        uid: String,
    },
    /// An operator of the job has no subtask that could take the state.
    #[error("{uid} has parallelism 0")]
    NoSubtasks {
        /// The operator.
        uid: String,
    },
    /// A state was written with a type that the program does not read. Give the type a migration from that version, or give the
    /// state a new name.
    #[error("{checkpoint} has state {state} of {uid} as {stored}, the job reads {wanted}")]
    StateType {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The operator.
        uid: String,
        /// The state.
        state: String,
        /// Its types and their versions as stored.
        stored: String,
        /// The same as declared.
        wanted: String,
    },
    /// There are records in flight on an edge that the job does not have; starting without would lose them. Give the operator its input
    /// back, or begin from a savepoint, which has nothing in flight.
    #[error("{checkpoint} has records in flight to {uid} on {edge}, which is not in the job")]
    UnknownEdge {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The first operator of the chain that they were in flight to.
        uid: String,
        /// The edge, as it was called.
        edge: String,
    },
    /// There are records in flight that only the very subtasks can take which they were in flight to. Set the parallelism back, or begin
    /// from a savepoint, which has nothing in flight.
    #[error("{checkpoint} has records in flight to {uid} on {edge}, which {wanted} subtasks cannot take from {stored}")]
    InFlightBound {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The first operator of the chain that they were in flight to.
        uid: String,
        /// The edge.
        edge: String,
        /// How many subtasks there were.
        stored: u32,
        /// How many there are now.
        wanted: u32,
    },
    /// A chain of the job is made of operators that had finished and of others: it can neither be run nor left out. Take apart what was
    /// not together when the checkpoint was taken, or begin from an earlier one.
    #[error("{checkpoint} says that {finished} has finished, and not so of {other} in the same chain")]
    FinishedInPart {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The one.
        finished: String,
        /// The other.
        other: String,
    },
    /// What a task that has finished would read from has not: its output would come to nobody. Give the job its old edges back, or begin
    /// from an earlier checkpoint.
    #[error("{checkpoint} says that {task} has finished, and not so of {before}, which it reads from in the job")]
    FinishedBehindOthers {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Who has finished.
        task: TaskId,
        /// Who has not.
        before: TaskId,
    },
    /// The state contradicts itself.
    #[error("{checkpoint}: {source}")]
    Inconsistent {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// How.
        source: Inconsistent,
    },
}

/// Who loads what: an entry for every task that has an operator. An operator that is new in the job starts empty; one that
/// the checkpoint knows without any state may be missing in the job.
///
/// Unlike Flink, max parallelism is compared only where there is keyed state, or something in flight that goes by key: it means nothing to
/// any other.
///
/// # Errors
/// If something would be lost, doubled or misplaced.
pub fn plan(
    metadata: &CheckpointMetadata,
    operators: &[OperatorShape],
    unclaimed: UnclaimedState,
) -> Result<BTreeMap<TaskId, TaskRestore>, RestoreError> {
    let mut states = BTreeMap::new();
    for state in &metadata.operators {
        if states.insert(state.uid.as_str(), state).is_some() {
            return Err(RestoreError::DuplicateOperator { uid: state.uid.clone() });
        }
    }
    let mut tasks: BTreeMap<TaskId, TaskRestore> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for shape in operators {
        if !known.insert(shape.uid.as_str()) {
            return Err(RestoreError::DuplicateOperator { uid: shape.uid.clone() });
        }
        if shape.parallelism == 0 {
            return Err(RestoreError::NoSubtasks { uid: shape.uid.clone() });
        }
        let parts = match states.get(shape.uid.as_str()) {
            Some(state) => {
                compatible(metadata.checkpoint, state, shape)?;
                let mut parts = parts(state, shape);
                in_flight::spread(metadata.checkpoint, state, shape, unclaimed, &mut parts)?;
                parts
            }
            None => (0..shape.parallelism).map(|_| nothing(shape)).collect(),
        };
        for (subtask, part) in (0..shape.parallelism).map(SubtaskIndex).zip(parts) {
            tasks.entry(TaskId { vertex: shape.vertex, subtask }).or_default().operators.push(part);
        }
    }
    match metadata.operators.iter().find(|state| state.has_state() && !known.contains(state.uid.as_str())) {
        Some(state) if unclaimed == UnclaimedState::Refuse => {
            Err(RestoreError::UnknownOperator { checkpoint: metadata.checkpoint, uid: state.uid.clone() })
        }
        Some(_) | None => Ok(tasks),
    }
}

fn nothing(shape: &OperatorShape) -> OperatorRestore {
    OperatorRestore { uid: shape.uid.clone(), ..OperatorRestore::default() }
}

fn compatible(checkpoint: CheckpointId, state: &OperatorState, shape: &OperatorShape) -> Result<(), RestoreError> {
    state.check().map_err(|source| RestoreError::Inconsistent { checkpoint, source })?;
    // Ends at the first gap, so a parallelism that is out of all proportion costs nothing.
    let known = |subtask: &SubtaskIndex| state.subtasks.contains_key(subtask) || state.finished.has(*subtask);
    let parallelism = if state.finished == Finished::All { 0 } else { state.parallelism };
    let missing = (0..parallelism).map(SubtaskIndex).find(|subtask| !known(subtask));
    if let Some(subtask) = missing {
        return Err(RestoreError::SubtaskMissing { checkpoint, uid: state.uid.clone(), subtask });
    }
    let (stored, wanted) = (state.max_parallelism, shape.max_parallelism);
    if (state.has_keyed_state() || in_flight::goes_by_key(state, shape)) && stored != wanted {
        return Err(RestoreError::MaxParallelism { checkpoint, uid: state.uid.clone(), stored, wanted });
    }
    for declared in &shape.states {
        if let Some(stored) = state.states.iter().find(|stored| stored.name == declared.shape.name) {
            readable(checkpoint, &state.uid, stored, declared)?;
        }
    }
    Ok(())
}

/// Whether the program can read a state as it was written. Bytes of another type would be taken for something that they
/// are not, so this is found out before any task starts.
fn readable(checkpoint: CheckpointId, uid: &str, stored: &StateShape, declared: &DeclaredState) -> Result<(), RestoreError> {
    let wanted = &declared.shape;
    let versions = declared.oldest_readable..=wanted.value.version;
    let same_value = stored.value.name == wanted.value.name || Some(&stored.value.name) == declared.twin.as_ref();
    let same_types = stored.key == wanted.key && same_value && stored.kind == wanted.kind;
    if same_types && versions.contains(&stored.value.version) {
        return Ok(());
    }
    let (uid, state) = (uid.into(), stored.name.clone());
    Err(RestoreError::StateType { checkpoint, uid, state, stored: stored.to_string(), wanted: wanted.to_string() })
}

/// What each subtask of the operator loads, by index.
fn parts(state: &OperatorState, shape: &OperatorShape) -> Vec<OperatorRestore> {
    let mut parts: Vec<OperatorRestore> = (0..shape.parallelism).map(|_| nothing(shape)).collect();
    for (subtask, part) in (0..shape.parallelism).map(SubtaskIndex).zip(&mut parts) {
        let owned = shape.max_parallelism.range_of(subtask, shape.parallelism);
        for handle in state.subtasks.values().flat_map(|state| &state.keyed) {
            if let Some(groups) = owned.and_then(|owned| owned.intersection(handle.groups)) {
                part.keyed.push((handle.clone(), groups));
            }
        }
    }
    for part in &mut parts {
        part.states.clone_from(&state.states);
    }
    let lists = |wanted| state.subtasks.values().flat_map(|state| &state.lists).filter(move |list| list.redistribution == wanted);
    if state.parallelism == shape.parallelism {
        for (state, part) in
            (0..).map(SubtaskIndex).zip(&mut parts).filter_map(|(subtask, part)| Some((state.subtasks.get(&subtask)?, part)))
        {
            part.lists.extend(state.lists.iter().filter(|list| list.redistribution == Redistribution::Split).cloned());
        }
    } else {
        deal_out(lists(Redistribution::Split), &mut parts);
    }
    give_to_all(lists(Redistribution::Union), &mut parts);
    hand_round(state, &mut parts);
    parts
}

/// Everything of each name to everybody.
fn give_to_all<'a>(lists: impl Iterator<Item = &'a ListState>, parts: &mut [OperatorRestore]) {
    let mut names: BTreeMap<&str, ListState> = BTreeMap::new();
    for list in lists {
        let all = names.entry(&list.name).or_insert_with(|| ListState { items: Vec::new(), ..list.clone() });
        all.items.extend(list.items.iter().cloned());
    }
    for part in parts {
        part.lists.extend(names.values().cloned());
    }
}

/// One of the equal copies to each: its own where it had one, so that a copy that went wrong does not spread.
fn hand_round(state: &OperatorState, parts: &mut [OperatorRestore]) {
    let copies: Vec<&SubtaskState> = state.subtasks.values().collect();
    for ((index, subtask), part) in (0..).map(SubtaskIndex).enumerate().zip(parts) {
        let own = state.subtasks.get(&subtask);
        let Some(copy) = own.or_else(|| copies.get(index % copies.len().max(1)).copied()) else { return };
        part.lists.extend(copy.lists.iter().filter(|list| list.redistribution == Redistribution::Broadcast).cloned());
    }
}

/// Deals the items of each name out evenly: as many to each, one more to some, consecutive ones together.
fn deal_out<'a>(lists: impl Iterator<Item = &'a ListState>, parts: &mut [OperatorRestore]) {
    let mut names: BTreeMap<&str, Vec<&Vec<u8>>> = BTreeMap::new();
    for list in lists {
        names.entry(&list.name).or_default().extend(&list.items);
    }
    let mut start = 0;
    for (name, items) in names {
        let (each, more) = (items.len() / parts.len(), items.len() % parts.len());
        let mut rest = items.into_iter();
        for turn in 0..parts.len() {
            let count = each + usize::from(turn < more);
            let items = rest.by_ref().take(count).cloned().collect();
            let part = (start + turn) % parts.len();
            parts[part].lists.push(ListState { name: name.into(), redistribution: Redistribution::Split, items });
        }
        // Why: what is not handed out here is lost for good.
        assert!(rest.next().is_none(), "every item of {name} has been handed out");
        start = (start + more) % parts.len();
    }
}

pub use finished::finished;

mod finished;
mod in_flight;
#[cfg(test)]
mod tests;
