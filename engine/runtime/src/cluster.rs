//! The processes: one coordinator, any number of workers. They perform; what to do is decided by the protocol's machines.

pub mod client;
pub mod coordinator;
mod deployment;
pub mod formats;
mod ioqueue;
pub mod message;
pub mod statistics;
pub mod worker;

use std::time::Duration;

/// How often both sides say that they are alive, and how long silence is borne (Flink: `heartbeat.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeats {
    /// Between two signs of life.
    pub interval: Duration,
    /// Silence for so long is loss.
    pub timeout: Duration,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), timeout: Duration::from_secs(4) }
    }
}
