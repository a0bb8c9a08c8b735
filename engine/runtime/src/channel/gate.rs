//! What one subtask reads from all of its input channels.

use super::queue::{Announced, Logged, Receiver};
use super::{in_flight, AnyEnd, ChannelError};
use crate::channel::wire::receiver;
use crate::record::{Element, Record, SnapshotRequest};
use crate::watermark::{Change, Combined};
use cofferdam_protocol::{ChannelIndex, CheckpointId, KeyGroup, KeyGroupRange};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The receiving end of a channel, giving records of the receiver's type.
pub trait Inlet<X>: Send {
    /// The next element; `None` when the sender is gone.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<X>>>;
    /// See [`Receiver::poll_announced`].
    fn poll_announced(&mut self, cx: &mut Context<'_>) -> Poll<Announced>;
    /// See [`Receiver::log`].
    fn log(&mut self, checkpoint: CheckpointId);
    /// See [`Receiver::take_log`].
    ///
    /// # Errors
    /// For people: a record that could not be written.
    fn take_log(&mut self, checkpoint: CheckpointId) -> Result<Logged, String>;
    /// See [`Receiver::drop_log`].
    fn drop_log(&mut self);
    /// Puts logged records in front of everything: all, or those of some key groups. Gives how many.
    ///
    /// # Errors
    /// Bytes that are not such records.
    fn recover(&mut self, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, in_flight::BadRecord>;
    /// See [`Receiver::is_recovering`].
    fn is_recovering(&self) -> bool;
}

/// Where a record belongs by its key.
pub type GroupOf<T> = Arc<dyn Fn(&T) -> KeyGroup + Send + Sync>;

/// A channel that carries what its receiver reads.
pub struct Plain<T> {
    receiver: Receiver<T>,
    group: Option<GroupOf<T>>,
}

impl<T: Record> Plain<T> {
    /// The receiving end; `group` where records are partitioned by key.
    #[must_use]
    pub fn new(end: AnyEnd, group: Option<GroupOf<T>>) -> Self {
        Self { receiver: receiver(end), group }
    }
}

impl<T: Record> Inlet<T> for Plain<T> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<T>>> {
        self.receiver.poll_next(cx)
    }

    fn poll_announced(&mut self, cx: &mut Context<'_>) -> Poll<Announced> {
        self.receiver.poll_announced(cx)
    }

    fn log(&mut self, checkpoint: CheckpointId) {
        self.receiver.log(checkpoint, in_flight::write);
    }

    fn take_log(&mut self, checkpoint: CheckpointId) -> Result<Logged, String> {
        self.receiver.take_log(checkpoint)
    }

    fn drop_log(&mut self) {
        self.receiver.drop_log();
    }

    fn recover(&mut self, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, in_flight::BadRecord> {
        let mut records = in_flight::read::<T>(logged)?;
        if let (Some(keep), Some(group)) = (keep, &self.group) {
            records.retain(|record| keep.contains(group(record)));
        }
        let count = records.len() as u64;
        if count > 0 {
            self.receiver.recover(records);
        }
        Ok(count)
    }

    fn is_recovering(&self) -> bool {
        self.receiver.is_recovering()
    }
}

/// A channel that carries one of two things that its receiver reads.
pub struct Side<T, X> {
    plain: Plain<T>,
    wrap: fn(T) -> X,
}

impl<T: Record, X> Side<T, X> {
    /// As [`Plain::new`]; `wrap` says which of the two it is.
    #[must_use]
    pub fn new(end: AnyEnd, group: Option<GroupOf<T>>, wrap: fn(T) -> X) -> Self {
        Self { plain: Plain::new(end, group), wrap }
    }
}

impl<T: Record, X> Inlet<X> for Side<T, X> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<X>>> {
        self.plain.poll_next(cx).map(|element| {
            element.map(|element| match element {
                Element::Batch(records) => Element::Batch(records.into_iter().map(self.wrap).collect()),
                Element::Watermark(watermark) => Element::Watermark(watermark),
                Element::Status(status) => Element::Status(status),
                Element::Barrier(checkpoint, request) => Element::Barrier(checkpoint, request),
                Element::Cancel(checkpoint) => Element::Cancel(checkpoint),
                Element::Drained => Element::Drained,
                Element::Ended => Element::Ended,
            })
        })
    }

    fn poll_announced(&mut self, cx: &mut Context<'_>) -> Poll<Announced> {
        self.plain.poll_announced(cx)
    }

    fn log(&mut self, checkpoint: CheckpointId) {
        self.plain.log(checkpoint);
    }

    fn take_log(&mut self, checkpoint: CheckpointId) -> Result<Logged, String> {
        self.plain.take_log(checkpoint)
    }

    fn drop_log(&mut self) {
        self.plain.drop_log();
    }

    fn recover(&mut self, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, in_flight::BadRecord> {
        self.plain.recover(logged, keep)
    }

    fn is_recovering(&self) -> bool {
        self.plain.is_recovering()
    }
}

/// What comes out of a gate.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<X> {
    /// Records of one channel.
    Batch(Vec<X>),
    /// What is to be expected of all channels together has changed.
    Watermark(Change),
    /// A barrier has come, perhaps behind data that is still to be read.
    Announced(ChannelIndex, CheckpointId, SnapshotRequest),
    /// A barrier: all that was ahead of it has been read.
    Barrier(ChannelIndex, CheckpointId, SnapshotRequest),
    /// A cancellation marker.
    Cancel(ChannelIndex, CheckpointId),
    /// Every channel is drained.
    Drained,
    /// The end of a channel has come, perhaps behind data that is still to be read.
    EndAnnounced(ChannelIndex),
    /// A channel has ended: all that came on it has been read.
    Ended(ChannelIndex),
}

struct Lane<X> {
    inlet: Box<dyn Inlet<X>>,
    held: bool,
    drained: bool,
    ended: bool,
    /// The newest checkpoint whose barrier was read.
    reached: CheckpointId,
}

/// All input channels of one subtask, read in turn.
pub struct Gate<X> {
    lanes: Vec<Lane<X>>,
    turn: usize,
    watermark: Combined,
    /// Barriers may overtake.
    overtaking: bool,
    /// Records of a checkpoint are still to be read, before anything new.
    recovering: bool,
}

impl<X> Gate<X> {
    /// Channels are numbered in this order.
    #[must_use]
    pub fn new(inlets: Vec<Box<dyn Inlet<X>>>, overtaking: bool) -> Self {
        let lane = |inlet| Lane { inlet, held: false, drained: false, ended: false, reached: CheckpointId::NONE };
        let lanes: Vec<_> = inlets.into_iter().map(lane).collect();
        Self { turn: 0, watermark: Combined::new(lanes.len()), lanes, overtaking, recovering: false }
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

    /// Logs every channel whose barrier was not read, until the barrier arrives.
    pub fn log(&mut self, checkpoint: CheckpointId) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.reached < checkpoint && !lane.ended) {
            lane.inlet.log(checkpoint);
        }
    }

    /// What was logged of these channels, now that every barrier has arrived.
    ///
    /// # Errors
    /// For people: a record that could not be written.
    pub fn take_logs(&mut self, channels: std::ops::Range<usize>, checkpoint: CheckpointId) -> Result<Logged, String> {
        let mut whole = Logged::default();
        for lane in &mut self.lanes[channels] {
            let logged = lane.inlet.take_log(checkpoint)?;
            whole.bytes.extend_from_slice(&logged.bytes);
            whole.records += logged.records;
        }
        Ok(whole)
    }

    /// Logs nothing more.
    pub fn drop_logs(&mut self) {
        for lane in &mut self.lanes {
            lane.inlet.drop_log();
        }
    }

    /// Records of a checkpoint, to be read before anything new; see [`Inlet::recover`].
    ///
    /// # Errors
    /// Bytes that are not such records.
    pub fn recover(&mut self, channel: usize, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, in_flight::BadRecord> {
        let count = self.lanes[channel].inlet.recover(logged, keep)?;
        self.recovering |= count > 0;
        Ok(count)
    }

    /// The next barrier that has come and may overtake. Loses nothing when dropped before it is ready.
    pub async fn announced(&mut self) -> Arrival<X> {
        std::future::poll_fn(|cx| self.poll_announced(cx)).await
    }

    fn poll_announced(&mut self, cx: &mut Context<'_>) -> Poll<Arrival<X>> {
        if self.overtaking {
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                match lane.inlet.poll_announced(cx) {
                    Poll::Ready(Announced::Barrier(checkpoint, request)) => {
                        return Poll::Ready(Arrival::Announced(channel(index), checkpoint, request));
                    }
                    Poll::Ready(Announced::End) => return Poll::Ready(Arrival::EndAnnounced(channel(index))),
                    Poll::Pending => {}
                }
            }
        }
        Poll::Pending
    }

    /// The next arrival on any channel that is not held. Loses nothing when dropped before it is ready.
    ///
    /// # Errors
    /// A channel whose sender is gone.
    pub async fn next(&mut self) -> Result<Arrival<X>, ChannelError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrival<X>, ChannelError>> {
        if let Poll::Ready(announced) = self.poll_announced(cx) {
            return Poll::Ready(Ok(announced));
        }
        if self.recovering {
            self.recovering = self.lanes.iter().any(|lane| lane.inlet.is_recovering());
        }
        for step in 0..self.lanes.len() {
            let index = (self.turn + step) % self.lanes.len();
            if self.recovering && !self.lanes[index].inlet.is_recovering() {
                continue;
            }
            while !self.lanes[index].held && !self.lanes[index].ended {
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
        match element {
            Element::Batch(records) => Some(Arrival::Batch(records)),
            Element::Barrier(checkpoint, request) => {
                self.lanes[index].reached = self.lanes[index].reached.max(checkpoint);
                Some(Arrival::Barrier(channel(index), checkpoint, request))
            }
            Element::Cancel(checkpoint) => Some(Arrival::Cancel(channel(index), checkpoint)),
            Element::Watermark(watermark) => changed(self.watermark.advance(index, watermark)),
            Element::Status(status) => changed(self.watermark.turn(index, status)),
            Element::Drained => {
                self.lanes[index].drained = true;
                self.lanes.iter().all(|lane| lane.drained).then_some(Arrival::Drained)
            }
            Element::Ended => {
                self.lanes[index].ended = true;
                Some(Arrival::Ended(channel(index)))
            }
        }
    }
}

fn changed<X>(change: Change) -> Option<Arrival<X>> {
    change.is_any().then_some(Arrival::Watermark(change))
}

fn channel(index: usize) -> ChannelIndex {
    ChannelIndex(u32::try_from(index).expect("a subtask has fewer channels than 2^32"))
}

#[cfg(test)]
mod tests {
    use super::super::queue::{queue, Sender};
    use super::*;
    use crate::watermark::WatermarkStatus;

    fn gate(count: usize) -> (Vec<Sender<u32>>, Gate<u32>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| queue()).unzip();
        let inlet = |receiver| Box::new(Plain::<u32>::new(Box::new(receiver), None)) as Box<dyn Inlet<u32>>;
        (senders, Gate::new(receivers.into_iter().map(inlet).collect(), true))
    }

    #[tokio::test]
    async fn a_held_channel_gives_nothing_until_released() {
        let (senders, mut gate) = gate(2);
        gate.hold(ChannelIndex(0));
        senders[0].push(Element::Batch(vec![1])).expect("open");
        senders[1].push(Element::Batch(vec![2])).expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![2]));
        gate.release_all();
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![1]));
    }

    #[tokio::test]
    async fn the_watermark_is_the_least_of_all_channels() {
        let (senders, mut gate) = gate(2);
        senders[0].push(Element::Watermark(50)).expect("open");
        senders[1].push(Element::Watermark(20)).expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Watermark(Change { watermark: Some(20), ..Change::default() }));
    }

    #[tokio::test]
    async fn a_channel_that_says_so_is_not_waited_for() {
        let (senders, mut gate) = gate(2);
        senders[0].push(Element::Watermark(50)).expect("open");
        senders[1].push(Element::Status(WatermarkStatus::Idle)).expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Watermark(Change { watermark: Some(50), ..Change::default() }));
    }

    #[tokio::test]
    async fn a_gate_is_drained_when_every_channel_is() {
        let (senders, mut gate) = gate(2);
        for sender in &senders {
            sender.push(Element::Drained).expect("open");
        }
        assert_eq!(gate.next().await.expect("open"), Arrival::Drained);
    }

    #[tokio::test]
    async fn who_has_finished_is_not_missed() {
        let (mut senders, mut gate) = gate(2);
        let gone = senders.remove(0);
        gone.push(Element::Batch(vec![1])).expect("open");
        gone.push(Element::Ended).expect("open");
        drop(gone);
        assert_eq!(gate.next().await.expect("open"), Arrival::EndAnnounced(ChannelIndex(0)));
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![1]));
        assert_eq!(gate.next().await.expect("open"), Arrival::Ended(ChannelIndex(0)));
        senders[0].push(Element::Batch(vec![2])).expect("open");
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![2]));
        drop(senders);
        assert!(gate.next().await.is_err(), "who is gone without a word is");
    }

    #[tokio::test]
    async fn what_was_under_way_comes_before_anything_new_on_any_channel() {
        let (senders, mut gate) = gate(2);
        senders[0].push(Element::Batch(vec![1])).expect("open");
        senders[1].push(Element::Batch(vec![2])).expect("open");
        let mut logged = Vec::new();
        [7_u32, 8].iter().for_each(|record| in_flight::write(record, &mut logged).expect("a number"));
        assert_eq!(gate.recover(1, &logged, None), Ok(2));
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![7, 8]));
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![1]));
        assert_eq!(gate.next().await.expect("open"), Arrival::Batch(vec![2]));
    }

    #[tokio::test]
    async fn a_barrier_is_heard_of_before_the_data_ahead_of_it_is_read() {
        let (senders, mut gate) = gate(2);
        let request = SnapshotRequest::Checkpoint { full: false, triggered_ms: 0, alignment: crate::record::Alignment::Overtaking };
        senders[1].push(Element::Batch(vec![2])).expect("open");
        senders[1].push(Element::Barrier(CheckpointId(1), request.clone())).expect("open");
        gate.hold(ChannelIndex(1));
        assert_eq!(gate.next().await.expect("open"), Arrival::Announced(ChannelIndex(1), CheckpointId(1), request));
    }

    #[tokio::test]
    async fn only_channels_whose_barrier_was_not_read_are_logged() {
        let (senders, mut gate) = gate(2);
        let request = SnapshotRequest::Checkpoint { full: false, triggered_ms: 0, alignment: crate::record::Alignment::default() };
        senders[0].push(Element::Barrier(CheckpointId(1), request.clone())).expect("open");
        assert!(matches!(gate.next().await.expect("open"), Arrival::Barrier(..)));
        senders[0].push(Element::Batch(vec![5])).expect("open");
        senders[1].push(Element::Batch(vec![6])).expect("open");
        gate.log(CheckpointId(1));
        senders[1].push(Element::Barrier(CheckpointId(1), request)).expect("open");
        let logged = gate.take_logs(0..2, CheckpointId(1)).expect("numbers");
        assert_eq!(in_flight::read::<u32>(&logged.bytes), Ok(vec![6]));
    }
}
