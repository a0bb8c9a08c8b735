//! A source that does not end with its log: it waits until whatever the log has set going must have come to pass, and then
//! names everything once more. What a job says when it is asked last tells whether it did.

use bytes::Bytes;
use cofferdam_engine::connector::{ConnectorError, Place, Polled, Source};
use cofferdam_engine::env::Env;
use cofferdam_protocol::snapshot::ListState;
use std::sync::Arc;
use std::time::Duration;

/// A log, a wait, and closing lines. They are not part of its positions: an attempt that is restored behind them waits and
/// gives them again, so they must not change what they ask for.
pub(super) struct Patient<S> {
    log: S,
    wait: Duration,
    closing: Arc<Vec<Bytes>>,
    /// Once the log has ended. Kept here, because a call of `next` may be dropped at any time.
    closes_at: Option<Duration>,
}

impl<S> Patient<S> {
    /// Waits for so long behind the log.
    pub(super) fn new(log: S, wait: Duration, closing: Arc<Vec<Bytes>>) -> Self {
        Self { log, wait, closing, closes_at: None }
    }
}

impl<S: Source<Out = Bytes> + Sync> Source for Patient<S> {
    type Out = Bytes;

    async fn open<E: Env>(&mut self, env: &E, place: Place, restored: Option<&[ListState]>) -> Result<(), ConnectorError> {
        self.closes_at = None;
        self.log.open(env, place, restored).await
    }

    async fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Bytes>) -> Result<Polled, ConnectorError> {
        let Some(closes_at) = self.closes_at else {
            if self.log.next(env, out).await? == Polled::Drained {
                self.closes_at = Some(env.now() + self.wait);
            }
            return Ok(Polled::More);
        };
        let left = closes_at.saturating_sub(env.now());
        if !left.is_zero() {
            env.sleep(left).await;
        }
        out.extend(self.closing.iter().cloned());
        Ok(Polled::Drained)
    }

    fn lists(&self) -> Vec<ListState> {
        self.log.lists()
    }
}
