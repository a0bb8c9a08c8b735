//! What disks do without telling anybody.

use super::Injector;
use crate::atlas;
use crate::disk::{Silent, View};
use crate::workload::INPUT;
use crate::world::{NodeIndex, WorldEvent};
use rand::seq::SliceRandom;
use rand::Rng;

impl Injector {
    /// For a while, a disk does this.
    pub(super) fn silent(&mut self, node: NodeIndex, silent: Silent, for_ms: u64) {
        let fault = silent.fault;
        self.world.storage(node).add_silent(silent);
        self.later(for_ms, move |world| world.storage(node).end_silent(fault));
    }

    /// A bit flips in the last of the files whose path contains this.
    pub(super) fn rot(&mut self, node: NodeIndex, part: &str) {
        let files = self.world.storage(node).tree_now(View::Live);
        let rotten = files.into_iter().rfind(|(path, bytes)| path.contains(part) && !bytes.is_empty());
        if let Some((path, bytes)) = rotten {
            self.flip(node, &path, bytes.len());
        }
    }

    /// A bit flips in a file that nobody has to read any more.
    pub(super) fn rot_spare(&mut self) {
        let spare = atlas::spare_files(&self.world, self.storage, self.root, &self.retained);
        let Some(path) = spare.choose(&mut self.rng).cloned() else { return };
        let size = self.world.storage(self.storage).read_now(View::Live, &path).map_or(0, |bytes| bytes.len());
        self.flip(self.storage, &path, size);
    }

    fn flip(&mut self, node: NodeIndex, path: &str, size: usize) {
        let (at, bits) = (self.rng.gen_range(0..size.max(1)), 1 << self.rng.gen_range(0..8));
        if self.world.storage(node).flip_now(path, at, bits).is_ok() {
            self.world.count_fault("bit-rot");
            self.world.note(&WorldEvent::Damaged { node, path: path.to_owned() });
        }
    }

    /// The input is another one than what was read of it: each log is its own lines in another order.
    pub(super) fn rewrite_input(&mut self) {
        self.world.count_fault("rewritten-input");
        let disk = self.world.storage(self.storage);
        for (path, bytes) in disk.tree_now(View::Live).into_iter().filter(|(path, _)| path.starts_with(INPUT)) {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            lines.reverse();
            // It was there a moment ago.
            let _ = disk.write_now(&path, &lines.concat());
            self.world.note(&WorldEvent::Damaged { node: self.storage, path });
        }
    }
}
