//! Are incremental checkpoints incremental? What they add to the shared files stays within a factor of what has changed.
//!
//! The account of a job: each checkpoint may add what changed since the one before it, by the model's own decoding, once for each
//! number that was given out in between (a checkpoint that failed had uploaded its part as well), times [`FACTOR`] over four; and now
//! and then all of its state again, for that is what a compaction does. What was uploaded must never exceed what was allowed.

use super::cut::Contradiction;
use super::decode::{Checkpoint, State, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What files may hold beyond entries, in quarters: five are a quarter more.
const FACTOR: u64 = 5;
/// For each file that is new: its head and its end.
const PER_FILE_BYTES: u64 = 128;
/// All state may be uploaded again once in so many checkpoints: a store merges its files when there are that many.
const REWRITE_EVERY: u64 = 4;

/// What has been uploaded, and what was allowed.
#[derive(Default)]
pub struct Account {
    last: Option<Last>,
    uploaded: u64,
    allowed: u64,
}

struct Last {
    number: u64,
    keyed: BTreeMap<String, State>,
    shared: BTreeSet<(String, u64)>,
}

fn size_of(key: &str, value: &Value) -> u64 {
    let value = match value {
        Value::Bool(_) => 1,
        Value::Number(_) => 8,
        Value::Pair(..) => 16,
        Value::List(list) => 4 + 8 * list.len() as u64,
        Value::Times(times) => 4 + 8 * times.len() as u64,
        Value::Map(map) => 4 + 16 * map.len() as u64,
        Value::Timed(_) => 16,
        Value::TimedList(list) => 4 + 16 * list.len() as u64,
        Value::TimedMap(map) => 4 + 24 * map.len() as u64,
        // No job whose state only grows has any.
        Value::Groups(groups) => groups.iter().map(|(_, events)| 8 + 20 * events.len() as u64).sum(),
    };
    // Key group, three lengths, a mark.
    key.len() as u64 + value + 15
}

fn total(keyed: &BTreeMap<String, State>) -> u64 {
    keyed.values().flat_map(BTreeMap::values).flatten().map(|(key, value)| size_of(key, value)).sum()
}

/// Entries that are new, different or gone.
fn changed(before: &BTreeMap<String, State>, after: &BTreeMap<String, State>) -> u64 {
    let (no_state, no_entries) = (State::new(), BTreeMap::new());
    let operators: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut bytes = 0;
    for operator in operators {
        let (before, after) = (before.get(operator).unwrap_or(&no_state), after.get(operator).unwrap_or(&no_state));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (before, after) = (before.get(name).unwrap_or(&no_entries), after.get(name).unwrap_or(&no_entries));
            let written = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
            bytes += written.map(|(key, value)| size_of(key, value)).sum::<u64>();
            let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
            bytes += gone.map(|(key, value)| size_of(key, value)).sum::<u64>();
        }
    }
    bytes
}

/// What of it is the job's own.
fn own(checkpoint: &Checkpoint) -> impl Iterator<Item = (&(String, u64), u64)> {
    checkpoint.shared.iter().filter(|((path, _), _)| path.starts_with("shared/")).map(|(place, size)| (place, *size))
}

impl Account {
    /// A checkpoint is complete. Of merged files, `rewritten_over` names the setting for how many times as large as what is used of it one
    /// may be.
    ///
    /// # Errors
    /// More was uploaded than was allowed so far.
    pub fn completed(&mut self, checkpoint: &Checkpoint, rewritten_over: Option<u32>) -> Result<(), Contradiction> {
        let all = total(&checkpoint.keyed) * FACTOR / 4;
        let nothing = Last { number: checkpoint.number, keyed: BTreeMap::new(), shared: BTreeSet::new() };
        let shared = own(checkpoint).map(|(place, _)| place.clone()).collect();
        let last = self.last.replace(Last { number: checkpoint.number, keyed: checkpoint.keyed.clone(), shared });
        let first = last.is_none();
        let last = last.unwrap_or(nothing);
        let added: Vec<u64> = own(checkpoint).filter(|(place, _)| !last.shared.contains(place)).map(|(_, size)| size).collect();
        let numbers = checkpoint.number.saturating_sub(last.number).max(1);
        let bytes: u64 = added.iter().sum();
        let different = changed(&last.keyed, &checkpoint.keyed);
        self.uploaded += bytes;
        self.allowed += numbers * different * FACTOR / 4 + added.len() as u64 * PER_FILE_BYTES + numbers * all / REWRITE_EVERY;
        if first {
            // What was counted once may be in four files that are merged with the next one.
            self.allowed += all;
        }
        // What is left of a merged file is written again when the rest of it is so many times as large: each byte that dies pays for that
        // once.
        let allowed = rewritten_over.map_or(self.allowed, |times| self.allowed + self.allowed / u64::from(times.max(2) - 1));
        if self.uploaded > allowed {
            return Err(format!(
                "{bytes} bytes in {} new shared files, while {different} bytes changed since checkpoint {}; over all {} bytes are new, \
                 {allowed} are allowed",
                added.len(),
                last.number,
                self.uploaded,
            ));
        }
        Ok(())
    }

    /// The job begins from this checkpoint of its own, on as many subtasks, wherever they read it: what comes after it is no more than
    /// what differs from it. Of merged files, each of which an attempt leaves to its end, the rest may have to be written again.
    pub fn restored(&mut self, checkpoint: &Checkpoint, merged: bool) {
        if merged {
            self.allowed += total(&checkpoint.keyed) * FACTOR / 4;
        }
        let shared = own(checkpoint).map(|(place, _)| place.clone()).collect();
        self.last = Some(Last { number: checkpoint.number, keyed: checkpoint.keyed.clone(), shared });
    }
}

#[cfg(test)]
mod tests;
