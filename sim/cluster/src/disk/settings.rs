//! How a disk behaves.

use std::fmt;
use std::time::Duration;

/// How a disk behaves, adjustable at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskSettings {
    /// Of a sync, of data or of a folder: at least, at most. Anything below a millisecond but 0 takes a millisecond.
    pub sync_latency: (Duration, Duration),
    /// Of everything else, which mostly meets the page cache. 0 takes no time and yields to nobody.
    pub op_latency: (Duration, Duration),
    /// Multiplies both.
    pub slow_factor: f64,
    /// Probability that an operation fails and nothing happened.
    pub error_before: f64,
    /// Probability that a change fails although it happened, or, for an append, some of it.
    pub error_after: f64,
    /// Probability that a sync fails and takes unsynced data with it: see [`DiskFault::SyncLost`].
    pub sync_failure: f64,
    /// What fits on it.
    pub capacity_bytes: u64,
    /// Until then, on the world's clock, nothing that is asked for comes to an end.
    pub stalled_until: Duration,
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            sync_latency: (Duration::from_micros(200), Duration::from_millis(4)),
            op_latency: (Duration::ZERO, Duration::ZERO),
            slow_factor: 1.0,
            error_before: 0.0,
            error_after: 0.0,
            sync_failure: 0.0,
            capacity_bytes: u64::MAX,
            stalled_until: Duration::ZERO,
        }
    }
}

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum DiskOp {
    CreateFolder,
    Create,
    Open,
    Rename,
    Link,
    Remove,
    RemoveFolder,
    List,
    SyncFolder,
    Append,
    Sync,
    ReadAt,
    Size,
}

impl DiskOp {
    pub(super) fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::SyncFolder)
    }

    /// Whether it can have happened in spite of an error.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::ReadAt | Self::Size)
    }
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CreateFolder => "create-folder",
            Self::Create => "create",
            Self::Open => "open",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::RemoveFolder => "remove-folder",
            Self::List => "list",
            Self::SyncFolder => "sync-folder",
            Self::Append => "append",
            Self::Sync => "sync",
            Self::ReadAt => "read-at",
            Self::Size => "size",
        })
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFault {
    /// An input/output error, and nothing happened.
    ErrorBefore,
    /// An input/output error, and it happened all the same; of an append, perhaps only the beginning.
    ErrorAfter,
    /// A failed sync as on Linux: some of the unsynced data never gets to the disk, reads still show it, and the next sync
    /// succeeds without it. For any operation but a sync the same as `ErrorBefore`.
    SyncLost,
    /// The disk is full.
    NoSpace,
    /// A read shows a flipped bit; the next one need not.
    RotOnRead,
    /// A read gives less than was asked for, though more is there.
    ShortRead,
    /// An append is acknowledged and never gets to the disk: zeros stand where it should.
    LostWrite,
    /// An append is acknowledged and gets to a wrong place: zeros stand where it should, and some other file has its bytes.
    Misdirected,
    /// A sync is acknowledged and has done nothing.
    LyingSync,
}

impl DiskFault {
    /// Whether the operation fails for it. Otherwise nobody is told.
    #[must_use]
    pub fn is_told(self) -> bool {
        match self {
            Self::ErrorBefore | Self::ErrorAfter | Self::SyncLost | Self::NoSpace => true,
            Self::RotOnRead | Self::ShortRead | Self::LostWrite | Self::Misdirected | Self::LyingSync => false,
        }
    }

    /// Whether it can happen to such an operation.
    #[must_use]
    pub fn can_happen_to(self, op: DiskOp) -> bool {
        match self {
            Self::ErrorBefore => true,
            Self::ErrorAfter => op.changes(),
            Self::SyncLost => op == DiskOp::Sync,
            Self::NoSpace => matches!(op, DiskOp::Create | DiskOp::Append),
            Self::RotOnRead | Self::ShortRead => op == DiskOp::ReadAt,
            Self::LostWrite | Self::Misdirected => op == DiskOp::Append,
            Self::LyingSync => op.is_sync(),
        }
    }

    /// As faults are counted by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorBefore => "disk-error-before",
            Self::ErrorAfter => "disk-error-after",
            Self::SyncLost => "sync-failure",
            Self::NoSpace => "disk-full",
            Self::RotOnRead => "rot-on-read",
            Self::ShortRead => "short-read",
            Self::LostWrite => "lost-write",
            Self::Misdirected => "misdirected-write",
            Self::LyingSync => "lying-sync",
        }
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Fails one operation, the next that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailNext {
    /// Of this kind.
    pub op: DiskOp,
    /// Whose path contains this. Empty: any. Of a rename or link, either path will do.
    pub path_contains: String,
    /// In this way.
    pub fault: DiskFault,
}
