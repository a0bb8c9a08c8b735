//! What happens to several nodes at once, or to the program on one.

use super::{ms, Injector};
use crate::scenario::RackEvent;
use crate::world::{Crash, NodeIndex};

impl Injector {
    /// All nodes of a rack have the same fault.
    pub(super) fn rack(&mut self, nodes: &[NodeIndex], event: RackEvent, for_ms: u64) {
        let crash = match event {
            RackEvent::Crash => Crash::Process,
            RackEvent::PowerLoss => Crash::Power,
            RackEvent::Partition => {
                self.world.count_fault("rack-partition");
                let others: Vec<NodeIndex> = self.world.nodes().into_iter().filter(|node| !nodes.contains(node)).collect();
                return self.cut(nodes, &others, false, for_ms);
            }
        };
        self.world.count_fault(if crash == Crash::Process { "rack-crash" } else { "rack-power-loss" });
        for node in nodes {
            self.down(*node, crash, false, for_ms);
        }
    }

    /// The process dies, comes back as a later release, and then as what it was.
    pub(super) fn replace_by_another_release(&mut self, node: NodeIndex, down_ms: u64, for_ms: u64) {
        self.world.count_fault("other-version");
        self.world.kill(node, Crash::Process);
        self.world.install(node, 1);
        let world = self.world.clone();
        let task = self.world.spawn("releases", async move {
            world.sleep(ms(down_ms)).await;
            world.restart(node);
            world.sleep(ms(for_ms)).await;
            world.install(node, 0);
            world.restart(node);
        });
        self.repairs.push(task);
    }
}
