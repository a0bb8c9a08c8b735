//! The parts of all tasks, put together.

use super::{CheckpointMetadata, Finished, Inconsistent, OperatorShape, OperatorState, SnapshotKind, SubtaskState};
use crate::ids::{AttemptId, CheckpointId, SubtaskIndex, TaskId, VertexId};
use crate::snapshot::{Redistribution, TaskSnapshot};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// Acknowledgements that do not make up a checkpoint. A bug of ours or a worker of another release: abort the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// Two operators of the job have the same name.
    #[error("two operators are called {uid}")]
    DuplicateOperator {
        /// The name.
        uid: String,
    },
    /// A task of the job has not acknowledged.
    #[error("{task} has not acknowledged")]
    TaskMissing {
        /// The task.
        task: TaskId,
    },
    /// A task has acknowledged with state of an operator that is not in its chain, or twice with the same one.
    #[error("{task} acknowledged with state of {uid}, which is not in its chain or was there before")]
    UnexpectedState {
        /// The task.
        task: TaskId,
        /// The operator.
        uid: String,
    },
    /// Two subtasks of one operator run different programs.
    #[error("{task} declares other states of {uid} than the subtasks before it")]
    OtherStates {
        /// The task.
        task: TaskId,
        /// The operator.
        uid: String,
    },
    /// Barriers of a savepoint never overtake, so that it can be begun from at any parallelism (FLINK-18252).
    #[error("{task} acknowledged a savepoint with records in flight to {uid}")]
    InFlightInSavepoint {
        /// The task.
        task: TaskId,
        /// The operator.
        uid: String,
    },
    /// Some subtasks of the operator have finished and others have not, and what the former had in a union list would be lost. The
    /// checkpoint after which none of them is left can be taken.
    #[error("{uid} has finished in part, and has the union list {list}")]
    PartiallyFinishedUnion {
        /// The operator.
        uid: String,
        /// Its list.
        list: String,
    },
    /// The parts contradict each other.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}

impl CheckpointMetadata {
    /// Puts the acknowledgements of all tasks together, but for those that had finished. Every operator of the job gets an entry, with or without state, so
    /// that a restore can tell "had nothing" from "is missing".
    ///
    /// # Errors
    /// If a task is missing, or a part does not belong to its task or contradicts another.
    pub fn collect(
        job: &str,
        checkpoint: CheckpointId,
        attempt: AttemptId,
        kind: SnapshotKind,
        shapes: &[OperatorShape],
        snapshots: &BTreeMap<TaskId, TaskSnapshot>,
        finished: &BTreeSet<TaskId>,
    ) -> Result<Self, CollectError> {
        let mut operators: BTreeMap<&str, (VertexId, OperatorState)> = BTreeMap::new();
        for shape in shapes {
            let (mut subtasks, mut gone) = (BTreeMap::new(), BTreeSet::new());
            for subtask in (0..shape.parallelism).map(SubtaskIndex) {
                let task = TaskId { vertex: shape.vertex, subtask };
                if finished.contains(&task) {
                    gone.insert(subtask);
                    continue;
                }
                if !snapshots.contains_key(&task) {
                    return Err(CollectError::TaskMissing { task });
                }
                subtasks.insert(subtask, SubtaskState::default());
            }
            let OperatorShape { uid, parallelism, max_parallelism, vertex, .. } = shape.clone();
            let finished = Finished::of(gone, parallelism);
            let state = OperatorState { uid, parallelism, max_parallelism, states: Vec::new(), subtasks, finished };
            if operators.insert(&shape.uid, (vertex, state)).is_some() {
                return Err(CollectError::DuplicateOperator { uid: shape.uid.clone() });
            }
        }
        for (&task, snapshot) in snapshots {
            let mut seen = BTreeSet::new();
            for part in &snapshot.operators {
                let unexpected = || CollectError::UnexpectedState { task, uid: part.uid.clone() };
                let place = operators.get_mut(part.uid.as_str()).filter(|(vertex, _)| *vertex == task.vertex);
                let (_, operator) = place.filter(|_| seen.insert(&part.uid)).ok_or_else(unexpected)?;
                if kind.is_savepoint() && !part.in_flight.is_empty() {
                    return Err(CollectError::InFlightInSavepoint { task, uid: part.uid.clone() });
                }
                if operator.states.is_empty() {
                    operator.states.clone_from(&part.states);
                } else if operator.states != part.states {
                    return Err(CollectError::OtherStates { task, uid: part.uid.clone() });
                }
                let subtask = operator.subtasks.get_mut(&task.subtask).ok_or_else(unexpected)?;
                *subtask = SubtaskState { keyed: part.keyed.clone(), lists: part.lists.clone(), in_flight: part.in_flight.clone() };
            }
        }
        let operators: Vec<OperatorState> = operators.into_values().map(|(_, state)| state).collect();
        for operator in &operators {
            operator.check()?;
            let publishes = shapes.iter().any(|shape| shape.uid == operator.uid && shape.publishes);
            operator.loses_no_union(publishes)?;
        }
        Ok(Self { job: job.into(), checkpoint, attempt, kind, hooks: Vec::new(), enumerators: Vec::new(), operators })
    }
}

impl OperatorState {
    /// What a union list has from a subtask that has finished would be gone from the next restore on.
    fn loses_no_union(&self, publishes: bool) -> Result<(), CollectError> {
        let mut lists = self.subtasks.values().flat_map(|state| &state.lists);
        let union = lists.find(|list| list.redistribution == Redistribution::Union);
        match (&self.finished, union) {
            (Finished::Some(_), Some(list)) if !publishes => {
                Err(CollectError::PartiallyFinishedUnion { uid: self.uid.clone(), list: list.name.clone() })
            }
            (Finished::Nobody | Finished::Some(_) | Finished::All, _) => Ok(()),
        }
    }
}
