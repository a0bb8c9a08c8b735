//! What stands below the folder or URL of a job, for people who look at snapshots and clean up after jobs.
//!
//! Listings are good enough here: nothing is restored by what they show.
//!
//! Never here: what a job does (it never lists on its way to a restore).

use super::filesystem::{self, checkpoint_of, METADATA, SHARED};
use super::leftovers::CLAIMED;
use super::object::{self, requests};
use super::{is_url, CheckpointStorage, CheckpointStore, StorageError};
use crate::env::{Env, File, Files};
use cofferdam_protocol::metadata::CheckpointMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

const JOURNAL: &str = "journal";
/// Folders of savepoints begin with it.
const SAVEPOINT: &str = "savepoint-";

/// Files that no snapshot below a job needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// How many snapshots were looked at.
    pub snapshots: usize,
    /// By path or URL: how large each is, in bytes.
    pub files: BTreeMap<String, u64>,
}

/// Reads snapshots wherever they are. Their paths are absolute then, so that no root is needed.
#[must_use]
pub fn anywhere() -> CheckpointStore {
    CheckpointStore::new(CheckpointStorage::FileSystem { root: String::new() })
}

/// Whether there is a snapshot in this folder or at this URL.
///
/// # Errors
/// `Io` or `Object`: it cannot be found out.
pub async fn is_snapshot<E: Env>(env: &E, folder: &str) -> Result<bool, StorageError> {
    Ok(size(env, &format!("{folder}/{METADATA}")).await?.is_some())
}

/// Whether a job has kept its checkpoints here.
///
/// # Errors
/// `Io` or `Object`: it cannot be found out.
pub async fn is_job<E: Env>(env: &E, job: &str) -> Result<bool, StorageError> {
    let journal = format!("{job}/{JOURNAL}");
    if is_url(job) {
        return Ok(!listed(env, &journal).await?.is_empty());
    }
    Ok(names(env, &journal).await?.is_some())
}

/// The size of a file or object in bytes; `None` if it is not there.
///
/// # Errors
/// `Io` or `Object`: it cannot be found out.
pub async fn size<E: Env>(env: &E, path: &str) -> Result<Option<u64>, StorageError> {
    let found = if is_url(path) {
        requests::size(env, path).await.map_err(StorageError::object("find", path))
    } else {
        file_size(env, path).await.map_err(StorageError::io("open", path))
    };
    match found {
        Ok(size_bytes) => Ok(Some(size_bytes)),
        Err(error) if error.is_gone() => Ok(None),
        Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

async fn file_size<E: Env>(env: &E, path: &str) -> io::Result<u64> {
    env.files().open(path).await?.size().await
}

/// The snapshots below a job, by their folder or URL.
///
/// # Errors
/// `Io`, `Object` or `Corrupt`.
pub async fn snapshots<E: Env>(env: &E, job: &str) -> Result<BTreeMap<String, CheckpointMetadata>, StorageError> {
    let (store, mut found) = (anywhere(), BTreeMap::new());
    for folder in folders_with(env, job, METADATA).await? {
        let metadata = store.read_origin(env, &folder).await?;
        found.insert(folder, metadata);
    }
    Ok(found)
}

/// The snapshots below a job that were given to another one, which has deleted them in part and may need what is left.
///
/// # Errors
/// `Io`, `Object` or `Corrupt`.
pub async fn claimed<E: Env>(env: &E, job: &str) -> Result<BTreeMap<String, CheckpointMetadata>, StorageError> {
    let (store, mut found) = (anywhere(), BTreeMap::new());
    for folder in folders_with(env, job, CLAIMED).await? {
        let metadata = store.read_claimed(env, &folder).await?;
        found.insert(folder, metadata);
    }
    Ok(found)
}

/// The folders right below a job that have a file of this name.
async fn folders_with<E: Env>(env: &E, job: &str, file: &str) -> Result<BTreeSet<String>, StorageError> {
    if is_url(job) {
        return Ok(listed(env, job).await?.into_iter().filter_map(|url| folder_of(&url, job, file)).collect());
    }
    let mut found = BTreeSet::new();
    for name in names(env, job).await?.unwrap_or_default() {
        let folder = format!("{job}/{name}");
        if size(env, &format!("{folder}/{file}")).await?.is_some() {
            found.insert(folder);
        }
    }
    Ok(found)
}

/// The folder of this URL, if that names such a file in one right below the job.
fn folder_of(url: &str, job: &str, file: &str) -> Option<String> {
    let folder = url.strip_suffix(file)?.strip_suffix('/')?;
    let name = folder.strip_prefix(job)?.strip_prefix('/')?;
    (!name.contains('/')).then(|| folder.to_owned())
}

/// Every file that a snapshot needs, but for its metadata.
#[must_use]
pub fn needed(metadata: &CheckpointMetadata) -> BTreeSet<String> {
    let (mut metadata, mut paths) = (metadata.clone(), BTreeSet::new());
    metadata.for_each_path(|path| {
        paths.insert(path.clone());
    });
    paths
}

/// What no snapshot below the job needs, of the files in `shared` and in the folders of checkpoints. The job must not run; one that has
/// claimed a snapshot of it may: what that names counts as needed until nothing is left of it.
///
/// # Errors
/// `Io`, `Object` or `Corrupt`: what cannot be read may need any of them.
pub async fn orphans<E: Env>(env: &E, job: &str) -> Result<Orphans, StorageError> {
    let (snapshots, claimed) = (snapshots(env, job).await?, claimed(env, job).await?);
    let needed: BTreeSet<String> = snapshots.values().chain(claimed.values()).flat_map(needed).collect();
    let mut orphans = Orphans { snapshots: snapshots.len(), files: BTreeMap::new() };
    for path in candidates(env, job).await? {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let own = snapshots.contains_key(folder) && (name == METADATA || object::is_mark(&path));
        let given = claimed.contains_key(folder) && name == CLAIMED;
        if own || given || needed.contains(&path) {
            continue;
        }
        if let Some(size_bytes) = size(env, &path).await? {
            orphans.files.insert(path, size_bytes);
        }
    }
    Ok(orphans)
}

/// What is left of savepoints that were begun in a folder or at a URL and never completed, such as by a coordinator that died. `None` if
/// there are no savepoints at all. None may be under way.
///
/// # Errors
/// `Io` or `Object`.
pub async fn unfinished_savepoints<E: Env>(env: &E, target: &str) -> Result<Option<Orphans>, StorageError> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if is_url(target) {
        for url in listed(env, target).await? {
            let folder = url.strip_prefix(target).and_then(|rest| rest.strip_prefix('/')?.split_once('/')).map(|(folder, _)| folder);
            if let Some(folder) = folder.filter(|folder| folder.starts_with(SAVEPOINT)) {
                files.entry(format!("{target}/{folder}")).or_default().push(url.clone());
            }
        }
    } else {
        for name in names(env, target).await?.unwrap_or_default().into_iter().filter(|name| name.starts_with(SAVEPOINT)) {
            let folder = format!("{target}/{name}");
            if let Some(names) = names(env, &folder).await? {
                files.insert(folder.clone(), names.iter().map(|name| format!("{folder}/{name}")).collect());
            }
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let mut orphans = Orphans::default();
    for (folder, paths) in files {
        if is_snapshot(env, &folder).await? {
            orphans.snapshots += 1;
            continue;
        }
        if size(env, &format!("{folder}/{CLAIMED}")).await?.is_some() {
            // Of a job that has claimed it, and may need what is there.
            continue;
        }
        for path in paths {
            if let Some(size_bytes) = size(env, &path).await? {
                orphans.files.insert(path, size_bytes);
            }
        }
    }
    Ok(Some(orphans))
}

/// All files in `shared` and in the folders of checkpoints.
async fn candidates<E: Env>(env: &E, job: &str) -> Result<Vec<String>, StorageError> {
    if is_url(job) {
        let below = |url: &String| {
            let (folder, name) = url.strip_prefix(job)?.strip_prefix('/')?.split_once('/')?;
            // The mark of shared files stays as long as the job.
            let shared = folder == SHARED && !object::is_mark(name);
            (shared || checkpoint_of(folder).is_some()).then_some(())
        };
        return Ok(listed(env, job).await?.into_iter().filter(|url| below(url).is_some()).collect());
    }
    let folders = names(env, job).await?.unwrap_or_default().into_iter();
    let mut found = Vec::new();
    for folder in folders.filter(|name| name == SHARED || checkpoint_of(name).is_some()) {
        let folder = format!("{job}/{folder}");
        for name in names(env, &folder).await?.unwrap_or_default() {
            let path = format!("{folder}/{name}");
            // Not ours: we make no folders there.
            if names(env, &path).await?.is_none() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Deletes what was found, and folders of snapshots that nothing is left in; an upload that nobody has completed is aborted.
///
/// # Errors
/// `Io` or `Object`; ask again.
pub async fn delete<E: Env>(env: &E, orphans: &Orphans) -> Result<(), StorageError> {
    for path in orphans.files.keys() {
        if is_url(path) {
            object::delete_orphan(env, path).await?;
        } else {
            filesystem::remove_file(env, path).await?;
        }
    }
    let of_files = orphans.files.keys().filter(|path| !is_url(path)).filter_map(|path| path.rsplit_once('/'));
    for folder in of_files.map(|(folder, _)| folder).collect::<BTreeSet<_>>() {
        if folder.rsplit('/').next() != Some(SHARED) {
            filesystem::remove_emptied(env, folder).await?;
        }
    }
    Ok(())
}

async fn listed<E: Env>(env: &E, url: &str) -> Result<Vec<String>, StorageError> {
    requests::list(env, url).await.map_err(StorageError::object("list", url))
}

/// The names in a folder; `None` if it is none.
async fn names<E: Env>(env: &E, folder: &str) -> Result<Option<Vec<String>>, StorageError> {
    match env.files().list(folder).await {
        Ok(names) => Ok(Some(names)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(StorageError::io("list", folder)(error)),
    }
}
