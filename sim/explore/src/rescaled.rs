//! A checkpoint of another parallelism, with records in flight, as the protocol gives it to the tasks that there are now.

use crate::queue::{Element, Queue};
use crate::state::{Part, Value};
use crate::tally::{Tally, SECOND_PATH};
use crate::world::World;
use cofferdam_protocol::metadata::{
    CheckpointMetadata, Finished, InputShape, OperatorShape, OperatorState, SnapshotKind, Spread, SubtaskState,
};
use cofferdam_protocol::restore::{self, RestoreError, TaskRestore, UnclaimedState};
use cofferdam_protocol::snapshot::{InFlightHandle, KeyedHandle, Layout, ListState, Redistribution, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, KeyGroup, KeyGroupRange, MaxParallelism, SubtaskIndex, TaskId, VertexId};
use std::collections::BTreeMap;

/// Its number.
pub const CHECKPOINT: CheckpointId = CheckpointId(1);
/// Whose it is.
pub const ATTEMPT: AttemptId = AttemptId { epoch: Epoch(1), number: 1 };
const EDGE: &str = "source->count#0";

/// What was in a job of sources and one operator behind a shuffle, which had another parallelism.
#[derive(Clone, Copy, Debug)]
pub struct Rescaled {
    /// How many subtasks the operator had.
    pub parallelism: u32,
    /// How many records each source had read.
    pub read: &'static [u8],
    /// The records that had been taken in. Of what was read the others are in flight.
    pub taken: &'static [u8],
}

/// There are as many key groups as the larger of the two has subtasks.
fn groups(world: &World, rescaled: &Rescaled) -> MaxParallelism {
    MaxParallelism::new(world.topology.parallelism[1].max(rescaled.parallelism)).expect("few subtasks")
}

fn inline(records: impl Iterator<Item = u8>) -> StateLocation {
    StateLocation::Inline(records.collect())
}

/// The parts of the tasks that there are now.
///
/// # Errors
/// The protocol refuses to begin from it.
pub fn parts(world: &World, rescaled: &Rescaled, records: u8) -> Result<BTreeMap<TaskId, Part>, RestoreError> {
    let max_parallelism = groups(world, rescaled);
    // A record goes by its position.
    let group = |record: u8| KeyGroup(u16::from(record % SECOND_PATH % records) % max_parallelism.get() as u16);
    let read = (0u8..).zip(rescaled.read).flat_map(|(source, read)| (0..*read).map(move |position| source * records + position));
    let read: Vec<u8> = read.collect();
    let position = |(subtask, position): (u32, &u8)| {
        let lists = vec![ListState { name: "positions".into(), redistribution: Redistribution::Split, items: vec![vec![*position]] }];
        (SubtaskIndex(subtask), SubtaskState { lists, ..SubtaskState::default() })
    };
    let of = |subtask: SubtaskIndex, taken: bool| {
        let own = move |record: &u8| max_parallelism.owner(group(*record), rescaled.parallelism) == subtask;
        read.iter().copied().filter(move |record| own(record) && rescaled.taken.contains(record) == taken)
    };
    let count = |subtask: SubtaskIndex| {
        let owned = max_parallelism.range_of(subtask, rescaled.parallelism).expect("there are enough key groups");
        let keyed = vec![KeyedHandle { groups: owned, location: inline(of(subtask, true)), layout: Layout::Blocks }];
        let records = of(subtask, false).count() as u64;
        let in_flight = vec![InFlightHandle { edge: EDGE.into(), location: inline(of(subtask, false)), records }];
        (subtask, SubtaskState { keyed, lists: Vec::new(), in_flight })
    };
    let finished = Finished::Nobody;
    let operator = |uid: &str, parallelism, subtasks| {
        let (uid, states, finished) = (uid.into(), Vec::new(), finished.clone());
        OperatorState { uid, parallelism, max_parallelism, states, subtasks, finished }
    };
    let metadata = CheckpointMetadata {
        job: world.name.into(),
        checkpoint: CHECKPOINT,
        attempt: ATTEMPT,
        kind: SnapshotKind::Checkpoint,
        hooks: Vec::new(),
        enumerators: Vec::new(),
        operators: vec![
            operator("count", rescaled.parallelism, (0..rescaled.parallelism).map(SubtaskIndex).map(count).collect()),
            operator("source", rescaled.read.len() as u32, (0..).zip(rescaled.read).map(position).collect()),
        ],
    };
    let shape = |uid: &str, vertex: u32, inputs| OperatorShape {
        uid: uid.into(),
        parallelism: world.topology.parallelism[vertex as usize],
        max_parallelism,
        vertex: VertexId(vertex),
        states: Vec::new(),
        inputs,
        publishes: false,
    };
    let input = InputShape { edge: EDGE.into(), spread: Spread::ByKey };
    let shapes = [shape("source", 0, Vec::new()), shape("count", 1, vec![input])];
    let tasks = restore::plan(&metadata, &shapes, UnclaimedState::Refuse)?;
    Ok(tasks.into_iter().map(|(task, restore)| (task, part(task, &restore, group))).collect())
}

fn part(task: TaskId, restore: &TaskRestore, group: impl Fn(u8) -> KeyGroup) -> Part {
    let (mut tally, mut in_flight) = (Tally::default(), Queue::default());
    let records = |location: &StateLocation, kept: Option<KeyGroupRange>| -> Vec<u8> {
        let StateLocation::Inline(records) = location else { unreachable!("all of it is inline") };
        records.iter().copied().filter(|record| kept.is_none_or(|kept| kept.contains(group(*record)))).collect()
    };
    for operator in &restore.operators {
        for (handle, taken) in &operator.keyed {
            records(&handle.location, Some(*taken)).into_iter().for_each(|record| tally.add(record));
        }
        for (handle, kept) in &operator.in_flight {
            records(&handle.location, *kept).into_iter().for_each(|record| in_flight.push(Element::Record(record)));
        }
    }
    let position = restore.operators.iter().flat_map(|operator| &operator.lists).flat_map(|list| &list.items).next();
    let value = match position {
        Some(position) if task.vertex == VertexId(0) => Value::Position(position[0]),
        Some(_) | None => Value::Taken(tally),
    };
    Part { attempt: ATTEMPT, value, files: None, in_flight, open: None }
}
