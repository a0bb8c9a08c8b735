//! A POSIX-like disk per node, and file systems that other nodes mount.
//!
//! Lives here: what is durable and what a power loss takes (`tree`, `content`), injected faults, also those that nobody is told of
//! (`silent`), and what the engine sees (`files`).
//! Never here: when faults happen.
//!
//! Nothing is durable before it is synced. A power loss keeps, of each file, some prefix of what was appended since, torn
//! anywhere; and of each folder, independently, some prefix of the changes to its entries. A process crash loses nothing.

mod content;
mod control;
mod files;
mod images;
mod settings;
mod silent;
mod tree;

pub use control::{DiskControl, View};
pub use files::{SimFile, SimFiles};
pub use images::{Image, Instant};
pub use settings::{DiskFault, DiskOp, DiskSettings, FailNext};
pub use silent::Silent;

use crate::streams::happens;
use crate::world::{lock, NodeIndex, Sink, WorldEvent};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tree::Tree;

/// The disks of all nodes.
pub(crate) struct Disks {
    state: Mutex<State>,
    sink: Arc<Sink>,
}

struct State {
    rng: ChaCha8Rng,
    disks: Vec<Disk>,
    /// Longest first, so that the first match is the innermost.
    mounts: Vec<(String, NodeIndex)>,
    mount_timeout: Duration,
}

struct Disk {
    tree: Tree,
    settings: DiskSettings,
    /// Grows with each power loss: handles from before are stale.
    boot: u64,
    fail_next: Vec<FailNext>,
    /// What it does without telling.
    silent: Vec<Silent>,
    /// The paths at which something was harmed, whatever has become of it since.
    ever_harmed: BTreeSet<String>,
    /// How often each path was read wrongly.
    garbled: BTreeMap<String, u32>,
    /// The disk after each change, if that is asked for.
    recorded: Option<Vec<Instant>>,
}

/// What an operation is in for.
struct Plan {
    delay: Duration,
    fault: Option<DiskFault>,
}

impl Disks {
    pub(crate) fn new(rng: ChaCha8Rng, sink: Arc<Sink>) -> Self {
        let state = State { rng, disks: Vec::new(), mounts: Vec::new(), mount_timeout: Duration::from_secs(5) };
        Self { state: Mutex::new(state), sink }
    }

    pub(crate) fn add_node(&self, node: NodeIndex) {
        let mut state = lock(&self.state);
        // Why: disks are found by the index of the node.
        assert_eq!(node.at(), state.disks.len(), "nodes are added in order");
        state.disks.push(Disk {
            tree: Tree::new(),
            settings: DiskSettings::default(),
            boot: 1,
            fail_next: Vec::new(),
            silent: Vec::new(),
            ever_harmed: BTreeSet::new(),
            garbled: BTreeMap::new(),
            recorded: None,
        });
    }

    pub(crate) fn mount(&self, folder: &str, storage: NodeIndex) {
        let folder = format!("/{}", folder.trim_matches('/'));
        let mut state = lock(&self.state);
        state.disks[storage.at()].tree.make_folders(&folder);
        state.mounts.retain(|(existing, _)| *existing != folder);
        state.mounts.push((folder, storage));
        state.mounts.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.len()));
    }

    pub(crate) fn power_lost(&self, node: NodeIndex) {
        let state = &mut *lock(&self.state);
        let disk = &mut state.disks[node.at()];
        disk.boot += 1;
        let lost = disk.tree.power_lost(&mut state.rng);
        if lost.bytes > 0 {
            self.sink.fault("unsynced-data-lost");
        }
        if lost.entries > 0 {
            self.sink.fault("unsynced-entries-lost");
        }
        if lost.torn > 0 {
            self.sink.fault("torn-append");
        }
        let tree::Lost { bytes, entries, torn } = lost;
        self.sink.world_event(&WorldEvent::Lost { node, bytes, entries, torn });
    }

    pub(crate) fn wipe(&self, node: NodeIndex) {
        let state = &mut *lock(&self.state);
        let disk = &mut state.disks[node.at()];
        disk.boot += 1;
        disk.tree = Tree::new();
        // What others mount is a file system of its own right: it is there again, empty.
        for (folder, storage) in &state.mounts {
            if *storage == node {
                disk.tree.make_folders(folder);
            }
        }
    }

    pub(crate) fn control(&self, node: NodeIndex) -> DiskControl<'_> {
        DiskControl { disks: self, node }
    }

    /// Whose disk a path is on, as seen by a node.
    fn place(&self, node: NodeIndex, path: &str) -> NodeIndex {
        let state = lock(&self.state);
        for (folder, storage) in &state.mounts {
            if path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return *storage;
            }
        }
        node
    }

    fn mount_timeout(&self) -> Duration {
        lock(&self.state).mount_timeout
    }

    /// Draws how an operation will go. Draws nothing for what cannot happen.
    fn plan(&self, node: NodeIndex, op: DiskOp, path: &str) -> Plan {
        let state = &mut *lock(&self.state);
        let (rng, disk) = (&mut state.rng, &mut state.disks[node.at()]);
        let settings = &disk.settings;
        let (min, max) = if op.is_sync() { settings.sync_latency } else { settings.op_latency };
        let mut delay = min;
        if max > min {
            delay = Duration::from_nanos(rng.gen_range(min.as_nanos() as u64..=max.as_nanos() as u64));
        }
        if settings.slow_factor != 1.0 {
            delay = delay.mul_f64(settings.slow_factor.max(0.0));
        }
        delay = delay.max(settings.stalled_until.saturating_sub(self.sink.now()));
        let pinned = disk.fail_next.iter().position(|next| next.op == op && path.contains(next.path_contains.as_str()));
        let fault = if let Some(position) = pinned {
            Some(disk.fail_next.remove(position).fault)
        } else if op == DiskOp::Sync && happens(rng, settings.sync_failure) {
            Some(DiskFault::SyncLost)
        } else if happens(rng, settings.error_before) {
            Some(DiskFault::ErrorBefore)
        } else if op.changes() && happens(rng, settings.error_after) {
            Some(DiskFault::ErrorAfter)
        } else {
            silent::drawn(&disk.silent, rng, op, path)
        };
        Plan { delay, fault }
    }

    fn failed(&self, node: NodeIndex, op: DiskOp, fault: DiskFault, path: &str) {
        self.sink.fault(fault.name());
        self.sink.world_event(&WorldEvent::DiskFailed { node, op, fault, path: path.to_owned() });
    }
}
