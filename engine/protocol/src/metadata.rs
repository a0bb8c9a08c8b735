//! What a checkpoint consists of, and its bytes (Flink: `CheckpointMetadata`, `MetadataV4Serializer`).
//!
//! Lives here: which state of which operator is where, in one value that says everything a restore needs.
//! Never here: files (the runtime's storage), who restores what ([`restore`](crate::restore)).

pub use at_coordinator::{EnumeratorState, HookState};
pub use collect::CollectError;
pub use finished::Finished;

use crate::block::{frame_as, unframe_any, FileKind, VERSION};
use crate::ids::{AttemptId, CheckpointId, Epoch, KeyGroup, SubtaskIndex, VertexId};
use crate::key_group::{KeyGroupRange, MaxParallelism};
use crate::snapshot::{
    locations, InFlightHandle, KeyedHandle, Layout, ListState, Redistribution, SharedFile, StateLocation, StateShape, TypeVersion,
};
use crate::stored::{read_bytes, write_bytes, Reader, Stored, StoredError, Written};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// An operator of a job as far as its state is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorShape {
    /// The stable name that its state is found by.
    pub uid: String,
    /// How many subtasks it has.
    pub parallelism: u32,
    /// How many key groups it has.
    pub max_parallelism: MaxParallelism,
    /// The chain that it is part of; several operators may share one.
    pub vertex: VertexId,
    /// Its keyed states, by ascending name.
    pub states: Vec<DeclaredState>,
    /// The edges into its chain, if it is the first of it.
    pub inputs: Vec<InputShape>,
    /// Whether a subtask that has finished has nothing in its union lists, as all that they name is published.
    pub publishes: bool,
}

/// An edge into a chain, as far as what is in flight on it is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputShape {
    /// Its stable name, unique within the chain.
    pub edge: String,
    /// Who gets what is in flight at another parallelism.
    pub spread: Spread,
}

/// Who gets what was in flight to a subtask, when there are more or fewer of them now (Flink: `SubtaskStateMapper`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Spread {
    /// Each record goes to the owner of its key group (`RANGE`).
    ByKey,
    /// Any subtask will do: all that was one's goes to one (`ROUND_ROBIN`).
    RoundRobin,
    /// Nobody else can take it: forward and broadcast edges (`UNSUPPORTED`). Such edges stay aligned, so that there is nothing in flight.
    Never,
}

/// A keyed state as the program declares it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeclaredState {
    /// What it writes.
    pub shape: StateShape,
    /// The oldest version of its value's type that it reads.
    pub oldest_readable: u32,
    /// The name that its value's type would have with time-to-live switched on, or off, which it reads as well. `None` where there is
    /// no such thing, as for timers.
    pub twin: Option<String>,
}

/// What kind of snapshot it is, and with that whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// The engine's: it is subsumed, and deleted, by the engine.
    Checkpoint,
    /// The user's: never deleted by us. All its files stand in its own folder, so that it can be moved.
    Savepoint,
    /// As a savepoint, of a job that gave out all that it held before it stopped: what was open is closed, so that no job can go on from
    /// it as if nothing had happened.
    Drained,
}

impl SnapshotKind {
    /// Whether it is the user's, with all its files in its own folder.
    #[must_use]
    pub fn is_savepoint(self) -> bool {
        matches!(self, Self::Savepoint | Self::Drained)
    }
}

/// The whole of one completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointMetadata {
    /// The job that took it.
    pub job: String,
    /// Its number.
    pub checkpoint: CheckpointId,
    /// The attempt whose tasks took it.
    pub attempt: AttemptId,
    /// Whose it is.
    pub kind: SnapshotKind,
    /// What the coordinator's hooks put in, by ascending name (Flink: `MasterState`).
    pub hooks: Vec<HookState>,
    /// What operators have at the coordinator, by ascending uid (Flink: `OperatorState.coordinatorState`).
    pub enumerators: Vec<EnumeratorState>,
    /// The state of every operator, by ascending uid.
    pub operators: Vec<OperatorState>,
}

/// The state of one operator (Flink: `OperatorState`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorState {
    /// The operator's stable name.
    pub uid: String,
    /// How many subtasks it had.
    pub parallelism: u32,
    /// How many key groups it had.
    pub max_parallelism: MaxParallelism,
    /// Its keyed states, by ascending name.
    pub states: Vec<StateShape>,
    /// What each subtask put in; one that had nothing is here with empty state, one that had finished is not.
    pub subtasks: BTreeMap<SubtaskIndex, SubtaskState>,
    /// Those that had finished.
    pub finished: Finished,
}

/// The state of one subtask of one operator (Flink: `OperatorSubtaskState`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubtaskState {
    /// Keyed state.
    pub keyed: Vec<KeyedHandle>,
    /// Operator list state.
    pub lists: Vec<ListState>,
    /// What was in flight to its chain, if it was the first of it.
    pub in_flight: Vec<InFlightHandle>,
}

/// State that contradicts itself: restoring it would lose or double something. A bug of whoever wrote it; restore another
/// checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// Two handles of one operator hold the same key group.
    #[error("{uid}: {group} is in two handles")]
    GroupTwice {
        /// The operator.
        uid: String,
        /// The key group.
        group: KeyGroup,
    },
    /// A handle's range is empty or beyond the number of key groups.
    #[error("{uid}: a handle holds {groups}, but there are {max_parallelism} key groups")]
    GroupsOutside {
        /// The operator.
        uid: String,
        /// The handle's range.
        groups: KeyGroupRange,
        /// How many key groups there are.
        max_parallelism: MaxParallelism,
    },
    /// There is state of a subtask that had finished, or it is said in two ways who had.
    #[error("{uid}: of {parallelism} subtasks {finished} had finished, which does not fit the state that is there")]
    Finished {
        /// The operator.
        uid: String,
        /// Who is said to have finished.
        finished: Finished,
        /// How many there were.
        parallelism: u32,
    },
    /// There is state of a subtask that cannot have existed.
    #[error("{uid}: there is state of {subtask}, but there were {parallelism} subtasks")]
    SubtaskOutside {
        /// The operator.
        uid: String,
        /// The subtask.
        subtask: SubtaskIndex,
        /// How many there were.
        parallelism: u32,
    },
}

impl SubtaskState {
    /// Whether there is nothing to restore: no keyed state, no list (an empty list counts as state, since its name does), nothing in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keyed.is_empty() && self.lists.is_empty() && self.in_flight.is_empty()
    }

    /// Every place that it is in, but for shared files.
    pub fn locations(&self) -> impl Iterator<Item = &StateLocation> {
        locations(&self.keyed, &self.in_flight)
    }
}

impl OperatorState {
    /// Whether any subtask has state.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.subtasks.values().any(|state| !state.is_empty())
    }

    /// Whether any subtask has keyed state.
    #[must_use]
    pub fn has_keyed_state(&self) -> bool {
        self.subtasks.values().any(|state| !state.keyed.is_empty())
    }

    /// Checks that every key group is held at most once and within bounds, and that every subtask can have existed.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), Inconsistent> {
        if let Some((&subtask, _)) = self.subtasks.range(SubtaskIndex(self.parallelism)..).next() {
            return Err(Inconsistent::SubtaskOutside { uid: self.uid.clone(), subtask, parallelism: self.parallelism });
        }
        if let Some(subtask) = self.finished.last().filter(|last| last.0 >= self.parallelism) {
            return Err(Inconsistent::SubtaskOutside { uid: self.uid.clone(), subtask, parallelism: self.parallelism });
        }
        let twice = self.subtasks.keys().any(|subtask| self.finished.has(*subtask));
        if twice || !self.finished.is_canonical(self.parallelism) {
            let (uid, finished) = (self.uid.clone(), self.finished.clone());
            return Err(Inconsistent::Finished { uid, finished, parallelism: self.parallelism });
        }
        let max_parallelism = self.max_parallelism;
        let mut ranges = Vec::new();
        for handle in self.subtasks.values().flat_map(|state| &state.keyed) {
            let groups = handle.groups;
            if groups.first > groups.last || u32::from(groups.last.0) >= max_parallelism.get() {
                return Err(Inconsistent::GroupsOutside { uid: self.uid.clone(), groups, max_parallelism });
            }
            ranges.push(groups);
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[1].first <= pair[0].last {
                return Err(Inconsistent::GroupTwice { uid: self.uid.clone(), group: pair[1].first });
            }
        }
        Ok(())
    }
}

impl CheckpointMetadata {
    /// Every subtask's state of every operator.
    pub fn subtasks(&self) -> impl Iterator<Item = &SubtaskState> {
        self.operators.iter().flat_map(|operator| operator.subtasks.values())
    }

    /// Every place that its state is in, but for shared files.
    pub fn locations(&self) -> impl Iterator<Item = &StateLocation> {
        self.subtasks().flat_map(SubtaskState::locations)
    }

    /// How many bytes of state are in the metadata itself.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        self.locations().map(StateLocation::inline_bytes).sum()
    }

    /// Every path in it.
    pub fn for_each_path(&mut self, mut visit: impl FnMut(&mut String)) {
        for state in self.operators.iter_mut().flat_map(|operator| operator.subtasks.values_mut()) {
            let in_flight = state.in_flight.iter_mut().map(|handle| &mut handle.location);
            for location in state.keyed.iter_mut().map(|handle| &mut handle.location).chain(in_flight) {
                if let StateLocation::File { path, .. } | StateLocation::Segment { path, .. } = location {
                    visit(path);
                }
            }
            for handle in &mut state.keyed {
                if let Layout::Store { shared, .. } = &mut handle.layout {
                    shared.iter_mut().for_each(|file| visit(&mut file.path));
                }
            }
        }
    }

    /// Every shared file in it.
    pub fn shared_files(&self) -> impl Iterator<Item = &SharedFile> {
        self.subtasks().flat_map(|state| &state.keyed).flat_map(KeyedHandle::shared_files)
    }

    /// The version of its stored format: the oldest that can say all of it.
    #[must_use]
    pub fn version(&self) -> u16 {
        if self.operators.iter().any(|operator| !operator.finished.is_nobody()) {
            WITH_FINISHED
        } else if !self.enumerators.is_empty() {
            WITH_ENUMERATORS
        } else if self.subtasks().all(|state| state.in_flight.is_empty()) {
            VERSION
        } else {
            WITH_IN_FLIGHT
        }
    }

    /// The stored format of the value, in its [`version`](Self::version) and without a frame.
    ///
    /// # Panics
    /// If the operators are not sorted by uid, which [`collect`](Self::collect) and [`decode`](Self::decode) see to.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Reads what [`encode`](Self::encode) wrote, all of it, in this version.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the offset.
    pub fn decode(version: u16, bytes: &[u8]) -> Result<Self, StoredError> {
        let mut input = Reader::new(bytes, 0).written(Written { version: Some(version.into()), ..Written::default() });
        let metadata = Self::read(&mut input)?;
        input.finish("checkpoint metadata")?;
        if metadata.version() != version {
            return Err(invalid(0, alloc::format!("what this says is said in version {}, not {version}", metadata.version())));
        }
        Ok(metadata)
    }

    /// The bytes of `_metadata`: the encoding in the frame of [`block`](crate::block).
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        frame_as(FileKind::Metadata, self.version(), &self.encode())
    }

    /// Reads the bytes of `_metadata`.
    ///
    /// # Errors
    /// Whatever is wrong with them; offsets are of the file for its frame, and of the encoding for what is inside.
    pub fn from_file(bytes: &[u8]) -> Result<Self, StoredError> {
        let (version, encoding) = unframe_any(FileKind::Metadata, bytes)?;
        Self::decode(version, &encoding)
    }
}

impl CheckpointMetadata {
    fn write(&self, out: &mut Vec<u8>) {
        // Why: equal checkpoints have equal bytes, and a uid that stands twice would shadow the other's state.
        assert!(self.operators.is_sorted_by(|a, b| a.uid < b.uid), "operators are sorted by uid, each once");
        self.job.write(out);
        self.checkpoint.0.write(out);
        (self.attempt.epoch.0, self.attempt.number).write(out);
        match self.kind {
            SnapshotKind::Checkpoint => KIND_CHECKPOINT.write(out),
            SnapshotKind::Savepoint => KIND_SAVEPOINT.write(out),
            SnapshotKind::Drained => KIND_DRAINED.write(out),
        }
        self.hooks.write(out);
        if self.version() >= WITH_ENUMERATORS {
            self.enumerators.write(out);
        }
        write_count(self.operators.len(), out);
        self.operators.iter().for_each(|operator| operator.write(self.version(), out));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let job = String::read(input)?;
        let checkpoint = CheckpointId(u64::read(input)?);
        let attempt = AttemptId { epoch: Epoch(u64::read(input)?), number: u32::read(input)? };
        let offset = input.offset();
        let kind = match u8::read(input)? {
            KIND_CHECKPOINT => SnapshotKind::Checkpoint,
            KIND_SAVEPOINT => SnapshotKind::Savepoint,
            KIND_DRAINED => SnapshotKind::Drained,
            other => return Err(invalid(offset, alloc::format!("{other} is not a kind of snapshot"))),
        };
        let offset = input.offset();
        let hooks = Vec::<HookState>::read(input)?;
        if !hooks.is_sorted_by(|a, b| a.name < b.name) {
            return Err(invalid(offset, "hooks are not sorted by name"));
        }
        let offset = input.offset();
        let has_enumerators = input.version() >= Some(WITH_ENUMERATORS.into());
        let enumerators = if has_enumerators { Vec::<EnumeratorState>::read(input)? } else { Vec::new() };
        if !enumerators.is_sorted_by(|a, b| a.uid < b.uid) {
            return Err(invalid(offset, "enumerators are not sorted by uid"));
        }
        let offset = input.offset();
        let count = input.count(OPERATOR_LEAST_SIZE, "operators")?;
        let mut operators = Vec::new();
        for _ in 0..count {
            operators.push(OperatorState::read(input)?);
        }
        if !operators.is_sorted_by(|a, b| a.uid < b.uid) {
            return Err(invalid(offset, "operators are not sorted by uid"));
        }
        Ok(Self { job, checkpoint, attempt, kind, hooks, enumerators, operators })
    }
}

impl OperatorState {
    fn write(&self, version: u16, out: &mut Vec<u8>) {
        self.uid.write(out);
        self.parallelism.write(out);
        self.max_parallelism.get().write(out);
        self.states.write(out);
        write_count(self.subtasks.len(), out);
        for (subtask, state) in &self.subtasks {
            subtask.0.write(out);
            state.keyed.write(out);
            state.lists.write(out);
            if version >= WITH_IN_FLIGHT {
                state.in_flight.write(out);
            }
        }
        self.finished.write(version, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let begin = input.offset();
        let uid = String::read(input)?;
        let parallelism = u32::read(input)?;
        let offset = input.offset();
        let max_parallelism = MaxParallelism::new(u32::read(input)?).map_err(|error| invalid(offset, error))?;
        let states = Vec::read(input)?;
        let count = input.count(SUBTASK_LEAST_SIZE, "subtasks")?;
        let mut subtasks = BTreeMap::new();
        for _ in 0..count {
            let offset = input.offset();
            let subtask = SubtaskIndex(u32::read(input)?);
            if subtasks.last_key_value().is_some_and(|(last, _)| *last >= subtask) {
                return Err(invalid(offset, "subtasks are not in order"));
            }
            let (keyed, lists) = (Vec::read(input)?, Vec::read(input)?);
            let in_flight = if input.version() >= Some(WITH_IN_FLIGHT.into()) { Vec::read(input)? } else { Vec::new() };
            subtasks.insert(subtask, SubtaskState { keyed, lists, in_flight });
        }
        let finished = Finished::read(input)?;
        let state = Self { uid, parallelism, max_parallelism, states, subtasks, finished };
        state.check().map_err(|error| invalid(begin, error))?;
        Ok(state)
    }
}

/// An index and two counts.
const SUBTASK_LEAST_SIZE: usize = 12;
/// An empty text, two numbers and two counts.
const OPERATOR_LEAST_SIZE: usize = 20;
/// Since this version subtasks have data in flight. What has none is written as before.
const WITH_IN_FLIGHT: u16 = 2;
/// Since this version operators have something at the coordinator. Where none has, it is written as before.
const WITH_ENUMERATORS: u16 = 3;
/// Since this version some subtasks may have finished. Where none has, it is written as before.
const WITH_FINISHED: u16 = 4;

fn write_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).expect("operators and subtasks are counted by a u32").write(out);
}

fn invalid(offset: u64, what: impl ToString) -> StoredError {
    StoredError::Invalid { offset, what: what.to_string() }
}

impl Stored for StateShape {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        self.kind.write(out);
        self.key.write(out);
        self.value.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (name, kind) = (String::read(input)?, u8::read(input)?);
        Ok(Self { name, kind, key: TypeVersion::read(input)?, value: TypeVersion::read(input)? })
    }
}

impl Stored for TypeVersion {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        self.version.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { name: String::read(input)?, version: u32::read(input)? })
    }
}

impl Stored for ListState {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        match self.redistribution {
            Redistribution::Split => SPLIT.write(out),
            Redistribution::Union => UNION.write(out),
            Redistribution::Broadcast => BROADCAST.write(out),
        }
        u32::try_from(self.items.len()).expect("a list stays below 4 G items").write(out);
        for item in &self.items {
            write_bytes(item, out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let name = String::read(input)?;
        let offset = input.offset();
        let redistribution = match u8::read(input)? {
            SPLIT => Redistribution::Split,
            UNION => Redistribution::Union,
            BROADCAST => Redistribution::Broadcast,
            other => return Err(invalid(offset, alloc::format!("{other} is not a way to redistribute a list"))),
        };
        let count = input.count(4, "list items")?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read_bytes(input, "a list item")?.to_vec());
        }
        Ok(Self { name, redistribution, items })
    }
}

const KIND_CHECKPOINT: u8 = 0;
const KIND_SAVEPOINT: u8 = 1;
const KIND_DRAINED: u8 = 2;
const SPLIT: u8 = 0;
const UNION: u8 = 1;
const BROADCAST: u8 = 2;

mod at_coordinator;
mod collect;
mod finished;
mod handles;
#[cfg(test)]
mod tests;
