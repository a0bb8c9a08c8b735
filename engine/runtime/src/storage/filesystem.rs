//! The tree of folders, and the order of operations that makes each step of it survive a crash.
//!
//! Two rules: a name is durable only once the folder that it stands in is synced, and `_metadata` gets its name only when
//! its content is durable. Whoever finds `chk-N/_metadata` therefore finds all of it, and all that it names.

use super::state_file::{write_new, StateFileReader};
use super::StorageError;
use crate::env::{Env, Files};
use crate::observe::Moment;
use cofferdam_protocol::block::FileKind;
use cofferdam_protocol::metadata::{CheckpointMetadata, SnapshotKind};
use cofferdam_protocol::snapshot::StateLocation;
use cofferdam_protocol::stored::StoredError;
use cofferdam_protocol::{CheckpointId, Epoch};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};

pub(super) const METADATA: &str = "_metadata";
const METADATA_TEMPORARY: &str = "_metadata.tmp";
pub(super) const SHARED: &str = "shared";
const FOLDERS: [&str; 2] = [SHARED, "taskowned"];
/// How often a discard starts over because somebody wrote into the folder. A worker that has been told of the abort stops.
const DISCARD_ROUNDS: u32 = 8;
/// Readable part of an escaped file name; file systems allow 255.
const NAME_LIMIT: usize = 160;

/// The folder of a checkpoint, below the job's.
#[must_use]
pub fn checkpoint_folder(checkpoint: CheckpointId) -> String {
    format!("chk-{}", checkpoint.0)
}

/// The checkpoint of a folder's name, if it is one of ours.
pub(super) fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let checkpoint = CheckpointId(name.strip_prefix("chk-")?.parse().ok()?);
    // `chk-007` and `chk-+7` parse as well, but are not ours.
    (checkpoint_folder(checkpoint) == name).then_some(checkpoint)
}

/// The path of a state file, below the job's folder. Operators are named by users, so `name` may be anything: what is not
/// plainly harmless is escaped, and a name that is too long is cut and told from its like by a checksum.
#[must_use]
pub fn state_path(checkpoint: CheckpointId, name: &str) -> String {
    format!("{}/{}", checkpoint_folder(checkpoint), escaped(name))
}

/// The path of a shared file, below the job's folder.
#[must_use]
pub fn shared_path(name: &str) -> String {
    format!("{SHARED}/{}", escaped(name))
}

/// The epoch of the attempt that wrote a shared file, by its name.
pub(super) fn epoch_of(name: &str) -> Option<Epoch> {
    name.strip_prefix('a')?.split_once('.')?.0.parse().ok().map(Epoch)
}

/// A name that every file system takes.
#[must_use]
pub fn escaped(name: &str) -> String {
    let mut path = String::new();
    for (at, &byte) in name.as_bytes().iter().enumerate() {
        // A leading `_` or `.` could make it `_metadata` or `..`.
        if byte.is_ascii_alphanumeric() || byte == b'-' || (at > 0 && (byte == b'_' || byte == b'.')) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    if path.len() > NAME_LIMIT || path.is_empty() {
        path.truncate(NAME_LIMIT);
        write!(path, "%~{:08x}", crc32fast::hash(name.as_bytes())).expect("writing to a string cannot fail");
    }
    path
}

pub(super) fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some(("", "")) => None,
        Some(("", _)) => Some("/"),
        Some((parent, _)) => Some(parent),
        None if path == "." => None,
        None => Some("."),
    }
}

/// Makes a folder and those above it that are missing, durably. Whatever is there already is synced all the same, up to the
/// top: whoever made it may have crashed before, or not have got to it yet.
///
/// # Errors
/// `Io`.
pub async fn make_folder<E: Env>(env: &E, path: &str) -> Result<(), StorageError> {
    let path = path.trim_end_matches('/');
    let (mut missing, mut made) = (vec![path], Vec::new());
    while let Some(&at) = missing.last() {
        match env.files().create_folder(at).await {
            Ok(()) => made.push(at),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => match parent(at) {
                Some(parent) if error.kind() == ErrorKind::NotFound && missing.len() <= MOST_FOLDERS => {
                    missing.push(parent);
                    continue;
                }
                Some(_) | None => return Err(StorageError::io("make folder", at)(error)),
            },
        }
        missing.pop();
    }
    let mut at = path;
    while let Some(above) = parent(at) {
        match sync_folder(env, above).await {
            Ok(()) => at = above,
            // Above what is mounted for us: its name is not ours to sync.
            Err(StorageError::Io { source, .. }) if !made.contains(&at) && is_foreign(&source) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_foreign(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

/// Depth of a path beyond which something removes folders as fast as they are made.
const MOST_FOLDERS: usize = 64;

pub(super) async fn sync_folder<E: Env>(env: &E, path: &str) -> Result<(), StorageError> {
    env.files().sync_folder(path).await.map_err(StorageError::io("sync folder", path))
}

fn unless_gone(outcome: io::Result<()>, operation: &'static str, path: &str) -> Result<(), StorageError> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::io(operation, path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a file, which may be gone already. Not durable by itself.
///
/// # Errors
/// `Io`.
pub async fn remove_file<E: Env>(env: &E, path: &str) -> Result<(), StorageError> {
    unless_gone(env.files().remove(path).await, "remove", path)
}

/// Makes the folders of a job.
///
/// # Errors
/// `Io`.
pub async fn prepare<E: Env>(env: &E, root: &str) -> Result<(), StorageError> {
    make_folder(env, root).await?;
    for folder in FOLDERS {
        let folder = format!("{root}/{folder}");
        match env.files().create_folder(&folder).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StorageError::io("make folder", &folder)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    sync_folder(env, root).await
}

/// Makes the folder of a checkpoint.
///
/// # Errors
/// `Io`; `AlreadyExists` too, since a number is never used twice.
pub async fn create_location<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<(), StorageError> {
    let folder = format!("{root}/{}", checkpoint_folder(checkpoint));
    env.files().create_folder(&folder).await.map_err(StorageError::io("make folder", &folder))?;
    sync_folder(env, root).await
}

/// Writes `_metadata` under a temporary name, makes its content durable, gives it its name, makes that durable, and reads
/// it back.
///
/// # Errors
/// `Io`, `Corrupt` or `ReadBack`.
pub async fn publish_metadata<E: Env>(
    env: &E,
    root: &str,
    metadata: &CheckpointMetadata,
    observe: impl Fn(Moment) + Send,
) -> Result<(), StorageError> {
    publish(env, &format!("{root}/{}", checkpoint_folder(metadata.checkpoint)), metadata, observe).await
}

/// The same for a snapshot in any folder.
///
/// # Errors
/// `Io`, `Corrupt` or `ReadBack`.
pub async fn publish<E: Env>(
    env: &E,
    folder: &str,
    metadata: &CheckpointMetadata,
    observe: impl Fn(Moment) + Send,
) -> Result<(), StorageError> {
    let (temporary, path) = (format!("{folder}/{METADATA_TEMPORARY}"), format!("{folder}/{METADATA}"));
    write_new(env, &temporary, &metadata.to_file()).await?;
    observe(Moment::MetadataWritten);
    env.files().rename(&temporary, &path).await.map_err(StorageError::io("rename", &temporary))?;
    observe(Moment::MetadataRenamed);
    sync_folder(env, folder).await?;
    // Why: once the journal names the checkpoint, older ones are deleted; this is the last moment to find out.
    if read(env, folder).await? != *metadata {
        return Err(StorageError::ReadBack { path });
    }
    Ok(())
}

/// Reads `_metadata`.
///
/// # Errors
/// `Io` or `Corrupt`.
pub async fn read_metadata<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<CheckpointMetadata, StorageError> {
    let folder = format!("{root}/{}", checkpoint_folder(checkpoint));
    numbered(read(env, &folder).await?, checkpoint, &folder)
}

/// Refuses the metadata of another checkpoint.
pub(super) fn numbered(metadata: CheckpointMetadata, checkpoint: CheckpointId, folder: &str) -> Result<CheckpointMetadata, StorageError> {
    if metadata.checkpoint != checkpoint {
        let (path, what) = (format!("{folder}/{METADATA}"), format!("this is the metadata of {}", metadata.checkpoint));
        return Err(StorageError::Corrupt { path, source: StoredError::Invalid { offset: 0, what } });
    }
    Ok(metadata)
}

/// Reads the metadata of a snapshot in any folder.
///
/// # Errors
/// `Io` or `Corrupt`.
pub async fn read<E: Env>(env: &E, folder: &str) -> Result<CheckpointMetadata, StorageError> {
    read_named(env, folder, METADATA).await
}

/// The same under another name.
pub(super) async fn read_named<E: Env>(env: &E, folder: &str, name: &str) -> Result<CheckpointMetadata, StorageError> {
    let path = format!("{folder}/{name}");
    decode_metadata(StateFileReader::open(env, FileKind::Metadata, &path, None).await?, path).await
}

/// Reads the metadata of a snapshot from wherever it is.
pub(super) async fn decode_metadata<E: Env>(mut reader: StateFileReader<E>, path: String) -> Result<CheckpointMetadata, StorageError> {
    let mut encoding = Vec::new();
    while let Some((_, payload)) = reader.next().await? {
        encoding.extend_from_slice(&payload);
    }
    CheckpointMetadata::decode(reader.version(), &encoding).map_err(StorageError::corrupt(&path))
}

/// The folder that the paths in a snapshot's metadata are relative to: its own for a savepoint, its job's for a checkpoint.
#[must_use]
pub fn base_of<'a>(folder: &'a str, metadata: &CheckpointMetadata) -> &'a str {
    let folder = folder.trim_end_matches('/');
    match metadata.kind {
        SnapshotKind::Savepoint | SnapshotKind::Drained => folder,
        SnapshotKind::Checkpoint => parent(folder).unwrap_or("."),
    }
}

/// Makes the folder of a savepoint.
///
/// # Errors
/// `Io`; `AlreadyExists` too.
pub async fn create_savepoint<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let above = parent(folder).unwrap_or(".");
    make_folder(env, above).await?;
    env.files().create_folder(folder).await.map_err(StorageError::io("make folder", folder))?;
    sync_folder(env, above).await
}

/// Deletes a snapshot by its folder, but for what it shares. All paths in its metadata are absolute.
///
/// # Errors
/// `Io`.
pub async fn dispose<E: Env>(env: &E, folder: &str, metadata: &CheckpointMetadata) -> Result<(), StorageError> {
    remove_file(env, &format!("{folder}/{METADATA}")).await?;
    sync_folder(env, folder).await?;
    for path in metadata.locations().filter_map(StateLocation::path) {
        remove_file(env, path).await?;
    }
    // Shared files of a savepoint in the backend's format stay as long as they are used.
    remove_emptied(env, folder).await
}

/// Removes the folder of a snapshot if nothing is in it any more.
///
/// # Errors
/// `Io`.
pub async fn remove_emptied<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    match env.files().remove_folder(folder).await {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        outcome => unless_gone(outcome, "remove folder", folder),
    }
}

/// Deletes the shared files of a job that are not in `keep`, and that an attempt of an epoch before `before` wrote.
///
/// # Errors
/// The first one; the others have been tried.
pub async fn sweep_shared<E: Env>(env: &E, root: &str, keep: &BTreeSet<String>, before: Option<Epoch>) -> Result<(), StorageError> {
    let folder = format!("{root}/{SHARED}");
    if keep.is_empty() && before.is_none() {
        // The job is over. Without the folder, a worker that does not know it yet makes no file any more.
        return discard_folder(env, &folder).await;
    }
    let names = match env.files().list(&folder).await {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("list", &folder)(error)),
    };
    let mut first = Ok(());
    for name in names.iter().filter(|name| !keep.contains(&format!("{SHARED}/{name}"))) {
        let old = before.is_none_or(|before| epoch_of(name).is_some_and(|epoch| epoch < before));
        if old {
            let outcome = remove_file(env, &format!("{folder}/{name}")).await;
            first = first.and(outcome);
        }
    }
    first
}

/// Deletes a checkpoint: `_metadata` first, so that no crash leaves one that looks complete and is not.
///
/// # Errors
/// `Io`.
pub async fn discard<E: Env>(env: &E, root: &str, checkpoint: CheckpointId) -> Result<(), StorageError> {
    discard_folder(env, &format!("{root}/{}", checkpoint_folder(checkpoint))).await
}

/// Deletes the folder of a snapshot with all that is in it.
///
/// # Errors
/// `Io`.
pub async fn discard_folder<E: Env>(env: &E, folder: &str) -> Result<(), StorageError> {
    let mut round = 1;
    loop {
        let names = match env.files().list(folder).await {
            Ok(names) => names,
            // Gone, but whoever removed it may have crashed before syncing. Or never there: no folder can be below a file.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => break,
            Err(error) => return Err(StorageError::io("list", folder)(error)),
        };
        if names.iter().any(|name| name == METADATA) {
            remove_file(env, &format!("{folder}/{METADATA}")).await?;
            sync_folder(env, folder).await?;
        }
        for name in names.iter().filter(|name| *name != METADATA) {
            remove_file(env, &format!("{folder}/{name}")).await?;
        }
        match env.files().remove_folder(folder).await {
            // A worker that does not know of the abort yet has made another file.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && round < DISCARD_ROUNDS => round += 1,
            outcome => {
                unless_gone(outcome, "remove folder", folder)?;
                break;
            }
        }
    }
    match sync_folder(env, parent(folder).unwrap_or(".")).await {
        Err(StorageError::Io { source, .. }) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

/// Deletes every checkpoint up to and with `up_to` but those in `keep`.
///
/// # Errors
/// The first one; the others have been tried.
pub async fn sweep<E: Env>(env: &E, root: &str, keep: &BTreeSet<CheckpointId>, up_to: CheckpointId) -> Result<(), StorageError> {
    let names = match env.files().list(root).await {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("list", root)(error)),
    };
    let mut first = Ok(());
    for checkpoint in names.iter().filter_map(|name| checkpoint_of(name)) {
        if checkpoint <= up_to && !keep.contains(&checkpoint) {
            let outcome = discard(env, root, checkpoint).await;
            first = first.and(outcome);
        }
    }
    first
}
