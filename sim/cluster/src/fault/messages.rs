//! What is wrong with messages, and with whole nodes' ways to each other.

use super::{ms, Injector};
use crate::network::Meddling;
use crate::world::NodeIndex;
use rand::seq::SliceRandom;
use rand::Rng;
use std::collections::BTreeSet;

impl Injector {
    /// For a while, something is done to messages.
    pub(super) fn meddle(&mut self, for_ms: u64, chance: f64, which: fn(&mut Meddling) -> &mut f64) {
        self.world.network().meddle(|meddling| *which(meddling) = chance);
        self.later(for_ms, move |world| world.network().meddle(|meddling| *which(meddling) = 0.0));
    }

    /// Half of the nodes are cut off one after the other, and come back in another order (FoundationDB: swizzle-clog).
    pub(super) fn swizzle(&mut self, for_ms: u64) {
        self.world.count_fault("swizzle-clog");
        let mut nodes = self.world.nodes();
        nodes.shuffle(&mut self.rng);
        nodes.truncate(nodes.len().div_ceil(2));
        let half = (for_ms / 2).max(1);
        let mut turns: Vec<(u64, NodeIndex, bool)> = Vec::new();
        for node in nodes {
            turns.push((self.rng.gen_range(0..half), node, true));
            turns.push((self.rng.gen_range(half..=for_ms.max(half)), node, false));
        }
        turns.sort_unstable();
        let world = self.world.clone();
        let task = self.world.spawn("swizzle", async move {
            let (begun, mut clogged) = (world.now(), BTreeSet::new());
            for (at_ms, node, clogs) in turns {
                world.sleep((begun + ms(at_ms)).saturating_sub(world.now())).await;
                let others: Vec<NodeIndex> = world.nodes().into_iter().filter(|other| *other != node).collect();
                if clogs {
                    clogged.insert(node);
                    world.network().partition(&[node], &others);
                } else {
                    clogged.remove(&node);
                    let free: Vec<NodeIndex> = others.into_iter().filter(|other| !clogged.contains(other)).collect();
                    world.network().heal(&[node], &free);
                }
            }
        });
        self.repairs.push(task);
    }
}
