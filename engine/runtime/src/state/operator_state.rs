//! State of a subtask rather than of a key: a list whose elements can be handed out to any subtask.

use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::stored::{Reader, Stored, StoredError, Written};

/// A list under a name (Flink: operator list state). Who gets which elements after a change of parallelism is decided
/// elsewhere; here they are just elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorList<T> {
    name: String,
    redistribution: Redistribution,
    items: Vec<T>,
}

/// A stored list that cannot be taken in. The list is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorListError {
    /// It belongs to another list. Look it up by name first.
    #[error("list state {stored} was offered to list {declared}")]
    OtherName {
        /// As stored.
        stored: String,
        /// Of this list.
        declared: String,
    },
    /// A map that is kept as a list has a key twice: two copies were given to one subtask. File a bug.
    #[error("list state {name} has an entry twice")]
    EntryTwice {
        /// Of the list.
        name: String,
    },
    /// The operator has no such state any more. Restore with the program that wrote it, or give the state back.
    #[error("the checkpoint has operator state {name}, the operator has none of that name")]
    Unknown {
        /// Of the list.
        name: String,
    },
    /// An element is not what it should be: written by another program, or damaged.
    #[error("element {index} of list state {name}: {source}")]
    Item {
        /// Of the list.
        name: String,
        /// Counted from 0.
        index: usize,
        /// What is wrong; offsets are within the element.
        source: StoredError,
    },
}

impl<T: Stored> OperatorList<T> {
    /// Empty.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::redistributed(name, Redistribution::Split)
    }

    /// Empty, and handed out in another way when a job starts from a checkpoint.
    #[must_use]
    pub fn redistributed(name: impl Into<String>, redistribution: Redistribution) -> Self {
        Self { name: name.into(), redistribution, items: Vec::new() }
    }

    /// The name in the snapshot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The elements.
    #[must_use]
    pub fn get(&self) -> &[T] {
        &self.items
    }

    /// Appends an element.
    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// Sets the elements.
    pub fn replace(&mut self, items: Vec<T>) {
        self.items = items;
    }

    /// For a snapshot.
    #[must_use]
    pub fn to_state(&self) -> ListState {
        let stored = |item: &T| {
            let mut bytes = Vec::new();
            item.write(&mut bytes);
            bytes
        };
        let items = self.items.iter().map(stored).collect();
        ListState { name: self.name.clone(), redistribution: self.redistribution, items }
    }

    /// Takes the elements of a snapshot, in place of those that are there.
    ///
    /// # Errors
    /// Another name, or an element that cannot be read.
    pub fn restore(&mut self, state: &ListState) -> Result<(), OperatorListError> {
        self.restore_written(state, None)
    }

    /// The same with elements of an older version of their type, perhaps.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_written(&mut self, state: &ListState, version: Option<u32>) -> Result<(), OperatorListError> {
        if state.name != self.name {
            return Err(OperatorListError::OtherName { stored: state.name.clone(), declared: self.name.clone() });
        }
        let read = |(index, bytes): (usize, &Vec<u8>)| {
            read_item(bytes, version).map_err(|source| OperatorListError::Item { name: self.name.clone(), index, source })
        };
        self.items = state.items.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn read_item<T: Stored>(bytes: &[u8], version: Option<u32>) -> Result<T, StoredError> {
    let mut input = Reader::new(bytes, 0).written(Written { version, ..Written::default() });
    let item = T::read(&mut input)?;
    input.finish("an element of list state")?;
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was() {
        let mut list = OperatorList::new("offsets");
        list.replace(vec![("a".to_owned(), 7_u64), ("b".to_owned(), 8)]);
        let mut restored = OperatorList::new("offsets");
        restored.restore(&list.to_state()).expect("just written");
        assert_eq!(restored, list);
    }

    #[test]
    fn a_list_of_another_name_is_refused() {
        let error = OperatorList::<u64>::new("a").restore(&OperatorList::<u64>::new("b").to_state());
        assert_eq!(error, Err(OperatorListError::OtherName { stored: "b".into(), declared: "a".into() }));
    }

    #[test]
    fn a_damaged_element_is_named_and_changes_nothing() {
        let mut list = OperatorList::new("offsets");
        list.push(1_u64);
        let state = ListState { name: "offsets".into(), redistribution: Redistribution::Split, items: vec![vec![0; 8], vec![0; 9]] };
        assert!(matches!(list.restore(&state), Err(OperatorListError::Item { index: 1, .. })));
        assert_eq!(list.get(), &[1]);
    }
}
