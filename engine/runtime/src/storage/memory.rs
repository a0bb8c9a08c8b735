//! Checkpoints in the coordinator's memory: for tests and small state. They do not outlive it.

use super::StorageError;
use cofferdam_protocol::block::{BlockWriter, FileKind, BLOCK_HEAD_SIZE, TOTAL_SIZE};
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::CheckpointId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// State that travels inside an acknowledgement, in the very format of a state file.
#[derive(Debug)]
pub struct InlineWriter {
    name: String,
    limit_bytes: u64,
    blocks: BlockWriter,
}

impl InlineWriter {
    /// Begins; `name` is for messages.
    #[must_use]
    pub fn new(name: &str, limit_bytes: u64) -> Self {
        Self { name: name.into(), limit_bytes, blocks: BlockWriter::new(FileKind::State) }
    }

    /// Appends a block.
    ///
    /// # Errors
    /// `InlineTooLarge` as soon as the whole would exceed the limit, or `BlockSize`; nothing is appended then.
    pub fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        self.check(BLOCK_HEAD_SIZE + payload.len())?;
        self.blocks.block(payload).map_err(|source| StorageError::BlockSize { path: self.name.clone(), source })
    }

    /// The bytes.
    ///
    /// # Errors
    /// `InlineTooLarge`, if the limit is below even an empty file.
    pub fn finish(self) -> Result<Vec<u8>, StorageError> {
        self.check(0)?;
        Ok(self.blocks.finish())
    }

    /// Whether the whole would stay within the limit with another block.
    pub(super) fn fits(&self, payload: usize) -> bool {
        self.check(BLOCK_HEAD_SIZE + payload).is_ok()
    }

    /// How large the whole is as it is.
    pub(super) fn whole_bytes(&self) -> u64 {
        self.bytes_with(0)
    }

    /// The blocks so far, to go on with elsewhere.
    pub(super) fn take_blocks(&mut self) -> BlockWriter {
        std::mem::replace(&mut self.blocks, BlockWriter::new(FileKind::State))
    }

    fn bytes_with(&self, more: usize) -> u64 {
        (self.blocks.size_bytes() + more + BLOCK_HEAD_SIZE + TOTAL_SIZE) as u64
    }

    fn check(&self, more: usize) -> Result<(), StorageError> {
        let size_bytes = self.bytes_with(more);
        if size_bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(StorageError::InlineTooLarge { name: self.name.clone(), size_bytes, limit_bytes: self.limit_bytes })
    }
}

/// The metadata of completed checkpoints. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    completed: Arc<Mutex<BTreeMap<CheckpointId, CheckpointMetadata>>>,
}

impl MemoryStore {
    /// Keeps it, after the same round trip through its bytes that a file would make.
    ///
    /// # Errors
    /// `Corrupt` or `ReadBack`, which would be a bug of ours.
    pub fn publish(&self, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
        let path = "metadata in memory";
        let read = CheckpointMetadata::from_file(&metadata.to_file()).map_err(StorageError::corrupt(path))?;
        if read != *metadata {
            return Err(StorageError::ReadBack { path: path.into() });
        }
        self.lock().insert(metadata.checkpoint, read);
        Ok(())
    }

    /// A copy.
    ///
    /// # Errors
    /// `MetadataMissing`.
    pub fn read(&self, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
        self.lock().get(&checkpoint).cloned().ok_or(StorageError::MetadataMissing { checkpoint })
    }

    /// Forgets one.
    pub fn discard(&self, checkpoint: CheckpointId) {
        self.lock().remove(&checkpoint);
    }

    /// Forgets all up to and with `up_to` but those in `keep`.
    pub fn sweep(&self, keep: &BTreeSet<CheckpointId>, up_to: CheckpointId) {
        self.lock().retain(|checkpoint, _| *checkpoint > up_to || keep.contains(checkpoint));
    }

    /// Every change is one call on the map, so that a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<CheckpointId, CheckpointMetadata>> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
