//! Where snapshots live (Flink: `CheckpointStorage`, `AbstractFsCheckpointStorageAccess`).
//!
//! ```text
//! <dir>/<job-id>/chk-N/<uid>-<subtask>-<attempt>   state of one subtask of one operator
//! <dir>/<job-id>/chk-N/merged-<worker>-<attempt>-I where files are merged: what is small, of all subtasks of a worker
//! <dir>/<job-id>/chk-N/_metadata                   what checkpoint N consists of; appears whole or not at all
//! <dir>/<job-id>/shared/  taskowned/               for what outlives one checkpoint
//! <dir>/<job-id>/journal/                          what the coordinator needs to know after a crash
//! ```
//!
//! * `filesystem`: that tree, each step in the order that survives a crash at any point.
//! * `object`: the same names in an object store.
//! * `memory`: state travels inside acknowledgements and the coordinator keeps it (`JobManagerCheckpointStorage`).
//! * `state_file`: streams of blocks, written and read.
//! * `physical_file`: files that many pieces of state lie in, each durable by a sync that many may wait for.
//! * `streams`: where a task's snapshots go, and what becomes of state that is small.
//! * `leftovers`: what a job has outside of its own folder, and how it is deleted: savepoints not completed, claimed snapshots.
//! * `survey`: what stands below a job, for people.
//! * `journal`: the coordinator's durable record, and how a deposed coordinator is kept from writing it.
//!
//! Never here: which checkpoint is kept, and who may be told when (the machines of `cofferdam-protocol`).

use crate::env::{Env, ObjectError};
use crate::observe::Moment;
use cofferdam_protocol::block::{BlockWriter, FileKind};
use cofferdam_protocol::coordinator::{Journal, Written};
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::{CheckpointId, Epoch};
use journal::JournalStore;
use memory::{InlineWriter, MemoryStore};
use object::journal::ObjectJournal;
use object::ObjectWriter;
use serde::{Deserialize, Serialize};
use state_file::{StateFileReader, StateFileWriter};
use std::collections::BTreeSet;
use std::io;
use streams::SmallWriter;

mod error;
pub mod filesystem;
pub mod journal;
mod leftovers;
pub mod memory;
pub mod object;
mod physical_file;
pub mod state_file;
pub mod streams;
pub mod survey;

pub use error::StorageError;
pub use streams::{SmallState, SnapshotStreams};

/// Whether a path is the URL of an object.
fn is_url(path: &str) -> bool {
    path.contains("://")
}

/// Whether a path says where it is by itself, and not below the job's folder.
fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || is_url(path)
}

/// Where a job's checkpoints go. The same value is with the coordinator and with every worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointStorage {
    /// Files in a folder that all processes see (`execution.checkpointing.storage: filesystem`).
    FileSystem {
        /// `<dir>/<job-id>`.
        root: String,
    },
    /// In an object store that all processes reach.
    Object {
        /// `<url>/<job-id>`, such as `s3://bucket/checkpoints/job`.
        root: String,
    },
    /// Inside the acknowledgements (`execution.checkpointing.storage: jobmanager`). Does not outlive the coordinator.
    Memory {
        /// The most that one state may have.
        limit_bytes: u64,
    },
}

impl CheckpointStorage {
    /// Makes the folders of the job, durably. They may be there already.
    ///
    /// # Errors
    /// `Io`.
    pub async fn prepare<E: Env>(&self, env: &E) -> Result<(), StorageError> {
        match self {
            Self::FileSystem { root } => filesystem::prepare(env, root).await,
            Self::Object { .. } | Self::Memory { .. } => Ok(()),
        }
    }

    /// Begins to write one piece of state. `name` must be unique within the checkpoint, over all attempts; what a file name
    /// cannot have is escaped.
    ///
    /// # Errors
    /// `Io`, such as `NotFound` if the checkpoint was discarded in the meantime.
    pub async fn state_writer<E: Env>(&self, env: &E, checkpoint: CheckpointId, name: &str) -> Result<StateWriter<E>, StorageError> {
        match self {
            Self::FileSystem { root } => {
                let path = filesystem::state_path(checkpoint, name);
                let writer = StateFileWriter::create(env, &format!("{root}/{path}")).await?;
                Ok(StateWriter::File { writer, path })
            }
            Self::Object { root } => {
                let path = filesystem::state_path(checkpoint, name);
                Ok(StateWriter::Object { writer: ObjectWriter::new(env, root, &path), path })
            }
            Self::Memory { limit_bytes } => Ok(StateWriter::Inline(InlineWriter::new(name, *limit_bytes))),
        }
    }

    /// Begins to write one file that several checkpoints may use. `name` must be unique within the job, over all attempts.
    ///
    /// # Errors
    /// `Io`, or `NotShareable`.
    pub async fn shared_writer<E: Env>(&self, env: &E, name: &str) -> Result<StateWriter<E>, StorageError> {
        match self {
            Self::FileSystem { root } => {
                let path = filesystem::shared_path(name);
                let writer = StateFileWriter::create(env, &format!("{root}/{path}")).await?;
                Ok(StateWriter::File { writer, path })
            }
            Self::Object { root } => {
                let path = filesystem::shared_path(name);
                Ok(StateWriter::Object { writer: ObjectWriter::new(env, root, &path), path })
            }
            Self::Memory { .. } => Err(StorageError::NotShareable { name: name.into() }),
        }
    }

    /// Begins to write one piece of a savepoint, into its own folder. The location names it below that folder.
    ///
    /// # Errors
    /// `Io`.
    pub async fn savepoint_writer<E: Env>(&self, env: &E, folder: &str, name: &str) -> Result<StateWriter<E>, StorageError> {
        let path = filesystem::escaped(name);
        if is_url(folder) {
            return Ok(StateWriter::Object { writer: ObjectWriter::new(env, folder, &path), path });
        }
        let writer = StateFileWriter::create(env, &format!("{folder}/{path}")).await?;
        Ok(StateWriter::File { writer, path })
    }

    /// Begins to read one piece of state, wherever it is.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` already from its size or header.
    pub async fn open_state<E: Env>(&self, env: &E, location: &StateLocation) -> Result<StateFileReader<E>, StorageError> {
        match location {
            StateLocation::Inline(bytes) => StateFileReader::inline(bytes.clone()),
            StateLocation::Segment { path, offset, size_bytes } => {
                let path = self.full_path(path)?;
                StateFileReader::open_segment(env, FileKind::State, &path, *offset, *size_bytes).await
            }
            StateLocation::File { path, size_bytes } => {
                let path = self.full_path(path)?;
                if is_url(&path) {
                    StateFileReader::open_object(env, FileKind::State, &path, Some(*size_bytes)).await
                } else {
                    StateFileReader::open(env, FileKind::State, &path, Some(*size_bytes)).await
                }
            }
        }
    }

    /// Deletes shared files that no snapshot needs. They may be gone already. A path that is not below the job's own folder must be
    /// below `claimed`, the folder that the claimed snapshot came from.
    ///
    /// # Errors
    /// The first one; the others have been tried.
    pub async fn discard_shared<E: Env>(&self, env: &E, files: &BTreeSet<String>, claimed: Option<&str>) -> Result<(), StorageError> {
        let mut first = Ok(());
        for path in files {
            let foreign = is_absolute(path);
            let ours = !foreign || claimed.is_some_and(|base| path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')));
            let outcome = match self.full_path(path) {
                Ok(_) if !ours => Err(StorageError::BadPath { path: path.clone() }),
                Ok(full) if is_url(&full) => {
                    let removed = object::requests::delete(env, std::slice::from_ref(&full)).await;
                    removed.map_err(StorageError::object("delete", &full))
                }
                Ok(full) => filesystem::remove_file(env, &full).await,
                Err(error) => Err(error),
            };
            first = first.and(outcome);
        }
        first
    }

    /// Deletes one piece of state that no checkpoint names. It may be gone already.
    ///
    /// # Errors
    /// `Io` or `BadPath`.
    pub async fn discard_location<E: Env>(&self, env: &E, location: &StateLocation) -> Result<(), StorageError> {
        match location {
            // A physical file is its checkpoint's, and goes with that: others may have segments in it.
            StateLocation::Inline(_) | StateLocation::Segment { .. } => Ok(()),
            // Not below the job's folder: not ours.
            StateLocation::File { path, .. } if is_absolute(path) => Err(StorageError::BadPath { path: path.clone() }),
            StateLocation::File { path, .. } => {
                let path = self.full_path(path)?;
                match self {
                    Self::Object { .. } => {
                        let removed = object::requests::delete(env, std::slice::from_ref(&path)).await;
                        removed.map_err(StorageError::object("delete", &path))
                    }
                    Self::FileSystem { .. } | Self::Memory { .. } => filesystem::remove_file(env, &path).await,
                }
            }
        }
    }

    /// Paths come out of stored metadata and go into `remove`: none may lead out of the job's folder.
    fn full_path(&self, path: &str) -> Result<String, StorageError> {
        let parts = path.split_once("://").map_or(path, |(_, rest)| rest);
        let parts = parts.strip_prefix('/').unwrap_or(parts);
        let harmless = parts.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
        match self {
            // Of a snapshot that another job took: see `CheckpointStore::read_origin`.
            Self::FileSystem { .. } | Self::Object { .. } | Self::Memory { .. } if harmless && is_absolute(path) => Ok(path.to_owned()),
            Self::FileSystem { root } | Self::Object { root } if harmless => Ok(format!("{root}/{path}")),
            Self::FileSystem { .. } | Self::Object { .. } | Self::Memory { .. } => Err(StorageError::BadPath { path: path.into() }),
        }
    }
}

/// Writes one piece of state, block by block.
#[derive(Debug)]
pub enum StateWriter<E: Env> {
    /// Into a file.
    File {
        /// Of blocks.
        writer: StateFileWriter<E>,
        /// As the location will name it.
        path: String,
    },
    /// Into an object.
    Object {
        /// Of blocks.
        writer: ObjectWriter<E>,
        /// As the location will name it.
        path: String,
    },
    /// Into the acknowledgement.
    Inline(InlineWriter),
    /// Into memory, for as long as it is small.
    Small(Box<SmallWriter<E>>),
}

impl<E: Env> StateWriter<E> {
    /// Appends a block of 1 byte to 1 MiB.
    ///
    /// # Errors
    /// `Io`, `BlockSize`, or `InlineTooLarge`: decline the checkpoint.
    pub async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        if let Self::Small(small) = self {
            if !small.fits(payload.len()) {
                let grown = small.grow().await?;
                *self = grown;
            }
        }
        match self {
            Self::File { writer, .. } => writer.block(payload).await,
            Self::Object { writer, .. } => writer.block(payload).await,
            Self::Inline(writer) => writer.block(payload),
            Self::Small(writer) => writer.block(payload),
        }
    }

    /// Makes it durable and says where it is.
    ///
    /// # Errors
    /// `Io` or `InlineTooLarge`; then there is no state to speak of.
    pub async fn finish(self) -> Result<StateLocation, StorageError> {
        match self {
            Self::File { writer, path } => Ok(StateLocation::File { path, size_bytes: writer.finish().await? }),
            Self::Object { writer, path } => Ok(StateLocation::File { path, size_bytes: writer.finish().await? }),
            Self::Inline(writer) => Ok(StateLocation::Inline(writer.finish()?)),
            Self::Small(writer) => writer.finish().await,
        }
    }

    /// Begins with blocks that were small enough for memory at first.
    fn take_over(&mut self, blocks: BlockWriter) {
        match self {
            Self::File { writer, .. } => writer.take_over(blocks),
            Self::Object { writer, .. } => writer.take_over(blocks),
            Self::Inline(_) | Self::Small(_) => unreachable!("what grows goes into a file or an object"),
        }
    }
}

/// The coordinator's side of storage: whole checkpoints. The same calls for files and for memory; clones share the memory.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    storage: CheckpointStorage,
    memory: MemoryStore,
}

impl CheckpointStore {
    /// With an empty memory.
    #[must_use]
    pub fn new(storage: CheckpointStorage) -> Self {
        Self { storage, memory: MemoryStore::default() }
    }

    /// What the workers need to know.
    #[must_use]
    pub fn storage(&self) -> &CheckpointStorage {
        &self.storage
    }

    /// Makes the place for the files of a checkpoint durable.
    ///
    /// # Errors
    /// `Io`; `AlreadyExists` too, since a number is never used twice.
    pub async fn create_location<E: Env>(&self, env: &E, checkpoint: CheckpointId) -> Result<(), StorageError> {
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::create_location(env, root, checkpoint).await,
            CheckpointStorage::Object { root } => object::create_location(env, root, checkpoint).await,
            CheckpointStorage::Memory { .. } => Ok(()),
        }
    }

    /// Publishes the metadata of a checkpoint, whole or not at all, and reads it back. `observe` hears of the steps on disk.
    ///
    /// # Errors
    /// `Io`, `Corrupt` or `ReadBack`. It may be published all the same: discard the checkpoint.
    pub async fn publish_metadata<E: Env>(
        &self,
        env: &E,
        metadata: &CheckpointMetadata,
        observe: impl Fn(Moment) + Send,
    ) -> Result<(), StorageError> {
        self.check_inlined(metadata)?;
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::publish_metadata(env, root, metadata, observe).await,
            CheckpointStorage::Object { root } => object::publish_metadata(env, root, metadata, observe).await,
            CheckpointStorage::Memory { .. } => self.memory.publish(metadata),
        }
    }

    /// Why here: nobody else sees all parts, and what is too large to be read back is better not a checkpoint.
    fn check_inlined(&self, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
        match &self.storage {
            // It is all inlined, and has its own limit.
            CheckpointStorage::Memory { .. } => Ok(()),
            CheckpointStorage::FileSystem { .. } | CheckpointStorage::Object { .. } => {
                let (checkpoint, size_bytes) = (metadata.checkpoint, metadata.inline_bytes());
                if size_bytes > streams::INLINE_TOTAL_LIMIT_BYTES {
                    return Err(StorageError::InlineTotal { checkpoint, size_bytes });
                }
                Ok(())
            }
        }
    }

    /// The metadata of a published checkpoint.
    ///
    /// # Errors
    /// `Io`, `Corrupt`, or `MetadataMissing` after a takeover of a job in memory. Never falls back to an older checkpoint.
    pub async fn read_metadata<E: Env>(&self, env: &E, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::read_metadata(env, root, checkpoint).await,
            CheckpointStorage::Object { root } => object::read_metadata(env, root, checkpoint).await,
            CheckpointStorage::Memory { .. } => self.memory.read(checkpoint),
        }
    }

    /// The metadata of a snapshot that anybody took, by its folder. All paths in it are absolute afterwards.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub async fn read_origin<E: Env>(&self, env: &E, folder: &str) -> Result<CheckpointMetadata, StorageError> {
        self.read_named(env, folder, filesystem::METADATA).await
    }

    async fn read_named<E: Env>(&self, env: &E, folder: &str, name: &str) -> Result<CheckpointMetadata, StorageError> {
        let folder = folder.trim_end_matches('/');
        let mut metadata =
            if is_url(folder) { object::read_named(env, folder, name).await? } else { filesystem::read_named(env, folder, name).await? };
        let base = filesystem::base_of(folder, &metadata).to_owned();
        metadata.for_each_path(|path| {
            if !is_absolute(path) {
                *path = format!("{base}/{path}");
            }
        });
        Ok(metadata)
    }

    /// Makes the folder of a savepoint, durably.
    ///
    /// # Errors
    /// `Io`; `AlreadyExists` too.
    pub async fn create_savepoint<E: Env>(&self, env: &E, folder: &str) -> Result<(), StorageError> {
        if is_url(folder) {
            object::create(env, folder).await
        } else {
            filesystem::create_savepoint(env, folder).await
        }
    }

    /// Publishes the metadata of a savepoint in its folder.
    ///
    /// # Errors
    /// As [`publish_metadata`](Self::publish_metadata).
    pub async fn publish_savepoint<E: Env>(
        &self,
        env: &E,
        folder: &str,
        metadata: &CheckpointMetadata,
        observe: impl Fn(Moment) + Send,
    ) -> Result<(), StorageError> {
        self.check_inlined(metadata)?;
        if is_url(folder) {
            object::publish(env, folder, metadata, observe).await
        } else {
            filesystem::publish(env, folder, metadata, observe).await
        }
    }

    /// Deletes a snapshot by its folder: its metadata, then its own files, then the folder if nothing else is in it. What it
    /// shares stays.
    ///
    /// # Errors
    /// `Io` or `Corrupt`; ask again.
    pub async fn dispose<E: Env>(&self, env: &E, folder: &str) -> Result<(), StorageError> {
        let folder = folder.trim_end_matches('/');
        let metadata = match self.read_origin(env, folder).await {
            Ok(metadata) => metadata,
            // Disposed of before.
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(StorageError::Object { source: ObjectError::NotFound, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if is_url(folder) {
            object::dispose(env, folder, &metadata).await
        } else {
            filesystem::dispose(env, folder, &metadata).await
        }
    }

    /// Removes the folder of a snapshot that was disposed of, if the last of what it shared has gone as well.
    ///
    /// # Errors
    /// `Io`; ask again.
    pub async fn remove_emptied<E: Env>(&self, env: &E, folder: &str) -> Result<(), StorageError> {
        // An object store has no folders.
        if is_url(folder) {
            return Ok(());
        }
        filesystem::remove_emptied(env, folder.trim_end_matches('/')).await
    }

    /// Deletes a savepoint that did not complete, with all that is in its folder.
    ///
    /// # Errors
    /// `Io`; ask again.
    pub async fn discard_savepoint<E: Env>(&self, env: &E, folder: &str) -> Result<(), StorageError> {
        if is_url(folder) {
            object::discard_folder(env, folder, Vec::new()).await
        } else {
            filesystem::discard_folder(env, folder).await
        }
    }

    /// Deletes the shared files of the job that are not in `keep`, and that an attempt of an epoch before `before` wrote.
    ///
    /// # Errors
    /// `Io`; ask again.
    pub async fn sweep_shared<E: Env>(&self, env: &E, keep: &BTreeSet<String>, before: Option<Epoch>) -> Result<(), StorageError> {
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::sweep_shared(env, root, keep, before).await,
            CheckpointStorage::Object { root } => object::sweep_shared(env, root, keep, before).await,
            CheckpointStorage::Memory { .. } => Ok(()),
        }
    }

    /// Deletes all files of a checkpoint. They may be gone already.
    ///
    /// # Errors
    /// `Io`; ask again.
    pub async fn discard<E: Env>(&self, env: &E, checkpoint: CheckpointId) -> Result<(), StorageError> {
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::discard(env, root, checkpoint).await,
            CheckpointStorage::Object { root } => object::discard(env, root, checkpoint).await,
            CheckpointStorage::Memory { .. } => {
                self.memory.discard(checkpoint);
                Ok(())
            }
        }
    }

    /// Deletes all files of every checkpoint up to and with `up_to` but those in `keep`.
    ///
    /// # Errors
    /// The first one; the others have been tried.
    pub async fn sweep<E: Env>(&self, env: &E, keep: &BTreeSet<CheckpointId>, up_to: CheckpointId) -> Result<(), StorageError> {
        match &self.storage {
            CheckpointStorage::FileSystem { root } => filesystem::sweep(env, root, keep, up_to).await,
            CheckpointStorage::Object { root } => object::sweep(env, root, keep, up_to).await,
            CheckpointStorage::Memory { .. } => {
                self.memory.sweep(keep, up_to);
                Ok(())
            }
        }
    }
}

/// The coordinator's durable record, wherever checkpoints are.
#[derive(Debug)]
pub enum JournalKeeper {
    /// In files.
    File(JournalStore),
    /// In an object store.
    Object(ObjectJournal),
}

impl JournalKeeper {
    /// Makes the job's place and opens the journal below `root`, which is a URL if checkpoints are objects, and a folder otherwise.
    ///
    /// # Errors
    /// As for [`JournalStore::open`] and [`ObjectJournal::open`].
    pub async fn open<E: Env>(env: &E, storage: &CheckpointStorage, root: &str) -> Result<(Self, Option<Journal>), StorageError> {
        match storage {
            CheckpointStorage::Object { .. } => {
                let (journal, newest) = ObjectJournal::open(env, root).await?;
                // Of a job that is over, nothing is to appear any more.
                if newest.as_ref().is_none_or(|newest| newest.ended.is_none()) {
                    object::prepare(env, root).await?;
                }
                Ok((Self::Object(journal), newest))
            }
            CheckpointStorage::FileSystem { .. } | CheckpointStorage::Memory { .. } => {
                filesystem::prepare(env, root).await?;
                let (journal, newest) = JournalStore::open(env, root).await?;
                Ok((Self::File(journal), newest))
            }
        }
    }

    /// Appends an entry.
    pub async fn append<E: Env>(&mut self, env: &E, journal: &Journal) -> Written {
        match self {
            Self::File(store) => store.append(env, journal).await,
            Self::Object(store) => store.append(env, journal).await,
        }
    }
}

#[cfg(test)]
mod tests;
