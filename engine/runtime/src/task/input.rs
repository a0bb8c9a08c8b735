//! Where a chain's elements come from: a source, or channels.

use super::TaskError;
use crate::channel::in_flight::BadRecord;
use crate::channel::queue::Logged;
use crate::channel::{Arrival, Gate};
use crate::connector::{Place, Polled, Source};
use crate::env::Env;
use crate::operator::{KeyedStates, Stateful};
use crate::watermark::{Combined, WatermarkStatus};
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::ListState;
use cofferdam_protocol::{ChannelIndex, CheckpointId, KeyGroupRange};
use std::future::Future;
use std::ops::Range;

/// Where a chain's elements come from.
pub trait Input: Send + 'static {
    /// What it gives.
    type Out: Send;
    /// How many channels; a source has none.
    fn channels(&self) -> u32;
    /// Gets ready.
    fn open(&mut self, place: Place, restored: Option<&TaskRestore>) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// The next element. Loses nothing when dropped before it is ready.
    fn next(&mut self) -> impl Future<Output = Result<Arrival<Self::Out>, TaskError>> + Send;
    /// The next barrier that has come and may overtake. Loses nothing when dropped before it is ready.
    fn announced(&mut self) -> impl Future<Output = Arrival<Self::Out>> + Send {
        std::future::pending()
    }
    /// Its part of the checkpoint has just been taken.
    fn cut(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }
    /// Logs every channel whose barrier was not read, until the barrier arrives.
    fn log(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }
    /// What was logged of these channels, now that every barrier has arrived.
    ///
    /// # Errors
    /// For people: a record that could not be written.
    fn take_logs(&mut self, channels: Range<usize>, checkpoint: CheckpointId) -> Result<Logged, String> {
        let _ = (channels, checkpoint);
        Ok(Logged::default())
    }
    /// Logs nothing more.
    fn drop_logs(&mut self) {}
    /// Records of a checkpoint, to be read before anything new: all, or those of some key groups. Gives how many.
    ///
    /// # Errors
    /// Bytes that are not such records.
    fn recover(&mut self, channel: usize, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, BadRecord> {
        let _ = (channel, logged, keep);
        Ok(0)
    }
    /// Reads nothing more from a channel.
    fn hold(&mut self, channel: ChannelIndex);
    /// Reads from all channels again.
    fn release_all(&mut self);
    /// Whether it is behind what there is to read.
    fn is_behind(&self) -> bool {
        false
    }
    /// A source gives nothing more.
    fn end(&mut self) {}
    /// Shows itself if it has state.
    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful));
}

impl<X: Send + 'static> Input for Gate<X> {
    type Out = X;

    fn channels(&self) -> u32 {
        u32::try_from(Gate::channels(self)).expect("a subtask has fewer channels than 2^32")
    }

    async fn open(&mut self, _: Place, _: Option<&TaskRestore>) -> Result<(), TaskError> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Arrival<X>, TaskError> {
        Ok(Gate::next(self).await?)
    }

    fn announced(&mut self) -> impl Future<Output = Arrival<X>> + Send {
        Gate::announced(self)
    }

    fn log(&mut self, checkpoint: CheckpointId) {
        Gate::log(self, checkpoint);
    }

    fn take_logs(&mut self, channels: Range<usize>, checkpoint: CheckpointId) -> Result<Logged, String> {
        Gate::take_logs(self, channels, checkpoint)
    }

    fn drop_logs(&mut self) {
        Gate::drop_logs(self);
    }

    fn recover(&mut self, channel: usize, logged: &[u8], keep: Option<KeyGroupRange>) -> Result<u64, BadRecord> {
        Gate::recover(self, channel, logged, keep)
    }

    fn hold(&mut self, channel: ChannelIndex) {
        Gate::hold(self, channel);
    }

    fn release_all(&mut self) {
        Gate::release_all(self);
    }

    fn stateful(&mut self, _: &mut dyn FnMut(&mut dyn Stateful)) {}
}

/// A source at the head of a chain.
pub struct SourceHead<E, S> {
    env: E,
    uid: String,
    source: S,
    /// One input: what it says never goes back either.
    watermark: Combined,
    polled: Polled,
    drained: bool,
}

impl<E: Env, S: Source> SourceHead<E, S> {
    /// Not open yet.
    pub fn new(env: E, uid: String, source: S) -> Self {
        Self { env, uid, source, watermark: Combined::new(1), polled: Polled::More, drained: false }
    }
}

impl<E: Env, S: Source> Input for SourceHead<E, S> {
    type Out = S::Out;

    fn channels(&self) -> u32 {
        0
    }

    async fn open(&mut self, place: Place, restored: Option<&TaskRestore>) -> Result<(), TaskError> {
        let lists: Option<Vec<ListState>> = restored.map(|restored| {
            let own = restored.operators.iter().filter(|operator| operator.uid == self.uid);
            own.flat_map(|operator| operator.lists.clone()).collect()
        });
        Ok(self.source.open(&self.env, place, lists.as_deref()).await?)
    }

    async fn next(&mut self) -> Result<Arrival<S::Out>, TaskError> {
        loop {
            // One that has come to its end waits for nothing more.
            let status = if self.polled == Polled::Drained { WatermarkStatus::Active } else { self.source.watermark_status() };
            let change = self.watermark.turn(0, status);
            if change.is_any() {
                return Ok(Arrival::Watermark(change));
            }
            let change = self.watermark.advance(0, self.source.watermark());
            if change.is_any() {
                return Ok(Arrival::Watermark(change));
            }
            if self.polled == Polled::Drained {
                if self.drained {
                    std::future::pending::<()>().await;
                }
                self.drained = true;
                return Ok(Arrival::Drained);
            }
            let mut records = Vec::new();
            self.polled = self.source.next(&self.env, &mut records).await?;
            if !records.is_empty() {
                return Ok(Arrival::Batch(records));
            }
        }
    }

    fn hold(&mut self, _: ChannelIndex) {}

    fn release_all(&mut self) {}

    fn is_behind(&self) -> bool {
        self.source.is_behind()
    }

    fn end(&mut self) {
        (self.polled, self.drained) = (Polled::Drained, true);
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<E: Env, S: Source> Stateful for SourceHead<E, S> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn keyed(&mut self) -> Option<&mut dyn KeyedStates> {
        None
    }

    fn lists(&mut self) -> Vec<ListState> {
        self.source.lists()
    }
}
