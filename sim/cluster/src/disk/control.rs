//! What a harness can do to a disk, and what an oracle sees of it without time passing.

use super::{DiskFault, DiskSettings, Disks, FailNext, Instant, Silent};
use crate::world::{lock, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// Which of the two truths about a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What programs see.
    Live,
    /// What is there after a power loss that takes all that it may take.
    Durable,
}

/// A node's disk, for who injects faults and who judges. From [`World::storage`](crate::World::storage).
#[derive(Clone, Copy)]
pub struct DiskControl<'w> {
    pub(super) disks: &'w Disks,
    pub(super) node: NodeIndex,
}

impl DiskControl<'_> {
    /// How the disk behaves, from now on.
    pub fn set(&self, settings: DiskSettings) {
        lock(&self.disks.state).disks[self.node.at()].settings = settings;
    }

    /// Changes how the disk behaves, from now on.
    pub fn adjust(&self, change: impl FnOnce(&mut DiskSettings)) {
        change(&mut lock(&self.disks.state).disks[self.node.at()].settings);
    }

    /// How the disk behaves.
    #[must_use]
    pub fn settings(&self) -> DiskSettings {
        lock(&self.disks.state).disks[self.node.at()].settings
    }

    /// Fails the next operation that fits.
    pub fn fail_next(&self, next: FailNext) {
        lock(&self.disks.state).disks[self.node.at()].fail_next.push(next);
    }

    /// Forgets all of [`fail_next`](Self::fail_next) that has not happened yet, and says how many.
    pub fn forget_fail_next(&self) -> usize {
        std::mem::take(&mut lock(&self.disks.state).disks[self.node.at()].fail_next).len()
    }

    /// From now on the disk does this without telling anybody.
    pub fn add_silent(&self, silent: Silent) {
        lock(&self.disks.state).disks[self.node.at()].silent.push(silent);
    }

    /// It does not do so any more. What is damaged stays damaged.
    pub fn end_silent(&self, fault: DiskFault) {
        lock(&self.disks.state).disks[self.node.at()].silent.retain(|silent| silent.fault != fault);
    }

    /// It does nothing of the kind any more.
    pub fn end_all_silent(&self) {
        lock(&self.disks.state).disks[self.node.at()].silent.clear();
    }

    /// The files that the disk has harmed without telling anybody, and the folders whose syncs it has not done.
    #[must_use]
    pub fn harmed_now(&self) -> BTreeSet<String> {
        lock(&self.disks.state).disks[self.node.at()].tree.harmed()
    }

    /// The paths at which the disk has harmed something, whatever has become of it since.
    #[must_use]
    pub fn harmed_ever(&self) -> BTreeSet<String> {
        lock(&self.disks.state).disks[self.node.at()].ever_harmed.clone()
    }

    /// After how long operations of other nodes on mounted disks fail, of all nodes. 5 s by default.
    pub fn set_mount_timeout(&self, timeout: Duration) {
        lock(&self.disks.state).mount_timeout = timeout;
    }

    /// How much is on it.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        lock(&self.disks.state).disks[self.node.at()].tree.used_bytes()
    }

    /// A whole file, now. Paths are those of this disk; what is mounted elsewhere is not here.
    ///
    /// # Errors
    /// As for opening a file.
    pub fn read_now(&self, view: View, path: &str) -> io::Result<Vec<u8>> {
        let state = lock(&self.disks.state);
        let tree = &state.disks[self.node.at()].tree;
        match view {
            View::Live => tree.live_file(path),
            View::Durable => tree.durable_file(path),
        }
    }

    /// The names in a folder, sorted, now.
    ///
    /// # Errors
    /// As for listing a folder.
    pub fn list_now(&self, view: View, path: &str) -> io::Result<Vec<String>> {
        let state = lock(&self.disks.state);
        let tree = &state.disks[self.node.at()].tree;
        match view {
            View::Live => tree.list(path),
            View::Durable => tree.durable_list(path),
        }
    }

    /// All files by path, with their contents, now.
    #[must_use]
    pub fn tree_now(&self, view: View) -> BTreeMap<String, Vec<u8>> {
        lock(&self.disks.state).disks[self.node.at()].tree.all_files(view == View::Durable)
    }

    /// Puts a file there, durably and now, with the folders above it.
    ///
    /// # Errors
    /// If a folder is in the way, or a file where a folder should be.
    pub fn write_now(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        lock(&self.disks.state).disks[self.node.at()].tree.write(path, bytes)
    }

    /// Appends to a file, durably and now: whoever has it open reads it.
    ///
    /// # Errors
    /// As for opening a file.
    pub fn extend_now(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        lock(&self.disks.state).disks[self.node.at()].tree.extend(path, bytes)
    }

    /// Keeps the disk as it is after each change, from now on.
    pub fn record(&self) {
        lock(&self.disks.state).disks[self.node.at()].recorded.get_or_insert_default();
    }

    /// What was recorded, which ends.
    #[must_use]
    pub fn recorded(&self) -> Vec<Instant> {
        lock(&self.disks.state).disks[self.node.at()].recorded.take().unwrap_or_default()
    }

    /// Flips bits of a byte, now, as a failing disk does: nobody is told.
    ///
    /// # Errors
    /// As for opening a file; `InvalidInput` behind its end.
    pub fn flip_now(&self, path: &str, at: usize, bits: u8) -> io::Result<()> {
        let disk = &mut lock(&self.disks.state).disks[self.node.at()];
        disk.tree.flip(path, at, bits)?;
        disk.ever_harmed.insert(path.to_owned());
        Ok(())
    }

    /// Removes a file, now.
    ///
    /// # Errors
    /// As for removing a file.
    pub fn remove_now(&self, path: &str) -> io::Result<()> {
        lock(&self.disks.state).disks[self.node.at()].tree.remove(path)
    }

    /// Makes a folder and those above it, durably and now.
    pub fn create_folders_now(&self, path: &str) {
        lock(&self.disks.state).disks[self.node.at()].tree.make_folders(path);
    }
}
