//! Time-to-live: what is in a state is gone some time after it was last used (Flink: `StateTtlConfig`).
//!
//! The time of last access stands beside each value, list element or map entry, in milliseconds of processing time: the wall
//! clock of the worker, as of the batch (or watermark, or alarm) that is being worked on. What was last accessed at `t` is
//! expired from `t + after` on, that millisecond included, and is never returned again. It is taken out when it is come upon,
//! a few entries at a time while others are used, when a whole snapshot is written, and when a store merges its files.
//!
//! The time-to-live itself is no part of a snapshot. It may be changed, switched on or off between two runs of a job: what was
//! stored without a time gets that of the restore; where it is switched off, what had expired and was not cleaned up yet is
//! back for good.
//!
//! **Clocks.** Times are compared as they are. Where a clock jumps back, or state goes to a worker whose clock is behind, what
//! is in it lives longer by the difference; what had expired before may be gone already, or not. Where a clock jumps ahead,
//! things expire early by the difference.
//!
//! State without time-to-live is another type, and pays nothing for this one.

use super::backend::grouped::paged_snapshot_of_alive;
use super::backend::{StateKind, StateValue, TableSnapshot};
use super::cold::ColdError;
use super::key::{Key, StateKey};
use super::table::{AnyTable, Codec, Cold, FrozenChanges, Table};
use cofferdam_protocol::stored::{Reader, Stamps, Stored, StoredError, Written};
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How long what is in a state lives. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Since the last access. In whole milliseconds, at least one.
    pub after: Duration,
    /// What counts as an access.
    pub update: TtlUpdate,
}

/// What counts as an access (Flink: `StateTtlConfig.UpdateType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlUpdate {
    /// To make it, and to change it.
    #[default]
    OnCreateAndWrite,
    /// To read it as well.
    OnReadAndWrite,
}

impl Ttl {
    /// Counted from when it was made or last changed.
    #[must_use]
    pub fn since_write(after: Duration) -> Self {
        Self { after, update: TtlUpdate::OnCreateAndWrite }
    }

    /// Counted from when it was made, last changed or last read. Reads are writes then.
    #[must_use]
    pub fn since_use(after: Duration) -> Self {
        Self { after, update: TtlUpdate::OnReadAndWrite }
    }
}

/// The time that an operator's state goes by, in milliseconds. Its task sets it; all clones show it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// It is that late now.
    pub fn set_ms(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    /// How late it is.
    #[inline]
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether what is in a state expires: [`Forever`] or [`Expiring`].
pub trait Lifetime: Clone + Debug + Send + 'static {
    /// A value, with the time of its last access if that matters.
    type Timed<V: StateValue>: Timed<V>;
    /// The same for elements of a list.
    type Elements<T: StateValue>: Elements<T>;
    /// Known when the program is compiled, so that what never expires takes no branch for it.
    const EXPIRES: bool;
    /// How late it is, where it matters.
    fn now_ms(&self) -> i64;
    /// What was last accessed then or before is expired.
    fn deadline_ms(&self) -> i64;
    /// Whether a read is an access.
    fn counts_reads(&self) -> bool;
    /// The clock to go by.
    fn set_clock(&mut self, clock: &Clock);
    /// Whether it is time to look for expired entries, and in which page.
    fn page_to_sweep(&mut self) -> Option<usize>;
    /// The name of a stored type in this state, and in one of the other lifetime.
    fn names(plain: String) -> (String, String);
}

fn expiring_name(plain: &str) -> String {
    format!("expiring<{plain}>")
}

/// What is in the state stays there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forever;

impl Lifetime for Forever {
    type Timed<V: StateValue> = Plain<V>;
    type Elements<T: StateValue> = Vec<T>;
    const EXPIRES: bool = false;
    fn now_ms(&self) -> i64 {
        0
    }
    fn deadline_ms(&self) -> i64 {
        i64::MIN
    }
    fn counts_reads(&self) -> bool {
        false
    }
    fn set_clock(&mut self, _: &Clock) {}
    fn page_to_sweep(&mut self) -> Option<usize> {
        None
    }
    fn names(plain: String) -> (String, String) {
        let other = expiring_name(&plain);
        (plain, other)
    }
}

/// One page is swept in so many accesses: some seven entries per access.
const ACCESSES_PER_SWEEP: u32 = 64;

/// What is in the state expires.
#[derive(Clone, Debug)]
pub struct Expiring {
    after_ms: i64,
    counts_reads: bool,
    clock: Clock,
    accesses: u32,
    page: usize,
}

impl Expiring {
    /// By a clock of its own until it is given one.
    #[must_use]
    pub fn new(ttl: Ttl) -> Self {
        let after_ms = i64::try_from(ttl.after.as_millis()).unwrap_or(i64::MAX).max(1);
        let counts_reads = ttl.update == TtlUpdate::OnReadAndWrite;
        Self { after_ms, counts_reads, clock: Clock::default(), accesses: 0, page: 0 }
    }
}

impl Lifetime for Expiring {
    type Timed<V: StateValue> = Stamped<V>;
    type Elements<T: StateValue> = StampedList<T>;
    const EXPIRES: bool = true;
    #[inline]
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
    #[inline]
    fn deadline_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.after_ms)
    }
    fn counts_reads(&self) -> bool {
        self.counts_reads
    }
    fn set_clock(&mut self, clock: &Clock) {
        self.clock = clock.clone();
    }
    #[inline]
    fn page_to_sweep(&mut self) -> Option<usize> {
        self.accesses += 1;
        if self.accesses < ACCESSES_PER_SWEEP {
            return None;
        }
        self.accesses = 0;
        self.page = self.page.wrapping_add(1);
        Some(self.page)
    }
    fn names(plain: String) -> (String, String) {
        (expiring_name(&plain), plain)
    }
}

/// What a table keeps under one key. What never expires was last accessed at the end of time.
pub trait Cell: Clone + Send + Sync + 'static {
    /// Whether there are times of last access in its stored form.
    const STAMPED: bool;
    /// The latest time of access of anything in it.
    fn newest_ms(&self) -> i64;
    /// The earliest one.
    fn oldest_ms(&self) -> i64;
    /// Takes out what was last accessed at `deadline_ms` or before. Something else must be there.
    fn trim(&mut self, deadline_ms: i64);
    /// All of it was accessed now.
    fn touch(&mut self, now_ms: i64);
    /// As stored, without what was last accessed at `deadline_ms` or before. The first eight bytes of a stamped one are the latest
    /// time of access: a store need not know more to drop the whole.
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>);
    /// The opposite.
    ///
    /// # Errors
    /// The bytes are wrong.
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError>;
}

/// A cell with one value.
pub trait Timed<V>: Cell {
    /// Accessed now.
    fn at(value: V, now_ms: i64) -> Self;
    /// The value.
    fn value(&self) -> &V;
    /// The value, to be changed.
    fn value_mut(&mut self) -> &mut V;
    /// The value alone.
    fn into_value(self) -> V;
}

/// A cell with any number of elements.
pub trait Elements<T>: Cell + Default {
    /// All accessed now.
    fn at(elements: Vec<T>, now_ms: i64) -> Self;
    /// Appends one.
    fn push(&mut self, element: T, now_ms: i64);
    /// All, expired ones too.
    fn as_slice(&self) -> &[T];
    /// The time of access of the first, which usually is the earliest.
    fn first_ms(&self) -> i64;
}

/// A value that does not expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<V>(pub V);

impl<V: StateValue> Cell for Plain<V> {
    const STAMPED: bool = false;
    fn newest_ms(&self) -> i64 {
        i64::MAX
    }
    fn oldest_ms(&self) -> i64 {
        i64::MAX
    }
    fn trim(&mut self, _: i64) {}
    fn touch(&mut self, _: i64) {}
    #[inline]
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        skip_stamp(input)?;
        Ok(Self(V::read(input)?))
    }
}

impl<V: StateValue> Timed<V> for Plain<V> {
    #[inline]
    fn at(value: V, _: i64) -> Self {
        Self(value)
    }
    #[inline]
    fn value(&self) -> &V {
        &self.0
    }
    #[inline]
    fn value_mut(&mut self) -> &mut V {
        &mut self.0
    }
    fn into_value(self) -> V {
        self.0
    }
}

/// A value and when it was last accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped<V> {
    at_ms: i64,
    value: V,
}

impl<V: StateValue> Cell for Stamped<V> {
    const STAMPED: bool = true;
    #[inline]
    fn newest_ms(&self) -> i64 {
        self.at_ms
    }
    fn oldest_ms(&self) -> i64 {
        self.at_ms
    }
    fn trim(&mut self, _: i64) {}
    #[inline]
    fn touch(&mut self, now_ms: i64) {
        self.at_ms = now_ms;
    }
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        self.at_ms.write(out);
        self.value.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { at_ms: read_stamp(input)?, value: V::read(input)? })
    }
}

impl<V: StateValue> Timed<V> for Stamped<V> {
    #[inline]
    fn at(value: V, now_ms: i64) -> Self {
        Self { at_ms: now_ms, value }
    }
    #[inline]
    fn value(&self) -> &V {
        &self.value
    }
    #[inline]
    fn value_mut(&mut self) -> &mut V {
        &mut self.value
    }
    fn into_value(self) -> V {
        self.value
    }
}

/// The time of an access, or that of the restore where none was stored.
fn read_stamp(input: &mut Reader<'_>) -> Result<i64, StoredError> {
    match input.stamps() {
        Stamps::Missing(now_ms) => Ok(now_ms),
        Stamps::AsNow | Stamps::Unwanted => i64::read(input),
    }
}

/// Passes over what a value that does not expire any more was stored with.
fn skip_stamp(input: &mut Reader<'_>) -> Result<(), StoredError> {
    match input.stamps() {
        Stamps::Unwanted => i64::read(input).map(|_| ()),
        Stamps::AsNow | Stamps::Missing(_) => Ok(()),
    }
}

/// The latest time of access of several things, which leads them; checked against what they say themselves.
pub(super) struct Head {
    offset: u64,
    newest_ms: Option<i64>,
}

impl Head {
    pub(super) fn write<C: Cell>(newest_ms: i64, out: &mut Vec<u8>) {
        if C::STAMPED {
            newest_ms.write(out);
        }
    }

    pub(super) fn read<C: Cell>(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let newest_ms = match (C::STAMPED, input.stamps()) {
            (true, Stamps::AsNow | Stamps::Unwanted) => Some(i64::read(input)?),
            (true, Stamps::Missing(_)) => None,
            (false, _) => skip_stamp(input).map(|()| None)?,
        };
        Ok(Self { offset, newest_ms })
    }

    pub(super) fn check(&self, newest_ms: i64) -> Result<(), StoredError> {
        match self.newest_ms {
            Some(stored) if stored != newest_ms => {
                Err(StoredError::Invalid { offset: self.offset, what: format!("last accessed at {newest_ms}, {stored} stands before") })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl<T: StateValue> Cell for Vec<T> {
    const STAMPED: bool = false;
    fn newest_ms(&self) -> i64 {
        i64::MAX
    }
    fn oldest_ms(&self) -> i64 {
        i64::MAX
    }
    fn trim(&mut self, _: i64) {}
    fn touch(&mut self, _: i64) {}
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        Stored::write(self, out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Head::read::<Self>(input)?;
        read_elements::<T>(input, |input| {
            skip_stamp(input)?;
            T::read(input)
        })
    }
}

impl<T: StateValue> Elements<T> for Vec<T> {
    fn at(elements: Vec<T>, _: i64) -> Self {
        elements
    }
    #[inline]
    fn push(&mut self, element: T, _: i64) {
        self.push(element);
    }
    #[inline]
    fn as_slice(&self) -> &[T] {
        self
    }
    fn first_ms(&self) -> i64 {
        i64::MAX
    }
}

/// Elements, and when each was last accessed. Apart, so that the elements are a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedList<T> {
    at_ms: Vec<i64>,
    elements: Vec<T>,
}

impl<T> Default for StampedList<T> {
    fn default() -> Self {
        Self { at_ms: Vec::new(), elements: Vec::new() }
    }
}

impl<T: StateValue> Cell for StampedList<T> {
    const STAMPED: bool = true;
    fn newest_ms(&self) -> i64 {
        self.at_ms.iter().copied().max().unwrap_or(i64::MIN)
    }
    fn oldest_ms(&self) -> i64 {
        self.at_ms.iter().copied().min().unwrap_or(i64::MAX)
    }
    fn trim(&mut self, deadline_ms: i64) {
        let mut stamps = self.at_ms.iter();
        self.elements.retain(|_| stamps.next().is_some_and(|at_ms| *at_ms > deadline_ms));
        self.at_ms.retain(|at_ms| *at_ms > deadline_ms);
    }
    fn touch(&mut self, now_ms: i64) {
        self.at_ms.fill(now_ms);
    }
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>) {
        Head::write::<Self>(self.newest_ms(), out);
        let alive = || self.at_ms.iter().zip(&self.elements).filter(|(at_ms, _)| **at_ms > deadline_ms);
        u32::try_from(alive().count()).expect("a single list stays below 4 G elements").write(out);
        for (at_ms, element) in alive() {
            at_ms.write(out);
            element.write(out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let head = Head::read::<Self>(input)?;
        let mut at_ms = Vec::new();
        let elements = read_elements::<T>(input, |input| {
            at_ms.push(read_stamp(input)?);
            T::read(input)
        })?;
        let list = Self { at_ms, elements };
        head.check(list.newest_ms())?;
        Ok(list)
    }
}

impl<T: StateValue> Elements<T> for StampedList<T> {
    fn at(elements: Vec<T>, now_ms: i64) -> Self {
        Self { at_ms: vec![now_ms; elements.len()], elements }
    }
    fn push(&mut self, element: T, now_ms: i64) {
        self.at_ms.push(now_ms);
        self.elements.push(element);
    }
    fn as_slice(&self) -> &[T] {
        &self.elements
    }
    fn first_ms(&self) -> i64 {
        self.at_ms.first().copied().unwrap_or(i64::MAX)
    }
}

/// Grows as elements are really there: the count alone allocates nothing.
fn read_elements<T>(
    input: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, StoredError>,
) -> Result<Vec<T>, StoredError> {
    let offset = input.offset();
    let count = u32::read(input)?;
    if count == 0 {
        return Err(StoredError::Invalid { offset, what: "an empty list is never stored".into() });
    }
    if size_of::<T>() > 0 && count as usize > input.remaining() {
        return Err(StoredError::Invalid { offset, what: format!("{count} elements of a list cannot fit") });
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(read(input)?);
    }
    Ok(elements)
}

/// Why an `Arc`: a write after a snapshot copies the page, and that must not copy 448 long lists or large maps.
impl<C: Cell> Cell for Arc<C> {
    const STAMPED: bool = C::STAMPED;
    fn newest_ms(&self) -> i64 {
        C::newest_ms(self)
    }
    fn oldest_ms(&self) -> i64 {
        C::oldest_ms(self)
    }
    fn trim(&mut self, deadline_ms: i64) {
        Arc::make_mut(self).trim(deadline_ms);
    }
    fn touch(&mut self, now_ms: i64) {
        Arc::make_mut(self).touch(now_ms);
    }
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>) {
        C::write(self, deadline_ms, out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        C::read(input).map(Arc::new)
    }
}

/// Appends a stored value to the bytes, without what was last accessed at the time or before. False if nothing is left.
pub type Trim = fn(&[u8], i64, &mut Vec<u8>) -> Result<bool, StoredError>;

/// What a store, or a snapshot taken from one, leaves out of a state.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// What was last accessed then or before.
    pub deadline_ms: i64,
    /// By that deadline.
    pub trim: Trim,
}

fn trim_stored<C: Cell>(stored: &[u8], deadline_ms: i64, out: &mut Vec<u8>) -> Result<bool, StoredError> {
    let mut input = Reader::new(stored, 0);
    if i64::read(&mut input.clone())? <= deadline_ms {
        return Ok(false);
    }
    let mut cell = C::read(&mut input)?;
    input.finish("a value with time-to-live")?;
    if cell.oldest_ms() > deadline_ms {
        out.extend_from_slice(stored);
    } else {
        cell.trim(deadline_ms);
        cell.write(i64::MIN, out);
    }
    Ok(true)
}

/// The entries of a state, and how long they live.
#[derive(Debug)]
pub(super) struct Kept<K, C, L> {
    pub(super) table: Table<K, C>,
    pub(super) lifetime: L,
}

impl<K, C: Cell, L: Lifetime> Kept<K, C, L> {
    pub(super) fn new(lifetime: L) -> Self {
        Self { table: Table::new(Codec { write: |cell, out| cell.write(i64::MIN, out), read: C::read }), lifetime }
    }
}

impl<K: StateKey, C: Cell, L: Lifetime> Kept<K, C, L> {
    /// Looks at some entries of a table in memory, and takes out those of which nothing is alive. What is in a store is left to
    /// its merges.
    #[inline]
    pub(super) fn sweep(&mut self) {
        if !L::EXPIRES {
            return;
        }
        if let (Some(page), Table::Memory(table, _)) = (self.lifetime.page_to_sweep(), &mut self.table) {
            let deadline_ms = self.lifetime.deadline_ms();
            table.retain_in_page(page, |cell| cell.newest_ms() > deadline_ms);
        }
    }

    /// Before the state is used: takes out what is expired under the key. What is left was accessed now, if `counts`.
    #[inline]
    pub(super) fn look(&mut self, key: &Key<'_, K>, counts: bool) {
        if L::EXPIRES {
            self.sweep();
            self.take_out(key, counts);
        }
    }

    fn take_out(&mut self, key: &Key<'_, K>, counts: bool) {
        let (deadline_ms, now_ms) = (self.lifetime.deadline_ms(), self.lifetime.now_ms());
        let Some(cell) = self.table.get(key) else { return };
        let some_expired = cell.oldest_ms() <= deadline_ms;
        if cell.newest_ms() <= deadline_ms {
            self.table.remove(key);
        } else if some_expired || counts {
            let cell = self.table.get_mut(key).expect("looked up just now");
            if some_expired {
                cell.trim(deadline_ms);
            }
            if counts {
                cell.touch(now_ms);
            }
        }
    }

    /// The value of a key, if it is alive.
    #[inline]
    pub(super) fn value<V>(&mut self, key: &Key<'_, K>) -> Option<&V>
    where
        C: Timed<V>,
    {
        self.look(key, self.lifetime.counts_reads());
        self.table.get(key).map(Timed::value)
    }

    /// The value of a key to be changed, made first if there is none that is alive. One search.
    #[inline]
    pub(super) fn entry<V>(&mut self, key: &Key<'_, K>, make: impl FnOnce() -> V) -> &mut V
    where
        C: Timed<V>,
    {
        self.sweep();
        let (now_ms, deadline_ms) = (self.lifetime.now_ms(), self.lifetime.deadline_ms());
        let mut make = Some(make);
        let cell = self.table.entry_or_insert_with(key, || Timed::at(make.take().expect("made at most once")(), now_ms));
        if L::EXPIRES {
            match make {
                Some(make) if cell.newest_ms() <= deadline_ms => *cell = Timed::at(make(), now_ms),
                Some(_) | None => cell.touch(now_ms),
            }
        }
        cell.value_mut()
    }

    /// All cells in memory of which something is alive.
    pub(super) fn iter_memory(&self) -> impl Iterator<Item = (&K, &C)> {
        let deadline_ms = self.lifetime.deadline_ms();
        self.table.iter_memory().filter(move |(_, cell)| cell.newest_ms() > deadline_ms)
    }
}

impl<K: StateKey, C: Cell, L: Lifetime> AnyTable<K> for Kept<K, C, L> {
    fn snapshot(&mut self, kind: StateKind) -> Box<dyn TableSnapshot> {
        match &mut self.table {
            Table::Memory(table, _) if L::EXPIRES => paged_snapshot_of_alive(kind, table, self.lifetime.deadline_ms()),
            table @ (Table::Memory(..) | Table::Tiered(_)) => AnyTable::snapshot(table, kind),
        }
    }
    fn freeze(&mut self) -> Option<Arc<dyn FrozenChanges>> {
        self.table.freeze()
    }
    fn attach(&mut self, cold: Cold) {
        self.table.attach(cold);
    }
    fn restore_entry(&mut self, key: K, input: &mut Reader<'_>) -> Result<(), StoredError> {
        self.table.restore_entry(key, input)
    }
    fn migrate(&mut self, written: Written) -> Result<(), ColdError> {
        self.table.migrate(written)
    }
    fn clear_all(&mut self) {
        self.table.clear_all();
    }
    fn entry_count(&self) -> usize {
        self.table.entry_count()
    }
    fn hot_bytes(&self) -> usize {
        self.table.hot_bytes()
    }
    fn set_clock(&mut self, clock: &Clock) {
        self.lifetime.set_clock(clock);
    }
    fn now_ms(&self) -> i64 {
        self.lifetime.now_ms()
    }
    fn expiry(&self) -> Option<Expiry> {
        L::EXPIRES.then(|| Expiry { deadline_ms: self.lifetime.deadline_ms(), trim: trim_stored::<C> })
    }
}

#[cfg(test)]
mod tests;
