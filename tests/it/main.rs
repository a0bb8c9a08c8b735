//! Whole-system tests.

mod bad_input;
mod binary;
mod kill_for_real;
mod text;
