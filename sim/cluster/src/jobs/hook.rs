//! A hook of the coordinator that counts its calls, and fails now and then. What it put into a checkpoint comes back.

use cofferdam_engine::channel::BoxFuture;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::Hook;
use cofferdam_protocol::CheckpointId;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the [module](self).
pub(super) struct Counter {
    fails_every: u64,
    calls: AtomicU64,
}

impl Counter {
    pub(super) fn new(fails_every: u64) -> Self {
        Self { fails_every, calls: AtomicU64::new(0) }
    }
}

impl<E: Env> Hook<E> for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    fn snapshot(&self, _: &E, checkpoint: CheckpointId) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = calls.is_multiple_of(self.fails_every);
        Box::pin(async move {
            if fails {
                Err(format!("call {calls}"))
            } else {
                Ok(checkpoint.0.to_le_bytes().to_vec())
            }
        })
    }

    fn restore(&self, _: &E, state: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        let whole = state.is_none_or(|state| state.len() == 8);
        Box::pin(async move {
            if whole {
                Ok(())
            } else {
                Err("its state is not what it put in".into())
            }
        })
    }
}
