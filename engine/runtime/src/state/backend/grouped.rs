//! What the tables of all kinds of state have in common: a paged table whose values can be written and read.

use super::{GroupedEntries, StateKind, TableSnapshot};
use crate::state::key::{Key, StateKey};
use crate::state::paged::{PagedSnapshot, PagedTable};
use crate::state::ttl::Cell;
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::MaxParallelism;
use cofferdam_protocol::stored::{Reader, StoredError};

/// A snapshot of a paged table, with `write` for the values.
pub(crate) fn paged_snapshot<K: StateKey, V: Send + Sync + 'static>(
    kind: StateKind,
    table: &mut PagedTable<K, V>,
    write: impl Fn(&V, &mut Vec<u8>) + Send + Sync + 'static,
) -> Box<dyn TableSnapshot> {
    Box::new(PagedTableSnapshot { kind, entries: table.snapshot(), alive: None::<fn(&V) -> bool>, write })
}

/// The same without what was last accessed at `deadline_ms` or before.
pub(crate) fn paged_snapshot_of_alive<K: StateKey, C: Cell>(
    kind: StateKind,
    table: &mut PagedTable<K, C>,
    deadline_ms: i64,
) -> Box<dyn TableSnapshot> {
    let write = move |cell: &C, out: &mut Vec<u8>| cell.write(deadline_ms, out);
    Box::new(PagedTableSnapshot { kind, entries: table.snapshot(), alive: Some(move |cell: &C| cell.newest_ms() > deadline_ms), write })
}

/// Reads a value and puts it under a key that has none yet.
pub(crate) fn restore_into<K: StateKey, V: Clone>(
    table: &mut PagedTable<K, V>,
    key: &K,
    input: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<V, StoredError>,
) -> Result<(), StoredError> {
    let offset = input.offset();
    match table.insert(&Key::new(key), read(input)?) {
        None => Ok(()),
        Some(_) => Err(StoredError::Invalid { offset, what: "a key has two entries".into() }),
    }
}

struct PagedTableSnapshot<K, V, A, W> {
    kind: StateKind,
    entries: PagedSnapshot<K, V>,
    /// What is part of it; all, where nothing is said.
    alive: Option<A>,
    write: W,
}

impl<K, V, A, W> TableSnapshot for PagedTableSnapshot<K, V, A, W>
where
    K: StateKey,
    V: Send + Sync + 'static,
    A: Fn(&V) -> bool + Send + Sync + 'static,
    W: Fn(&V, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn kind(&self) -> StateKind {
        self.kind
    }
    fn entry_count(&self) -> usize {
        self.alive.as_ref().map_or(self.entries.len(), |alive| self.entries.iter().filter(|(_, value)| alive(value)).count())
    }
    fn by_group(&self, max: MaxParallelism) -> Box<dyn GroupedEntries + Send + '_> {
        Box::new(Grouped::new(&self.entries, self.alive.as_ref(), max, &self.write))
    }
}

/// References to all entries, sorted by key group; within a group by key, once it is that group's turn.
struct Grouped<'a, K, V, W> {
    entries: Vec<&'a (K, V)>,
    /// Where the entries of each key group end.
    ends: Vec<usize>,
    group: usize,
    /// The next entry to write.
    next: usize,
    /// The end of the group that is being written.
    end: usize,
    write: &'a W,
}

impl<'a, K: StateKey, V, W> Grouped<'a, K, V, W> {
    /// A counting sort: the hashes are computed once, and each entry moves once.
    fn new(snapshot: &'a PagedSnapshot<K, V>, alive: Option<&impl Fn(&V) -> bool>, max: MaxParallelism, write: &'a W) -> Self {
        let live = || snapshot.iter().filter(|(_, value)| alive.is_none_or(|alive| alive(value)));
        let mut counts = vec![0_usize; max.get() as usize];
        let mut groups = Vec::with_capacity(snapshot.len());
        for (key, _) in live() {
            let group = max.group_of(key.hash64()).0;
            counts[usize::from(group)] += 1;
            groups.push(group);
        }
        // From counts to where each group begins; filling them in turns that into where each ends.
        let mut begin = 0;
        for count in &mut counts {
            begin += core::mem::replace(count, begin);
        }
        // Any reference will do until the right one comes.
        let mut entries: Vec<&(K, V)> = snapshot.iter().next().map_or_else(Vec::new, |any| vec![any; groups.len()]);
        for (entry, group) in live().zip(groups) {
            let place = &mut counts[usize::from(group)];
            entries[*place] = entry;
            *place += 1;
        }
        Self { entries, ends: counts, group: 0, next: 0, end: 0, write }
    }
}

impl<K: StateKey, V, W: Fn(&V, &mut Vec<u8>)> GroupedEntries for Grouped<'_, K, V, W> {
    fn next_group(&mut self) -> Option<KeyGroup> {
        self.next = self.end;
        while self.group < self.ends.len() {
            let group = u16::try_from(self.group).expect("max parallelism is at most 32768");
            self.end = self.ends[self.group];
            self.group += 1;
            if self.next < self.end {
                self.entries[self.next..self.end].sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                return Some(KeyGroup(group));
            }
        }
        None
    }

    fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next == self.end {
            return false;
        }
        let (key, value) = self.entries[self.next];
        self.next += 1;
        key.write(out);
        (self.write)(value, out);
        true
    }
}
