//! Records made from their number: replayable without storing anything. For measurements and tests.

use super::{ConnectorError, Place, Polled, Source};
use crate::env::Env;
use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::stored::{Reader, Stored};
use std::sync::Arc;

/// Gives `make(i)` for i from 0 to `count`; subtask s of p gives those with i mod p = s.
pub struct Generator<F> {
    count: u64,
    make: Arc<F>,
    batch: usize,
    next: u64,
    stride: u64,
}

impl<F> Generator<F> {
    /// `batch` is how many records go through the chain at once.
    pub fn new(count: u64, batch: usize, make: Arc<F>) -> Self {
        Self { count, make, batch, next: 0, stride: 1 }
    }
}

const POSITION: &str = "position";

impl<T: Send + 'static, F: Fn(u64) -> T + Send + Sync + 'static> Source for Generator<F> {
    type Out = T;

    async fn open<E: Env>(&mut self, _: &E, place: Place, restored: Option<&[ListState]>) -> Result<(), ConnectorError> {
        self.stride = u64::from(place.parallelism);
        self.next = u64::from(place.subtask.0);
        let positions = restored.into_iter().flatten().filter(|list| list.name == POSITION);
        for item in positions.flat_map(|list| &list.items) {
            self.next = u64::read(&mut Reader::new(item, 0)).map_err(|source| ConnectorError::State { name: POSITION.into(), source })?;
        }
        Ok(())
    }

    async fn next<E: Env>(&mut self, _: &E, out: &mut Vec<T>) -> Result<Polled, ConnectorError> {
        let left = self.count.saturating_sub(self.next).div_ceil(self.stride);
        let now = left.min(self.batch as u64);
        out.reserve(self.batch);
        for step in 0..now {
            out.push((self.make)(self.next + step * self.stride));
        }
        self.next += now * self.stride;
        Ok(if now == left { Polled::Drained } else { Polled::More })
    }

    fn lists(&self) -> Vec<ListState> {
        let mut item = Vec::new();
        self.next.write(&mut item);
        vec![ListState { name: POSITION.into(), redistribution: Redistribution::Split, items: vec![item] }]
    }
}
