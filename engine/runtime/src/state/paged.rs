//! A hash table in pages that are copied on write: extendible hashing.
//!
//! ```text
//! hash bits 12.. --> directory --> page: a hash table of at most 448 entries
//!                    [0, 1, 0, 2]    owned   by the table alone: written in place
//!                                    shared  with snapshots: copied before the first write, or taken back if they are gone
//! ```
//!
//! A full page splits in two by the next bit of the hash, so growth costs a few microseconds at a time, whatever the size of
//! the table. A snapshot is a list of pages. Whether a page is shared is a flag of the table, not a reference count, so a
//! write to an owned page touches no atomic.
//!
//! The order of iteration follows from the history of calls alone (and from the width of hashbrown's groups, which differs
//! between processors): it is the same whether or not snapshots were taken in between.

use super::key::{Key, StateKey};
use hashbrown::HashTable;
use std::sync::Arc;

/// A page splits rather than hold more. What 512 buckets take.
pub const PAGE_ENTRIES: usize = 448;
/// The lowest hash bit that the directory uses. Those below place an entry within its page.
const DIRECTORY_SHIFT: u32 = 12;
/// With all of these bits used, a page grows beyond the bound: 2^20 pages are 300 million entries.
const DEPTH_MAX: u8 = 20;
/// The directory has at most this many places per page. Hashes that agree in many bits would otherwise blow it up.
const PLACES_PER_PAGE: usize = 16;

type Page<K, V> = HashTable<(K, V)>;

/// A copy-on-write hash table. See the [module](self).
#[derive(Debug)]
pub struct PagedTable<K, V> {
    /// Page numbers by hash bits; a power of two many.
    directory: Vec<u32>,
    pages: Vec<Slot<K, V>>,
    len: usize,
}

/// One page and how many hash bits all of its entries share.
#[derive(Debug)]
struct Slot<K, V> {
    page: Ownership<K, V>,
    depth: u8,
}

#[derive(Debug)]
enum Ownership<K, V> {
    Owned(Page<K, V>),
    Shared(Arc<Page<K, V>>),
}

/// The table as it was when [`PagedTable::snapshot`] was called. Cheap to clone, may be read and dropped on any thread.
#[derive(Debug)]
pub struct PagedSnapshot<K, V> {
    pages: Vec<Arc<Page<K, V>>>,
    len: usize,
}

impl<K, V> Default for PagedTable<K, V> {
    fn default() -> Self {
        Self { directory: vec![0], pages: vec![Slot { page: Ownership::Owned(Page::new()), depth: 0 }], len: 0 }
    }
}

impl<K, V> PagedTable<K, V> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pages they are in.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Removes everything. Snapshots keep what they have.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All entries, in an order of no meaning.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.pages.iter().flat_map(|slot| slot.read().iter()).map(|(key, value)| (key, value))
    }

    /// What is in the table now, in time proportional to the number of pages.
    pub fn snapshot(&mut self) -> PagedSnapshot<K, V> {
        PagedSnapshot { pages: self.pages.iter_mut().map(Slot::share).collect(), len: self.len }
    }
}

impl<K: StateKey, V: Clone> PagedTable<K, V> {
    /// The value of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &Key<'_, K>) -> Option<&V> {
        let page = self.pages[self.page_of(key.hash)].read();
        page.find(key.hash, |entry| entry.0 == *key.key).map(|entry| &entry.1)
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: &Key<'_, K>) -> Option<&mut V> {
        let number = self.page_of(key.hash);
        let slot = &mut self.pages[number];
        if slot.lacks_shared(key) {
            return None;
        }
        slot.write().find_mut(key.hash, |entry| entry.0 == *key.key).map(|entry| &mut entry.1)
    }

    /// The value of a key, made first if there is none. One search.
    #[inline]
    pub fn entry_or_insert_with(&mut self, key: &Key<'_, K>, make: impl FnOnce() -> V) -> &mut V {
        let mut number = self.page_of(key.hash);
        let page = self.pages[number].write();
        // Room is made before the search, and not only if it finds nothing: then one search and one borrow will do.
        if page.len() == page.capacity() {
            number = self.make_room(key.hash);
        }
        match self.pages[number].write().find_entry(key.hash, |entry| entry.0 == *key.key) {
            Ok(there) => &mut there.into_mut().1,
            Err(absent) => {
                let entry = (key.key.clone(), make());
                self.len += 1;
                insert_into(absent.into_table(), key.hash, entry)
            }
        }
    }

    /// Sets the value of a key and returns the one before.
    #[inline]
    pub fn insert(&mut self, key: &Key<'_, K>, value: V) -> Option<V> {
        let mut fresh = Some(value);
        let current = self.entry_or_insert_with(key, || fresh.take().expect("made at most once"));
        fresh.map(|value| core::mem::replace(current, value))
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &Key<'_, K>) -> Option<V> {
        let number = self.page_of(key.hash);
        let slot = &mut self.pages[number];
        if slot.lacks_shared(key) {
            return None;
        }
        let occupied = slot.write().find_entry(key.hash, |entry| entry.0 == *key.key).ok()?;
        self.len -= 1;
        Some(occupied.remove().0 .1)
    }

    /// Removes what `keep` does not want from one page: the `number`th, counted around. A page where all is wanted is left as it is.
    pub fn retain_in_page(&mut self, number: usize, keep: impl Fn(&V) -> bool) {
        let count = self.pages.len();
        let slot = &mut self.pages[number % count];
        let before = slot.read().len();
        if slot.read().iter().all(|(_, value)| keep(value)) {
            return;
        }
        let page = slot.write();
        page.retain(|(_, value)| keep(value));
        self.len -= before - page.len();
    }

    #[inline]
    fn page_of(&self, hash: u64) -> usize {
        let place = place_of(hash) & (self.directory.len() - 1);
        self.directory[place] as usize
    }

    /// Makes room in the page of a hash and returns its number. Left alone, hashbrown would grow a page that should split.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, hash: u64) -> usize {
        loop {
            let number = self.page_of(hash);
            let page = self.pages[number].write();
            if page.len() < page.capacity() {
                return number;
            }
            self.relieve(number);
        }
    }

    /// Three ways: clear out tombstones, double a small page, split a large one.
    fn relieve(&mut self, number: usize) {
        let page = self.pages[number].write();
        let (len, buckets) = (page.len(), page.num_buckets());
        let full = capacity_of(buckets);
        let crowded = len * 4 > full * 3 || len == full;
        if crowded && full >= PAGE_ENTRIES && self.split(number) {
            return;
        }
        let buckets = if crowded { buckets * 2 } else { buckets };
        let page = self.pages[number].write();
        let mut roomy = Page::with_capacity(capacity_of(buckets));
        move_entries(core::mem::take(page), |hash, entry| {
            insert_into(&mut roomy, hash, entry);
        });
        *page = roomy;
    }

    /// Moves the entries with the next hash bit set into a new page. False if there is no bit left to tell them apart.
    fn split(&mut self, number: usize) -> bool {
        let depth = self.pages[number].depth;
        if depth == DEPTH_MAX {
            return false;
        }
        if self.directory.len() == 1 << depth {
            if self.directory.len() >= self.pages.len() * PLACES_PER_PAGE {
                return false;
            }
            self.directory.extend_from_within(..);
        }
        let bit = 1 << depth;
        let old = core::mem::take(self.pages[number].write());
        let (mut low, mut high) = (Page::with_capacity(PAGE_ENTRIES), Page::with_capacity(PAGE_ENTRIES));
        let mut place = 0;
        move_entries(old, |hash, entry| {
            place = place_of(hash);
            insert_into(if place & bit == 0 { &mut low } else { &mut high }, hash, entry);
        });
        let new = u32::try_from(self.pages.len()).expect("at most 2^20 pages");
        self.pages[number] = Slot { page: Ownership::Owned(low), depth: depth + 1 };
        self.pages.push(Slot { page: Ownership::Owned(high), depth: depth + 1 });
        // Every place that led to the old page and has the bit: they are `2 * bit` apart.
        for place in self.directory.iter_mut().skip(place & (bit - 1) | bit).step_by(bit * 2) {
            *place = new;
        }
        true
    }
}

impl<K, V> Slot<K, V> {
    #[inline]
    fn read(&self) -> &Page<K, V> {
        match &self.page {
            Ownership::Owned(page) => page,
            Ownership::Shared(page) => page,
        }
    }

    fn share(&mut self) -> Arc<Page<K, V>> {
        if let Ownership::Owned(page) = &mut self.page {
            self.page = Ownership::Shared(Arc::new(core::mem::take(page)));
        }
        match &self.page {
            Ownership::Shared(page) => Arc::clone(page),
            Ownership::Owned(_) => unreachable!("shared just now"),
        }
    }
}

impl<K: StateKey, V: Clone> Slot<K, V> {
    #[inline]
    fn write(&mut self) -> &mut Page<K, V> {
        if let Ownership::Shared(_) = &self.page {
            self.take_back();
        }
        match &mut self.page {
            Ownership::Owned(page) => page,
            Ownership::Shared(_) => unreachable!("taken back just now"),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_back(&mut self) {
        if let Ownership::Shared(page) = &mut self.page {
            let taken = Arc::get_mut(page).map(core::mem::take);
            self.page = Ownership::Owned(taken.unwrap_or_else(|| page.as_ref().clone()));
        }
    }

    /// Whether a shared page need not be copied, since the key is not there.
    #[inline]
    fn lacks_shared(&self, key: &Key<'_, K>) -> bool {
        match &self.page {
            Ownership::Owned(_) => false,
            Ownership::Shared(page) => page.find(key.hash, |entry| entry.0 == *key.key).is_none(),
        }
    }
}

impl<K, V> PagedSnapshot<K, V> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in an order of no meaning.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

impl<K, V> Clone for PagedSnapshot<K, V> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }
}

#[inline]
fn place_of(hash: u64) -> usize {
    // `as` truncates by intent: the directory uses 20 bits.
    #[allow(clippy::cast_possible_truncation)]
    let place = (hash >> DIRECTORY_SHIFT) as usize;
    place
}

/// What hashbrown puts into so many buckets.
fn capacity_of(buckets: usize) -> usize {
    if buckets <= 8 {
        buckets - 1
    } else {
        buckets / 8 * 7
    }
}

fn move_entries<K: StateKey, V>(page: Page<K, V>, mut put: impl FnMut(u64, (K, V))) {
    for entry in page {
        put(entry.0.hash64(), entry);
    }
}

#[inline(never)]
fn insert_into<K: StateKey, V>(page: &mut Page<K, V>, hash: u64, entry: (K, V)) -> &mut V {
    &mut page.insert_unique(hash, entry, |(key, _)| key.hash64()).into_mut().1
}

#[cfg(test)]
mod tests;
