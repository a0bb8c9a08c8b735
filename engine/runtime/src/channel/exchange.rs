//! Which channel a record takes, and how all records of a batch get there.

use super::queue::Sender;
use super::{ChannelError, Control};
use crate::operator::Selector;
use crate::record::{Element, Record};
use crate::state::key::StateKey;
use cofferdam_protocol::{CheckpointId, MaxParallelism};
use std::marker::PhantomData;
use std::task::{ready, Context, Poll};

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
    /// Whether every channel has room.
    ///
    /// # Errors
    /// A channel whose receiver is gone.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>>;
    /// Sends all records of `batch`, room or not. Keeps them (as copies) if `keep`.
    ///
    /// # Errors
    /// A channel whose receiver is gone.
    fn send(&mut self, batch: &mut Vec<T>, keep: bool) -> Result<(), ChannelError>;
    /// Sends to every channel, behind all records, room or not.
    ///
    /// # Errors
    /// A channel whose receiver is gone.
    fn control(&mut self, control: Control) -> Result<(), ChannelError>;
    /// Where the barrier of this checkpoint is still on this side, it overtakes from now on.
    fn hasten(&mut self, checkpoint: CheckpointId);
}

/// A partitioning over channels.
pub struct Exchange<T, P> {
    senders: Vec<Sender<T>>,
    lanes: Vec<Vec<T>>,
    partition: P,
}

impl<T: Record, P: Partition<T>> Exchange<T, P> {
    /// One sender per receiving subtask, in order.
    pub fn new(senders: Vec<Sender<T>>, partition: P) -> Self {
        let lanes = senders.iter().map(|_| Vec::new()).collect();
        Self { senders, lanes, partition }
    }
}

impl<T: Record, P: Partition<T>> Route<T> for Exchange<T, P> {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        for sender in &self.senders {
            ready!(sender.poll_room(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, batch: &mut Vec<T>, keep: bool) -> Result<(), ChannelError> {
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
                sender.push(Element::Batch(std::mem::take(lane)))?;
            }
        }
        Ok(())
    }

    fn control(&mut self, control: Control) -> Result<(), ChannelError> {
        for sender in &self.senders {
            sender.push(control.clone().element())?;
        }
        Ok(())
    }

    fn hasten(&mut self, checkpoint: CheckpointId) {
        for sender in &self.senders {
            sender.hasten(checkpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
