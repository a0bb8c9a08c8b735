//! Timers per key, in event time and in processing time.
//!
//! A timer is a (key, time): registering it twice is registering it once. What the snapshot holds is the times of each key;
//! the order in which they fire is a second structure, rebuilt on restore. Nothing here knows what time it is: the caller says,
//! and a restored timer whose time has passed is due at the first question.

use super::backend::{StateKind, StateTable, StateVisitor, TableSnapshot};
use super::cold::ColdError;
use super::key::{Key, StateKey};
use super::schema::ValueType;
use super::table::{AnyTable, Codec, Cold, FrozenChanges, Table};
use cofferdam_protocol::snapshot::TypeVersion;
use cofferdam_protocol::stored::{Reader, Stored, StoredError, Written};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The event-time and processing-time timers of one operator (Flink: `InternalTimerService`). Times are in milliseconds.
#[derive(Debug)]
pub struct Timers<K> {
    event: TimerQueue<K>,
    processing: TimerQueue<K>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { event: TimerQueue::default(), processing: TimerQueue::default() }
    }
}

impl<K: StateKey> Timers<K> {
    /// The name of event-time timers in a snapshot.
    pub const EVENT: &'static str = "timers/event";
    /// The name of processing-time timers in a snapshot.
    pub const PROCESSING: &'static str = "timers/processing";

    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// To fire once the watermark reaches `time_ms`. True if it is new.
    pub fn register_event(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        self.event.register(key, time_ms)
    }

    /// To fire once the clock reaches `time_ms`. True if it is new.
    pub fn register_processing(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        self.processing.register(key, time_ms)
    }

    /// Takes a timer back. True if there was one.
    pub fn delete_event(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        self.event.delete(key, time_ms)
    }

    /// Takes a timer back. True if there was one.
    pub fn delete_processing(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        self.processing.delete(key, time_ms)
    }

    /// When the first event-time timer is due.
    #[must_use]
    pub fn next_event(&self) -> Option<i64> {
        self.event.next()
    }

    /// When the clock is to be looked at again. Ask after a restore too: a time in the past means at once.
    #[must_use]
    pub fn next_processing(&self) -> Option<i64> {
        self.processing.next()
    }

    /// Removes and returns the first timer, by time and then by key, that is at or before the watermark.
    #[inline]
    pub fn pop_due_event(&mut self, watermark_ms: i64) -> Option<(i64, K)> {
        self.event.pop_due(watermark_ms)
    }

    /// Removes and returns the first timer, by time and then by key, that is at or before `now_ms`.
    #[inline]
    pub fn pop_due_processing(&mut self, now_ms: i64) -> Option<(i64, K)> {
        self.processing.pop_due(now_ms)
    }

    /// Names both kinds. For snapshot and restore.
    pub fn states(&mut self, visit: &mut dyn StateVisitor<K>) {
        visit.visit(Self::EVENT, &mut self.event);
        visit.visit(Self::PROCESSING, &mut self.processing);
    }
}

/// Timers of one kind.
#[derive(Debug)]
pub struct TimerQueue<K> {
    by_key: Table<K, Times>,
    by_time: BTreeSet<(i64, K)>,
}

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { by_key: Table::new(Codec { write: Times::write, read: Times::read }), by_time: BTreeSet::new() }
    }
}

impl<K: StateKey> TimerQueue<K> {
    /// True if it is new.
    pub fn register(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        if self.by_key.get(key).is_some_and(|times| times.contains(time_ms)) {
            return false;
        }
        self.by_key.entry_or_insert_with(key, Times::none).insert(time_ms);
        self.by_time.insert((time_ms, key.key.clone()));
        true
    }

    /// True if there was one.
    pub fn delete(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        let there = self.forget(key, time_ms);
        if there {
            self.by_time.remove(&(time_ms, key.key.clone()));
        }
        there
    }

    /// The earliest time.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// Removes and returns the first timer, by time and then by key, that is at or before `time_ms`.
    #[inline]
    pub fn pop_due(&mut self, time_ms: i64) -> Option<(i64, K)> {
        if self.next()? > time_ms {
            return None;
        }
        let (due, key) = self.by_time.pop_first()?;
        let there = self.forget(&Key::new(&key), due);
        // Why: a timer that is only in the queue would fire, and not be in the snapshot before.
        assert!(there, "a timer at {due} is queued but not in the state");
        Some((due, key))
    }

    /// How many timers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    fn forget(&mut self, key: &Key<'_, K>, time_ms: i64) -> bool {
        // Looks first: a timer that is not there copies no page.
        if !self.by_key.get(key).is_some_and(|times| times.contains(time_ms)) {
            return false;
        }
        let times = self.by_key.get_mut(key).expect("looked up just now");
        times.remove(time_ms);
        if times.as_slice().is_empty() {
            self.by_key.remove(key);
        }
        true
    }
}

impl<K: StateKey> StateTable<K> for TimerQueue<K> {
    fn kind(&self) -> StateKind {
        StateKind::Timers
    }
    fn value_type(&self) -> ValueType {
        ValueType { own: TypeVersion { name: "timers".into(), version: 1 }, oldest_readable: 1, twin: None, expires: false }
    }
    fn table(&mut self) -> &mut dyn AnyTable<K> {
        self
    }
    fn rebuild(&mut self) -> Result<(), ColdError> {
        let by_time = &mut self.by_time;
        by_time.clear();
        self.by_key.for_each(|key, times| by_time.extend(times.as_slice().iter().map(|time| (*time, key.clone()))))
    }
}

/// The times of each key, and beside them the order in which they fire.
impl<K: StateKey> AnyTable<K> for TimerQueue<K> {
    fn snapshot(&mut self, kind: StateKind) -> Box<dyn TableSnapshot> {
        self.by_key.snapshot(kind)
    }
    fn freeze(&mut self) -> Option<Arc<dyn FrozenChanges>> {
        self.by_key.freeze()
    }
    fn attach(&mut self, cold: Cold) {
        self.by_time.clear();
        self.by_key.attach(cold);
    }
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        self.by_key.restore_entry(key.clone(), input)?;
        let restored = self.by_key.get(&Key::new(&key)).expect("restored just now");
        self.by_time.extend(restored.as_slice().iter().map(|time| (*time, key.clone())));
        Ok(())
    }
    fn migrate(&mut self, written: Written) -> Result<(), ColdError> {
        self.by_key.migrate(written)
    }
    fn clear_all(&mut self) {
        self.by_key.clear_all();
        self.by_time.clear();
    }
    fn entry_count(&self) -> usize {
        self.by_key.entry_count()
    }
    fn hot_bytes(&self) -> usize {
        self.by_key.hot_bytes()
    }
}

/// The times of one key, ascending. One is the usual number and needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Times {
    One(i64),
    Many(Vec<i64>),
}

impl Times {
    fn none() -> Self {
        Self::Many(Vec::new())
    }

    fn as_slice(&self) -> &[i64] {
        match self {
            Self::One(time) => core::slice::from_ref(time),
            Self::Many(times) => times,
        }
    }

    fn contains(&self, time: i64) -> bool {
        self.as_slice().binary_search(&time).is_ok()
    }

    fn insert(&mut self, time: i64) {
        match self {
            Self::One(first) if *first < time => *self = Self::Many(vec![*first, time]),
            Self::One(first) if *first > time => *self = Self::Many(vec![time, *first]),
            Self::One(_) => {}
            Self::Many(times) if times.is_empty() => *self = Self::One(time),
            Self::Many(times) => {
                if let Err(index) = times.binary_search(&time) {
                    times.insert(index, time);
                }
            }
        }
    }

    fn remove(&mut self, time: i64) {
        match self {
            Self::One(only) if *only == time => *self = Self::none(),
            Self::One(_) => {}
            Self::Many(times) => {
                if let Ok(index) = times.binary_search(&time) {
                    times.remove(index);
                }
            }
        }
    }
}

impl Stored for Times {
    fn write(&self, out: &mut Vec<u8>) {
        let times = self.as_slice();
        u32::try_from(times.len()).expect("a single key stays below 4 G timers").write(out);
        for time in times {
            time.write(out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let times = Vec::<i64>::read(input)?;
        if times.is_empty() || !times.is_sorted_by(|a, b| a < b) {
            return Err(StoredError::Invalid { offset, what: "the times of a key are none or do not ascend".into() });
        }
        Ok(if let [only] = times[..] { Self::One(only) } else { Self::Many(times) })
    }
}

#[cfg(test)]
mod tests;
