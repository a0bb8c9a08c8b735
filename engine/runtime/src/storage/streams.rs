//! Where the snapshots of one attempt on one worker go, and what becomes of state that is small (Flink:
//! `FsCheckpointStreamFactory`, `FsMergingCheckpointStorageLocation`).
//!
//! State stays in memory until it is known not to be small. When it ends below the threshold it travels inside the acknowledgement and
//! the metadata; where files are merged, what is larger goes into a file that all tasks of the worker share for the checkpoint; what
//! grows goes on in a file or an object of its own, from the first byte.
//!
//! Shared files of a store are merged by operator and subtask, over several checkpoints: see the protocol's `segments`. Savepoints are
//! never merged.

use super::filesystem::{shared_path, state_path};
use super::memory::InlineWriter;
use super::physical_file::PhysicalFile;
use super::{CheckpointStorage, StateWriter, StorageError};
use crate::env::Env;
use cofferdam_protocol::segments::{Merging, Segments};
use cofferdam_protocol::snapshot::{Segment, SharedFile, StateLocation};
use cofferdam_protocol::{AttemptId, CheckpointId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use tokio::sync::Mutex;

/// The largest threshold below which state may be inlined. Metadata is read whole, and travels in frames.
pub const INLINE_LIMIT_BYTES: u32 = 1 << 20;

/// No metadata of a checkpoint in files or objects has more inlined state in all its parts: deploying frames carry it, too.
pub const INLINE_TOTAL_LIMIT_BYTES: u64 = 16 << 20;

/// What becomes of state that is small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SmallState {
    /// State of fewer bytes is put into the metadata (Flink: `state.storage.fs.memory-threshold`). 0: none is. Shared files never are.
    pub inline_below_bytes: u32,
    /// How small files are merged into few (`execution.checkpointing.file-merging.*`); `None`: they are not. Needs a file system.
    pub merge: Option<Merging>,
}

impl SmallState {
    /// Flink's default threshold.
    pub const INLINE_BELOW_BYTES: u32 = 20 << 10;

    /// Whether it can be had there.
    ///
    /// # Errors
    /// `InlineLimit`, `Merging` or `MergingNeedsFiles`.
    pub fn validated(self, storage: &CheckpointStorage) -> Result<Self, StorageError> {
        let Self { inline_below_bytes, merge } = self;
        if inline_below_bytes > INLINE_LIMIT_BYTES {
            return Err(StorageError::InlineLimit { inline_below_bytes });
        }
        let Some(merging) = merge else { return Ok(self) };
        merging.validated()?;
        match storage {
            CheckpointStorage::FileSystem { .. } => Ok(self),
            CheckpointStorage::Object { .. } | CheckpointStorage::Memory { .. } => Err(StorageError::MergingNeedsFiles),
        }
    }
}

/// Who shares the files of one checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Sharers {
    /// Tasks of this worker.
    pub worker: WorkerId,
    /// In this attempt.
    pub attempt: AttemptId,
    /// So many of them.
    pub tasks: u64,
}

type Shared<T> = Arc<Mutex<T>>;

/// The files that the tasks of a worker have in common.
struct Files<E: Env> {
    /// What belongs to one checkpoint: several, where one becomes too large.
    exclusive: BTreeMap<(CheckpointId, u64), Shared<PhysicalFile<E>>>,
    /// What several checkpoints may use, by operator and subtask.
    shared: BTreeMap<(String, u32), Shared<SharedSegments<E>>>,
}

/// Where the snapshots of one attempt on one worker go. Clones are the same place.
#[derive(Clone)]
pub struct SnapshotStreams<E: Env> {
    env: E,
    storage: CheckpointStorage,
    small: SmallState,
    sharers: Sharers,
    files: Arc<Lock<Files<E>>>,
}

impl<E: Env> SnapshotStreams<E> {
    /// For the tasks of one attempt.
    #[must_use]
    pub fn new(env: &E, storage: &CheckpointStorage, small: SmallState, sharers: Sharers) -> Self {
        let files = Arc::new(Lock::new(Files { exclusive: BTreeMap::new(), shared: BTreeMap::new() }));
        Self { env: env.clone(), storage: storage.clone(), small, sharers, files }
    }

    /// Begins to write one piece of state: see [`CheckpointStorage::state_writer`]. Before it, its task has put `merged_bytes` into the
    /// files of this checkpoint that it shares with others.
    ///
    /// # Errors
    /// `Io`.
    pub async fn state_writer(&self, checkpoint: CheckpointId, name: &str, merged_bytes: u64) -> Result<StateWriter<E>, StorageError> {
        self.writer(Place::Checkpoint(checkpoint, merged_bytes), name).await
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

    /// Where the small shared files of one subtask of an operator go; `None`: each has a file of its own.
    #[must_use]
    pub fn segments(&self, uid: &str, subtask: u32) -> Option<Shared<SharedSegments<E>>> {
        let (CheckpointStorage::FileSystem { root }, Some(merging)) = (&self.storage, self.small.merge) else { return None };
        let mut files = self.lock();
        let segments = files.shared.entry((uid.to_owned(), subtask)).or_insert_with(|| {
            let segments =
                SharedSegments { env: self.env.clone(), root: root.clone(), merging, segments: Segments::new(merging), file: None };
            Arc::new(Mutex::new(segments))
        });
        Some(segments.clone())
    }

    /// A checkpoint is complete: its files, and those of all before, are written to no more.
    pub fn close_up_to(&self, checkpoint: CheckpointId) {
        self.lock().exclusive.retain(|(open, _), _| *open > checkpoint);
    }

    /// A checkpoint was aborted; `completed` is complete in any case.
    pub fn close_aborted(&self, checkpoint: CheckpointId, completed: Option<CheckpointId>) {
        self.lock().exclusive.retain(|(open, _), _| *open != checkpoint && completed.is_none_or(|completed| *open > completed));
    }

    async fn writer(&self, place: Place, name: &str) -> Result<StateWriter<E>, StorageError> {
        // Where all state is in memory there is nothing that it could grow into.
        let in_memory = matches!((&self.storage, &place), (CheckpointStorage::Memory { .. }, Place::Checkpoint(..)));
        let limit =
            u64::from(self.small.inline_below_bytes).max(place.merging(self).map_or(0, |merging| merging.segment_limit_bytes() + 1));
        if in_memory || limit == 0 {
            return place.open(self, name).await;
        }
        let inline = InlineWriter::new(name, limit - 1);
        Ok(StateWriter::Small(Box::new(SmallWriter { streams: self.clone(), place, name: name.into(), inline })))
    }

    /// A file that all tasks of this worker share for a checkpoint, by its number: the same for whoever comes first.
    fn exclusive(&self, root: &str, checkpoint: CheckpointId, number: u64) -> (String, Shared<PhysicalFile<E>>) {
        let Sharers { worker, attempt, .. } = self.sharers;
        let path = state_path(checkpoint, &format!("merged-{worker}-{attempt}-{number}"));
        let mut files = self.lock();
        let file = files.exclusive.entry((checkpoint, number)).or_insert_with(|| {
            let whole = format!("{root}/{path}");
            Arc::new(Mutex::new(PhysicalFile::new(&self.env, whole)))
        });
        (path, file.clone())
    }

    /// Every change is one call on a map, so that a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, Files<E>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose state it is.
enum Place {
    /// With how much its task has merged before.
    Checkpoint(CheckpointId, u64),
    Savepoint(String),
}

impl Place {
    async fn open<E: Env>(&self, streams: &SnapshotStreams<E>, name: &str) -> Result<StateWriter<E>, StorageError> {
        match self {
            Self::Checkpoint(checkpoint, _) => streams.storage.state_writer(&streams.env, *checkpoint, name).await,
            Self::Savepoint(folder) => streams.storage.savepoint_writer(&streams.env, folder, name).await,
        }
    }

    fn merging<E: Env>(&self, streams: &SnapshotStreams<E>) -> Option<Merging> {
        match (self, &streams.storage) {
            (Self::Checkpoint(..), CheckpointStorage::FileSystem { .. }) => streams.small.merge,
            // What is its user's has no file in common with anything else.
            (Self::Checkpoint(..) | Self::Savepoint(_), _) => None,
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
        let size_bytes = self.inline.whole_bytes();
        if size_bytes < u64::from(self.streams.small.inline_below_bytes) {
            return Ok(StateLocation::Inline(self.inline.finish()?));
        }
        let merged = match (&self.place, self.place.merging(&self.streams), &self.streams.storage) {
            (Place::Checkpoint(checkpoint, before), Some(merging), CheckpointStorage::FileSystem { root }) => {
                let number = merging.file_of(self.streams.sharers.tasks, *before, size_bytes);
                number.map(|number| self.streams.exclusive(root, *checkpoint, number))
            }
            _ => None,
        };
        let Some((path, file)) = merged else {
            return Box::pin(self.grow().await?.finish()).await;
        };
        let bytes = self.inline.finish()?;
        let offset = file.lock().await.append(&bytes).await?;
        // Whoever comes first syncs for all that have appended meanwhile.
        let mut file = file.lock().await;
        if !file.is_durable(offset + size_bytes) {
            file.sync().await?;
        }
        Ok(StateLocation::Segment { path, offset, size_bytes })
    }
}

/// The small shared files of one subtask of an operator, in the order of its checkpoints.
pub struct SharedSegments<E: Env> {
    env: E,
    root: String,
    merging: Merging,
    segments: Segments,
    file: Option<PhysicalFile<E>>,
}

impl<E: Env> SharedSegments<E> {
    /// A snapshot begins that could name these. Gives those that are to be written again.
    pub fn begin(&mut self, known: &[SharedFile]) -> BTreeSet<String> {
        if self.file.as_ref().is_some_and(PhysicalFile::is_broken) {
            self.segments.broken();
        }
        let again = self.segments.begin(known);
        if self.segments.open().is_none() {
            self.file = None;
        }
        again
    }

    /// What is larger has a file of its own.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        // Frames of blocks take a little as well.
        self.merging.segment_limit_bytes() / 2
    }

    /// Appends one, to a new file below a name if there is no other; it is durable after the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// `Io`, or `Abandoned` after an earlier error.
    pub async fn append(&mut self, bytes: &[u8], name: impl FnOnce() -> String) -> Result<(String, Segment), StorageError> {
        let before = self.segments.open().map(ToOwned::to_owned);
        let path = self.segments.place(bytes.len() as u64, || shared_path(&name())).to_owned();
        if before.as_ref() != Some(&path) {
            // Why: nobody comes back to it.
            self.sync().await?;
            self.file = None;
        }
        let file = self.file.get_or_insert_with(|| PhysicalFile::new(&self.env, format!("{}/{path}", self.root)));
        let offset = file.append(bytes).await?;
        let file_bytes = file.size_bytes();
        self.segments.written(file_bytes);
        Ok((path, Segment { offset, file_bytes }))
    }

    /// Makes durable whatever was appended.
    ///
    /// # Errors
    /// `Io`, `ReadBack`, or `Abandoned` after an earlier error.
    pub async fn sync(&mut self) -> Result<(), StorageError> {
        match &mut self.file {
            Some(file) => file.sync().await,
            None => Ok(()),
        }
    }

    /// Says of each how large its file is by now.
    pub fn measure(&self, files: &mut [SharedFile]) {
        for file in files {
            if let (Some(segment), Some(file_bytes)) = (&mut file.segment, self.segments.file_bytes(&file.path)) {
                segment.file_bytes = file_bytes;
            }
        }
    }
}
