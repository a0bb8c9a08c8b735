//! Where the snapshots of one attempt on one worker go, and what becomes of state that is small (Flink:
//! `FsCheckpointStreamFactory`).
//!
//! State stays in memory until it is known not to be small. What is below the threshold when it ends travels inside the
//! acknowledgement and the metadata; what grows goes on in a file or an object, from the first byte.

use super::memory::InlineWriter;
use super::{CheckpointStorage, StateWriter, StorageError};
use crate::env::Env;
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::CheckpointId;
use std::fmt;

/// The largest threshold below which state may be inlined. Metadata is read whole, and travels in frames.
pub const INLINE_LIMIT_BYTES: u32 = 1 << 20;

/// No metadata of a checkpoint in files or objects has more inlined state in all its parts: deploying frames carry it, too.
pub const INLINE_TOTAL_LIMIT_BYTES: u64 = 16 << 20;

/// What becomes of state that is small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SmallState {
    /// State of fewer bytes is put into the metadata (Flink: `state.storage.fs.memory-threshold`). 0: none is. Shared files never are.
    pub inline_below_bytes: u32,
}

impl SmallState {
    /// Flink's default threshold.
    pub const INLINE_BELOW_BYTES: u32 = 20 << 10;

    /// Whether it can be had.
    ///
    /// # Errors
    /// `InlineLimit`.
    pub fn validated(self) -> Result<Self, StorageError> {
        let Self { inline_below_bytes } = self;
        if inline_below_bytes > INLINE_LIMIT_BYTES {
            return Err(StorageError::InlineLimit { inline_below_bytes });
        }
        Ok(self)
    }
}

/// Where the snapshots of one attempt on one worker go. Clones are the same place.
#[derive(Clone)]
pub struct SnapshotStreams<E: Env> {
    env: E,
    storage: CheckpointStorage,
    small: SmallState,
}

impl<E: Env> SnapshotStreams<E> {
    /// For the tasks of one attempt.
    #[must_use]
    pub fn new(env: &E, storage: &CheckpointStorage, small: SmallState) -> Self {
        Self { env: env.clone(), storage: storage.clone(), small }
    }

    /// Begins to write one piece of state: see [`CheckpointStorage::state_writer`].
    ///
    /// # Errors
    /// `Io`.
    pub async fn state_writer(&self, checkpoint: CheckpointId, name: &str) -> Result<StateWriter<E>, StorageError> {
        self.writer(Place::Checkpoint(checkpoint), name).await
    }

    /// Begins to write one piece of a savepoint: see [`CheckpointStorage::savepoint_writer`].
    ///
    /// # Errors
    /// `Io`.
    pub async fn savepoint_writer(&self, folder: &str, name: &str) -> Result<StateWriter<E>, StorageError> {
        self.writer(Place::Savepoint(folder.into()), name).await
    }

    /// The same for what must be a file, whatever its size.
    ///
    /// # Errors
    /// `Io`.
    pub async fn whole_savepoint_writer(&self, folder: &str, name: &str) -> Result<StateWriter<E>, StorageError> {
        self.storage.savepoint_writer(&self.env, folder, name).await
    }

    /// Begins to write one file that several checkpoints may use: see [`CheckpointStorage::shared_writer`].
    ///
    /// # Errors
    /// `Io` or `NotShareable`.
    pub async fn shared_writer(&self, name: &str) -> Result<StateWriter<E>, StorageError> {
        self.storage.shared_writer(&self.env, name).await
    }

    async fn writer(&self, place: Place, name: &str) -> Result<StateWriter<E>, StorageError> {
        // Where all state is in memory there is nothing that it could grow into.
        let in_memory = matches!((&self.storage, &place), (CheckpointStorage::Memory { .. }, Place::Checkpoint(_)));
        let limit = u64::from(self.small.inline_below_bytes);
        if in_memory || limit == 0 {
            return place.open(self, name).await;
        }
        let inline = InlineWriter::new(name, limit - 1);
        Ok(StateWriter::Small(Box::new(SmallWriter { streams: self.clone(), place, name: name.into(), inline })))
    }
}

/// Whose state it is.
enum Place {
    Checkpoint(CheckpointId),
    Savepoint(String),
}

impl Place {
    async fn open<E: Env>(&self, streams: &SnapshotStreams<E>, name: &str) -> Result<StateWriter<E>, StorageError> {
        match self {
            Self::Checkpoint(checkpoint) => streams.storage.state_writer(&streams.env, *checkpoint, name).await,
            Self::Savepoint(folder) => streams.storage.savepoint_writer(&streams.env, folder, name).await,
        }
    }
}

/// State that may turn out to be small.
pub struct SmallWriter<E: Env> {
    streams: SnapshotStreams<E>,
    place: Place,
    name: String,
    inline: InlineWriter,
}

impl<E: Env> fmt::Debug for SmallWriter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmallWriter").field("inline", &self.inline).finish_non_exhaustive()
    }
}

impl<E: Env> SmallWriter<E> {
    pub(super) fn fits(&self, payload: usize) -> bool {
        self.inline.fits(payload)
    }

    pub(super) fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        self.inline.block(payload)
    }

    /// It is not small: it goes on where it would have been without a threshold.
    pub(super) async fn grow(&mut self) -> Result<StateWriter<E>, StorageError> {
        let mut writer = self.place.open(&self.streams, &self.name).await?;
        writer.take_over(self.inline.take_blocks());
        Ok(writer)
    }

    pub(super) async fn finish(mut self: Box<Self>) -> Result<StateLocation, StorageError> {
        if self.inline.is_within() {
            return Ok(StateLocation::Inline(self.inline.finish()?));
        }
        Box::pin(self.grow().await?.finish()).await
    }
}
