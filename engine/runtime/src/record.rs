//! What flows between operators.

use crate::watermark::WatermarkStatus;
use cofferdam_protocol::CheckpointId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Anything that can travel: implemented for all types that fit.
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Record for T {}

/// Event time in milliseconds. [`END_OF_TIME`] comes with the end of the input.
pub type EventTime = i64;

/// The watermark behind which no record can come.
pub const END_OF_TIME: EventTime = i64::MAX;

/// What a channel carries, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element<T> {
    /// Records.
    Batch(Vec<T>),
    /// No record before this event time will follow on this channel.
    Watermark(EventTime),
    /// What comes before belongs to the checkpoint, what comes after does not.
    Barrier(CheckpointId, SnapshotRequest),
    /// The barrier of this checkpoint will not come (Flink: `CancelCheckpointMarker`).
    Cancel(CheckpointId),
    /// No more records; barriers may still follow.
    Drained,
    /// Whether watermarks of this channel are to be waited for.
    Status(WatermarkStatus),
    /// Whoever sends has finished and is gone: not even a barrier follows (Flink: `EndOfPartitionEvent`).
    Ended,
}

/// How every subtask is to take its part of a checkpoint (Flink: `CheckpointOptions`). Travels with the barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotRequest {
    /// For the engine, in the format of the backend.
    Checkpoint {
        /// Nothing that came with the restore may be built upon: it belongs to somebody else.
        full: bool,
        /// When the coordinator asked for it, by its wall clock, in milliseconds.
        triggered_ms: i64,
        /// Whether its barriers may overtake records.
        alignment: Alignment,
    },
    /// For the user.
    Savepoint {
        /// All files go here.
        folder: String,
        /// As what.
        format: SavepointFormat,
        /// Whether the job stops with it.
        stop: Option<Stop>,
    },
}

/// How a job stops with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stop {
    /// In the middle of its input: another job goes on from there as if nothing had happened.
    Suspend,
    /// As if the input ended there: what is held back is given out first (Flink: `--drain`).
    Drain,
}

/// Whether a barrier waits for the records ahead of it (Flink: `CheckpointOptions.AlignmentType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alignment {
    /// It does.
    #[default]
    Aligned,
    /// For so long since the checkpoint was asked for; overtakes then.
    Within {
        /// In milliseconds.
        timeout_ms: u64,
    },
    /// It overtakes: records under way become part of the checkpoint.
    Overtaking,
}

impl SnapshotRequest {
    /// Whether its barrier overtakes.
    #[must_use]
    pub fn overtakes(&self) -> bool {
        matches!(self, Self::Checkpoint { alignment: Alignment::Overtaking, .. })
    }

    /// Whether its barrier overtakes, or may do so later.
    #[must_use]
    pub fn may_overtake(&self) -> bool {
        matches!(self, Self::Checkpoint { alignment: Alignment::Overtaking | Alignment::Within { .. }, .. })
    }

    /// Whether the job stops with it.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        match self {
            Self::Checkpoint { .. } => None,
            Self::Savepoint { stop, .. } => *stop,
        }
    }

    /// From now on its barrier overtakes (Flink: `CheckpointBarrier.asUnaligned`).
    pub fn overtake(&mut self) {
        if let Self::Checkpoint { alignment, .. } = self {
            *alignment = Alignment::Overtaking;
        }
    }
}

/// How a savepoint is written (Flink: `SavepointFormatType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavepointFormat {
    /// Any backend reads it.
    #[default]
    Canonical,
    /// As the backend has it: faster both ways, for the same backend only.
    Native,
}

/// Where an operator puts what it makes.
pub trait Collect<T> {
    /// Takes one record.
    fn collect(&mut self, record: T);
}

impl<T> Collect<T> for Vec<T> {
    #[inline]
    fn collect(&mut self, record: T) {
        self.push(record);
    }
}

/// A record of one of two inputs (Flink: `TwoInputStreamOperator`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Either<L, R> {
    /// Of the first.
    Left(L),
    /// Of the second.
    Right(R),
}
