//! Input that is found while the job runs (Flink: FLIP-27): an enumerator at the coordinator finds splits and assigns each to one
//! reader.
//!
//! What an enumerator has decided and what it says that it has decided are one: its calls do not wait, and what takes time is done
//! beside them ([`look`](SplitEnumerator::look)). So its state is that of a moment, and each assignment is on the same side of a
//! checkpoint as the split in some reader's state: an assigned split is never in neither, and never in both.

use super::{ConnectorError, Place};
use crate::channel::BoxFuture;
use crate::env::Env;
use crate::record::EventTime;
use cofferdam_protocol::stored::{Stored, StoredError};
use cofferdam_protocol::{CheckpointId, SubtaskIndex};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::future::Future;
use std::time::Duration;

/// Finds splits and assigns them, at the coordinator (Flink: `SplitEnumerator`). One instance per attempt: it begins anew, or from what
/// the checkpoint has of it. Splits that are in readers' states then are none of its business any more.
pub trait SplitEnumerator<E: Env>: Send + 'static {
    /// A part of the input, and how far it has been read.
    type Split: Stored + Send + 'static;
    /// What a look gives.
    type Found: Send + 'static;

    /// Takes its state in a checkpoint, before anything else is called.
    ///
    /// # Errors
    /// Bytes that are not its own. The job is over then.
    fn restore(&mut self, state: &[u8]) -> Result<(), StoredError>;

    /// What it needs to go on from here: what was found and is not assigned, and whatever keeps it from finding a split twice.
    fn state(&self) -> Vec<u8>;

    /// When to look for splits: after so long, from now on. Asked at the beginning and after each look. `None`: never again.
    fn look_after(&self) -> Option<Duration>;

    /// Looks for splits, beside everything else. After an error it looks again.
    fn look(&self, env: &E) -> BoxFuture<'static, Result<Self::Found, ConnectorError>>;

    /// The look is done. Gives how many splits are new.
    fn found(&mut self, found: Self::Found, readers: &mut Readers<Self::Split>) -> u64;

    /// A reader has nothing to read, and asks for a split, or for the word that there will be none. It asks once; if there is nothing to
    /// say now, say it later. It may have died since, and asks again in the next attempt.
    fn requested(&mut self, reader: SubtaskIndex, readers: &mut Readers<Self::Split>);

    /// A checkpoint with its state is complete. As with tasks, the word may never come.
    fn completed(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// A checkpoint with its state will not be.
    fn aborted(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }
}

/// What is said to readers.
#[derive(Debug)]
pub struct Readers<S> {
    count: u32,
    events: Vec<(SubtaskIndex, ReaderEvent)>,
    split: std::marker::PhantomData<fn(S)>,
}

impl<S: Stored> Readers<S> {
    fn new(count: u32) -> Self {
        Self { count, events: Vec::new(), split: std::marker::PhantomData }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The split is this reader's from now on.
    pub fn assign(&mut self, reader: SubtaskIndex, split: &S) {
        let mut bytes = Vec::new();
        split.write(&mut bytes);
        self.events.push((reader, ReaderEvent::Split(bytes)));
    }

    /// No further split will be assigned to this reader: it ends when it has read what it has.
    pub fn no_more(&mut self, reader: SubtaskIndex) {
        self.events.push((reader, ReaderEvent::NoMore));
    }
}

/// What an enumerator tells a reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReaderEvent {
    /// A split to read, as it is stored.
    Split(Vec<u8>),
    /// There will be no other.
    NoMore,
}

/// Whether a reader has anything to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It may have.
    More,
    /// All its splits are read to their ends.
    Idle,
}

/// Reads splits, in one subtask (Flink: `SourceReader`). Splits with their positions are its operator state.
pub trait SplitReader: Send + 'static {
    /// A part of the input, and how far it has been read.
    type Split: Stored + Send + 'static;
    /// What it gives.
    type Out: Send + 'static;

    /// Gets ready, before it has any split.
    fn open<E: Env>(&mut self, env: &E, place: Place) -> impl Future<Output = Result<(), ConnectorError>> + Send {
        let _ = (env, place);
        std::future::ready(Ok(()))
    }

    /// One more split: just assigned, or from a checkpoint and read up to some position.
    fn add(&mut self, split: Self::Split);

    /// The splits that are not read to their ends, with their positions.
    fn splits(&self) -> Vec<Self::Split>;

    /// Appends the next records and advances the positions past them, both without an await in between: a call that is
    /// dropped while it waits has done neither. With nothing to read it says so at once.
    fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Self::Out>) -> impl Future<Output = Result<Reading, ConnectorError>> + Send;

    /// No record before this event time will follow. What is found later counts, too.
    fn watermark(&self) -> EventTime {
        EventTime::MIN
    }

    /// Whether so much is left to read that checkpoints had better be rare (Flink: `setIsProcessingBacklog`).
    fn is_behind(&self) -> bool {
        false
    }
}

type Told = Vec<(SubtaskIndex, ReaderEvent)>;
/// What a look gives, known only to who looked.
pub(crate) type AnyFound = Box<dyn Any + Send>;

/// An enumerator without its types.
pub(crate) trait AnyEnumerator<E: Env>: Send {
    fn restore(&mut self, state: &[u8]) -> Result<(), StoredError>;
    fn state(&self) -> Vec<u8>;
    fn look_after(&self) -> Option<Duration>;
    fn look(&self, env: &E) -> BoxFuture<'static, Result<AnyFound, ConnectorError>>;
    fn found(&mut self, found: AnyFound, readers: u32) -> (u64, Told);
    fn requested(&mut self, reader: SubtaskIndex, readers: u32) -> Told;
    fn completed(&mut self, checkpoint: CheckpointId);
    fn aborted(&mut self, checkpoint: CheckpointId);
}

pub(crate) struct Typed<N>(pub(crate) N);

impl<E: Env, N: SplitEnumerator<E>> AnyEnumerator<E> for Typed<N> {
    fn restore(&mut self, state: &[u8]) -> Result<(), StoredError> {
        self.0.restore(state)
    }

    fn state(&self) -> Vec<u8> {
        self.0.state()
    }

    fn look_after(&self) -> Option<Duration> {
        self.0.look_after()
    }

    fn look(&self, env: &E) -> BoxFuture<'static, Result<AnyFound, ConnectorError>> {
        let look = self.0.look(env);
        Box::pin(async move { look.await.map(|found| Box::new(found) as AnyFound) })
    }

    fn found(&mut self, found: AnyFound, readers: u32) -> (u64, Told) {
        let mut readers = Readers::new(readers);
        let found = *found.downcast().expect("an enumerator is given what it has found");
        let count = self.0.found(found, &mut readers);
        (count, readers.events)
    }

    fn requested(&mut self, reader: SubtaskIndex, readers: u32) -> Told {
        let mut readers = Readers::new(readers);
        self.0.requested(reader, &mut readers);
        readers.events
    }

    fn completed(&mut self, checkpoint: CheckpointId) {
        self.0.completed(checkpoint);
    }

    fn aborted(&mut self, checkpoint: CheckpointId) {
        self.0.aborted(checkpoint);
    }
}
