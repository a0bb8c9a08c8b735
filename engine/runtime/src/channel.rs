//! Channels between subtasks: bounded, in order, one per pair of subtasks. Full ones hold their sender back.
//!
//! Lives here: the queue that a channel is ([`queue`]), what reads from all of a subtask's ([`gate`]), what spreads records over an
//! edge's ([`exchange`]), how one goes over a connection ([`wire`]), and the stored form of records under way ([`in_flight`]).
//!
//! A channel to another worker is a queue at each end of a TCP connection of its own. The receiving worker always reads from it; what
//! holds the sender back is credit, an element for each that the task has taken out (Flink: credit-based flow control). So a barrier that
//! overtakes finds no full connection in its way, and no channel blocks another.

pub mod exchange;
pub mod gate;
pub mod in_flight;
pub mod queue;
pub mod wire;

pub use exchange::{Broadcast, Exchange, Forward, Hash, Partition, Rebalance, Route};
pub use gate::{Arrival, Gate, Inlet, Plain, Side};
pub use wire::{receiver, sender, AnyEnd, Carrying, EdgeType};

use crate::codec::CodecError;
use crate::record::{Element, EventTime, SnapshotRequest};
use crate::watermark::WatermarkStatus;
use cofferdam_protocol::{CheckpointId, EdgeId, SubtaskIndex};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// How many elements (mostly batches) one end of a channel holds before its sender waits. What one batch is made into still goes in.
pub const CHANNEL_CAPACITY: usize = 4;

/// A boxed future, for what happens once per batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One channel of one edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId {
    /// Of which edge.
    pub edge: EdgeId,
    /// The sending subtask.
    pub from: SubtaskIndex,
    /// The receiving subtask.
    pub to: SubtaskIndex,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}->{}", self.edge, self.from, self.to)
    }
}

/// A channel broke: the subtask at its other end is gone.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other end of {0} is gone")]
    Closed(String),
    /// The connection carried something that is not ours, or broke.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// An element that carries no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// See [`Element::Watermark`].
    Watermark(EventTime),
    /// See [`Element::Barrier`].
    Barrier(CheckpointId, SnapshotRequest),
    /// See [`Element::Cancel`].
    Cancel(CheckpointId),
    /// See [`Element::Drained`].
    Drained,
    /// See [`Element::Status`].
    Status(WatermarkStatus),
    /// See [`Element::Ended`].
    Ended,
}

impl Control {
    fn element<T>(self) -> Element<T> {
        match self {
            Self::Watermark(watermark) => Element::Watermark(watermark),
            Self::Barrier(checkpoint, request) => Element::Barrier(checkpoint, request),
            Self::Cancel(checkpoint) => Element::Cancel(checkpoint),
            Self::Drained => Element::Drained,
            Self::Status(status) => Element::Status(status),
            Self::Ended => Element::Ended,
        }
    }
}
