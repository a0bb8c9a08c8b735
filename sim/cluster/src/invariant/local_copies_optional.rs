//! A local copy is a bonus: no checkpoint fails, and no task, because a worker's own disk does not do what it should.

use super::Invariant;
use crate::local_copies::FOLDER;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::AttemptId;
use std::collections::BTreeSet;
use std::time::Duration;

/// What local disks may be blamed for.
#[derive(Default)]
pub struct LocalCopiesOptional {
    /// Attempts in which a copy broke after it had been found in order. Another try comes without it.
    excused: BTreeSet<Option<AttemptId>>,
}

impl Invariant for LocalCopiesOptional {
    fn name(&self) -> &'static str {
        "local-copies-optional"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, &event.detail) {
            (Moment::LocalCopyUnusable, _) => {
                self.excused.insert(event.attempt);
            }
            (Moment::SnapshotFailed, Detail::Text(cause)) if cause.contains(FOLDER) => {
                return Err(format!("{} fails a checkpoint because of its second copy: {cause}", who(event)));
            }
            (Moment::TaskFailed, Detail::Text(cause)) if cause.contains(FOLDER) && !self.excused.contains(&event.attempt) => {
                return Err(format!("{} fails because of its second copy: {cause}", who(event)));
            }
            _ => {}
        }
        Ok(())
    }
}

fn who(event: &Event) -> String {
    match event.actor {
        Actor::Task(task) => task.to_string(),
        Actor::Worker(worker) => worker.to_string(),
        Actor::Coordinator(epoch) => epoch.to_string(),
    }
}
