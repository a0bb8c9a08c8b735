//! Checkpoints as objects: the tree of `filesystem` as names below a URL, without folders, renames, links or trusted listings.
//!
//! ```text
//! <root>/chk-N/_location                    the checkpoint may be written; made before any of its state, deleted before any of it
//! <root>/chk-N/<uid>-<subtask>-<attempt>    state: one put, or an upload in parts
//! <root>/chk-N/_upload-<random>             names an upload in parts that is under way, for whoever has to abort it
//! <root>/chk-N/_metadata                    one create-only put, after all state is there
//! <root>/journal/<number>                   see `journal`
//! ```
//!
//! * `requests`: how long each kind of request is worth repeating, and what a lost answer means.
//! * `writer`: one piece of state.
//! * `journal`: the coordinator's durable record.
//! * `probe`: whether a store does what is asked of it here.
//!
//! # What takes the place of the folder
//!
//! On a disk, whoever writes into a checkpoint that was discarded finds that its folder is gone. Here a put would succeed, and
//! nobody would ever look there again. So a discard deletes `_location` before it looks for what is to be deleted, and
//! whoever has put something looks for `_location` after it: one of the two sees the other. A writer that finds it gone
//! deletes what it has written.
//!
//! # What is never found by a listing
//!
//! A restore goes from the journal's number to `_metadata` to state, by names alone. Listings serve to clean up: a discard
//! deletes what `_metadata` names, and then what a listing shows. What a stale listing hides is litter until the next sweep.
//! An upload that nobody completes is such litter as well: parts are written only once an `_upload-` object names it, so that
//! a discard or a sweep can abort it. (What dies between the two leaves an upload without parts, which costs nothing.)

use super::filesystem::{checkpoint_folder, METADATA, SHARED};
use super::state_file::StateFileReader;
use super::StorageError;
use crate::env::{Env, ObjectError};
use crate::observe::Moment;
use bytes::Bytes;
use cofferdam_protocol::block::FileKind;
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::{CheckpointId, Epoch};
use requests::Created;
use std::collections::BTreeSet;

pub mod journal;
mod probe;
pub(super) mod requests;
mod writer;

pub use probe::check;
pub use writer::ObjectWriter;

pub(super) const LOCATION: &str = "_location";
/// Names of state begin with neither `_` nor `.`: see `filesystem::state_path`.
const UPLOAD: &str = "_upload-";

fn folder_of(root: &str, checkpoint: CheckpointId) -> String {
    format!("{root}/{}", checkpoint_folder(checkpoint))
}

/// Makes the place of a checkpoint.
///
/// # Errors
/// `Object`; `AlreadyExists` too, since a number is never used twice.
pub async fn create_location<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<(), StorageError> {
    create(env, &folder_of(root, checkpoint)).await
}

/// Makes the place of a snapshot.
///
/// # Errors
/// `Object`; `AlreadyExists` too.
pub async fn create<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let url = format!("{folder}/{LOCATION}");
    // Random, so that an answer that was lost can be told from a number that was used before.
    let mark = Bytes::from(format!("{:016x}\n", env.random()));
    match requests::create(env, &url, &mark).await {
        Ok(Created::Ours) => Ok(()),
        Ok(Created::Theirs(_)) => Err(StorageError::object("create", &url)(ObjectError::AlreadyExists)),
        Err(error) => Err(StorageError::object("create", &url)(error)),
    }
}

/// Whether the checkpoint may still be written: not if it was discarded. To be asked after something was put.
async fn check_wanted<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let url = format!("{folder}/{LOCATION}");
    requests::size(env, &url).await.map(drop).map_err(StorageError::object("find", &url))
}

/// Publishes the metadata of a checkpoint by one create-only put, and reads it back.
///
/// # Errors
/// `Object`, `Corrupt` or `ReadBack`. It may be published all the same.
pub async fn publish_metadata<E: Env>(
    env: &E,
    root: &str,
    metadata: &CheckpointMetadata,
    observe: impl Fn(Moment) + Send,
) -> Result<(), StorageError> {
    publish(env, &folder_of(root, metadata.checkpoint), metadata, observe).await
}

/// The same for a snapshot at any URL.
///
/// # Errors
/// `Object`, `Corrupt` or `ReadBack`. It may be published all the same.
pub async fn publish<E: Env>(
    env: &E,
    folder: &str,
    metadata: &CheckpointMetadata,
    observe: impl Fn(Moment) + Send,
) -> Result<(), StorageError> {
    let url = format!("{folder}/{METADATA}");
    observe(Moment::MetadataWritten);
    match requests::create(env, &url, &Bytes::from(metadata.to_file())).await {
        Ok(Created::Ours) => {}
        // Why: it may be what somebody restores from.
        Ok(Created::Theirs(_)) => return Err(StorageError::object("create", &url)(ObjectError::AlreadyExists)),
        Err(error) => return Err(StorageError::object("create", &url)(error)),
    }
    observe(Moment::MetadataRenamed);
    if let Err(error) = check_wanted(env, folder).await {
        // As with state: nobody would look for it any more. If this fails too, it is litter that no journal names.
        let _ = requests::delete(env, &[url]).await;
        return Err(error);
    }
    // Why: once the journal names the checkpoint, older ones are deleted; this is the last moment to find out.
    if read(env, folder).await? != *metadata {
        return Err(StorageError::ReadBack { path: url });
    }
    Ok(())
}

/// Reads `_metadata`.
///
/// # Errors
/// `Object` or `Corrupt`.
pub async fn read_metadata<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
    let folder = folder_of(root, checkpoint);
    super::filesystem::numbered(read(env, &folder).await?, checkpoint, &folder)
}

/// Reads the metadata of a snapshot at any URL.
///
/// # Errors
/// `Object` or `Corrupt`.
pub async fn read<E: Env>(env: &E, folder: &str) -> Result<CheckpointMetadata, StorageError> {
    read_named(env, folder, METADATA).await
}

/// The same under another name.
pub(super) async fn read_named<E: Env>(env: &E, folder: &str, name: &str) -> Result<CheckpointMetadata, StorageError> {
    let url = format!("{folder}/{name}");
    let reader = StateFileReader::open_object(env, FileKind::Metadata, &url, None).await?;
    super::filesystem::decode_metadata(reader, url).await
}

/// Makes the place of shared files.
///
/// # Errors
/// `Object`.
pub async fn prepare<E: Env>(env: &E, root: &str) -> Result<(), StorageError> {
    let url = format!("{root}/{SHARED}/{LOCATION}");
    requests::put(env, &url, &Bytes::from_static(b"shared\n")).await.map_err(StorageError::object("put", &url))
}

/// Deletes a snapshot at any URL, but for what it shares. All paths in its metadata are absolute.
///
/// # Errors
/// `Object`.
pub async fn dispose<E: Env>(env: &E, folder: &str, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
    let own = metadata.locations().filter_map(StateLocation::path).map(ToOwned::to_owned);
    for first in [METADATA, LOCATION] {
        let url = format!("{folder}/{first}");
        requests::delete(env, std::slice::from_ref(&url)).await.map_err(StorageError::object("delete", &url))?;
    }
    requests::delete(env, &own.collect::<Vec<_>>()).await.map_err(StorageError::object("delete what is named by", folder))
}

/// Deletes the shared files of a job that are not in `keep`, and that an attempt of an epoch before `before` wrote.
///
/// # Errors
/// `Object`.
pub async fn sweep_shared<E: Env>(env: &E, root: &str, keep: &BTreeSet<String>, before: Option<Epoch>) -> Result<(), StorageError> {
    let folder = format!("{root}/{SHARED}");
    if keep.is_empty() && before.is_none() {
        // The job is over: late writers are to clean up after themselves.
        let url = format!("{folder}/{LOCATION}");
        requests::delete(env, std::slice::from_ref(&url)).await.map_err(StorageError::object("delete", &url))?;
    }
    let listed = requests::list(env, &folder).await.map_err(StorageError::object("list", &folder))?;
    let mut unneeded = Vec::new();
    for url in listed {
        let Some(name) = url.strip_prefix(&folder).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let old = before.is_none_or(|before| super::filesystem::epoch_of(name).is_some_and(|epoch| epoch < before));
        if is_upload(&url, &folder) && before.is_none() {
            writer::abort_named(env, &folder, &url).await?;
            unneeded.push(url);
        } else if old && name != LOCATION && !keep.contains(&format!("{SHARED}/{name}")) {
            unneeded.push(url);
        }
    }
    requests::delete(env, &unneeded).await.map_err(StorageError::object("delete what is in", &folder))
}

/// The names that a discard does not need a listing for.
async fn named<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<Vec<String>, StorageError> {
    let metadata = match read_metadata(env, root, checkpoint).await {
        Ok(metadata) => metadata,
        Err(StorageError::Object { source: ObjectError::NotFound, .. } | StorageError::Corrupt { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let own = format!("{}/", checkpoint_folder(checkpoint));
    // What stands elsewhere belongs to others as well.
    let paths = metadata.locations().filter_map(StateLocation::path).filter(|path| path.starts_with(&own));
    let paths = paths.map(|path| format!("{root}/{path}"));
    Ok(paths.collect())
}

/// Deletes a checkpoint: `_metadata` first, so that no crash leaves one that looks complete and is not; then `_location`, so
/// that late writers clean up after themselves; then the rest.
///
/// # Errors
/// `Object`.
pub async fn discard<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<(), StorageError> {
    let named = named(env, root, checkpoint).await?;
    discard_folder(env, &folder_of(root, checkpoint), named).await
}

/// The same for any URL; `named` is what needs no listing.
///
/// # Errors
/// `Object`.
pub async fn discard_folder<E: Env>(env: &E, folder: &str, named: Vec<String>) -> Result<(), StorageError> {
    for first in [METADATA, LOCATION] {
        let url = format!("{folder}/{first}");
        requests::delete(env, std::slice::from_ref(&url)).await.map_err(StorageError::object("delete", &url))?;
    }
    requests::delete(env, &named).await.map_err(StorageError::object("delete what is named by", folder))?;
    let mut listed = requests::list(env, folder).await.map_err(StorageError::object("list", folder))?;
    let mut aborted = Ok(());
    for url in listed.clone().iter().filter(|url| is_upload(url, folder)) {
        let outcome = writer::abort_named(env, folder, url).await;
        if outcome.is_err() {
            // Its name is what it will be found by.
            listed.retain(|kept| kept != url);
        }
        aborted = aborted.and(outcome);
    }
    requests::delete(env, &listed).await.map_err(StorageError::object("delete what is in", folder))?;
    aborted
}

/// Whether this is the mark of a place that may be written, by its URL or the last part of it.
pub(super) fn is_mark(url: &str) -> bool {
    url.rsplit('/').next() == Some(LOCATION)
}

/// Deletes an object that nobody needs. If it names an upload, that goes first.
///
/// # Errors
/// `Object`; ask again.
pub(super) async fn delete_orphan<E: Env>(env: &E, url: &str) -> Result<(), StorageError> {
    let folder = url.rsplit_once('/').map_or(url, |(folder, _)| folder);
    if is_upload(url, folder) {
        writer::abort_named(env, folder, url).await?;
    }
    requests::delete(env, &[url.to_owned()]).await.map_err(StorageError::object("delete", url))
}

fn is_upload(url: &str, folder: &str) -> bool {
    url.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| name.starts_with(UPLOAD))
}

/// Deletes every checkpoint up to and with `up_to` but those in `keep`.
///
/// # Errors
/// The first one; the others have been tried.
pub async fn sweep<E: Env>(env: &E, root: &str, keep: &BTreeSet<CheckpointId>, up_to: CheckpointId) -> Result<(), StorageError> {
    let urls = requests::list(env, root).await.map_err(StorageError::object("list", root))?;
    let below = |url: &String| {
        let (folder, _) = url.strip_prefix(root)?.strip_prefix('/')?.split_once('/')?;
        super::filesystem::checkpoint_of(folder)
    };
    let found: BTreeSet<CheckpointId> = urls.iter().filter_map(below).collect();
    let mut first = Ok(());
    for checkpoint in found {
        if checkpoint <= up_to && !keep.contains(&checkpoint) {
            let outcome = discard(env, root, checkpoint).await;
            first = first.and(outcome);
        }
    }
    first
}
