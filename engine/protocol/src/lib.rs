//! The checkpointing protocol as pure state machines: no clock, no I/O, no async, no logging.
//!
//! Everything that decides lives here: which checkpoint is pending, which channel is held back, who restores what, which
//! file may go. Drivers (the runtime for real or simulated, an explorer) feed inputs to `step` and perform the outputs.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod barrier;
pub mod block;
pub mod committer;
pub mod coordinator;
pub mod gateway;
pub mod ids;
pub mod journal;
pub mod key_group;
pub mod local;
pub mod machine;
pub mod metadata;
pub mod regions;
pub mod restore;
pub mod segments;
pub mod settings;
pub mod shared_files;
pub mod snapshot;
pub mod stored;
pub mod subtask;
pub mod timer;
pub mod transactions;

#[cfg(test)]
mod tests;

pub use ids::{AttemptId, ChannelIndex, CheckpointId, EdgeId, Epoch, Incarnation, KeyGroup, SubtaskIndex, TaskId, VertexId, WorkerId};
pub use key_group::{KeyGroupRange, MaxParallelism};
pub use machine::Machine;
pub use regions::Regions;
pub use settings::{CheckpointSettings, FailoverStrategy, Mode, RestartStrategy, Retention};
pub use timer::Timer;
