//! The simulated environment, its faults, and the oracle that judges a run.
//!
//! One seed is one [`World`]: nodes, a network, disks and clocks on madsim's executor and virtual time. The engine runs in it
//! unchanged, over [`SimEnv`].
#![warn(missing_docs)]

#[cfg(not(madsim))]
compile_error!("cofferdam-sim needs --cfg madsim: run cargo inside the workspace and do not set RUSTFLAGS");

pub mod atlas;
pub mod buggify;
pub mod clock;
pub mod coverage;
pub mod disk;
pub mod env;
pub mod fault;
pub mod invariant;
pub mod jobs;
pub mod local_copies;
pub mod network;
pub mod object_store;
pub mod oracle;
pub mod parting;
pub mod picture;
pub mod run;
pub mod scenario;
pub mod shrink;
mod slack;
pub mod streams;
pub mod trace;
pub mod validation;
pub mod verdict;
pub mod workload;
pub mod world;

pub use env::SimEnv;
pub use streams::{Concern, Streams};
pub use world::{run, Crash, NodeIndex, Panicked, Watcher, World, WorldEvent};
