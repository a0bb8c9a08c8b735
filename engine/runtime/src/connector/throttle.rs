//! A sink that takes no more than so many records in a time: what is behind it can only bear so much.

use super::{ConnectorError, Flush, Place, Sink};
use crate::env::Env;
use cofferdam_protocol::snapshot::ListState;
use cofferdam_protocol::CheckpointId;
use std::time::Duration;

/// Another sink, at a limited rate: one record per `pause`. While it waits the job is held back behind it, batch by batch.
pub struct Throttled<S> {
    sink: S,
    pause: Duration,
    /// Taken since it last waited.
    taken: u32,
    /// When it takes more, by [`Env::now`].
    due: Duration,
}

impl<S> Throttled<S> {
    /// No pause: no limit.
    pub fn new(sink: S, pause: Duration) -> Self {
        Self { sink, pause, taken: 0, due: Duration::ZERO }
    }
}

impl<S: Sink> Sink for Throttled<S> {
    type In = S::In;
    const COMMITS: bool = S::COMMITS;

    fn restore(&mut self, lists: &[ListState]) -> Result<(), ConnectorError> {
        self.sink.restore(lists)
    }

    async fn open<E: Env>(&mut self, env: &E, place: Place) -> Result<(), ConnectorError> {
        self.sink.open(env, place).await
    }

    async fn room<E: Env>(&mut self, env: &E) {
        if !self.pause.is_zero() {
            let now = env.now();
            self.due = self.due.max(now) + self.pause * std::mem::take(&mut self.taken);
            if self.due > now {
                env.sleep(self.due - now).await;
            }
        }
        self.sink.room(env).await;
    }

    fn accept(&mut self, records: &mut Vec<Self::In>) {
        self.taken = self.taken.saturating_add(u32::try_from(records.len()).unwrap_or(u32::MAX));
        self.sink.accept(records);
    }

    fn flush<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        self.sink.flush(env, checkpoint)
    }

    fn lists(&self) -> Vec<ListState> {
        self.sink.lists()
    }

    fn entry_count(&self) -> u64 {
        self.sink.entry_count()
    }

    fn commit<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        self.sink.commit(env, checkpoint)
    }

    fn finish<E: Env>(&mut self, env: &E) -> Option<Flush> {
        self.sink.finish(env)
    }
}
