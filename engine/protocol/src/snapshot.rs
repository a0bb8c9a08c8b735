//! What one task hands over for a checkpoint, and where the bytes are.

use crate::key_group::KeyGroupRange;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;
use serde::{Deserialize, Serialize};

/// Where some state is (Flink: `StreamStateHandle`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateLocation {
    /// A file, by its path below the job's checkpoint folder, with its exact size.
    File {
        /// Such as `chk-7/count-0-a1.2`.
        path: String,
        /// In bytes.
        size_bytes: u64,
    },
    /// Part of a physical file that many pieces of state lie in (Flink: `SegmentFileStateHandle`), in the format of a file.
    Segment {
        /// Of the physical file, such as `chk-7/merged-w1-a1.2-0`.
        path: String,
        /// Where it begins there.
        offset: u64,
        /// In bytes.
        size_bytes: u64,
    },
    /// The bytes themselves, in the very format of the file (Flink: `ByteStreamStateHandle`).
    Inline(Vec<u8>),
}

/// The keyed state of one subtask of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyedHandle {
    /// Which part of the key space it holds.
    pub groups: KeyGroupRange,
    /// Where.
    pub location: StateLocation,
    /// How the bytes are to be read.
    pub layout: Layout,
}

/// How keyed state was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Blocks of entries by state and key group: every backend writes and reads them (Flink: canonical format).
    Blocks,
    /// The files of a store, for the backend that wrote them (Flink: native format, `IncrementalRemoteKeyedStateHandle`). The
    /// location holds those that are small and private.
    Store {
        /// The backend's stable name.
        backend: String,
        /// The names of the states, by column of the store.
        columns: Vec<String>,
        /// Files that other checkpoints may use as well.
        shared: Vec<SharedFile>,
    },
}

/// A file that never changes and that any number of checkpoints may use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SharedFile {
    /// What the store calls it.
    pub name: String,
    /// Its path below the job's checkpoint folder, or that of the physical file that it lies in: what is kept and deleted by it, never
    /// given to another file.
    pub path: String,
    /// Exact, as stored.
    pub size_bytes: u64,
    /// Where in a physical file it lies; `None`: it has a file of its own.
    pub segment: Option<Segment>,
}

/// Part of a physical file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// Where it begins.
    pub offset: u64,
    /// How large the whole physical file was at that checkpoint, as far as its writer knew.
    pub file_bytes: u64,
}

/// Which subtask gets which elements of operator list state when a job starts from a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Redistribution {
    /// Each element goes to one subtask (Flink: `SPLIT_DISTRIBUTE`).
    #[default]
    Split,
    /// Every subtask gets all elements of all (Flink: `UNION`).
    Union,
    /// All subtasks have the same; each gets one copy (Flink: `BROADCAST`).
    Broadcast,
}

/// Operator list state under one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListState {
    /// The state's name.
    pub name: String,
    /// Who gets which elements.
    pub redistribution: Redistribution,
    /// Each element in its stored format.
    pub items: Vec<Vec<u8>>,
}

/// One keyed state of an operator, and the types it was written with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateShape {
    /// The state's name, unique within the operator.
    pub name: String,
    /// Value, list, map and so on, as the runtime numbers them.
    pub kind: u8,
    /// The type of the keys.
    pub key: TypeVersion,
    /// The type of what is kept under a key.
    pub value: TypeVersion,
}

/// A stored type (Flink: `TypeSerializerSnapshot`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TypeVersion {
    /// Its stable name.
    pub name: String,
    /// Of its stored format.
    pub version: u32,
}

impl fmt::Display for TypeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

impl fmt::Display for StateShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} (kind {})", self.value, self.key, self.kind)
    }
}

/// What was in flight to one subtask on one of its input edges when barriers overtook it (Flink: `InputChannelStateHandle`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InFlightHandle {
    /// The stable name of the edge, such as `source->count#0`: what it is found by, never its place among the others (FLINK-22686).
    pub edge: String,
    /// Where.
    pub location: StateLocation,
    /// How many records.
    pub records: u64,
}

/// What one subtask of one operator puts into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// The operator's stable name.
    pub uid: String,
    /// Its keyed states, by name.
    pub states: Vec<StateShape>,
    /// Keyed state, if it has any.
    pub keyed: Vec<KeyedHandle>,
    /// Operator state.
    pub lists: Vec<ListState>,
    /// What was in flight to the chain: with its first operator, whether that has other state or not.
    pub in_flight: Vec<InFlightHandle>,
}

impl OperatorSnapshot {
    /// Every place that its state is in, but for shared files.
    pub fn locations(&self) -> impl Iterator<Item = &StateLocation> {
        locations(&self.keyed, &self.in_flight)
    }
}

pub(crate) fn locations<'a>(keyed: &'a [KeyedHandle], in_flight: &'a [InFlightHandle]) -> impl Iterator<Item = &'a StateLocation> {
    keyed.iter().map(|handle| &handle.location).chain(in_flight.iter().map(|handle| &handle.location))
}

/// What one task acknowledges with: all operators of its chain, head first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSnapshot {
    /// One for each operator that has state.
    pub operators: Vec<OperatorSnapshot>,
}

/// What one task acknowledges with, as far as the coordinator looks into it.
pub trait Acknowledged: Clone + Eq + Hash + Debug {
    /// The files that it shares with other checkpoints, by identity; a physical file as often as it has segments.
    fn shared_files(&self) -> impl Iterator<Item = &str>;
}

impl Acknowledged for TaskSnapshot {
    fn shared_files(&self) -> impl Iterator<Item = &str> {
        self.operators.iter().flat_map(|operator| &operator.keyed).flat_map(KeyedHandle::shared_files).map(|file| file.path.as_str())
    }
}

/// For worlds in which there are no files.
impl Acknowledged for u32 {
    fn shared_files(&self) -> impl Iterator<Item = &str> {
        core::iter::empty()
    }
}

impl KeyedHandle {
    /// The files that it shares with other checkpoints.
    pub fn shared_files(&self) -> impl Iterator<Item = &SharedFile> {
        match &self.layout {
            Layout::Blocks => [].iter(),
            Layout::Store { shared, .. } => shared.iter(),
        }
    }

    /// Whether any of it is elsewhere than in the metadata.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.location.path().is_some() || self.shared_files().next().is_some()
    }

    /// Of everything that it needs, shared files included.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.location.size_bytes() + self.shared_files().map(|file| file.size_bytes).sum::<u64>()
    }
}

impl SharedFile {
    /// Where it is.
    #[must_use]
    pub fn location(&self) -> StateLocation {
        let (path, size_bytes) = (self.path.clone(), self.size_bytes);
        match self.segment {
            None => StateLocation::File { path, size_bytes },
            Some(Segment { offset, .. }) => StateLocation::Segment { path, offset, size_bytes },
        }
    }
}

impl StateLocation {
    /// The file that it needs, if any.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path, .. } | Self::Segment { path, .. } => Some(path),
            Self::Inline(_) => None,
        }
    }

    /// How many bytes of it are in the metadata.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        match self {
            Self::File { .. } | Self::Segment { .. } => 0,
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// How large.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::File { size_bytes, .. } | Self::Segment { size_bytes, .. } => *size_bytes,
            Self::Inline(bytes) => bytes.len() as u64,
        }
    }
}
