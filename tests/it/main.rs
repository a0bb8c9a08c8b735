//! Whole-system tests.

mod ablation;
mod bad_input;
mod binary;
mod canaries;
mod copy_for_real;
mod coverage;
mod decoders;
mod determinism;
mod differential;
mod figures;
mod folder_for_real;
mod golden;
mod kill_for_real;
mod layers;
mod object_snapshots;
mod object_store_for_real;
mod parallel;
mod pinned;
mod power_loss;
#[cfg(feature = "rocksdb")]
mod rocksdb_for_real;
mod s3_server;
mod savepoints;
mod scenario_files;
mod shrinking;
mod stop_for_real;
mod sweep;
mod sweep_files;
mod text;
mod understanding;
mod validation;
