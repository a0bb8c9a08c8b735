//! What a disk does wrong without telling anybody.
//!
//! Lives here: which operations are hit, what becomes of the bytes, and the memory of it: a checker must know what was damaged, or it
//! would take the disk's doing for the engine's.
//! Never here: whether the engine has promised to survive it (`atlas`).

use super::settings::{DiskFault, DiskOp};
use super::Disks;
use crate::streams::happens;
use crate::world::{lock, NodeIndex, WorldEvent};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A silent fault that a disk has, until it is taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Silent {
    /// Which.
    pub fault: DiskFault,
    /// With what probability an operation that it can happen to is hit.
    pub chance: f64,
    /// Only of paths that contain one of these; all if there is none.
    pub paths: Vec<String>,
}

/// A file is read wrongly so often at most: whoever reads it three times has read it rightly.
const MOST_GARBLED: u32 = 2;

impl Silent {
    fn hits(&self, rng: &mut ChaCha8Rng, op: DiskOp, path: &str) -> bool {
        let meant = self.paths.is_empty() || self.paths.iter().any(|part| path.contains(part.as_str()));
        meant && self.fault.can_happen_to(op) && happens(rng, self.chance)
    }
}

/// The first that hits an operation. Draws nothing for what cannot happen.
pub(super) fn drawn(silent: &[Silent], rng: &mut ChaCha8Rng, op: DiskOp, path: &str) -> Option<DiskFault> {
    silent.iter().find(|silent| silent.hits(rng, op, path)).map(|silent| silent.fault)
}

impl Disks {
    /// What a read shows, after what the disk does to it. Returns how many bytes it gives.
    pub(super) fn read_wrongly(&self, node: NodeIndex, fault: DiskFault, path: &str, buffer: &mut [u8], count: usize) -> usize {
        let shown = {
            let state = &mut *lock(&self.state);
            let rng = &mut state.rng;
            match fault {
                DiskFault::ShortRead if count > 1 => rng.gen_range(1..count),
                DiskFault::RotOnRead if count > 0 => {
                    let garbled = state.disks[node.at()].garbled.entry(path.to_owned()).or_default();
                    if *garbled == MOST_GARBLED {
                        return count;
                    }
                    *garbled += 1;
                    buffer[rng.gen_range(0..count)] ^= 1 << rng.gen_range(0..8);
                    count
                }
                _ => return count,
            }
        };
        self.failed(node, DiskOp::ReadAt, fault, path);
        shown
    }

    /// A file to which a write can be misdirected: one below the same top folder, not the one that is meant.
    pub(super) fn wrong_place(&self, node: NodeIndex, path: &str) -> Option<String> {
        let state = &mut *lock(&self.state);
        let mut parts = path.splitn(4, '/');
        let (_, top, below) = (parts.next(), parts.next()?, parts.next()?);
        let top = format!("/{top}/{below}/");
        let files = state.disks[node.at()].tree.all_files(false);
        let others: Vec<String> = files
            .into_iter()
            .filter(|(other, bytes)| other != path && other.starts_with(&top) && !bytes.is_empty())
            .map(|(other, _)| other)
            .collect();
        let chosen = (!others.is_empty()).then(|| state.rng.gen_range(0..others.len()))?;
        others.into_iter().nth(chosen)
    }

    pub(super) fn damaged(&self, node: NodeIndex, path: &str) {
        self.sink.world_event(&WorldEvent::Damaged { node, path: path.to_owned() });
    }
}
