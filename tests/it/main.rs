//! Whole-system tests.

mod bad_input;
mod binary;
mod decoders;
mod determinism;
mod golden;
mod kill_for_real;
mod layers;
mod object_store_for_real;
mod parallel;
mod s3_server;
mod savepoints;
mod scenario_files;
mod sweep;
mod text;
