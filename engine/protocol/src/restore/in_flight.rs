//! Who takes what was in flight (Flink: `TaskStateAssignment`, `SubtaskStateMapper`).
//!
//! Edge by edge, and by the edges' names: one operator may have several inputs, of which each is spread in its own way (FLINK-22686), and
//! what is not in flight on an edge asks nothing of it (FLINK-38267).

use super::{OperatorRestore, RestoreError, UnclaimedState};
use crate::ids::{CheckpointId, SubtaskIndex};
use crate::metadata::{OperatorShape, OperatorState, Spread};
use crate::snapshot::InFlightHandle;

/// Whether records in flight are looked for by their keys.
pub(super) fn goes_by_key(state: &OperatorState, shape: &OperatorShape) -> bool {
    let mut handles = state.subtasks.values().flat_map(|state| &state.in_flight);
    handles.any(|handle| handle.records > 0 && spread_of(handle, shape) == Some(Spread::ByKey))
}

fn spread_of(handle: &InFlightHandle, shape: &OperatorShape) -> Option<Spread> {
    shape.inputs.iter().find(|input| input.edge == handle.edge).map(|input| input.spread)
}

/// Adds what each subtask takes, by index. `state` has each of its subtasks.
pub(super) fn spread(
    checkpoint: CheckpointId,
    state: &OperatorState,
    shape: &OperatorShape,
    unclaimed: UnclaimedState,
    parts: &mut [OperatorRestore],
) -> Result<(), RestoreError> {
    let (stored, wanted) = (state.parallelism, shape.parallelism);
    for (&subtask, handle) in state.subtasks.iter().flat_map(|(subtask, state)| state.in_flight.iter().map(move |handle| (subtask, handle)))
    {
        // One that counts nothing holds nobody up.
        let refused = |error| if handle.records > 0 { Err(error) } else { Ok(()) };
        let (uid, edge) = (state.uid.clone(), handle.edge.clone());
        match spread_of(handle, shape) {
            None if unclaimed == UnclaimedState::Drop => {}
            None => refused(RestoreError::UnknownEdge { checkpoint, uid, edge })?,
            Some(_) if stored == wanted => parts[subtask.0 as usize].in_flight.push((handle.clone(), None)),
            Some(Spread::Never) => refused(RestoreError::InFlightBound { checkpoint, uid, edge, stored, wanted })?,
            Some(Spread::RoundRobin) => parts[(subtask.0 % wanted) as usize].in_flight.push((handle.clone(), None)),
            Some(Spread::ByKey) => by_key(subtask, handle, stored, shape, parts),
        }
    }
    Ok(())
}

/// To everybody who owns something of what the subtask owned: each takes its own records out of it.
fn by_key(subtask: SubtaskIndex, handle: &InFlightHandle, stored: u32, shape: &OperatorShape, parts: &mut [OperatorRestore]) {
    let before = shape.max_parallelism.range_of(subtask, stored);
    for (owner, part) in (0..shape.parallelism).map(SubtaskIndex).zip(parts) {
        let own = shape.max_parallelism.range_of(owner, shape.parallelism);
        // One that owned nothing got no records; if it says so nevertheless, nobody overlooks them.
        let taken = own.filter(|own| before.is_none_or(|before| before.intersection(*own).is_some()));
        part.in_flight.extend(taken.map(|own| (handle.clone(), Some(own))));
    }
}
