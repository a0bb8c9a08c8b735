//! Writes copies, beside what goes to the checkpoint. The first thing that goes wrong ends the copy, and nothing else.

use super::{Restorable, TaskCopies, MANIFEST, MANIFEST_TEMPORARY};
use crate::env::{Env, Files};
use crate::observe::{Detail, Moment};
use crate::storage::filesystem::{escaped, make_folder, remove_file};
use crate::storage::state_file::{write_new, StateFileWriter};
use crate::storage::{StateWriter, StorageError};
use cofferdam_protocol::local::{Input, LocalCopy, LocalFile, LocalOperator, LocalSnapshot};
use cofferdam_protocol::snapshot::{KeyedHandle, SharedFile, StateLocation};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one copy.
pub struct CopyWriter<E: Env> {
    copies: TaskCopies<E>,
    copy: LocalCopy,
    folder: String,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    files: u32,
    operators: Vec<LocalOperator>,
    /// Why there will be no copy.
    failed: Option<String>,
}

impl<E: Env> CopyWriter<E> {
    pub(super) fn new(copies: TaskCopies<E>, copy: LocalCopy) -> Self {
        let folder = copies.folder(copy);
        Self { copies, copy, folder, progress: Mutex::default() }
    }

    fn env(&self) -> &E {
        &self.copies.state.env
    }

    fn has_failed(&self) -> bool {
        lock(&self.progress).failed.is_some()
    }

    /// There will be no copy.
    pub(crate) fn fail(&self, why: &StorageError) {
        lock(&self.progress).failed.get_or_insert_with(|| why.to_string());
    }

    fn unless_failed<T>(&self, outcome: Result<T, StorageError>) -> Option<T> {
        outcome.map_err(|error| self.fail(&error)).ok()
    }

    /// Makes the folder.
    pub async fn prepare(&self) {
        let files = self.env().files();
        let made = match files.create_folder(&self.folder).await {
            Err(error) if error.kind() == ErrorKind::NotFound => match make_folder(self.env(), &self.copies.state.folder).await {
                Ok(()) => files.create_folder(&self.folder).await.map_err(StorageError::io("make folder", &self.folder)),
                Err(error) => Err(error),
            },
            made => made.map_err(StorageError::io("make folder", &self.folder)),
        };
        self.unless_failed(made);
    }

    /// A name that no other file of this copy has.
    fn name(&self, uid: &str) -> String {
        let mut progress = lock(&self.progress);
        progress.files += 1;
        format!("{}-{}", escaped(uid), progress.files)
    }

    /// Begins a file of an operator.
    pub async fn file(&self, uid: &str) -> Option<CopyFile<E>> {
        if self.has_failed() {
            return None;
        }
        let name = self.name(uid);
        let path = format!("{}/{name}", self.folder);
        let writer = self.unless_failed(StateFileWriter::create(self.env(), &path).await)?;
        Some(CopyFile { name, path, writer, hasher: crc32fast::Hasher::new() })
    }

    /// Takes a file over from an earlier copy, without copying it. `None` if that is gone.
    pub async fn link(&self, uid: &str, kept: &Kept) -> Option<LocalFile> {
        if self.has_failed() {
            return None;
        }
        let name = self.name(uid);
        self.env().files().link(&kept.path, &format!("{}/{name}", self.folder)).await.ok()?;
        Some(LocalFile { name, ..kept.file.clone() })
    }

    /// All files of an operator are there, or, where one is not, none counts. Of what is in the metadata as a whole nothing is said:
    /// it comes back with the deployment.
    pub fn operator(&self, uid: &str, handle: &KeyedHandle, private: Option<LocalFile>, shared: Vec<LocalFile>) {
        if self.has_failed() || !handle.has_files() {
            return;
        }
        let operator = LocalOperator { uid: uid.to_owned(), handle: handle.clone(), private, shared };
        lock(&self.progress).operators.push(operator);
    }

    /// Remembers where a file is, for the next copy.
    pub fn remember(&self, kept: &KeptFiles, shared: &SharedFile, file: &LocalFile) {
        kept.insert(shared, format!("{}/{}", self.folder, file.name), file);
    }

    /// Makes it a copy that can be found, or says why there is none.
    pub async fn finish(self) {
        let (operators, failed) = {
            let mut progress = lock(&self.progress);
            (std::mem::take(&mut progress.operators), progress.failed.take())
        };
        let size_bytes = operators.iter().map(LocalOperator::size_bytes).sum();
        let published = match failed {
            Some(why) => Err(why),
            None => self.publish(operators).await.map_err(|error| error.to_string()),
        };
        let checkpoint = self.copy.taken.checkpoint;
        match published {
            Ok(()) => {
                self.copies.observe(checkpoint, Moment::LocalCopyWritten, Detail::Count(size_bytes));
                self.copies.state.tell(Input::Written(self.copy));
            }
            Err(why) => {
                self.copies.observe(checkpoint, Moment::LocalCopyFailed, Detail::Text(why));
                self.copies.state.tell(Input::Failed(self.copy));
            }
        }
    }

    async fn publish(&self, operators: Vec<LocalOperator>) -> Result<(), StorageError> {
        let (env, manifest) = (self.env(), LocalSnapshot { copy: self.copy, operators });
        let (temporary, path) = (format!("{}/{MANIFEST_TEMPORARY}", self.folder), format!("{}/{MANIFEST}", self.folder));
        write_new(env, &temporary, &manifest.to_file()).await?;
        // Why: links are made without a sync, and no manifest may outlive what it names.
        for folder in [&*self.folder, &*self.copies.state.folder] {
            env.files().sync_folder(folder).await.map_err(StorageError::io("sync folder", folder))?;
        }
        env.files().rename(&temporary, &path).await.map_err(StorageError::io("rename", &temporary))?;
        env.files().sync_folder(&self.folder).await.map_err(StorageError::io("sync folder", &self.folder))
    }
}

/// One file of a copy while it is written.
pub struct CopyFile<E: Env> {
    name: String,
    path: String,
    writer: StateFileWriter<E>,
    hasher: crc32fast::Hasher,
}

impl<E: Env> CopyFile<E> {
    async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        self.hasher.update(payload);
        self.writer.block(payload).await
    }

    async fn finish(self) -> Result<LocalFile, StorageError> {
        let checksum = self.hasher.finalize();
        Ok(LocalFile { name: self.name, size_bytes: self.writer.finish().await?, checksum })
    }
}

/// Writes the same blocks twice: to where the checkpoint is, and into the copy as long as that goes well.
pub struct Doubled<'a, E: Env> {
    /// `None` where the checkpoint has the file already.
    remote: Option<StateWriter<E>>,
    local: Option<(&'a CopyWriter<E>, CopyFile<E>)>,
}

impl<'a, E: Env> Doubled<'a, E> {
    /// The second one is a file of the copy, if there is to be one.
    pub async fn new(remote: Option<StateWriter<E>>, copy: Option<&'a CopyWriter<E>>, uid: &str) -> Self {
        let local = match copy {
            Some(copy) => copy.file(uid).await.map(|file| (copy, file)),
            None => None,
        };
        Self { remote, local }
    }

    /// Appends a block of 1 byte to 1 MiB.
    ///
    /// # Errors
    /// Of the checkpoint's storage alone.
    pub async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        if let Some(remote) = &mut self.remote {
            remote.block(payload).await?;
        }
        if let Some((copy, file)) = &mut self.local {
            if let Err(error) = file.block(payload).await {
                copy.fail(&error);
                self.local = None;
            }
        }
        Ok(())
    }

    /// Makes both durable. What travels inside the acknowledgement comes back with the deployment, and needs no copy.
    ///
    /// # Errors
    /// Of the checkpoint's storage alone.
    pub async fn finish(self) -> Result<(Option<StateLocation>, Option<LocalFile>), StorageError> {
        self.end(false).await
    }

    /// The same, with a copy also of what the checkpoint's writer has in memory, for whoever puts that elsewhere.
    ///
    /// # Errors
    /// Of the checkpoint's storage alone.
    pub async fn finish_both(self) -> Result<(Option<StateLocation>, Option<LocalFile>), StorageError> {
        self.end(true).await
    }

    async fn end(self, copies_inline: bool) -> Result<(Option<StateLocation>, Option<LocalFile>), StorageError> {
        let location = match self.remote {
            Some(remote) => Some(remote.finish().await?),
            None => None,
        };
        let local = match self.local {
            Some((copy, file)) if !copies_inline && matches!(location, Some(StateLocation::Inline(_))) => {
                // What is left is deleted with the copy.
                let _ = remove_file(copy.env(), &file.path).await;
                None
            }
            Some((copy, file)) => copy.unless_failed(file.finish().await),
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
    path: String,
    file: LocalFile,
}

impl KeptFiles {
    /// Where a file was last.
    #[must_use]
    pub fn get(&self, shared: &SharedFile) -> Option<Kept> {
        lock(&self.0).get(&identity(shared)).cloned()
    }

    fn insert(&self, shared: &SharedFile, path: String, file: &LocalFile) {
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
