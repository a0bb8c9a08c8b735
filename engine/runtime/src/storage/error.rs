//! What storage can answer instead.

use super::streams::{INLINE_LIMIT_BYTES, INLINE_TOTAL_LIMIT_BYTES};
use crate::env::ObjectError;
use cofferdam_protocol::block::BadBlockSize;
use cofferdam_protocol::segments::MergingError;
use cofferdam_protocol::stored::StoredError;
use cofferdam_protocol::CheckpointId;
use std::io;

/// Storage did not do what it was asked for. [`is_permanent`](Self::is_permanent) tells whether asking again can help.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system said no. Try again, unless the file is gone.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file or folder.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The object store said no. Try again if it is transient.
    #[error("cannot {operation} {url}: {source}")]
    Object {
        /// What was tried.
        operation: &'static str,
        /// With which object.
        url: String,
        /// Why not.
        source: ObjectError,
    },
    /// The object store does not do what checkpoints need. Use another one.
    #[error("the object store of {path} {what}")]
    Unfit {
        /// Where checkpoints were to go.
        path: String,
        /// What it does.
        what: &'static str,
    },
    /// The bytes are not those that were written. Nothing but another checkpoint helps.
    #[error("{path} {source}")]
    Corrupt {
        /// The file, or `inline state`.
        path: String,
        /// What is wrong, with the offset.
        source: StoredError,
    },
    /// State is too large for the coordinator's memory. Decline the checkpoint; use file system storage.
    #[error("state {name} has at least {size_bytes} bytes, but checkpoints in memory are limited to {limit_bytes}")]
    InlineTooLarge {
        /// What would have been the file's name.
        name: String,
        /// How large it has become.
        size_bytes: u64,
        /// The limit (Flink: `MAX_STATE_SIZE`, 5 MiB).
        limit_bytes: u64,
    },
    /// The threshold for inlined state is too high. Set a lower one.
    #[error("state below {inline_below_bytes} bytes cannot be inlined: the threshold is at most {INLINE_LIMIT_BYTES} bytes")]
    InlineLimit {
        /// As configured.
        inline_below_bytes: u32,
    },
    /// How files are to be merged makes no sense. Change the setting.
    #[error(transparent)]
    Merging(#[from] MergingError),
    /// An object appears whole or not at all, so that nothing can be appended to it. Do not merge, or use a file system.
    #[error("files can only be merged on a file system")]
    MergingNeedsFiles,
    /// So much state is small that the metadata would not be. Set a lower threshold for inlining.
    #[error("{size_bytes} bytes of state would be in the metadata of {checkpoint}, at most {INLINE_TOTAL_LIMIT_BYTES} may")]
    InlineTotal {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// All of them.
        size_bytes: u64,
    },
    /// A payload that no block can hold. Split it.
    #[error("{path}: {source}")]
    BlockSize {
        /// The file being written.
        path: String,
        /// What was to be written.
        source: BadBlockSize,
    },
    /// An earlier error left the file in an unknown state. Begin a new one.
    #[error("{path} was given up after an earlier error")]
    Abandoned {
        /// The file.
        path: String,
    },
    /// A stored path leads out of the job's folder. The metadata was not written by us.
    #[error("{path:?} is not a path of a state file")]
    BadPath {
        /// As stored.
        path: String,
    },
    /// A checkpoint that was kept in memory is not there any more. It died with its coordinator.
    #[error("{checkpoint} is not in the coordinator's memory")]
    MetadataMissing {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Checkpoints in the coordinator's memory cannot share files. Use file system storage with incremental checkpoints.
    #[error("{name} cannot be shared between checkpoints that are kept in memory")]
    NotShareable {
        /// What would have been the file's name.
        name: String,
    },
    /// What was published reads back as something else. Abort the checkpoint; distrust the disk.
    #[error("{path} reads back as something else than was written")]
    ReadBack {
        /// The file.
        path: String,
    },
}

impl StorageError {
    pub(crate) fn io(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    pub(super) fn object(operation: &'static str, url: &str) -> impl FnOnce(ObjectError) -> Self {
        let url = url.to_owned();
        move |source| Self::Object { operation, url, source }
    }

    pub(crate) fn corrupt(path: &str) -> impl FnOnce(StoredError) -> Self {
        let path = path.to_owned();
        move |source| Self::Corrupt { path, source }
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Object { source, .. } => matches!(source, ObjectError::NotFound),
            Self::MetadataMissing { .. } => true,
            Self::Unfit { .. }
            | Self::Corrupt { .. }
            | Self::InlineTooLarge { .. }
            | Self::InlineLimit { .. }
            | Self::InlineTotal { .. }
            | Self::Merging(_)
            | Self::MergingNeedsFiles
            | Self::BlockSize { .. }
            | Self::Abandoned { .. }
            | Self::BadPath { .. }
            | Self::NotShareable { .. }
            | Self::ReadBack { .. } => false,
        }
    }

    /// Whether what is there can be read by nobody. What is gone or denied may be so for one process alone.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::BadPath { .. } => true,
            Self::Io { .. }
            | Self::Object { .. }
            | Self::Unfit { .. }
            | Self::InlineTooLarge { .. }
            | Self::InlineLimit { .. }
            | Self::InlineTotal { .. }
            | Self::Merging(_)
            | Self::MergingNeedsFiles
            | Self::BlockSize { .. }
            | Self::Abandoned { .. }
            | Self::MetadataMissing { .. }
            | Self::NotShareable { .. }
            | Self::ReadBack { .. } => false,
        }
    }

    /// Whether the same request would fail for ever: what is asked for is damaged, gone or impossible.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Object { source, .. } => matches!(source, ObjectError::NotFound | ObjectError::Permanent(_)),
            Self::Unfit { .. }
            | Self::Corrupt { .. }
            | Self::InlineTooLarge { .. }
            | Self::InlineLimit { .. }
            | Self::InlineTotal { .. }
            | Self::Merging(_)
            | Self::MergingNeedsFiles
            | Self::BlockSize { .. }
            | Self::BadPath { .. }
            | Self::NotShareable { .. }
            | Self::MetadataMissing { .. } => true,
            Self::Abandoned { .. } | Self::ReadBack { .. } => false,
        }
    }
}
