//! How records come from and go to the outside: replayable sources, idempotent and transactional sinks.

use crate::channel::BoxFuture;
use crate::env::Env;
use crate::record::EventTime;
use crate::storage::StorageError;
use crate::watermark::WatermarkStatus;
use cofferdam_protocol::snapshot::ListState;
use cofferdam_protocol::stored::StoredError;
use cofferdam_protocol::{AttemptId, CheckpointId, SubtaskIndex};
use std::future::Future;
use std::io;

pub mod discard;
mod files;
pub mod folder;
pub mod generator;
pub mod log_source;
pub mod split;
pub mod throttle;
pub mod transactional_sink;
pub mod upsert_sink;

/// Which subtask of which attempt a connector works for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The subtask.
    pub subtask: SubtaskIndex,
    /// How many there are.
    pub parallelism: u32,
    /// The attempt.
    pub attempt: AttemptId,
}

/// What went wrong outside. Fails the task; the job restarts by its strategy.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The restored positions are not ours.
    #[error("restored state {name:?} of the connector: {source}")]
    State {
        /// Which.
        name: String,
        /// Why.
        source: StoredError,
    },
    /// The stored part of the output.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The outside has something that cannot be.
    #[error("{path}: {what}")]
    Invalid {
        /// Where.
        path: String,
        /// What.
        what: String,
    },
}

impl ConnectorError {
    /// Names the file.
    pub fn io(path: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Whether a source has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more.
    More,
    /// All input has been given. Asking again would wait for ever.
    Drained,
}

/// Replayable input: what was read is named by positions, which are operator state.
pub trait Source: Send + 'static {
    /// What it gives.
    type Out: Send + 'static;

    /// Begins at the restored positions, or at the beginning.
    fn open<E: Env>(
        &mut self,
        env: &E,
        place: Place,
        restored: Option<&[ListState]>,
    ) -> impl Future<Output = Result<(), ConnectorError>> + Send;

    /// Appends the next records and advances the positions past them, both without an await in between: a call that is
    /// dropped while it waits has done neither.
    fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Self::Out>) -> impl Future<Output = Result<Polled, ConnectorError>> + Send;

    /// No record before this event time will follow, but of splits that are set aside. Asked whenever [`next`](Self::next) has returned,
    /// also where it gave nothing.
    fn watermark(&self) -> EventTime {
        EventTime::MIN
    }

    /// Whether that is to be waited for: not where nothing comes on any split. Asked together with it.
    fn watermark_status(&self) -> WatermarkStatus {
        WatermarkStatus::Active
    }

    /// Whether so much is left to read that checkpoints had better be rare (Flink: `setIsProcessingBacklog`).
    fn is_behind(&self) -> bool {
        false
    }

    /// The positions.
    fn lists(&self) -> Vec<ListState>;
}

/// What makes a flush durable.
pub type Flush = BoxFuture<'static, Result<u64, ConnectorError>>;

/// Output: either its effect is the same when records come again, or it is held back until the checkpoint that they belong to is
/// complete (Flink: `TwoPhaseCommitSinkFunction`).
pub trait Sink: Send + 'static {
    /// What it takes.
    type In: Send;

    /// Whether it holds output back until a checkpoint is complete: then the job has finished only when all of it is published.
    const COMMITS: bool = false;

    /// Takes its state in a checkpoint, before it is opened. Not called where the job begins from nothing.
    ///
    /// # Errors
    /// State that is not its own.
    fn restore(&mut self, lists: &[ListState]) -> Result<(), ConnectorError> {
        let _ = lists;
        Ok(())
    }

    /// Gets ready; finds what earlier attempts left.
    fn open<E: Env>(&mut self, env: &E, place: Place) -> impl Future<Output = Result<(), ConnectorError>> + Send;

    /// Ready when it takes another batch: a sink whose outside is slow holds the job back here. Loses nothing when dropped before.
    fn room<E: Env>(&mut self, env: &E) -> impl Future<Output = ()> + Send {
        let _ = env;
        std::future::ready(())
    }

    /// Takes all records of a batch.
    fn accept(&mut self, records: &mut Vec<Self::In>);

    /// At a barrier: hands over what is to be durable before the checkpoint is acknowledged. The future gives the bytes
    /// written; if it fails the records stay with the sink for the next flush.
    fn flush<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush>;

    /// Its state, right after [`flush`](Self::flush) and without a record in between: what it names must be durable when the flush is.
    fn lists(&self) -> Vec<ListState> {
        Vec::new()
    }

    /// How many items of restored state have become this subtask's.
    fn entry_count(&self) -> u64 {
        0
    }

    /// A checkpoint is complete, and so is everything before it: publishes what was held back up to then. The future may be dropped
    /// or fail half-way, and is asked for again; the notice of an earlier checkpoint may never come. `None`: there is nothing.
    fn commit<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        let _ = (env, checkpoint);
        None
    }

    /// All input has been taken: hands over what completes the output. Barriers may still come while that runs.
    fn finish<E: Env>(&mut self, env: &E) -> Option<Flush>;
}
