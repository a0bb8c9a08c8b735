//! What a testbed may look at: the machines that a driver drives, right after a step. In production nobody looks.

use cofferdam_protocol::coordinator::{self, Coordinator};
use cofferdam_protocol::local::{self, LocalCopies};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::subtask::{self, Subtask};
use cofferdam_protocol::{AttemptId, TaskId, Timer, WorkerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A part of the engine, shown by its driver.
#[derive(Clone, Copy, Debug)]
pub enum Sight<'a> {
    /// The coordinator's machine after a step, and what it wants done, none of which is done yet.
    Coordinator {
        /// The machine.
        machine: &'a Coordinator<TaskSnapshot>,
        /// What came of the step.
        outputs: &'a [coordinator::Output<TaskSnapshot>],
    },
    /// The coordinator's timers, by [`Env::now`](crate::env::Env::now).
    Deadlines(&'a BTreeMap<Timer, Duration>),
    /// As for the coordinator, of a subtask.
    Subtask {
        /// Which.
        task: TaskId,
        /// In which attempt.
        attempt: AttemptId,
        /// The machine.
        machine: &'a Subtask,
        /// What came of the step.
        outputs: &'a [subtask::Output],
    },
    /// As for the coordinator, of a worker's second copies of state.
    Copies {
        /// Whose.
        worker: WorkerId,
        /// The machine.
        machine: &'a LocalCopies,
        /// What came of the step.
        outputs: &'a [local::Output],
    },
}
