//! State that is the same in every subtask, since every subtask makes it from the same broadcast stream.

use super::backend::{StateKind, StateValue};
use super::operator_state::{OperatorList, OperatorListError};
use super::schema::{Typed, ValueType};
use super::ttl::Forever;
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::snapshot::{ListState, Redistribution, StateShape};
use std::collections::BTreeMap;

/// An ordered map (Flink: `BroadcastState`). All of it is in memory, of whatever backend. Who has it by `&` can only read.
///
/// Each subtask puts its own copy into a snapshot, and begins from one copy, at any parallelism. That they are equal is up to the
/// function that writes it: what it makes of the broadcast records must not depend on their order, where they come from several
/// subtasks, nor on anything else than they.
///
/// ```compile_fail
/// # use cofferdam_engine::state::BroadcastState;
/// fn keyed_side(weights: &BroadcastState<u64, u64>) {
///     weights.insert(1, 2); // in this subtask and in no other
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastState<K, V> {
    entries: BTreeMap<K, V>,
}

impl<K, V> Default for BroadcastState<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<K: Ord, V> BroadcastState<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// All entries, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a value and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.entries.insert(key, value)
    }

    /// Changes a value in place, starting from the default if there is none, and returns what `change` returns.
    pub fn update<R>(&mut self, key: K, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        change(self.entries.entry(key).or_default())
    }

    /// Removes a value and returns it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key)
    }
}

/// Broadcast state of whatever types, as snapshots and restores see it.
pub trait BroadcastTable {
    /// Its types, under its name.
    fn declared(&self, name: &str) -> DeclaredState;
    /// All of it, for a snapshot.
    fn to_list(&self, name: &str) -> ListState;
    /// Takes one copy in, written with the `stored` types, in place of what is there.
    ///
    /// # Errors
    /// An entry that cannot be read, or that is there twice.
    fn restore(&mut self, list: &ListState, stored: Option<&StateShape>) -> Result<(), OperatorListError>;
}

impl<K: StateValue + Ord, V: StateValue> BroadcastTable for BroadcastState<K, V> {
    fn declared(&self, name: &str) -> DeclaredState {
        let value = ValueType { twin: None, ..ValueType::of::<V, Forever>() };
        value.declared(name, StateKind::Broadcast.code(), <K as Typed>::type_version())
    }

    fn to_list(&self, name: &str) -> ListState {
        let mut list = OperatorList::redistributed(name, Redistribution::Broadcast);
        list.replace(self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
        list.to_state()
    }

    fn restore(&mut self, list: &ListState, stored: Option<&StateShape>) -> Result<(), OperatorListError> {
        let mut copy = OperatorList::<(K, V)>::redistributed(list.name.clone(), Redistribution::Broadcast);
        copy.restore_written(list, stored.map(|stored| stored.value.version))?;
        self.entries = copy.get().iter().cloned().collect();
        if self.entries.len() < copy.get().len() {
            return Err(OperatorListError::EntryTwice { name: list.name.clone() });
        }
        Ok(())
    }
}

/// All broadcast states of one operator. One alone is called `broadcast`; for several, or for another name, implement it for a
/// struct of them.
pub trait BroadcastStates: Default + Send + 'static {
    /// Shows each under its stable name, which no other state of the operator has.
    fn states(&mut self, visit: &mut dyn FnMut(&'static str, &mut dyn BroadcastTable));
}

impl<K: StateValue + Ord, V: StateValue> BroadcastStates for BroadcastState<K, V> {
    fn states(&mut self, visit: &mut dyn FnMut(&'static str, &mut dyn BroadcastTable)) {
        visit("broadcast", self);
    }
}

/// The types of all of them, by name.
pub(crate) fn declared(states: &mut impl BroadcastStates) -> Vec<DeclaredState> {
    let mut declared = Vec::new();
    states.states(&mut |name, table| declared.push(table.declared(name)));
    declared.sort_by(|a, b| a.shape.name.cmp(&b.shape.name));
    declared
}

/// All of them, for a snapshot.
pub(crate) fn to_lists(states: &mut impl BroadcastStates) -> Vec<ListState> {
    let mut lists = Vec::new();
    states.states(&mut |name, table| lists.push(table.to_list(name)));
    lists
}

/// Takes one copy of each in. One that is new stays empty; one that the operator does not have any more is refused.
pub(crate) fn restore(states: &mut impl BroadcastStates, lists: &[ListState], stored: &[StateShape]) -> Result<(), OperatorListError> {
    let mut unknown: Vec<&ListState> = lists.iter().collect();
    let mut outcome = Ok(());
    states.states(&mut |name, table| {
        if let (Some(at), Ok(())) = (unknown.iter().position(|list| list.name == name), &outcome) {
            let shape = stored.iter().find(|shape| shape.name == name);
            outcome = table.restore(unknown.remove(at), shape);
        }
    });
    outcome?;
    unknown.first().map_or(Ok(()), |list| Err(OperatorListError::Unknown { name: list.name.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_comes_back_as_it_was() {
        let mut rules = BroadcastState::<String, u64>::default();
        rules.insert("a".into(), 1);
        rules.update("b".into(), |value| *value += 2);
        rules.insert("c".into(), 3);
        assert_eq!(rules.remove(&"c".into()), Some(3));
        let lists = to_lists(&mut rules);
        assert_eq!(lists[0].redistribution, Redistribution::Broadcast);
        let mut restored = BroadcastState::<String, u64>::default();
        restore(&mut restored, &lists, &[]).expect("just written");
        assert_eq!(restored, rules);
        assert_eq!((restored.len(), restored.get(&"b".into())), (2, Some(&2)));
    }

    #[test]
    fn two_copies_are_one_too_many() {
        let mut rules = BroadcastState::<u64, u64>::default();
        rules.insert(1, 1);
        let mut list = rules.to_list("broadcast");
        list.items.extend(list.items.clone());
        let error = restore(&mut rules, &[list], &[]);
        assert_eq!(error, Err(OperatorListError::EntryTwice { name: "broadcast".into() }));
    }

    #[test]
    fn what_the_operator_does_not_have_any_more_is_not_dropped() {
        let mut rules = BroadcastState::<u64, u64>::default();
        let list = rules.to_list("weights");
        let error = restore(&mut rules, &[list], &[]).expect_err("it would be lost");
        assert_eq!(error.to_string(), "the checkpoint has operator state weights, the operator has none of that name");
    }
}
