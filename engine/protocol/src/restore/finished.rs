//! Who had finished, and need not be started (Flink: `VertexFinishedStateChecker`).
//!
//! A chain that had finished as a whole has at any parallelism. One that had in part has at the same one: at another, all its subtasks
//! run, and divide what there is of state. What those that had finished had read is in no state, so nobody reads it again.

use super::RestoreError;
use crate::ids::{CheckpointId, SubtaskIndex, TaskId, VertexId};
use crate::metadata::{CheckpointMetadata, Finished, OperatorShape};
use alloc::collections::{BTreeMap, BTreeSet};

/// The tasks of the job that had finished. `predecessors` are, of each task, those that it reads from.
///
/// # Errors
/// If the graph has changed so that somebody would have to read from who is not there, or give to who is not.
pub fn finished(
    metadata: &CheckpointMetadata,
    operators: &[OperatorShape],
    predecessors: &BTreeMap<TaskId, BTreeSet<TaskId>>,
) -> Result<BTreeSet<TaskId>, RestoreError> {
    let checkpoint = metadata.checkpoint;
    let mut chains: BTreeMap<VertexId, (&OperatorShape, Standing<'_>)> = BTreeMap::new();
    for shape in operators {
        let standing = Standing::of(metadata, shape);
        match chains.get(&shape.vertex) {
            None => {
                chains.insert(shape.vertex, (shape, standing));
            }
            Some((_, known)) if *known == standing => {}
            Some((first, known)) => return Err(mixed(checkpoint, (first, *known), shape)),
        }
    }
    let mut tasks = BTreeSet::new();
    for (vertex, (shape, standing)) in chains {
        let subtasks = (0..shape.parallelism).map(SubtaskIndex).filter(|subtask| standing.has_finished(*subtask, shape));
        tasks.extend(subtasks.map(|subtask| TaskId { vertex, subtask }));
    }
    for &task in &tasks {
        let before = predecessors.get(&task).into_iter().flatten().find(|before| !tasks.contains(before));
        if let Some(&before) = before {
            return Err(RestoreError::FinishedBehindOthers { checkpoint, task, before });
        }
    }
    Ok(tasks)
}

/// Of one operator, who had finished, of how many. Of one that is new in the job, nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing<'a>(Option<(&'a Finished, u32)>);

impl<'a> Standing<'a> {
    fn of(metadata: &'a CheckpointMetadata, shape: &OperatorShape) -> Self {
        let state = metadata.operators.iter().find(|state| state.uid == shape.uid);
        Self(state.filter(|state| !state.finished.is_nobody()).map(|state| (&state.finished, state.parallelism)))
    }

    fn has_finished(self, subtask: SubtaskIndex, shape: &OperatorShape) -> bool {
        match self.0 {
            None => false,
            Some((Finished::All, _)) => true,
            Some((finished @ (Finished::Some(_) | Finished::Nobody), stored)) => stored == shape.parallelism && finished.has(subtask),
        }
    }
}

fn mixed(checkpoint: CheckpointId, (first, standing): (&OperatorShape, Standing<'_>), other: &OperatorShape) -> RestoreError {
    let (finished, other) = if standing.0.is_some() { (first, other) } else { (other, first) };
    RestoreError::FinishedInPart { checkpoint, finished: finished.uid.clone(), other: other.uid.clone() }
}
