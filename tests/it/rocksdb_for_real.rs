//! RocksDB in real processes: killed, restored at another parallelism, taken to other backends and back.

use crate::savepoints::{
    a_canonical_savepoint_is_begun_from, a_killed_worker_leaves_the_counts_exact, a_native_savepoint_is_for,
    a_retained_checkpoint_is_begun_from,
};

#[test]
fn a_worker_with_rocksdb_killed_between_incremental_checkpoints_leaves_the_counts_exact() {
    a_killed_worker_leaves_the_counts_exact("rocksdb");
}

#[test]
fn a_canonical_savepoint_of_rocksdb_is_begun_from_on_hash_tables_with_other_subtasks_and_workers() {
    a_canonical_savepoint_is_begun_from("rocksdb", &["--backend", "hash-map", "--parallelism", "6", "--workers", "3"]);
}

#[test]
fn a_canonical_savepoint_of_hash_tables_is_begun_from_on_rocksdb_with_other_subtasks_and_workers() {
    a_canonical_savepoint_is_begun_from("hash-map", &["--backend", "rocksdb", "--parallelism", "3", "--workers", "1"]);
}

#[test]
fn a_native_savepoint_of_rocksdb_is_for_rocksdb_and_whoever_claims_it_deletes_it() {
    a_native_savepoint_is_for("rocksdb");
}

#[test]
fn a_retained_checkpoint_of_rocksdb_is_begun_from_with_more_subtasks_and_with_fewer() {
    a_retained_checkpoint_is_begun_from("rocksdb");
}
