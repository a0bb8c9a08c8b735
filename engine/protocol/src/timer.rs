//! Named timers. A machine arms one; the driver knows the clock and later says that it fired: late, twice, or when nobody
//! cares any more, and all three are fine because the name carries the ids that make it harmless.

use crate::ids::{AttemptId, CheckpointId, Incarnation, WorkerId};
use core::fmt;

/// What a driver can be asked to wait for. Arming a timer again replaces its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next periodic checkpoint of this attempt is due.
    Trigger(AttemptId),
    /// The minimum pause after the last completed checkpoint is over (`execution.checkpointing.min-pause`).
    MinPause(CheckpointId),
    /// The checkpoint has not completed in time (`execution.checkpointing.timeout`).
    CheckpointDeadline(CheckpointId),
    /// The worker has not been heard of for too long.
    WorkerSilent(WorkerId, Incarnation),
    /// The tasks of this attempt should be running by now.
    DeployDeadline(AttemptId),
    /// The tasks of this attempt should have stopped by now.
    StopDeadline(AttemptId),
    /// The delay of the restart strategy after the failure of this attempt is over.
    Restart(AttemptId),
    /// The job has run long enough after this attempt's start to forget earlier failures (exponential-delay).
    BackoffReset(AttemptId),
    /// The failure of this attempt is old enough not to count any more (failure-rate).
    FailureForgotten(AttemptId),
    /// A journal write whose outcome is unknown may be tried again.
    JournalRetry,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger(attempt) => write!(f, "trigger {attempt}"),
            Self::MinPause(checkpoint) => write!(f, "min-pause {checkpoint}"),
            Self::CheckpointDeadline(checkpoint) => write!(f, "checkpoint-deadline {checkpoint}"),
            Self::WorkerSilent(worker, incarnation) => write!(f, "worker-silent {worker} {incarnation}"),
            Self::DeployDeadline(attempt) => write!(f, "deploy-deadline {attempt}"),
            Self::StopDeadline(attempt) => write!(f, "stop-deadline {attempt}"),
            Self::Restart(attempt) => write!(f, "restart {attempt}"),
            Self::BackoffReset(attempt) => write!(f, "backoff-reset {attempt}"),
            Self::FailureForgotten(attempt) => write!(f, "failure-forgotten {attempt}"),
            Self::JournalRetry => f.write_str("journal-retry"),
        }
    }
}
