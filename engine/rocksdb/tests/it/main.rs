//! The store against a model of it, and what restores make of files, whole and damaged.

mod checkpoint;
mod damage;
mod determinism;
mod expiry;
mod model;
mod rescale;
mod stores;
