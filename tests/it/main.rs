//! Whole-system tests.

mod bad_input;
mod binary;
mod determinism;
mod golden;
mod kill_for_real;
mod layers;
mod parallel;
mod scenario_files;
mod sweep;
mod text;
