//! What has expired is dropped when tables are merged (Flink: `RocksDbTtlCompactFiltersManager`).
//!
//! A filter makes RocksDB rewrite tables of the last level too, so only columns whose values expire have one.

use cofferdam_engine::state::cold::{is_expired, ColdPlace, ColumnIndex};
use rocksdb::{CompactionDecision, Options};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

/// By column with time-to-live: what was last accessed then or before is expired. Merges read them from other threads.
#[derive(Clone, Debug, Default)]
pub struct Deadlines(BTreeMap<ColumnIndex, Arc<AtomicI64>>);

impl Deadlines {
    /// Nothing is expired yet.
    pub fn of(place: &ColdPlace) -> Self {
        Self(place.expiring.iter().map(|column| (*column, Arc::new(AtomicI64::new(i64::MIN)))).collect())
    }

    /// From now on.
    pub fn set(&self, column: ColumnIndex, deadline_ms: i64) {
        if let Some(deadline) = self.0.get(&column) {
            deadline.store(deadline_ms, Ordering::Relaxed);
        }
    }

    /// Gives a column its filter, if it is to have one. To be asked when the database is opened: it does not keep the filter of a column
    /// that is added to it later.
    pub fn filter(&self, column: ColumnIndex, options: &mut Options) {
        let Some(deadline) = self.0.get(&column).cloned() else { return };
        options.set_compaction_filter("cofferdam-expiry", move |_, _, value| match is_expired(value, deadline.load(Ordering::Relaxed)) {
            true => CompactionDecision::Remove,
            false => CompactionDecision::Keep,
        });
    }
}
