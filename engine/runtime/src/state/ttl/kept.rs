//! The entries of a state, and how long they live.

use super::{Cell, Clock, Lifetime, Timed};
use crate::state::backend::grouped::paged_snapshot_of_alive;
use crate::state::backend::{StateKind, TableSnapshot};
use crate::state::cold::ColdError;
use crate::state::key::{Key, StateKey};
use crate::state::table::{AnyTable, Codec, Cold, FrozenChanges, Table};
use cofferdam_protocol::stored::{Reader, Stored, StoredError, Written};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// What a store, or a snapshot taken from one, leaves out of a state.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// What was last accessed then or before.
    pub deadline_ms: i64,
    /// How to take that out of a value.
    pub trim: Trim,
}

/// Appends a stored value to the bytes, without what is expired in it by the deadline. False if nothing is left.
pub type Trim = fn(&[u8], i64, &mut Vec<u8>) -> Result<bool, StoredError>;

pub(super) fn trim_stored<C: Cell>(stored: &[u8], deadline_ms: i64, out: &mut Vec<u8>) -> Result<bool, StoredError> {
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
pub(in crate::state) struct Kept<K, C, L> {
    pub(in crate::state) table: Table<K, C>,
    pub(in crate::state) lifetime: L,
}

impl<K, C: Cell, L: Lifetime> Kept<K, C, L> {
    pub(in crate::state) fn new(lifetime: L) -> Self {
        Self { table: Table::new(Codec { write: |cell, out| cell.write(i64::MIN, out), read: C::read }), lifetime }
    }
}

impl<K: StateKey, C: Cell, L: Lifetime> Kept<K, C, L> {
    /// Looks at some entries of a table in memory, and takes out those of which nothing is alive. What is in a store is left to
    /// its merges.
    #[inline]
    pub(in crate::state) fn sweep(&mut self) {
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
    pub(in crate::state) fn look(&mut self, key: &Key<'_, K>, counts: bool) {
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
    pub(in crate::state) fn value<V>(&mut self, key: &Key<'_, K>) -> Option<&V>
    where
        C: Timed<V>,
    {
        self.look(key, self.lifetime.counts_reads());
        self.table.get(key).map(Timed::value)
    }

    /// The value of a key to be changed, made first if there is none that is alive. One search.
    #[inline]
    pub(in crate::state) fn entry<V>(&mut self, key: &Key<'_, K>, make: impl FnOnce() -> V) -> &mut V
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
    pub(in crate::state) fn iter_memory(&self) -> impl Iterator<Item = (&K, &C)> {
        let deadline_ms = self.lifetime.deadline_ms();
        self.table.iter_memory().filter(move |(_, cell)| cell.newest_ms() > deadline_ms)
    }
}

impl<K, C, L: Debug> Debug for Kept<K, C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.table, self.lifetime)
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
