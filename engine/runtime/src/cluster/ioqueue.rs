//! Tasks of one process that run on their own and are forgotten when done; dropping the queue aborts the rest.

use crate::env::Env;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

/// Running tasks by number.
pub struct IoQueue<E: Env> {
    env: E,
    next: u64,
    done: Arc<Mutex<Vec<u64>>>,
    running: BTreeMap<u64, E::Task>,
}

impl<E: Env> IoQueue<E> {
    /// None yet.
    pub fn new(env: E) -> Self {
        Self { env, next: 0, done: Arc::default(), running: BTreeMap::new() }
    }

    /// Starts one more, and gives its number.
    pub fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        for number in std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.running.remove(&number);
        }
        let (number, done) = (self.next, self.done.clone());
        self.next += 1;
        let task = self.env.spawn(name, async move {
            future.await;
            done.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        });
        self.running.insert(number, task);
        number
    }

    /// Aborts one, if it still runs.
    pub fn abort(&mut self, number: u64) {
        self.running.remove(&number);
    }
}
