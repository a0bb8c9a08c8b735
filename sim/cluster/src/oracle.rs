//! Judging a run by a sequential model. Nothing here calls engine code: stored bytes are decoded by our own reader, expected
//! state is computed by ten lines per job.

pub mod committed_only;
pub mod cut;
pub mod decode;
pub mod efficiency;
pub mod expiry;
pub mod finished;
pub mod in_flight;
pub mod leftovers;
pub mod output;
pub mod patterns;
pub mod reference;
pub mod restore;
pub mod rules;
pub mod shapes;
pub mod space;
pub mod splits;
#[cfg(feature = "rocksdb")]
mod tables;
