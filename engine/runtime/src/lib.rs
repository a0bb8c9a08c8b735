//! The engine: records, operators, state, storage, tasks and cluster.
//!
//! Generic over [`env::Env`]: the same code runs on tokio, TCP and files, and under simulation. What to do is decided by the
//! machines of `cofferdam-protocol`; here it is done.
#![warn(missing_docs)]

pub mod alarm;
pub mod channel;
pub mod cluster;
pub mod codec;
pub mod connector;
pub mod env;
pub mod job;
pub mod local;
pub mod observe;
pub mod operator;
pub mod record;
pub mod sight;
pub mod sometimes;
pub mod state;
pub mod storage;
pub mod task;
pub mod watermark;
pub mod window;
