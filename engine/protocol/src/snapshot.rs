//! What one task hands over for a checkpoint, and where the bytes are.

use crate::key_group::KeyGroupRange;
use alloc::string::String;
use alloc::vec::Vec;
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
}

/// Operator list state under one name: elements that may be handed out to any subtask (Flink: split redistribution).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListState {
    /// The state's name.
    pub name: String,
    /// Each element in its stored format.
    pub items: Vec<Vec<u8>>,
}

/// What one subtask of one operator puts into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// The operator's stable name.
    pub uid: String,
    /// Keyed state, if it has any.
    pub keyed: Vec<KeyedHandle>,
    /// Operator state.
    pub lists: Vec<ListState>,
}

/// What one task acknowledges with: all operators of its chain, head first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSnapshot {
    /// One for each operator that has state.
    pub operators: Vec<OperatorSnapshot>,
}
