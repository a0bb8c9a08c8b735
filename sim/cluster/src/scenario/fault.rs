//! What goes wrong, and when.

use crate::clock::drift::DriftShape;
use serde::{Deserialize, Serialize};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// When.
    pub when: When,
    /// What.
    pub what: What,
}

/// When a fault happens, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// At a time since the start.
    AtMs(u64),
    /// At a protocol moment; the names are those of traces.
    Moment {
        /// Such as `metadata-renamed`.
        moment: String,
        /// Only of this checkpoint, or a later one if it is skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<u64>,
        /// The how-manieth such moment, from 1.
        #[serde(default = "one")]
        nth: u32,
    },
}

fn one() -> u32 {
    1
}

/// What goes wrong. Nodes are named, or `acting`: where the moment that it is pinned to took place; or `any-worker`, drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The process dies, and comes back.
    Crash {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// The machine loses power, and comes back: what was not synced is gone, peers hear nothing.
    PowerLoss {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// As a power loss, and the disk comes back empty. Not for the storage node.
    Wipe {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// The process stands still, as in a long garbage collection.
    Pause {
        /// Whose.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// Nothing gets from one node to the other, or either way.
    Partition {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// Only in this direction.
        #[serde(default)]
        one_way: bool,
        /// For so long.
        for_ms: u64,
    },
    /// A node is cut off from all others but the storage node: it goes on as a zombie.
    Isolate {
        /// Which.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// All connections between two nodes break.
    Reset {
        /// One.
        from: String,
        /// The other.
        to: String,
    },
    /// A link becomes slow in one direction.
    SlowLink {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// New latency.
        latency_ms: u64,
        /// New bandwidth; 0 is unlimited.
        #[serde(default)]
        bandwidth_bytes_per_s: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Operations of a disk fail with EIO, before or after they took effect.
    DiskErrors {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Syncs of a disk fail.
    SyncErrors {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// A disk is full.
    DiskFull {
        /// Whose disk.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// A disk is slow.
    SlowDisk {
        /// Whose disk.
        node: String,
        /// Time of each operation.
        latency_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Requests to the object store fail with a server's error; nothing happened.
    ObjectErrors {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Requests to the object store are turned away because there are too many.
    ObjectThrottling {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Changes in the object store happen, and the answer is an error.
    LostAnswers {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Listings of the object store miss what is new and show what is gone.
    StaleListings {
        /// By how much they lag behind at most.
        lag_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Reads of the object store give less than was asked for.
    PartialReads {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The object store is slow.
    SlowObjects {
        /// Time of each request, from none to this.
        latency_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The object store serves nobody.
    ObjectsUnavailable {
        /// For so long.
        for_ms: u64,
    },
    /// In each local copy of state on a worker's disk, a byte of a file flips.
    CorruptLocal {
        /// Whose disk.
        node: String,
    },
    /// Where a worker has several local copies of a subtask's state, the newest becomes what the oldest is, as when parts of a disk are
    /// put back from a backup.
    StaleLocal {
        /// Whose disk.
        node: String,
    },
    /// The user cancels the job.
    Cancel {},
    /// The user asks for a checkpoint.
    Checkpoint {},
    /// The user asks for a savepoint.
    Savepoint {
        /// In the backend's own format.
        native: bool,
    },
    /// The user stops the job with a savepoint.
    Stop {
        /// As if the input ended there.
        #[serde(default)]
        drain: bool,
        /// In the backend's own format.
        #[serde(default)]
        native: bool,
        /// Asks again until the job has stopped: a savepoint may fail.
        #[serde(default)]
        insist: bool,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Whose.
        node: String,
        /// Ahead, or back.
        by_ms: i64,
    },
    /// Half of the nodes, drawn, are cut off one by one, and come back in another order.
    SwizzleClog {
        /// Until all are back.
        for_ms: u64,
    },
    /// What one node has sent to another arrives, and the sender is told that it failed.
    FalseFailure {
        /// Who is told.
        from: String,
        /// Who has it.
        to: String,
    },
    /// Notices of a checkpoint's completion or end are told twice, the second time perhaps late.
    DuplicateNotices {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Such notices are told behind what was said after them.
    ReorderNotices {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Elements of channels, barriers too, come behind what was sent after them. Outside of the atlas.
    ReorderElements {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// A clock goes wrong over time.
    ClockDrift {
        /// Whose.
        node: String,
        /// How.
        shape: DriftShape,
        /// The largest error of its rate, in parts per million.
        ppm: i32,
        /// How long the shape takes.
        period_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Several nodes that share a rack have the same fault at once.
    Rack {
        /// Which.
        nodes: Vec<String>,
        /// What.
        event: RackEvent,
        /// For so long.
        for_ms: u64,
    },
    /// A worker dies and comes back as a later release, which writes another version of snapshots; then as what it was.
    OtherVersion {
        /// Which.
        node: String,
        /// How long it is down.
        down_ms: u64,
        /// How long it is of the other release after that.
        for_ms: u64,
    },
    /// Reads of what has checksums show flipped bits; the next read need not.
    RotOnRead {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Reads give less than was asked for.
    ShortReads {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Appends are acknowledged and never get to the disk. On the storage node outside of the atlas.
    LostWrites {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// Only of paths that contain one of these; of all if there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<String>,
        /// For so long.
        for_ms: u64,
    },
    /// Appends are acknowledged and get to a wrong place. On the storage node outside of the atlas.
    MisdirectedWrites {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// Only of paths that contain one of these; of all if there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<String>,
        /// For so long.
        for_ms: u64,
    },
    /// Syncs are acknowledged and have done nothing. On the storage node outside of the atlas.
    LyingSyncs {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// A bit flips in a file at rest, one of those whose paths contain this; the last of them by name. On the storage node outside of the
    /// atlas.
    BitRot {
        /// Whose disk.
        node: String,
        /// Part of the path.
        path: String,
    },
    /// A bit flips in a state file of a retained checkpoint that is not the newest.
    SpareRot {},
    /// Nothing that is asked of a disk comes to an end before that.
    StallDisk {
        /// Whose disk.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// Requests that read objects are slow; others are not.
    SlowReads {
        /// Time of each, from none to this.
        latency_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// What was read of the input is not what stands there any more. Outside of the atlas.
    RewriteInput {},
}

/// What happens to a whole rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RackEvent {
    /// All processes die.
    Crash,
    /// All machines lose power.
    PowerLoss,
    /// Nothing gets into the rack or out of it.
    Partition,
}

impl What {
    /// The nodes that it names.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        match self {
            Self::Crash { node, .. }
            | Self::PowerLoss { node, .. }
            | Self::Wipe { node, .. }
            | Self::Pause { node, .. }
            | Self::Isolate { node, .. }
            | Self::DiskErrors { node, .. }
            | Self::SyncErrors { node, .. }
            | Self::DiskFull { node, .. }
            | Self::SlowDisk { node, .. }
            | Self::CorruptLocal { node }
            | Self::StaleLocal { node }
            | Self::ClockJump { node, .. }
            | Self::ClockDrift { node, .. }
            | Self::OtherVersion { node, .. }
            | Self::RotOnRead { node, .. }
            | Self::ShortReads { node, .. }
            | Self::LostWrites { node, .. }
            | Self::MisdirectedWrites { node, .. }
            | Self::LyingSyncs { node, .. }
            | Self::BitRot { node, .. }
            | Self::StallDisk { node, .. } => vec![node],
            Self::Partition { from, to, .. }
            | Self::Reset { from, to }
            | Self::SlowLink { from, to, .. }
            | Self::FalseFailure { from, to } => vec![from, to],
            Self::Rack { nodes, .. } => nodes.iter().map(String::as_str).collect(),
            Self::ObjectErrors { .. }
            | Self::ObjectThrottling { .. }
            | Self::LostAnswers { .. }
            | Self::StaleListings { .. }
            | Self::PartialReads { .. }
            | Self::SlowObjects { .. }
            | Self::ObjectsUnavailable { .. }
            | Self::Cancel {}
            | Self::Checkpoint {}
            | Self::Savepoint { .. }
            | Self::Stop { .. }
            | Self::SwizzleClog { .. }
            | Self::DuplicateNotices { .. }
            | Self::ReorderNotices { .. }
            | Self::ReorderElements { .. }
            | Self::SpareRot {}
            | Self::SlowReads { .. }
            | Self::RewriteInput {} => Vec::new(),
        }
    }
}

/// Faults at times drawn from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosSpec {
    /// Mean time between two faults.
    pub every_ms: u64,
    /// The last one is before this.
    pub until_ms: u64,
    /// Which kinds, by the names of the table that a sweep prints; each as likely as the others.
    pub kinds: Vec<String>,
}
