//! Facts about storage, on a small disk, and a small object store, that can fail at every operation.

mod checkpoints;
mod disk;
mod journal;
mod leftovers;
mod merging;
mod object_checkpoints;
mod object_journal;
mod objects;
mod small_state;
mod state_files;
