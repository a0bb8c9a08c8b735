//! What is particular about the world of a run.

use super::Run;
use crate::fault::drift;
use crate::network::MeddledPorts;
use crate::scenario::What;
use crate::streams::Concern;
use std::time::Duration;

/// Where processes listen.
pub(super) const PORTS: MeddledPorts = MeddledPorts { coordinator: 6123, data: 7000 };

impl Run {
    /// Clocks, rare things and messages are as the scenario says.
    pub(super) fn be_that_world(&self) {
        let spec = &self.scenario.world;
        let calm_at = Duration::from_millis(self.scenario.calm_after_ms);
        for of in &spec.drifts {
            let node = self.world.node(&of.node).expect("a checked scenario names nodes that there are");
            // Until the calm: a clock that is set again and again would go on after the job has ended.
            drift(&self.world, node, (of.shape, of.ppm, of.period_ms), Some(calm_at)).detach();
        }
        if spec.buggify {
            self.world.buggify().enable(self.world.streams().stream(Concern::Buggify));
        }
        let meddles =
            |what: &What| matches!(what, What::DuplicateNotices { .. } | What::ReorderNotices { .. } | What::ReorderElements { .. });
        let pinned = self.scenario.faults.iter().any(|fault| meddles(&fault.what));
        let drawn = self.scenario.chaos.iter().flat_map(|chaos| &chaos.kinds).any(|kind| kind.ends_with("-notices"));
        if pinned || drawn {
            self.world.network().look_at_messages(PORTS);
        }
    }
}
