//! What a snapshot tells of itself to the copy that is made of it. Nothing here waits for the disk: a copy may lag behind the
//! checkpoint, or come to nothing, and the checkpoint does not know.

use super::copying::{Original, Work};
use super::Restorable;
use crate::env::Env;
use crate::state::cold::{ColdCheckpoint, ColdFile};
use crate::storage::filesystem::escaped;
use crate::storage::{StateWriter, StorageError};
use cofferdam_protocol::local::LocalFile;
use cofferdam_protocol::snapshot::{KeyedHandle, SharedFile, StateLocation};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// A copy that lags further behind in what only memory has is given up.
pub(super) const LAG_BYTES: u64 = 32 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What both sides of a copy know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// There will be no copy.
    pub(super) failed: AtomicBool,
    /// Told to be written, and not written yet.
    pub(super) lag_bytes: AtomicU64,
}

/// The name of a file of a copy, which may not be there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyName(pub(super) String);

/// Tells one copy what is in the checkpoint.
pub struct CopyWriter {
    work: mpsc::UnboundedSender<Work>,
    shared: Arc<Shared>,
    files: AtomicU64,
}

impl CopyWriter {
    pub(super) fn new(work: mpsc::UnboundedSender<Work>, shared: Arc<Shared>) -> Self {
        Self { work, shared, files: AtomicU64::new(0) }
    }

    fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    fn tell(&self, work: Work) {
        // Whoever makes the copy has given it up, and said so.
        let _ = self.work.send(work);
    }

    /// A name that no other file of this copy has.
    fn name(&self, uid: &str) -> String {
        format!("{}-{}", escaped(uid), self.files.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Begins a file of an operator; nothing once the copy has failed.
    fn file(&self, uid: &str) -> Option<CopyFile<'_>> {
        if self.has_failed() {
            return None;
        }
        let name = self.name(uid);
        self.tell(Work::Begin(name.clone()));
        Some(CopyFile { copy: self, name })
    }

    /// Copies a file of a store, which is read again for it.
    pub fn duplicate(&self, uid: &str, file: &ColdFile, checkpoint: &ColdCheckpoint) -> Option<CopyName> {
        if self.has_failed() {
            return None;
        }
        let name = self.name(uid);
        self.tell(Work::Duplicate { name: name.clone(), original: Original::of(file, checkpoint) });
        Some(CopyName(name))
    }

    /// A file that the checkpoint has already: the copy gets a link to it, or its bytes where no earlier copy has it.
    pub fn keep(&self, uid: &str, file: &ColdFile, checkpoint: &ColdCheckpoint, known: &SharedFile, kept: &KeptFiles) -> Option<CopyName> {
        if self.has_failed() {
            return None;
        }
        let name = self.name(uid);
        let (known, kept, original) = (known.clone(), kept.clone(), Original::of(file, checkpoint));
        self.tell(Work::Keep { name: name.clone(), known, kept, original });
        Some(CopyName(name))
    }

    /// All files of an operator are there, or, where one is not, none counts. Of what is in the metadata as a whole nothing is said:
    /// it comes back with the deployment.
    pub fn operator(&self, uid: &str, handle: &KeyedHandle, private: Option<CopyName>, shared: Vec<CopyName>) {
        if handle.has_files() {
            self.tell(Work::Operator { uid: uid.to_owned(), handle: handle.clone(), private, shared });
        }
    }

    /// Remembers where a file is, for the next copy.
    pub fn remember(&self, kept: &KeptFiles, shared: &SharedFile, name: &CopyName) {
        self.tell(Work::Remember { name: name.clone(), shared: shared.clone(), kept: kept.clone() });
    }

    /// Forgets what the store has dropped.
    pub fn retain(&self, kept: &KeptFiles, current: &[SharedFile]) {
        self.tell(Work::Retain { kept: kept.clone(), current: current.to_vec() });
    }

    /// The checkpoint's part is durable: it is to be a copy that can be found.
    pub fn finish(self) {
        self.tell(Work::Finish);
    }
}

/// One file of a copy while it is told of.
struct CopyFile<'a> {
    copy: &'a CopyWriter,
    name: String,
}

impl CopyFile<'_> {
    /// Whether there is still to be a copy.
    fn block(&self, payload: &[u8]) -> bool {
        let size_bytes = payload.len() as u64;
        let lag_bytes = self.copy.shared.lag_bytes.fetch_add(size_bytes, Ordering::Relaxed) + size_bytes;
        let lags = lag_bytes > LAG_BYTES;
        if lags {
            self.copy.shared.failed.store(true, Ordering::Relaxed);
            self.copy.tell(Work::GiveUp { lag_bytes });
        }
        if lags || self.copy.has_failed() {
            return false;
        }
        self.copy.tell(Work::Block(self.name.clone(), payload.to_vec()));
        true
    }

    fn finish(self) -> CopyName {
        self.copy.tell(Work::End(self.name.clone()));
        CopyName(self.name)
    }

    fn remove(self) {
        self.copy.tell(Work::Remove(self.name));
    }
}

/// Writes the same blocks to where the checkpoint is, and hands them to the copy.
pub struct Doubled<'a, E: Env> {
    remote: StateWriter<E>,
    local: Option<CopyFile<'a>>,
}

impl<'a, E: Env> Doubled<'a, E> {
    /// The second one is a file of the copy, if there is to be one.
    #[must_use]
    pub fn new(remote: StateWriter<E>, copy: Option<&'a CopyWriter>, uid: &str) -> Self {
        Self { remote, local: copy.and_then(|copy| copy.file(uid)) }
    }

    /// Appends a block of 1 byte to 1 MiB.
    ///
    /// # Errors
    /// Of the checkpoint's storage alone.
    pub async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        self.local = self.local.take().filter(|file| file.block(payload));
        self.remote.block(payload).await
    }

    /// Makes it durable where the checkpoint is. What travels inside the acknowledgement comes back with the deployment, and needs no
    /// copy.
    ///
    /// # Errors
    /// Of the checkpoint's storage alone.
    pub async fn finish(self) -> Result<(StateLocation, Option<CopyName>), StorageError> {
        let location = self.remote.finish().await?;
        let local = match self.local {
            Some(file) if matches!(location, StateLocation::Inline(_)) => {
                file.remove();
                None
            }
            Some(file) => Some(file.finish()),
            None => None,
        };
        Ok((location, local))
    }
}

/// Where files that several checkpoints share are on this disk, by what they are in the checkpoints. A hint: a copy that had one may
/// have been deleted since.
#[derive(Clone, Default)]
pub struct KeptFiles(Arc<Mutex<BTreeMap<Identity, Kept>>>);

/// Path, and where it begins there if it is a segment: many have the path in common. How large the physical file is by now says
/// nothing about it.
type Identity = (String, Option<u64>);

fn identity(shared: &SharedFile) -> Identity {
    (shared.path.clone(), shared.segment.map(|segment| segment.offset))
}

/// One of them.
#[derive(Clone)]
pub struct Kept {
    pub(super) path: String,
    pub(super) file: LocalFile,
}

impl KeptFiles {
    /// Where a file was last.
    #[must_use]
    pub fn get(&self, shared: &SharedFile) -> Option<Kept> {
        lock(&self.0).get(&identity(shared)).cloned()
    }

    pub(super) fn insert(&self, shared: &SharedFile, path: String, file: &LocalFile) {
        lock(&self.0).insert(identity(shared), Kept { path, file: file.clone() });
    }

    /// Forgets what the store has dropped.
    pub fn retain(&self, current: &[SharedFile]) {
        let current: BTreeSet<Identity> = current.iter().map(identity).collect();
        lock(&self.0).retain(|kept, _| current.contains(kept));
    }

    /// The files of a copy that a store was restored from.
    pub fn restored<E: Env>(&self, copy: &Restorable<E>, shared: &[SharedFile], files: &[LocalFile]) {
        for (shared, file) in shared.iter().zip(files) {
            self.insert(shared, copy.path(&file.name), file);
        }
    }
}
