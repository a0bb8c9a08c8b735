//! Facts about storage, on a small disk that can fail and crash at every operation.

mod checkpoints;
mod disk;
mod journal;
mod state_files;
