//! What restarts when a task fails (Flink: `RestartPipelinedRegionFailoverStrategy`).
//!
//! All exchanges are pipelined: what a task has sent is nowhere else, so whoever exchanges records with one that goes back must go back
//! as well, in either direction. A *region* is a set of tasks that channels connect, of whatever length the way is. Chains that pass their
//! records on index by index are a region per index, two pipelines that share nothing are two, and a job with an exchange is one.
//!
//! Regions share no channels, so one may go back to a checkpoint while the others are ahead of it: each is in a state in which a run
//! without failures could be.

use crate::ids::TaskId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The regions of a job, if there are several. With one, or with none known, a failure of any task is a failure of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Regions(Vec<BTreeSet<TaskId>>);

impl Regions {
    /// The whole job restarts.
    #[must_use]
    pub const fn whole() -> Self {
        Self(Vec::new())
    }

    /// The regions of these tasks, between which there are these channels.
    #[must_use]
    pub fn of(tasks: &BTreeSet<TaskId>, channels: impl IntoIterator<Item = (TaskId, TaskId)>) -> Self {
        let mut neighbours: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
        for (from, to) in channels {
            neighbours.entry(from).or_default().push(to);
            neighbours.entry(to).or_default().push(from);
        }
        let (mut regions, mut left) = (Vec::new(), tasks.clone());
        while let Some(first) = left.pop_first() {
            let (mut region, mut reached) = (BTreeSet::from([first]), alloc::vec![first]);
            while let Some(task) = reached.pop() {
                for neighbour in neighbours.get(&task).into_iter().flatten() {
                    if left.remove(neighbour) {
                        region.insert(*neighbour);
                        reached.push(*neighbour);
                    }
                }
            }
            regions.push(region);
        }
        if regions.len() < 2 {
            return Self::whole();
        }
        Self(regions)
    }

    /// What restarts when these tasks fail: the regions that have one of them. `None`: the whole job.
    #[must_use]
    pub fn around(&self, failed: &BTreeSet<TaskId>) -> Option<BTreeSet<TaskId>> {
        let known: BTreeSet<TaskId> = self.0.iter().flatten().copied().collect();
        if failed.is_empty() || !failed.is_subset(&known) {
            return None;
        }
        let hit = self.0.iter().filter(|region| !region.is_disjoint(failed));
        Some(hit.flatten().copied().collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &BTreeSet<TaskId>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
