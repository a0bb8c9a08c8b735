//! What a harness can do to the network.

use super::link::LinkSettings;
use super::meddler::{MeddledPorts, Meddler, Meddling};
use super::Network;
use crate::world::{lock, NodeIndex};
use std::time::Duration;

/// The network, for who injects faults. From [`World::network`](crate::World::network).
#[derive(Clone, Copy)]
pub struct NetworkControl<'w> {
    pub(super) network: &'w Network,
}

impl NetworkControl<'_> {
    /// How all links behave that have no settings of their own, from now on.
    pub fn set_default(&self, settings: LinkSettings) {
        lock(&self.network.wires).links.set_standard(settings);
    }

    /// How the link from one node to another behaves, from now on. `None`: as by default.
    pub fn set_link(&self, from: NodeIndex, to: NodeIndex, settings: Option<LinkSettings>) {
        let mut wires = lock(&self.network.wires);
        let standard = wires.links.standard;
        let link = wires.links.get_mut(from, to);
        link.own = settings.is_some();
        link.settings = settings.unwrap_or(standard);
    }

    /// How the link from one node to another behaves.
    #[must_use]
    pub fn link(&self, from: NodeIndex, to: NodeIndex) -> LinkSettings {
        lock(&self.network.wires).links.get(from, to).settings
    }

    /// Nothing gets from one node to the other any more; what is sent waits. Says nothing about the way back.
    pub fn block(&self, from: NodeIndex, to: NodeIndex) {
        lock(&self.network.wires).block(from, to);
    }

    /// What waited gets through, after one latency.
    pub fn unblock(&self, from: NodeIndex, to: NodeIndex) {
        lock(&self.network.wires).unblock(from, to);
    }

    /// Nothing gets from any of `a` to any of `b`, nor back.
    pub fn partition(&self, a: &[NodeIndex], b: &[NodeIndex]) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Nothing gets from any of `from` to any of `to`; the way back stays open.
    pub fn partition_one_way(&self, from: &[NodeIndex], to: &[NodeIndex]) {
        for &source in from {
            for &target in to {
                self.block(source, target);
            }
        }
    }

    /// Undoes a partition, both ways.
    pub fn heal(&self, a: &[NodeIndex], b: &[NodeIndex]) {
        for &one in a {
            for &other in b {
                self.unblock(one, other);
                self.unblock(other, one);
            }
        }
    }

    /// Every way is open again.
    pub fn heal_all(&self) {
        let count = lock(&self.network.wires).links.node_count();
        let all: Vec<NodeIndex> = (0..count).map(NodeIndex::nth).collect();
        self.heal(&all, &all);
    }

    /// Whether something sent from one node would reach the other.
    #[must_use]
    pub fn is_open(&self, from: NodeIndex, to: NodeIndex) -> bool {
        lock(&self.network.wires).is_open(from, to)
    }

    /// Resets all connections between two nodes, on both ends and at once.
    pub fn reset_connections(&self, a: NodeIndex, b: NodeIndex) {
        lock(&self.network.wires).reset_between(a, b);
    }

    /// What one node has sent to another over connections arrives, and the sender is told that the connections are broken.
    pub fn report_failed(&self, from: NodeIndex, to: NodeIndex) {
        lock(&self.network.wires).report_failed(from, to);
    }

    /// From now on whole messages of new connections are looked at, so that something can be done to them.
    pub fn look_at_messages(&self, ports: MeddledPorts) {
        lock(&self.network.wires).meddler.get_or_insert_with(|| Meddler::new(ports));
    }

    /// Changes what is done to messages, from now on.
    pub fn meddle(&self, change: impl FnOnce(&mut Meddling)) {
        if let Some(meddler) = &mut lock(&self.network.wires).meddler {
            change(&mut meddler.meddling);
        }
    }

    /// After how long without an answer an attempt to connect fails. 3 s by default.
    pub fn set_connect_timeout(&self, timeout: Duration) {
        lock(&self.network.wires).connect_timeout = timeout;
    }

    /// With what probability a read or a write is cut short. 0.02 by default.
    pub fn set_short_io(&self, probability: f64) {
        lock(&self.network.wires).short_io = probability;
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        lock(&self.network.wires).live.len()
    }
}
