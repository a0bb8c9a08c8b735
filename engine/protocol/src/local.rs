//! Local recovery: second copies of keyed state on the disks of workers (Flink: `TaskLocalStateStore`).
//!
//! Lives here: what a copy is called and consists of ([`LocalSnapshot`], in its stored format), whether it may stand in for what the
//! checkpoint names ([`stand_in`]), and which copies are of no use any more ([`LocalCopies`]).
//! Never here: files. The checkpoint itself: a copy is only ever a faster way to the same bytes.

mod copies;

pub use copies::{Input, LocalCopies, Output};

use crate::block::{frame, unframe, FileKind};
use crate::ids::{AttemptId, CheckpointId, Epoch, SubtaskIndex, TaskId, VertexId};
use crate::key_group::KeyGroupRange;
use crate::restore::OperatorRestore;
use crate::snapshot::{KeyedHandle, StateLocation};
use crate::stored::{Reader, Stored, StoredError};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A completed checkpoint, and the attempt whose tasks took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Taken {
    /// Which.
    pub checkpoint: CheckpointId,
    /// By whom.
    pub attempt: AttemptId,
}

/// One subtask's copy of what it put into one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalCopy {
    /// Whose state.
    pub task: TaskId,
    /// Of which checkpoint, taken in which attempt.
    pub taken: Taken,
}

impl LocalCopy {
    /// The name of its folder: `v1.s0-c7-a2.3`. Two copies never have the same one.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}-{}", self.task, self.taken.checkpoint, self.taken.attempt)
    }

    /// The copy of a folder, if it is the name of one.
    #[must_use]
    pub fn of_folder(name: &str) -> Option<Self> {
        fn pair<T: core::str::FromStr, U: core::str::FromStr>(text: &str, between: &str) -> Option<(T, U)> {
            let (left, right) = text.split_once(between)?;
            Some((left.parse().ok()?, right.parse().ok()?))
        }
        let (task, taken) = name.strip_prefix('v')?.split_once("-c")?;
        let (checkpoint, attempt) = taken.split_once("-a")?;
        let (vertex, subtask) = pair(task, ".s")?;
        let (epoch, number) = pair(attempt, ".")?;
        let taken = Taken { checkpoint: CheckpointId(checkpoint.parse().ok()?), attempt: AttemptId { epoch: Epoch(epoch), number } };
        let copy = Self { task: TaskId { vertex: VertexId(vertex), subtask: SubtaskIndex(subtask) }, taken };
        // `v01.s0-c7-a2.3` parses as well, but is not ours.
        (copy.folder() == name).then_some(copy)
    }
}

impl fmt::Display for LocalCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.folder())
    }
}

/// A file of a copy: the same blocks as those of the file that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalFile {
    /// In the copy's folder.
    pub name: String,
    /// Exact.
    pub size_bytes: u64,
    /// CRC-32 over the payloads of all blocks. Each block has its own; this one notices whole files that were swapped.
    pub checksum: u32,
}

/// The copy of one operator's keyed state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalOperator {
    /// The operator's stable name.
    pub uid: String,
    /// What it stands for, as the checkpoint names it.
    pub handle: KeyedHandle,
    /// In place of the handle's location, unless that is inline.
    pub private: Option<LocalFile>,
    /// In place of the handle's shared files, in their order.
    pub shared: Vec<LocalFile>,
}

impl LocalOperator {
    /// Of all its files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files().map(|file| file.size_bytes).sum()
    }

    /// All of them.
    pub fn files(&self) -> impl Iterator<Item = &LocalFile> {
        self.private.iter().chain(&self.shared)
    }

    /// Whether there is a file for each of the handle's.
    fn is_whole(&self) -> bool {
        let inline = matches!(self.handle.location, StateLocation::Inline(_));
        self.private.is_some() != inline && self.shared.len() == self.handle.shared_files().count()
    }
}

/// What a copy consists of (Flink: `_task_state_snapshot` in the working directory). Written last, so that a copy without it is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalSnapshot {
    /// The copy. The name of a folder can be given to another; this cannot.
    pub copy: LocalCopy,
    /// Operators with keyed state in files. What is in the metadata as a whole comes back with the deployment.
    pub operators: Vec<LocalOperator>,
}

impl LocalSnapshot {
    /// As stored.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut encoding = Vec::new();
        self.write(&mut encoding);
        frame(FileKind::LocalCopy, &encoding)
    }

    /// From its stored form.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the offset.
    pub fn from_file(bytes: &[u8]) -> Result<Self, StoredError> {
        Self::decode(&unframe(FileKind::LocalCopy, bytes)?)
    }

    /// Without the frame.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the offset.
    pub fn decode(encoding: &[u8]) -> Result<Self, StoredError> {
        let mut input = Reader::new(encoding, 0);
        let snapshot = Self::read(&mut input)?;
        input.finish("a local copy")?;
        Ok(snapshot)
    }
}

/// Why a copy may not stand in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is another subtask's, or of another checkpoint or attempt: its folder was renamed or put back.
    #[error("it is {found}, not {wanted}")]
    OtherCopy {
        /// What its manifest says.
        found: LocalCopy,
        /// What was looked for.
        wanted: LocalCopy,
    },
    /// The subtask owns other key groups now than what it copied.
    #[error("{uid} owns {groups} now")]
    OtherGroups {
        /// The operator.
        uid: String,
        /// What it owns.
        groups: KeyGroupRange,
    },
    /// It stands for other files than those that the checkpoint names.
    #[error("{uid}: it stands for another snapshot than the checkpoint names")]
    OtherHandle {
        /// The operator.
        uid: String,
    },
    /// It has nothing of this operator, or not all.
    #[error("{uid} is not in it, or not whole")]
    NotWhole {
        /// The operator.
        uid: String,
    },
}

/// What may stand in for the keyed state that a subtask is to load, and is to be tried first (Flink:
/// `PrioritizedOperatorSubtaskState`). A copy counts only if it is this subtask's, of the very snapshot, of all that the subtask owns
/// and no more, and of the very handle: path and size of each file.
///
/// `own` is what the subtask owns now; `wanted` is the copy that it would have made.
///
/// # Errors
/// Why it is to be loaded from where the checkpoint is.
pub fn stand_in<'a>(
    planned: &OperatorRestore,
    own: KeyGroupRange,
    wanted: LocalCopy,
    copy: &'a LocalSnapshot,
) -> Result<&'a LocalOperator, Mismatch> {
    if copy.copy != wanted {
        return Err(Mismatch::OtherCopy { found: copy.copy, wanted });
    }
    let uid = || planned.uid.clone();
    let [(handle, groups)] = &planned.keyed[..] else { return Err(Mismatch::OtherGroups { uid: uid(), groups: own }) };
    if *groups != own || handle.groups != own {
        return Err(Mismatch::OtherGroups { uid: uid(), groups: own });
    }
    let operator = copy.operators.iter().find(|operator| operator.uid == planned.uid).filter(|operator| operator.is_whole());
    let operator = operator.ok_or_else(|| Mismatch::NotWhole { uid: uid() })?;
    if operator.handle != *handle {
        return Err(Mismatch::OtherHandle { uid: uid() });
    }
    Ok(operator)
}

impl Stored for LocalSnapshot {
    fn write(&self, out: &mut Vec<u8>) {
        let LocalCopy { task, taken } = self.copy;
        (task.vertex.0, task.subtask.0).write(out);
        (taken.checkpoint.0, taken.attempt.epoch.0, taken.attempt.number).write(out);
        self.operators.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (vertex, subtask) = Stored::read(input)?;
        let (checkpoint, epoch, number) = Stored::read(input)?;
        let taken = Taken { checkpoint: CheckpointId(checkpoint), attempt: AttemptId { epoch: Epoch(epoch), number } };
        let copy = LocalCopy { task: TaskId { vertex: VertexId(vertex), subtask: SubtaskIndex(subtask) }, taken };
        Ok(Self { copy, operators: Vec::read(input)? })
    }
}

impl Stored for LocalOperator {
    fn write(&self, out: &mut Vec<u8>) {
        self.uid.write(out);
        self.handle.write(out);
        self.private.write(out);
        self.shared.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (uid, handle) = (String::read(input)?, KeyedHandle::read(input)?);
        Ok(Self { uid, handle, private: Option::read(input)?, shared: Vec::read(input)? })
    }
}

impl Stored for LocalFile {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        (self.size_bytes, self.checksum).write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let name = String::read(input)?;
        // It becomes a path: it must not lead out of the copy's folder.
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(StoredError::Invalid { offset, what: format!("{name:?} is not the name of a file") });
        }
        let (size_bytes, checksum) = Stored::read(input)?;
        Ok(Self { name, size_bytes, checksum })
    }
}

#[cfg(test)]
mod tests;
