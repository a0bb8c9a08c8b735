//! The recoverability atlas: what may go wrong without the engine breaking a promise, as numbered guarantees.
//!
//! Lives here: which guarantee covers which fault, and what of a disk may rot unnoticed. Whatever is drawn is inside; a scenario that
//! leaves the atlas says so (`world.outside_atlas`), and what verdict it expects. The prose is `docs/faults.md`.
//! Never here: faults themselves.

use crate::disk::View;
use crate::scenario::{RackEvent, What};
use crate::world::{NodeIndex, World};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::fmt;

macro_rules! guarantees {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What the engine promises to survive: all input is processed, exactly as promised, once faults stop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Guarantee { $($(#[$doc])* $name,)* }

        impl Guarantee {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As in `G7`.
            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The promise in a sentence, word for word as in `docs/faults.md`.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

guarantees! {
    /// Processes die.
    Crashes = 1, "Any process may die or stand still, any number of them, at any moment, if they come back.";
    /// Machines lose power.
    PowerLoss = 2, "Any machine may lose power, also all of a rack or all there are: what was synced stays, whatever else is torn or gone.";
    /// Whatever happens to a worker's own disk.
    WorkerDisks = 3, "The disk of a worker may be lost, full, slow, or wrong in any way: nothing stands there that is not elsewhere.";
    /// Links and connections.
    Network = 4, "Links may be slow and cut, in one direction too; connections may break, and tell their ends anything about what arrived; what does arrive on one is in order, once.";
    /// Completion and abort notices.
    Notices = 5, "A notice that a checkpoint is complete or over may be lost, come twice, come late, or behind later ones.";
    /// Clocks.
    Clocks = 6, "Wall clocks may be wrong, drift in any shape and jump; monotonic time may run up to half as fast again, or half as fast.";
    /// Errors of the storage's disk that are told.
    StorageErrors = 7, "Operations of the storage may fail with or without effect, take long or give less than asked for; it may be full; a failed sync may lose what was not synced.";
    /// What a read shows.
    GarbledReads = 8, "What has a checksum may be read wrongly, if it is read rightly within three times.";
    /// Damage where nobody looks.
    SpareCheckpoints = 9, "State files of retained checkpoints other than the newest may be damaged: the job does not notice.";
    /// Object stores.
    Objects = 10, "Requests to an object store may fail, be turned away, be slow, be answered by an error though they were served; reads may be cut short, and listings old.";
    /// Processes of another release.
    Releases = 11, "A worker of another release is refused by name and gets no task; the job goes on with the others, or waits for one of its own.";
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("G{}", self.number()))
    }
}

/// Why no guarantee covers a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outside {
    /// What is damaged at rest can be the only copy.
    DamagedStorage,
    /// What was acknowledged as durable is not.
    LyingStorage,
    /// Channels are first in, first out.
    UnorderedChannels,
    /// Input can be read again, and is the same then.
    RewrittenInput,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DamagedStorage => "what is damaged on the storage node can be the only copy",
            Self::LyingStorage => "the storage node acknowledges what it has not done",
            Self::UnorderedChannels => "elements of a channel do not come in order",
            Self::RewrittenInput => "what was read of the input is not there any more",
        })
    }
}

fn is_worker(node: &str) -> bool {
    node == "any-worker" || node.starts_with("worker-")
}

/// Which guarantee covers a fault; `None` for what is none.
///
/// # Errors
/// It is outside, and why.
pub fn covers(what: &What) -> Result<Option<Guarantee>, Outside> {
    let on_disk = |node: &str, outside| if is_worker(node) { Ok(Some(Guarantee::WorkerDisks)) } else { Err(outside) };
    let guarantee = match what {
        What::Crash { .. } | What::Pause { .. } | What::Rack { event: RackEvent::Crash, .. } => Guarantee::Crashes,
        What::PowerLoss { .. } | What::Rack { event: RackEvent::PowerLoss, .. } => Guarantee::PowerLoss,
        What::Wipe { .. } | What::CorruptLocal { .. } | What::StaleLocal { .. } => Guarantee::WorkerDisks,
        What::Partition { .. }
        | What::Isolate { .. }
        | What::Reset { .. }
        | What::SlowLink { .. }
        | What::SwizzleClog { .. }
        | What::FalseFailure { .. }
        | What::Rack { event: RackEvent::Partition, .. } => Guarantee::Network,
        What::DuplicateNotices { .. } | What::ReorderNotices { .. } => Guarantee::Notices,
        What::ClockJump { .. } | What::ClockDrift { .. } => Guarantee::Clocks,
        What::DiskErrors { .. }
        | What::SyncErrors { .. }
        | What::DiskFull { .. }
        | What::SlowDisk { .. }
        | What::StallDisk { .. }
        | What::ShortReads { .. } => Guarantee::StorageErrors,
        What::RotOnRead { .. } => Guarantee::GarbledReads,
        What::SpareRot {} => Guarantee::SpareCheckpoints,
        What::ObjectErrors { .. }
        | What::ObjectThrottling { .. }
        | What::LostAnswers { .. }
        | What::StaleListings { .. }
        | What::PartialReads { .. }
        | What::SlowObjects { .. }
        | What::SlowReads { .. }
        | What::ObjectsUnavailable { .. } => Guarantee::Objects,
        What::OtherVersion { .. } => Guarantee::Releases,
        What::LostWrites { node, .. } | What::MisdirectedWrites { node, .. } | What::BitRot { node, .. } => {
            return on_disk(node, Outside::DamagedStorage)
        }
        What::LyingSyncs { node, .. } => return on_disk(node, Outside::LyingStorage),
        What::ReorderElements { .. } => return Err(Outside::UnorderedChannels),
        What::RewriteInput {} => return Err(Outside::RewrittenInput),
        What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. } | What::Stop { .. } => return Ok(None),
    };
    Ok(Some(guarantee))
}

/// What has checksums: reads of these may be garbled. The input and the output are text.
pub const CHECKED: &[&str] = &["/shared/checkpoints", "/shared/savepoints", "/local/"];

/// State files that only retained checkpoints other than the newest need. Not their metadata, which is read to find out what they
/// share; not what they share.
#[must_use]
pub fn spare_files(world: &World, storage: NodeIndex, root: &str, retained: &BTreeSet<CheckpointId>) -> Vec<String> {
    let Some(newest) = retained.last() else { return Vec::new() };
    let older = retained.iter().filter(|checkpoint| *checkpoint < newest);
    let folders: Vec<String> = older.map(|checkpoint| format!("{root}/chk-{}/", checkpoint.0)).collect();
    let files = world.storage(storage).tree_now(View::Live);
    let spare = |path: &String| folders.iter().any(|folder| path.starts_with(folder)) && !path.ends_with("/_metadata");
    files.into_iter().filter(|(path, bytes)| spare(path) && !bytes.is_empty()).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guarantees_are_numbered_without_gaps() {
        let numbers: Vec<u32> = Guarantee::ALL.iter().map(|guarantee| guarantee.number()).collect();
        assert_eq!(numbers, (1..=u32::try_from(Guarantee::ALL.len()).expect("few")).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_damaged_where_the_only_copy_is_is_outside() {
        let rot = |node: &str| covers(&What::BitRot { node: node.into(), path: String::new() });
        assert_eq!(rot("storage"), Err(Outside::DamagedStorage));
        assert_eq!(rot("acting"), Err(Outside::DamagedStorage));
        assert_eq!(rot("worker-2"), Ok(Some(Guarantee::WorkerDisks)));
        let lies = |node: &str| covers(&What::LyingSyncs { node: node.into(), per_mille: 1, for_ms: 1 });
        assert_eq!(lies("storage"), Err(Outside::LyingStorage));
        assert_eq!(lies("any-worker"), Ok(Some(Guarantee::WorkerDisks)));
    }
}
