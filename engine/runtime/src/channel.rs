//! Channels between subtasks: bounded, in order, one per pair of subtasks. Full ones hold their sender back.
//!
//! A channel to another worker is a local one whose other end is a TCP connection of its own: holding a channel back for
//! alignment then means not to read, TCP's window fills, and the sender waits. No channel blocks another.

use crate::codec::{self, CodecError};
use crate::operator::Selector;
use crate::record::{Either, Element, EventTime, Record, SnapshotRequest};
use crate::state::key::StateKey;
use cofferdam_protocol::{ChannelIndex, CheckpointId, EdgeId, MaxParallelism, SubtaskIndex};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// How many elements (mostly batches) a channel holds before its sender waits.
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
}

impl Control {
    fn element<T>(self) -> Element<T> {
        match self {
            Self::Watermark(watermark) => Element::Watermark(watermark),
            Self::Barrier(checkpoint, request) => Element::Barrier(checkpoint, request),
            Self::Cancel(checkpoint) => Element::Cancel(checkpoint),
            Self::Drained => Element::Drained,
        }
    }
}

/// The receiving end of a channel, giving records of the receiver's type.
pub trait Inlet<X>: Send {
    /// The next element; `None` when the sender is gone.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<X>>>;
}

impl<T: Send> Inlet<T> for mpsc::Receiver<Element<T>> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<T>>> {
        self.poll_recv(cx)
    }
}

struct Side<T, X> {
    receiver: mpsc::Receiver<Element<T>>,
    wrap: fn(T) -> X,
}

impl<T: Send, X> Inlet<X> for Side<T, X> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<X>>> {
        self.receiver.poll_recv(cx).map(|element| {
            element.map(|element| match element {
                Element::Batch(records) => Element::Batch(records.into_iter().map(self.wrap).collect()),
                Element::Watermark(watermark) => Element::Watermark(watermark),
                Element::Barrier(checkpoint, request) => Element::Barrier(checkpoint, request),
                Element::Cancel(checkpoint) => Element::Cancel(checkpoint),
                Element::Drained => Element::Drained,
            })
        })
    }
}

/// What comes out of a gate.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<X> {
    /// Records of one channel.
    Batch(Vec<X>),
    /// The least watermark of all channels has advanced.
    Watermark(EventTime),
    /// A barrier.
    Barrier(ChannelIndex, CheckpointId, SnapshotRequest),
    /// A cancellation marker.
    Cancel(ChannelIndex, CheckpointId),
    /// Every channel is drained.
    Drained,
}

struct Lane<X> {
    inlet: Box<dyn Inlet<X>>,
    held: bool,
    drained: bool,
    watermark: EventTime,
}

/// All input channels of one subtask, read in turn.
pub struct Gate<X> {
    lanes: Vec<Lane<X>>,
    turn: usize,
    watermark: EventTime,
}

impl<X> Gate<X> {
    /// Channels are numbered in this order.
    #[must_use]
    pub fn new(inlets: Vec<Box<dyn Inlet<X>>>) -> Self {
        let lane = |inlet| Lane { inlet, held: false, drained: false, watermark: EventTime::MIN };
        Self { lanes: inlets.into_iter().map(lane).collect(), turn: 0, watermark: EventTime::MIN }
    }

    /// How many channels there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.lanes.len()
    }

    /// Reads nothing more from a channel until [`release_all`](Self::release_all).
    pub fn hold(&mut self, channel: ChannelIndex) {
        self.lanes[channel.0 as usize].held = true;
    }

    /// Reads from all channels again.
    pub fn release_all(&mut self) {
        for lane in &mut self.lanes {
            lane.held = false;
        }
    }

    /// The next arrival on any channel that is not held. Loses nothing when dropped before it is ready.
    ///
    /// # Errors
    /// A channel whose sender is gone.
    pub async fn next(&mut self) -> Result<Arrival<X>, ChannelError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival<X>, ChannelError>> {
        for step in 0..self.lanes.len() {
            let index = (self.turn + step) % self.lanes.len();
            while !self.lanes[index].held {
                let Poll::Ready(element) = self.lanes[index].inlet.poll_next(cx) else { break };
                let Some(element) = element else {
                    return Poll::Ready(Err(ChannelError::Closed(format!("input ch{index}"))));
                };
                if let Some(arrival) = self.take(index, element) {
                    self.turn = (index + 1) % self.lanes.len();
                    return Poll::Ready(Ok(arrival));
                }
            }
        }
        Poll::Pending
    }

    fn take(&mut self, index: usize, element: Element<X>) -> Option<Arrival<X>> {
        let channel = ChannelIndex(u32::try_from(index).expect("a subtask has fewer channels than 2^32"));
        match element {
            Element::Batch(records) => Some(Arrival::Batch(records)),
            Element::Barrier(checkpoint, request) => Some(Arrival::Barrier(channel, checkpoint, request)),
            Element::Cancel(checkpoint) => Some(Arrival::Cancel(channel, checkpoint)),
            Element::Watermark(watermark) => {
                self.lanes[index].watermark = watermark;
                let least = self.lanes.iter().map(|lane| lane.watermark).min().unwrap_or(EventTime::MIN);
                (least > self.watermark).then(|| {
                    self.watermark = least;
                    Arrival::Watermark(least)
                })
            }
            Element::Drained => {
                self.lanes[index].drained = true;
                self.lanes.iter().all(|lane| lane.drained).then_some(Arrival::Drained)
            }
        }
    }
}

/// Which of the channels of an edge a record takes.
pub trait Partition<T>: Send + 'static {
    /// Moves all records of `batch` into `lanes`, one per channel.
    fn scatter(&mut self, batch: &mut Vec<T>, lanes: &mut [Vec<T>]);
}

/// To the subtask of the same index.
pub struct Forward;

impl<T: Send> Partition<T> for Forward {
    fn scatter(&mut self, batch: &mut Vec<T>, lanes: &mut [Vec<T>]) {
        lanes[0].append(batch);
    }
}

/// To all subtasks in turn.
#[derive(Default)]
pub struct Rebalance {
    turn: usize,
}

impl<T: Send> Partition<T> for Rebalance {
    fn scatter(&mut self, batch: &mut Vec<T>, lanes: &mut [Vec<T>]) {
        for record in batch.drain(..) {
            lanes[self.turn].push(record);
            self.turn += 1;
            if self.turn == lanes.len() {
                self.turn = 0;
            }
        }
    }
}

/// To every subtask.
pub struct Broadcast;

impl<T: Clone + Send> Partition<T> for Broadcast {
    fn scatter(&mut self, batch: &mut Vec<T>, lanes: &mut [Vec<T>]) {
        let (last, others) = lanes.split_last_mut().expect("an edge has at least one channel");
        for lane in others {
            lane.extend_from_slice(batch);
        }
        last.append(batch);
    }
}

/// To the subtask that owns the key group of the record's key.
pub struct Hash<K, S> {
    selector: S,
    max: MaxParallelism,
    owners: Vec<u32>,
    marker: PhantomData<fn(K)>,
}

impl<K, S> Hash<K, S> {
    /// For a receiver of the given parallelism.
    pub fn new(selector: S, max: MaxParallelism, parallelism: u32) -> Self {
        let group = |group| cofferdam_protocol::KeyGroup(u16::try_from(group).expect("max parallelism fits"));
        let owners = (0..max.get()).map(|number| max.owner(group(number), parallelism).0).collect();
        Self { selector, max, owners, marker: PhantomData }
    }
}

impl<T: Send, K: StateKey, S: Selector<T, K>> Partition<T> for Hash<K, S> {
    fn scatter(&mut self, batch: &mut Vec<T>, lanes: &mut [Vec<T>]) {
        if let [only] = lanes {
            only.append(batch);
            return;
        }
        for record in batch.drain(..) {
            let group = self.max.group_of(self.selector.key(&record).hash64());
            lanes[self.owners[usize::from(group.0)] as usize].push(record);
        }
    }
}

/// The sending end of one edge at one subtask.
pub trait Route<T>: Send {
    /// Sends all records of `batch`, waiting where a channel is full. Keeps them (as copies) if `keep`.
    fn send<'a>(&'a mut self, batch: &'a mut Vec<T>, keep: bool) -> BoxFuture<'a, Result<(), ChannelError>>;
    /// Sends to every channel, behind all records.
    fn control(&mut self, control: Control) -> BoxFuture<'_, Result<(), ChannelError>>;
}

/// A partitioning over channels.
pub struct Exchange<T, P> {
    senders: Vec<mpsc::Sender<Element<T>>>,
    lanes: Vec<Vec<T>>,
    partition: P,
}

impl<T: Record, P: Partition<T>> Exchange<T, P> {
    /// One sender per receiving subtask, in order.
    pub fn new(senders: Vec<mpsc::Sender<Element<T>>>, partition: P) -> Self {
        let lanes = senders.iter().map(|_| Vec::new()).collect();
        Self { senders, lanes, partition }
    }
}

impl<T: Record, P: Partition<T>> Route<T> for Exchange<T, P> {
    fn send<'a>(&'a mut self, batch: &'a mut Vec<T>, keep: bool) -> BoxFuture<'a, Result<(), ChannelError>> {
        Box::pin(async move {
            let share = batch.len() / self.lanes.len() + batch.len() / 16 + 1;
            for lane in &mut self.lanes {
                lane.reserve(share);
            }
            if keep {
                self.partition.scatter(&mut batch.clone(), &mut self.lanes);
            } else {
                self.partition.scatter(batch, &mut self.lanes);
            }
            for (sender, lane) in self.senders.iter().zip(&mut self.lanes) {
                if !lane.is_empty() {
                    let records = std::mem::take(lane);
                    sender.send(Element::Batch(records)).await.map_err(|_| ChannelError::Closed("an output".into()))?;
                }
            }
            Ok(())
        })
    }

    fn control(&mut self, control: Control) -> BoxFuture<'_, Result<(), ChannelError>> {
        Box::pin(async move {
            for sender in &self.senders {
                sender.send(control.clone().element()).await.map_err(|_| ChannelError::Closed("an output".into()))?;
            }
            Ok(())
        })
    }
}

/// One end of a channel whose type only its edge knows.
pub type AnyEnd = Box<dyn Any + Send>;

/// What a worker needs of an edge without knowing its record type.
pub trait EdgeType<Stream>: Send + Sync {
    /// A new channel: its sending and its receiving end.
    fn channel(&self) -> (AnyEnd, AnyEnd);
    /// Carries elements from a connection into a channel until one of them ends.
    fn pump_in(&self, stream: Stream, into: AnyEnd) -> BoxFuture<'static, Result<(), ChannelError>>;
    /// Carries elements from a channel into a connection until one of them ends.
    fn pump_out(&self, from: AnyEnd, stream: Stream) -> BoxFuture<'static, Result<(), ChannelError>>;
}

/// The record type of an edge.
pub struct Carrying<T>(PhantomData<fn(T)>);

impl<T> Default for Carrying<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The sending end of a channel that carries `T`.
///
/// # Panics
/// If the edge carries another type: edges and channels are made together, so that would be our own mistake.
#[must_use]
pub fn sender<T: Record>(end: AnyEnd) -> mpsc::Sender<Element<T>> {
    *end.downcast().expect("the sender was made by the same edge")
}

/// The receiving end of a channel that carries `T`.
///
/// # Panics
/// As [`sender`].
#[must_use]
pub fn receiver<T: Record>(end: AnyEnd) -> mpsc::Receiver<Element<T>> {
    *end.downcast().expect("the receiver was made by the same edge")
}

/// The receiving end as the first input of two.
#[must_use]
pub fn left_inlet<L: Record, R: Record>(end: AnyEnd) -> Box<dyn Inlet<Either<L, R>>> {
    Box::new(Side { receiver: receiver::<L>(end), wrap: Either::Left })
}

/// The receiving end as the second input of two.
#[must_use]
pub fn right_inlet<L: Record, R: Record>(end: AnyEnd) -> Box<dyn Inlet<Either<L, R>>> {
    Box::new(Side { receiver: receiver::<R>(end), wrap: Either::Right })
}

impl<T: Record, Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static> EdgeType<Stream> for Carrying<T> {
    fn channel(&self) -> (AnyEnd, AnyEnd) {
        let (sender, receiver) = mpsc::channel::<Element<T>>(CHANNEL_CAPACITY);
        (Box::new(sender), Box::new(receiver))
    }

    fn pump_in(&self, mut stream: Stream, into: AnyEnd) -> BoxFuture<'static, Result<(), ChannelError>> {
        let into = sender::<T>(into);
        Box::pin(async move {
            let mut scratch = Vec::new();
            while let Some(element) = codec::read_frame::<Element<T>, _>(&mut stream, &mut scratch).await? {
                if into.send(element).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn pump_out(&self, from: AnyEnd, mut stream: Stream) -> BoxFuture<'static, Result<(), ChannelError>> {
        let mut from = receiver::<T>(from);
        Box::pin(async move {
            let mut scratch = Vec::new();
            while let Some(element) = from.recv().await {
                codec::write_frame(&mut stream, &element, &mut scratch).await?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(count: usize) -> (Vec<mpsc::Sender<Element<u32>>>, Gate<u32>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(16)).unzip();
        (senders, Gate::new(receivers.into_iter().map(|receiver| Box::new(receiver) as Box<dyn Inlet<u32>>).collect()))
    }

    #[tokio::test]
    async fn a_held_channel_gives_nothing_until_released() {
        let (senders, mut gate) = gate(2);
        gate.hold(ChannelIndex(0));
        senders[0].send(Element::Batch(vec![1])).await.expect("open");
        senders[1].send(Element::Batch(vec![2])).await.expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![2]));
        gate.release_all();
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![1]));
    }

    #[tokio::test]
    async fn the_watermark_is_the_least_of_all_channels() {
        let (senders, mut gate) = gate(2);
        senders[0].send(Element::Watermark(50)).await.expect("open");
        senders[1].send(Element::Watermark(20)).await.expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Watermark(20));
    }

    #[tokio::test]
    async fn a_gate_is_drained_when_every_channel_is() {
        let (senders, mut gate) = gate(2);
        for sender in &senders {
            sender.send(Element::Drained).await.expect("open");
        }
        assert_eq!(gate.next().await.expect("open"), Arrival::Drained);
    }

    #[test]
    fn a_key_always_takes_the_channel_of_its_owner() {
        let max = MaxParallelism::new(16).expect("in range");
        let mut hash = Hash::new(|record: &u64| *record, max, 3);
        let mut lanes = vec![Vec::new(); 3];
        Partition::scatter(&mut hash, &mut (0..1000_u64).collect(), &mut lanes);
        for (index, lane) in lanes.iter().enumerate() {
            assert!(!lane.is_empty());
            for key in lane {
                assert_eq!(max.owner(max.group_of(key.hash64()), 3).0 as usize, index);
            }
        }
    }
}
