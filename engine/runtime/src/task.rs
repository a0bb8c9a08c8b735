//! One subtask at work: reads elements, runs the chain, and performs what the subtask machine decides about barriers.

mod commits;
mod finishing;
mod input;
mod keyed;
mod output;
mod overtaking;
mod reader;
mod running;
mod snapshot;

pub use input::{Input, SourceHead};
pub use output::{Outputs, SinkTail, Tail};
pub use reader::{ReaderHead, ReaderReport, SPLITS};
pub use running::run;

use crate::channel::in_flight::BadRecord;
use crate::channel::{AnyEnd, ChannelError};
use crate::connector::{ConnectorError, Place};
use crate::env::Env;
use crate::job::JobGraph;
use crate::local::{RestoredBytes, TaskCopies};
use crate::observe::{Actor, Detail, Event, MachineStep, Moment, Step};
use crate::record::SnapshotRequest;
use crate::state::cold::{ColdBackend, ColdError};
use crate::state::{BlockError, OperatorListError, RestoreStateError};
use crate::storage::{CheckpointStorage, SnapshotStreams, StorageError};
use cofferdam_protocol::coordinator::{FailureKind, FailureReason};
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::subtask::{self, Participant};
use cofferdam_protocol::{AttemptId, CheckpointId, EdgeId, KeyGroupRange, Mode, TaskId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a subtask is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskControl {
    /// Inject a barrier.
    Trigger(CheckpointId, SnapshotRequest),
    /// The checkpoint is complete.
    Completed(CheckpointId),
    /// The checkpoint will not be.
    Aborted {
        /// Which.
        checkpoint: CheckpointId,
        /// The newest complete one.
        latest_completed: Option<CheckpointId>,
    },
}

/// How long the parts of a subtask's snapshot took, and how large it is (Flink: `CheckpointMetrics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatistics {
    /// From the trigger to the first barrier, as far as the clocks of two machines can tell.
    pub start_delay: Duration,
    /// From the first barrier, or its announcement, to the cut.
    pub alignment: Duration,
    /// While no record was processed.
    pub sync: Duration,
    /// From there until everything was durable.
    pub asynchronous: Duration,
    /// What was written.
    pub size_bytes: u64,
    /// Of that, records under way that barriers have overtaken.
    pub in_flight_bytes: u64,
}

/// What a subtask says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskReport {
    /// Restored, and ready for records.
    Running,
    /// Not yet: it still takes its state in.
    Restoring,
    /// Over, for this reason.
    Failed {
        /// For people.
        cause: String,
        /// Whether another attempt could do better.
        kind: FailureKind,
    },
    /// All input is processed and flushed.
    Drained,
    /// Its part of a checkpoint is durable.
    Acknowledged(CheckpointId, TaskSnapshot, SnapshotStatistics),
    /// It will not deliver its part.
    Declined(CheckpointId, FailureReason),
    /// All that waited for this checkpoint, or for one before it, is published.
    Committed(CheckpointId),
    /// A complete checkpoint has its last state, and all that waited for that is published: it is gone.
    Finished,
    /// So many records have come in since the last report (sources only).
    Progress(u64),
    /// It is behind what there is to read, or has caught up (sources only).
    Backlog(bool),
    /// With local recovery: so much keyed state was read, and where.
    Restored(RestoredBytes),
    /// To the enumerator of its splits.
    Reader(ReaderReport),
}

/// The sending ends of one output edge.
pub struct OutputEnds {
    /// Which edge.
    pub edge: EdgeId,
    /// How many subtasks are behind it.
    pub to_parallelism: u32,
    /// One per channel.
    pub senders: Vec<AnyEnd>,
}

/// What keyed state is kept in (`state.backend.type`).
#[derive(Clone, Default)]
pub enum StateBackend {
    /// Hash tables in memory (`hashmap`). Snapshots are whole.
    #[default]
    InMemory,
    /// Hot entries in memory, the rest in a store.
    Store {
        /// Makes the stores.
        backend: Arc<dyn ColdBackend>,
        /// Whether checkpoints share files with earlier ones (`execution.checkpointing.incremental`).
        incremental: bool,
    },
}

/// All that a subtask is started with.
pub struct TaskContext<E: Env> {
    /// The world.
    pub env: E,
    /// The job.
    pub graph: Arc<JobGraph<E>>,
    /// Who it is.
    pub task: TaskId,
    /// In which attempt.
    pub attempt: AttemptId,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// Whether barriers may overtake records.
    pub overtaking: bool,
    /// Whether it leaves at its end, or stays until that of the job.
    pub finishing: bool,
    /// What keyed state is kept in.
    pub backend: StateBackend,
    /// Where snapshots are read from.
    pub storage: CheckpointStorage,
    /// Where snapshots go.
    pub streams: SnapshotStreams<E>,
    /// The receiving ends, by input edge.
    pub inputs: Vec<Vec<AnyEnd>>,
    /// The sending ends, by output edge.
    pub outputs: Vec<OutputEnds>,
    /// Second copies of its state on this worker's disk, if there are to be any.
    pub local: Option<TaskCopies<E>>,
    /// What to begin from; `None` is from nothing.
    pub restore: Option<TaskRestore>,
    /// What it is told. Closed: stop.
    pub control: mpsc::UnboundedReceiver<TaskControl>,
    /// What an enumerator tells it.
    pub(crate) events: reader::Events,
    /// What it says.
    pub reports: mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>,
}

impl<E: Env> TaskContext<E> {
    fn parallelism(&self) -> u32 {
        self.graph.vertex(self.task.vertex).parallelism
    }

    fn place(&self) -> Place {
        Place { subtask: self.task.subtask, parallelism: self.parallelism(), attempt: self.attempt }
    }

    fn groups(&self) -> KeyGroupRange {
        let range = self.graph.max_parallelism.range_of(self.task.subtask, self.parallelism());
        range.expect("a job is only built with at least one key group per subtask")
    }

    fn observe(&self, moment: Moment, checkpoint: Option<CheckpointId>, detail: Detail) {
        self.env.observe(Event { actor: Actor::Task(self.task), attempt: Some(self.attempt), checkpoint, moment, detail });
    }

    /// Of the subtask's machine.
    fn machine(&self, step: impl FnOnce() -> Step<Participant, subtask::Input, subtask::Output>) {
        self.env.machine(|| MachineStep::Subtask(self.attempt, self.task, step()));
    }

    fn report(&self, report: TaskReport) {
        // Nobody listens any more: the worker is stopping this task.
        let _ = self.reports.send((self.task, self.attempt, report));
    }
}

/// Why a subtask is over.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A neighbour is gone.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The outside of a source or sink.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// Its state cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its state was written in the own format of another backend. Take a savepoint in the canonical format with that one.
    #[error("state of {uid} is in the format of {stored}, this job keeps state in {wanted}")]
    OtherBackend {
        /// The operator.
        uid: String,
        /// As stored.
        stored: String,
        /// As configured.
        wanted: String,
    },
    /// The store behind its state failed.
    #[error("state of {uid}: {source}")]
    Cold {
        /// The operator.
        uid: String,
        /// Why.
        source: ColdError,
    },
    /// Its state cannot be written.
    #[error("state of {uid}: {source}")]
    Snapshot {
        /// The operator.
        uid: String,
        /// Why.
        source: BlockError,
    },
    /// Its operator state cannot be read.
    #[error("state of {uid}: {source}")]
    Lists {
        /// The operator.
        uid: String,
        /// Why.
        source: OperatorListError,
    },
    /// Its state does not fit the operator.
    #[error("state of {uid}: {source}")]
    Restore {
        /// The operator.
        uid: String,
        /// Why.
        source: RestoreStateError,
    },
    /// The operator has no such state any more. Restore with the program that wrote it, or give the state back.
    #[error("state of {uid}: the checkpoint has a state {name}, the operator has none of that name")]
    UnknownState {
        /// The operator.
        uid: String,
        /// As stored.
        name: String,
    },
    /// Records that were under way cannot be read.
    #[error("records under way on {edge}: {source}")]
    InFlight {
        /// The edge.
        edge: String,
        /// Why.
        source: BadRecord,
    },
    /// Records under way cannot be written. Make their type one that serde can describe.
    #[error("records under way cannot be stored: {0}")]
    Unwritable(String),
    /// A copy on this worker's disk that was in order a moment ago is not any more. The next attempt does not use it.
    #[error(transparent)]
    LocalCopy(Box<TaskError>),
    /// What it is to begin from can be taken in by no attempt. Begin from something else, or with another program.
    #[error(transparent)]
    NotRestorable(Box<TaskError>),
}

impl TaskError {
    /// It came up while state was taken in.
    pub(crate) fn while_restoring(self) -> Self {
        let lasts = match &self {
            Self::OtherBackend { .. } | Self::Lists { .. } | Self::Restore { .. } | Self::UnknownState { .. } | Self::InFlight { .. } => {
                true
            }
            Self::Storage(error) => error.is_damage(),
            Self::Connector(ConnectorError::State { .. }) => true,
            Self::Connector(ConnectorError::Io { .. } | ConnectorError::Storage(_) | ConnectorError::Invalid { .. }) => false,
            // Another machine may have room for a store, or another neighbour be there.
            Self::Channel(_)
            | Self::Cold { .. }
            | Self::Snapshot { .. }
            | Self::LocalCopy(_)
            | Self::NotRestorable(_)
            | Self::Unwritable(_) => false,
        };
        if lasts {
            Self::NotRestorable(Box::new(self))
        } else {
            self
        }
    }

    /// Whether another attempt could do better.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotRestorable(_) => FailureKind::NonRecoverable,
            Self::Channel(_) | Self::Connector(_) | Self::Storage(_) | Self::OtherBackend { .. } | Self::Cold { .. } => {
                FailureKind::Recoverable
            }
            Self::Snapshot { .. } | Self::Lists { .. } | Self::Restore { .. } | Self::UnknownState { .. } | Self::LocalCopy(_) => {
                FailureKind::Recoverable
            }
            Self::InFlight { .. } | Self::Unwritable(_) => FailureKind::Recoverable,
        }
    }
}
