//! What stands outside of a job's own folder and is to be deleted: savepoints that were not completed, and a snapshot that the job has
//! claimed.
//!
//! A claimed snapshot becomes, in this order, and each step may be done again by another process:
//!
//! ```text
//! _metadata          a snapshot, which names its files, which are all there
//! _claimed           none any more: the same bytes under another name; its own files go, shared ones while they are not needed
//! nothing
//! ```
//!
//! So what looks whole is whole, whoever dies; a successor finds by `_claimed` what is left to be deleted; and whoever looks for
//! orphans beside it sees by the same that somebody needs what is there.

use super::filesystem::{self, METADATA};
use super::object::{self, requests, LOCATION};
use super::survey::size;
use super::{is_url, CheckpointStorage, CheckpointStore, StorageError};
use crate::env::{Env, Files, ObjectError};
use crate::sometimes;
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// What the metadata of a claimed snapshot is called once it is being deleted.
pub(super) const CLAIMED: &str = "_claimed";

impl CheckpointStore {
    /// Deletes a savepoint that a coordinator has begun which is no more, unless it is complete, or another job has claimed it. Says
    /// whether it stays.
    ///
    /// # Errors
    /// `Io` or `Object`: it cannot be found out, or not be deleted; ask again.
    pub async fn settle_savepoint<E: Env>(&self, env: &E, folder: &str) -> Result<bool, StorageError> {
        let there = async |name: &str| Ok::<_, StorageError>(size(env, &format!("{folder}/{name}")).await?.is_some());
        if there(CLAIMED).await? {
            sometimes!(env, seldom "leftovers/savepoint-is-claimed-already");
            return Ok(true);
        }
        if !is_url(folder) {
            if there(METADATA).await? {
                sometimes!(env, "leftovers/savepoint-of-the-dead-is-complete");
                return Ok(true);
            }
            sometimes!(env, "leftovers/savepoint-of-the-dead-is-deleted");
            filesystem::discard_folder(env, folder).await?;
            return Ok(false);
        }
        // Without its mark, somebody was about to delete it: what is there then is of a writer that did not know.
        if there(LOCATION).await? && there(METADATA).await? {
            return Ok(true);
        }
        delete(env, &[format!("{folder}/{LOCATION}")]).await?;
        object::discard_folder(env, folder, Vec::new()).await?;
        Ok(false)
    }

    /// Deletes a claimed snapshot, but for what it shares. `unmade` is told once it does not look like a snapshot any more. Nothing
    /// may be left of it already.
    ///
    /// # Errors
    /// `Io`, `Object` or `Corrupt`; ask again, from the beginning.
    pub async fn discard_origin<E: Env>(&self, env: &E, folder: &str, unmade: impl Fn() + Send) -> Result<(), StorageError> {
        let folder = folder.trim_end_matches('/');
        if is_url(folder) {
            unmake_object(env, folder).await?;
        } else {
            unmake_file(env, folder).await?;
        }
        let Some(metadata) = self.claimed(env, folder).await? else { return Ok(()) };
        unmade();
        let mut shared = BTreeSet::new();
        shared.extend(metadata.shared_files().map(|file| file.path.clone()));
        let own = named_below(folder, &metadata).into_iter().filter(|path| !shared.contains(path));
        remove(env, own.collect()).await
    }

    /// Deletes all that is left of a claimed snapshot: nobody needs what it shared.
    ///
    /// # Errors
    /// As for [`discard_origin`](Self::discard_origin).
    pub async fn forget_origin<E: Env>(&self, env: &E, folder: &str) -> Result<(), StorageError> {
        let folder = folder.trim_end_matches('/');
        let claimed = format!("{folder}/{CLAIMED}");
        if let Some(metadata) = self.claimed(env, folder).await? {
            // First what it names: without it nobody would know.
            remove(env, named_below(folder, &metadata)).await?;
            remove(env, vec![claimed]).await?;
        }
        if is_url(folder) {
            return Ok(());
        }
        filesystem::remove_emptied(env, folder).await?;
        unless_gone(filesystem::sync_folder(env, filesystem::parent(folder).unwrap_or(".")).await)
    }

    /// The metadata of a snapshot, also if it is claimed and being deleted. All paths in it are absolute.
    ///
    /// # Errors
    /// `Io`, `Object` or `Corrupt`.
    pub async fn read_claimed<E: Env>(&self, env: &E, folder: &str) -> Result<CheckpointMetadata, StorageError> {
        match self.read_origin(env, folder).await {
            Err(error) if error.is_gone() => self.read_named(env, folder, CLAIMED).await,
            read => read,
        }
    }

    /// The metadata of a checkpoint of the job, also if another job has claimed it and is deleting it.
    ///
    /// # Errors
    /// As for [`read_metadata`](Self::read_metadata).
    pub async fn read_kept<E: Env>(&self, env: &E, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
        match (self.read_metadata(env, checkpoint).await, &self.storage) {
            (Err(error), CheckpointStorage::FileSystem { root }) if error.is_gone() => {
                sometimes!(env, seldom "leftovers/checkpoint-is-claimed-by-another-job");
                filesystem::read_named(env, &format!("{root}/{}", filesystem::checkpoint_folder(checkpoint)), CLAIMED).await
            }
            (Err(error), CheckpointStorage::Object { root }) if error.is_gone() => {
                object::read_named(env, &format!("{root}/{}", filesystem::checkpoint_folder(checkpoint)), CLAIMED).await
            }
            (read, _) => read,
        }
    }

    async fn claimed<E: Env>(&self, env: &E, folder: &str) -> Result<Option<CheckpointMetadata>, StorageError> {
        match self.read_named(env, folder, CLAIMED).await {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Both names for a moment: a rename that a power loss takes apart could leave none.
async fn unmake_file<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let (metadata, claimed) = (format!("{folder}/{METADATA}"), format!("{folder}/{CLAIMED}"));
    match env.files().link(&metadata, &claimed).await {
        // It has been done before, as far as that.
        Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            return Err(StorageError::io("link", &claimed)(error));
        }
        Ok(()) => {}
        Err(_) => sometimes!(env, "leftovers/deletion-taken-up-again"),
    }
    // Whoever did it before may have crashed before syncing.
    unless_gone(filesystem::sync_folder(env, folder).await)?;
    filesystem::remove_file(env, &metadata).await?;
    unless_gone(filesystem::sync_folder(env, folder).await)
}

async fn unmake_object<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let (metadata, claimed) = (format!("{folder}/{METADATA}"), format!("{folder}/{CLAIMED}"));
    match requests::get(env, &metadata).await {
        Ok(bytes) => requests::put(env, &claimed, &bytes).await.map_err(StorageError::object("put", &claimed))?,
        Err(ObjectError::NotFound) => {}
        Err(error) => return Err(StorageError::object("read", &metadata)(error)),
    }
    delete(env, &[metadata]).await?;
    delete(env, &[format!("{folder}/{LOCATION}")]).await
}

/// What a claimed snapshot names of what came with it.
fn named_below(folder: &str, metadata: &CheckpointMetadata) -> Vec<String> {
    let base = format!("{}/", filesystem::base_of(folder, metadata));
    super::survey::needed(metadata).into_iter().filter(|path| path.starts_with(&base)).collect()
}

/// Removes files or objects, durably. They may be gone already.
async fn remove<E: Env>(env: &E, paths: Vec<String>) -> Result<(), StorageError> {
    let (urls, paths): (Vec<String>, Vec<String>) = paths.into_iter().partition(|path| is_url(path));
    delete(env, &urls).await?;
    for path in &paths {
        filesystem::remove_file(env, path).await?;
    }
    let folders: BTreeSet<&str> = paths.iter().filter_map(|path| filesystem::parent(path)).collect();
    for folder in folders {
        unless_gone(filesystem::sync_folder(env, folder).await)?;
    }
    Ok(())
}

async fn delete<E: Env>(env: &E, urls: &[String]) -> Result<(), StorageError> {
    let first = urls.first().map_or("", String::as_str);
    requests::delete(env, urls).await.map_err(StorageError::object("delete", first))
}

fn unless_gone(outcome: Result<(), StorageError>) -> Result<(), StorageError> {
    match outcome {
        Err(error) if !error.is_gone() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
