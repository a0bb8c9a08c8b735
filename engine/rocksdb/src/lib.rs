//! Keyed state in RocksDB: the cold store for state that is larger than memory.
//!
//! One database per subtask, in a folder that is scratch: whatever matters of it is in checkpoints, so there is no write-ahead
//! log, and the folder goes when the store does. One column family per state. A checkpoint is a folder of hard links; its
//! tables never change and are shared between checkpoints, under the names that RocksDB gave them.
//!
//! ```text
//! <folder>/rocksdb/<place>/database        the live one
//!                          checkpoint-<n>  hard links, until the checkpoint is dropped
//!                          fetched-<part>  files of former stores as they arrive
//!                          part-<part>     a former store that is being read, during a restore
//!                          ingest          what is taken from it
//! ```
//!
//! Everything is behind the feature `rocksdb`, so that only who asks for it compiles C++; `.ci/rocksdb` says how. Without it
//! this crate is empty.
#![warn(missing_docs)]

#[cfg(feature = "rocksdb")]
mod backend;
#[cfg(feature = "rocksdb")]
mod checkpoint;
#[cfg(feature = "rocksdb")]
mod expiry;
#[cfg(feature = "rocksdb")]
mod failure;
#[cfg(feature = "rocksdb")]
mod memory;
#[cfg(feature = "rocksdb")]
mod options;
#[cfg(feature = "rocksdb")]
mod place;
#[cfg(feature = "rocksdb")]
mod restore;
#[cfg(feature = "rocksdb")]
mod sink;
#[cfg(feature = "rocksdb")]
mod store;

#[cfg(feature = "rocksdb")]
pub use backend::{RocksDbBackend, RocksDbMode, RocksDbSettings};
#[cfg(feature = "rocksdb")]
pub use memory::MemoryUse;
