//! No task runs on a worker of another release than the coordinator's: what the one writes the other may not read.

use super::Invariant;
use crate::world::{NodeIndex, WorldEvent};
use cofferdam_engine::observe::{Event, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is installed where, and what runs.
#[derive(Default)]
pub struct OneRelease {
    installed: BTreeMap<NodeIndex, u32>,
    others: BTreeSet<NodeIndex>,
}

impl Invariant for OneRelease {
    fn name(&self) -> &'static str {
        "one-release"
    }

    fn event(&mut self, _: Duration, node: NodeIndex, event: &Event) -> Result<(), String> {
        if event.moment == Moment::TasksStarting && self.others.contains(&node) {
            return Err(format!("{} is of another release, and gets tasks", event.actor));
        }
        Ok(())
    }

    fn world(&mut self, _: Duration, event: &WorldEvent) {
        match event {
            WorldEvent::Installed(node, release) => {
                self.installed.insert(*node, *release);
            }
            // What runs is what was installed when it began.
            WorldEvent::Restarted(node) => {
                if self.installed.get(node).is_some_and(|release| *release != 0) {
                    self.others.insert(*node);
                } else {
                    self.others.remove(node);
                }
            }
            _ => {}
        }
    }
}
