//! Snapshots of keyed state that is in memory.
//!
//! [`KeyedSnapshot::take`] is the synchronous part and takes microseconds; [`KeyedSnapshot::blocks`] is the rest, on any thread.
//!
//! # Layout of a block
//!
//! All numbers are little-endian. A block is of one state and one key group; a key group has as many as it needs.
//!
//! ```text
//! key group   u16
//! kind        u8      1 value, 2 list, 3 map, 4 reducing, 5 aggregating, 6 timers
//! name        u32 length, UTF-8
//! count       u32     of entries, at least 1
//! entries     key, then by kind:
//!     value, reducing, aggregating    the value
//!     list                            u32 count (at least 1), elements
//!     map                             u32 count (at least 1), (inner key, value) by ascending inner key
//!     timers                          u32 count (at least 1), i64 milliseconds, ascending
//! ```
//!
//! Blocks come by state name, then by key group; the entries of a key group ascend, also from block to block, in an order of the
//! backend's (of keys, or of their bytes). So equal state gives equal bytes from the same backend. Timers are states too, named `timers/event` and `timers/processing`. How a key, an element
//! or a value is written is up to its `Stored`: fixed-width little-endian integers, text as a `u32` length and UTF-8, sequences
//! as a `u32` count and their elements, pairs as one after the other, `bool` and the tag of an `Option` as a byte.

use super::{GroupedEntries, StateKind, StateTable, StateVisitor, TableSnapshot};
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use cofferdam_protocol::stored::{write_bytes, Stored};
use core::fmt;

/// A block ends before it gets larger than this, unless its only entry is.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// No block is larger.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// State that cannot be written. The checkpoint has to fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The entry of one key is too large. Spread it over more keys.
    #[error("an entry of state {name} in {group} takes {size_bytes} bytes, {max} are allowed", max = BLOCK_BYTES_MAX)]
    EntryTooLarge {
        /// The state.
        name: &'static str,
        /// Of the key.
        group: KeyGroup,
        /// With the head of its block.
        size_bytes: usize,
    },
    /// A key is there that belongs to another subtask, so restoring would lose it. A record went astray; file a bug.
    #[error("state {name} has a key of {group}, which is not one of {groups}")]
    ForeignKeyGroup {
        /// The state.
        name: &'static str,
        /// Of the key.
        group: KeyGroup,
        /// What this subtask owns.
        groups: KeyGroupRange,
    },
}

/// All keyed state of one operator at one moment. Goes to another thread while the operator runs on.
pub struct KeyedSnapshot {
    max: MaxParallelism,
    groups: KeyGroupRange,
    /// By name.
    tables: Vec<(&'static str, Box<dyn TableSnapshot>)>,
}

impl KeyedSnapshot {
    /// Takes it: `states` shows all states of the operator, and timers, to the visitor.
    ///
    /// # Panics
    /// If two states have one name: [`declared_states`](super::declared_states) tells in time.
    pub fn take<K>(max: MaxParallelism, groups: KeyGroupRange, states: impl FnOnce(&mut dyn StateVisitor<K>)) -> Self {
        struct Take(Vec<(&'static str, Box<dyn TableSnapshot>)>);
        impl<K> StateVisitor<K> for Take {
            fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<K>) {
                let kind = table.kind();
                self.0.push((name, table.table().snapshot(kind)));
            }
        }
        let mut take = Take(Vec::new());
        states(&mut take);
        let mut tables = take.0;
        tables.sort_by_key(|(name, _)| *name);
        // Why: on restore all entries would go to the first of the two.
        assert!(tables.is_sorted_by(|(a, _), (b, _)| a < b), "two states of one operator have one name");
        Self { max, groups, tables }
    }

    /// What the subtask owns.
    #[must_use]
    pub fn groups(&self) -> KeyGroupRange {
        self.groups
    }

    /// How many entries all states have together.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.entry_count()).sum()
    }

    /// Whether no state has an entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entry_count() == 0
    }

    /// The state as blocks, made as they are asked for. Ends after an error.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { snapshot: self, tables_left: self.tables.iter(), open: None, pending: None }
    }
}

impl fmt::Debug for KeyedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tables = f.debug_map();
        tables.entries(self.tables.iter().map(|(name, table)| (name, (table.kind(), table.entry_count()))));
        tables.finish()
    }
}

/// See [`KeyedSnapshot::blocks`].
pub struct Blocks<'a> {
    snapshot: &'a KeyedSnapshot,
    tables_left: core::slice::Iter<'a, (&'static str, Box<dyn TableSnapshot>)>,
    open: Option<Open<'a>>,
    /// The head of the group in `open` with, perhaps, an entry that had no room in the block before.
    pending: Option<Block>,
}

/// The state that is being written.
struct Open<'a> {
    name: &'static str,
    table: &'a dyn TableSnapshot,
    entries: Box<dyn GroupedEntries + Send + 'a>,
}

/// A block being filled.
struct Block {
    group: KeyGroup,
    /// The length of the head. The count is its last four bytes.
    head: usize,
    count: u32,
    bytes: Vec<u8>,
}

impl Iterator for Blocks<'_> {
    type Item = Result<Vec<u8>, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (Some(open), Some(block)) = (&mut self.open, self.pending.take()) {
                let (filled, rest) = open.fill(block);
                self.pending = rest;
                let checked = filled.map(|block| block.finish(open.name)).transpose();
                match checked {
                    Ok(None) => continue,
                    Ok(Some(bytes)) => return Some(Ok(bytes)),
                    Err(error) => return Some(Err(self.end(error))),
                }
            }
            if let Some(open) = &mut self.open {
                if let Some(group) = open.entries.next_group() {
                    let (name, groups) = (open.name, self.snapshot.groups);
                    if !groups.contains(group) {
                        return Some(Err(self.end(BlockError::ForeignKeyGroup { name, group, groups })));
                    }
                    self.pending = Some(open.head(group));
                    continue;
                }
            }
            let (name, table) = self.tables_left.next()?;
            self.open = Some(Open { name, table: table.as_ref(), entries: table.by_group(self.snapshot.max) });
        }
    }
}

impl Blocks<'_> {
    fn end(&mut self, error: BlockError) -> BlockError {
        self.open = None;
        self.pending = None;
        self.tables_left = [].iter();
        error
    }
}

impl Open<'_> {
    fn head(&self, group: KeyGroup) -> Block {
        Block::new(self.name, self.table.kind(), group)
    }

    /// Fills a block. Returns it, if it got any entry, and the next one of the group, begun with the entry that did not fit.
    fn fill(&mut self, mut block: Block) -> (Option<Block>, Option<Block>) {
        loop {
            let before = block.bytes.len();
            if before > BLOCK_BYTES {
                // Its only entry was too large for a usual block.
                let next = self.head(block.group);
                return (Some(block), Some(next));
            }
            if !self.entries.write_next(&mut block.bytes) {
                return ((block.count > 0).then_some(block), None);
            }
            if block.bytes.len() > BLOCK_BYTES && block.count > 0 {
                let mut next = self.head(block.group);
                next.bytes.extend_from_slice(&block.bytes[before..]);
                next.count = 1;
                block.bytes.truncate(before);
                return (Some(block), Some(next));
            }
            block.count += 1;
        }
    }
}

/// Makes blocks out of entries that are encoded already.
pub struct BlockBuilder {
    name: &'static str,
    block: Block,
}

impl BlockBuilder {
    /// An empty block of one state and key group.
    #[must_use]
    pub fn new(name: &'static str, kind: StateKind, group: KeyGroup) -> Self {
        Self { name, block: Block::new(name, kind, group) }
    }

    /// Of which key group.
    #[must_use]
    pub fn group(&self) -> KeyGroup {
        self.block.group
    }

    /// Whether an entry of so many bytes should begin the next block.
    #[must_use]
    pub fn is_full(&self, entry_bytes: usize) -> bool {
        self.block.count > 0 && self.block.bytes.len() + entry_bytes > BLOCK_BYTES
    }

    /// Appends an entry.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.block.bytes.extend_from_slice(key);
        self.block.bytes.extend_from_slice(value);
        self.block.count += 1;
    }

    /// The bytes.
    ///
    /// # Errors
    /// A single entry was too large.
    pub fn finish(self) -> Result<Vec<u8>, BlockError> {
        self.block.finish(self.name)
    }
}

impl Block {
    fn new(name: &str, kind: StateKind, group: KeyGroup) -> Self {
        let mut bytes = Vec::with_capacity(256);
        group.0.write(&mut bytes);
        kind.code().write(&mut bytes);
        write_bytes(name.as_bytes(), &mut bytes);
        0_u32.write(&mut bytes);
        Self { group, head: bytes.len(), count: 0, bytes }
    }

    fn finish(mut self, name: &'static str) -> Result<Vec<u8>, BlockError> {
        let size_bytes = self.bytes.len();
        if size_bytes > BLOCK_BYTES_MAX {
            return Err(BlockError::EntryTooLarge { name, group: self.group, size_bytes });
        }
        self.bytes[self.head - 4..self.head].copy_from_slice(&self.count.to_le_bytes());
        Ok(self.bytes)
    }
}
