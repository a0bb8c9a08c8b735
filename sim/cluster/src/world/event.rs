//! What happens in the world and not in the engine: crashes, partitions, disk faults.

use crate::disk::{DiskFault, DiskOp};
use crate::object_store::{ObjectFault, ObjectOp};
use crate::world::NodeIndex;
use std::fmt;

/// How a node goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crash {
    /// The process dies, its machine lives: files stay as they are, peers get a reset.
    Process,
    /// The machine loses power: what was not synced is lost, peers hear nothing.
    Power,
}

/// A fact about the world, as the trace shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorldEvent {
    /// A new node runs.
    Started(NodeIndex),
    /// A node went down.
    Crashed(NodeIndex, Crash),
    /// The node's process ended by itself.
    Exited(NodeIndex),
    /// A node that was down runs again.
    Restarted(NodeIndex),
    /// A node stands still, its machine does not.
    Paused(NodeIndex),
    /// A node that stood still runs again.
    Resumed(NodeIndex),
    /// A power loss took unsynced data with it.
    Lost {
        /// Whose disk.
        node: NodeIndex,
        /// Appended bytes that are gone.
        bytes: u64,
        /// Changes to folders that are gone.
        entries: u64,
        /// Files that now end in the middle of an append.
        torn: u64,
    },
    /// Everything on the node's disk is gone.
    Wiped(NodeIndex),
    /// A disk operation failed by fault injection.
    DiskFailed {
        /// Whose disk.
        node: NodeIndex,
        /// Doing what.
        op: DiskOp,
        /// How.
        fault: DiskFault,
        /// On what.
        path: String,
    },
    /// An operation on another node's disk timed out; whether it happens is not known.
    MountTimedOut {
        /// Who waited.
        client: NodeIndex,
        /// For whose disk.
        storage: NodeIndex,
        /// Doing what.
        op: DiskOp,
    },
    /// A connection came to be.
    Connected(NodeIndex, NodeIndex),
    /// Nobody listened there.
    Refused(NodeIndex, NodeIndex),
    /// No answer to an attempt to connect.
    ConnectTimedOut(NodeIndex, NodeIndex),
    /// The first node got a reset of a connection with the second.
    Reset(NodeIndex, NodeIndex),
    /// Nothing gets from the first node to the second any more.
    Blocked(NodeIndex, NodeIndex),
    /// The way from the first node to the second is free again.
    Unblocked(NodeIndex, NodeIndex),
    /// A wall clock jumped by so many milliseconds.
    ClockJumped(NodeIndex, i64),
    /// A clock runs fast by so many millionths.
    ClockDrifts(NodeIndex, i32),
    /// A note of the harness.
    Note(String),
    /// A request to the object store failed, or misled, by fault injection or for want of an answer.
    ObjectFault {
        /// What was asked for.
        op: ObjectOp,
        /// How.
        fault: ObjectFault,
        /// Of what.
        url: String,
    },
    /// Something that was published in the object store was written again.
    ObjectReplaced {
        /// What.
        url: String,
    },
    /// A file on a disk is not any more what was written, and nobody is told.
    Damaged {
        /// Whose disk.
        node: NodeIndex,
        /// Which file.
        path: String,
    },
    /// A release of the program was installed on a node.
    Installed(NodeIndex, u32),
}

impl fmt::Display for WorldEvent {
    /// Columns that never move: what, who, details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(node) => write!(f, "{:<16} {node}", "started"),
            Self::Crashed(node, Crash::Process) => write!(f, "{:<16} {node}", "process-crash"),
            Self::Crashed(node, Crash::Power) => write!(f, "{:<16} {node}", "power-loss"),
            Self::Exited(node) => write!(f, "{:<16} {node}", "exited"),
            Self::Restarted(node) => write!(f, "{:<16} {node}", "restarted"),
            Self::Paused(node) => write!(f, "{:<16} {node}", "paused"),
            Self::Resumed(node) => write!(f, "{:<16} {node}", "resumed"),
            Self::Lost { node, bytes, entries, torn } => {
                write!(f, "{:<16} {node:<9} bytes={bytes} entries={entries} torn={torn}", "lost")
            }
            Self::Wiped(node) => write!(f, "{:<16} {node}", "wiped"),
            Self::Damaged { node, path } => write!(f, "{:<16} {node:<9} {path}", "damaged"),
            Self::DiskFailed { node, op, fault, path } => write!(f, "{:<16} {node:<9} {op} {fault} {path}", "disk-fault"),
            Self::MountTimedOut { client, storage, op } => {
                write!(f, "{:<16} {:<9} {op}", "mount-timeout", format!("{client}->{storage}"))
            }
            Self::Connected(from, to) => write!(f, "{:<16} {from}->{to}", "connected"),
            Self::Refused(from, to) => write!(f, "{:<16} {from}->{to}", "refused"),
            Self::ConnectTimedOut(from, to) => write!(f, "{:<16} {from}->{to}", "connect-timeout"),
            Self::Reset(node, peer) => write!(f, "{:<16} {node}<-{peer}", "reset"),
            Self::Blocked(from, to) => write!(f, "{:<16} {from}->{to}", "blocked"),
            Self::Unblocked(from, to) => write!(f, "{:<16} {from}->{to}", "unblocked"),
            Self::ClockJumped(node, delta) => write!(f, "{:<16} {node:<9} {delta:+}ms", "clock-jump"),
            Self::ClockDrifts(node, ppm) => write!(f, "{:<16} {node:<9} {ppm:+}ppm", "clock-drift"),
            Self::ObjectFault { op, fault, url } => write!(f, "{:<16} {op:<9} {fault} {url}", "object-fault"),
            Self::ObjectReplaced { url } => write!(f, "{:<16} {url}", "object-replaced"),
            Self::Installed(node, release) => write!(f, "{:<16} {node:<9} release {release}", "installed"),
            Self::Note(text) => write!(f, "{:<16} {text}", "note"),
        }
    }
}
