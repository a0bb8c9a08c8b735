//! What a process writes for others to read.

use cofferdam_protocol::block::FileKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the messages between processes. It grows with every change of one.
const MESSAGES: u16 = 2;

/// What a process writes for others to read. Workers of another release could write state that the rest of the job cannot read, or
/// understand a message as something else; so only processes that write the same work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Formats {
    /// Of messages between processes.
    pub messages: u16,
    /// Of snapshots: the newest version of any file of one.
    pub snapshots: u16,
}

impl Formats {
    /// Those of this build.
    pub const OURS: Self = Self { messages: MESSAGES, snapshots: FileKind::Metadata.newest() };
}

impl Default for Formats {
    fn default() -> Self {
        Self::OURS
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages of version {}, snapshots of version {}", self.messages, self.snapshots)
    }
}

/// A coordinator does not take this worker: the one writes what the other cannot read. Start the worker from the coordinator's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator writes {theirs}, this worker writes {ours}: both must be of one release")]
pub struct OtherFormats {
    /// The worker's.
    pub ours: Formats,
    /// The coordinator's.
    pub theirs: Formats,
}
