//! From the blocks of [`super::hashmap`] back into an operator's states.

use super::{StateKind, StateTable, StateVisitor};
use crate::state::key::StateKey;
use cofferdam_protocol::ids::KeyGroup;
use cofferdam_protocol::key_group::{KeyGroupRange, MaxParallelism};
use cofferdam_protocol::snapshot::StateShape;
use cofferdam_protocol::stored::{read_bytes, Reader, Stored, StoredError, Written};

/// A block that cannot be restored. The states may have some of its entries: clear them before another try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreStateError {
    /// The bytes are not a block.
    #[error(transparent)]
    Bytes(#[from] StoredError),
    /// The operator has no such state any more. Restore with the program that wrote it, or give the state back.
    #[error("the checkpoint has a {stored} state {name}, the operator has none of that name")]
    UnknownState {
        /// As stored.
        name: String,
        /// As stored.
        stored: StateKind,
    },
    /// The state has become another kind of state. Give the new one a new name.
    #[error("state {name} is a {stored} state in the checkpoint, the operator declares a {declared} state")]
    OtherKind {
        /// Of both.
        name: String,
        /// As stored.
        stored: StateKind,
        /// Of the operator.
        declared: StateKind,
    },
    /// A key hashes into another key group than it was stored under: written with another max parallelism or key type.
    #[error("state {name} stores a key under {stored} that belongs to {computed}")]
    OtherKeyGroup {
        /// The state.
        name: String,
        /// As stored.
        stored: KeyGroup,
        /// By the key's hash.
        computed: KeyGroup,
    },
}

/// Takes the entries of one block into the states that `states` shows, and returns how many there were. A block of a key group
/// outside `range` is skipped: 0. The first byte of `payload` stands at `base_offset` of its file.
///
/// # Errors
/// See [`RestoreStateError`]. Nothing is allocated that the bytes do not back.
pub fn restore_block<K: StateKey>(
    payload: &[u8],
    base_offset: u64,
    max: MaxParallelism,
    range: KeyGroupRange,
    states: impl FnOnce(&mut dyn StateVisitor<K>),
) -> Result<usize, RestoreStateError> {
    restore_block_as(payload, base_offset, max, range, &[], states)
}

/// As [`restore_block`], where the types may have changed since: `stored` says with which ones the block was written.
///
/// # Errors
/// See [`RestoreStateError`].
pub fn restore_block_as<K: StateKey>(
    payload: &[u8],
    base_offset: u64,
    max: MaxParallelism,
    range: KeyGroupRange,
    stored: &[StateShape],
    states: impl FnOnce(&mut dyn StateVisitor<K>),
) -> Result<usize, RestoreStateError> {
    let mut input = Reader::new(payload, base_offset);
    let head = Head::read(&mut input, max)?;
    if !range.contains(head.group) {
        return Ok(0);
    }
    let shape = stored.iter().find(|shape| shape.name == head.name);
    let (name, stored) = (head.name.clone(), head.kind);
    let mut restore = Restore { head, max, input, shape, outcome: None };
    states(&mut restore);
    restore.outcome.unwrap_or(Err(RestoreStateError::UnknownState { name, stored }))
}

struct Head {
    group: KeyGroup,
    kind: StateKind,
    name: String,
    count: u32,
}

impl Head {
    fn read(input: &mut Reader<'_>, max: MaxParallelism) -> Result<Self, StoredError> {
        let offset = input.offset();
        let group = KeyGroup(u16::read(input)?);
        if u32::from(group.0) >= max.get() {
            return Err(StoredError::Invalid { offset, what: format!("{group} is not below max parallelism {max}") });
        }
        let offset = input.offset();
        let code = u8::read(input)?;
        let kind =
            StateKind::from_code(code).ok_or_else(|| StoredError::Invalid { offset, what: format!("{code} is no kind of state") })?;
        let offset = input.offset();
        let name = core::str::from_utf8(read_bytes(input, "the name of a state")?)
            .map_err(|_| StoredError::Invalid { offset, what: "the name of a state is not UTF-8".into() })?;
        let offset = input.offset();
        let count = u32::read(input)?;
        if count == 0 {
            return Err(StoredError::Invalid { offset, what: "a block without entries is never stored".into() });
        }
        Ok(Self { group, kind, name: name.to_owned(), count })
    }
}

/// Waits for the state of the block's name to come by.
struct Restore<'a> {
    head: Head,
    max: MaxParallelism,
    input: Reader<'a>,
    /// How it was written, if that is known.
    shape: Option<&'a StateShape>,
    outcome: Option<Result<usize, RestoreStateError>>,
}

impl<K: StateKey> StateVisitor<K> for Restore<'_> {
    fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<K>) {
        if name == self.head.name && self.outcome.is_none() {
            self.outcome = Some(self.entries(table));
        }
    }
}

impl Restore<'_> {
    fn entries<K: StateKey>(&mut self, table: &mut dyn StateTable<K>) -> Result<usize, RestoreStateError> {
        let Head { group, kind: stored, ref name, count } = self.head;
        let declared = table.kind();
        if stored != declared {
            return Err(RestoreStateError::OtherKind { name: name.clone(), stored, declared });
        }
        if size_of::<K>() == 0 && count > 1 {
            return Err(
                StoredError::Invalid { offset: self.input.offset(), what: format!("{count} entries of the only key there is") }.into()
            );
        }
        let now_ms = table.table().now_ms();
        let written = self.shape.map_or_else(Written::default, |shape| table.value_type().written(shape, now_ms));
        for _ in 0..count {
            let key = K::read(&mut self.input)?;
            let computed = self.max.group_of(key.hash64());
            if computed != group {
                return Err(RestoreStateError::OtherKeyGroup { name: name.clone(), stored: group, computed });
            }
            // Keys do not change.
            let mut value = self.input.clone().written(written);
            table.table().restore_entry(key, &mut value)?;
            self.input = value.written(Written::default());
        }
        self.input.finish("a block of keyed state")?;
        Ok(count as usize)
    }
}
