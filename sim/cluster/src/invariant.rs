//! What must hold at every step of every run, one invariant per file. Each sees the same events and remembers what it needs;
//! none asks the engine. For each there is a planted bug that trips it.

mod acks_before_complete;
mod committed_is_complete;
mod failures_counted;
mod ids_unique;
mod latest_restored;
mod local_copies_optional;
mod local_copies_pruned;
mod max_concurrent;
mod min_pause;
mod no_unreferenced_files;
mod one_live_attempt;
mod one_release;
mod others_go_on;
mod stopped_is_over;
#[cfg(test)]
mod tests;
mod timeout;
mod written_once;

use crate::slack::Slack;

use crate::scenario::Scenario;
use crate::world::{NodeIndex, WorldEvent};
use cofferdam_engine::observe::Event;
use cofferdam_protocol::{CheckpointId, TaskId};
use std::collections::BTreeSet;
use std::time::Duration;

/// One thing that must hold.
pub trait Invariant: Send {
    /// As its file.
    fn name(&self) -> &'static str;
    /// Takes one transition of the engine.
    ///
    /// # Errors
    /// What contradicts the invariant.
    fn event(&mut self, at: Duration, node: NodeIndex, event: &Event) -> Result<(), String>;
    /// Takes one event of the world.
    fn world(&mut self, at: Duration, event: &WorldEvent) {
        let _ = (at, event);
    }
}

/// What invariants know of the run.
pub struct Setting<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Every subtask of the job.
    pub tasks: &'a BTreeSet<TaskId>,
    /// The coordinator's node.
    pub coordinator: NodeIndex,
    /// What the job begins from.
    pub origin: Option<CheckpointId>,
}

/// All of them.
#[must_use]
pub fn all(setting: &Setting<'_>) -> Vec<Box<dyn Invariant>> {
    let checkpoints = &setting.scenario.checkpoints;
    let slack = Slack::of(setting.scenario);
    vec![
        Box::new(ids_unique::IdsUnique::default()),
        Box::new(acks_before_complete::AcksBeforeComplete::new(setting.tasks.clone())),
        Box::new(min_pause::MinPause::new(checkpoints).allowing(slack)),
        Box::new(timeout::Timeout::new(checkpoints, setting.coordinator).allowing(slack)),
        Box::new(max_concurrent::MaxConcurrent::new(checkpoints.max_concurrent)),
        Box::new(failures_counted::FailuresCounted::new(checkpoints.tolerable_failures)),
        Box::new(one_live_attempt::OneLiveAttempt::default()),
        Box::new(latest_restored::LatestRestored::new(setting.scenario.cluster.storage).beginning_from(setting.origin)),
        Box::new(committed_is_complete::CommittedIsComplete::default()),
        Box::new(no_unreferenced_files::NoUnreferencedFiles::new(checkpoints)),
        Box::new(written_once::WrittenOnce::default()),
        Box::new(local_copies_pruned::LocalCopiesPruned::default()),
        Box::new(local_copies_optional::LocalCopiesOptional::default()),
        Box::new(one_release::OneRelease::default()),
        Box::new(stopped_is_over::StoppedIsOver::default()),
        Box::new(one_release::OneRelease::default()),
        Box::new(others_go_on::OthersGoOn::of(setting.scenario, setting.tasks)),
    ]
}
