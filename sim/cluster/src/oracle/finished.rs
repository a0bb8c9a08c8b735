//! Checkpoints of which some subtasks had finished: a source that had has given its whole input, whatever else the checkpoint says.
//!
//! Which partitions were whose is not in a checkpoint once they are nobody's. So of a source with finished subtasks all partitions that
//! nobody names count as read to their ends, and of one that was restored from there those that counted so before. One that got lost
//! instead is missing from the state.

use super::cut::Contradiction;
use super::decode::{Broken, Bytes, Checkpoint};
use super::reference;
use crate::jobs::{sources, Log};
use crate::scenario::JobKind;
use std::collections::{BTreeMap, BTreeSet};

/// For each source: partitions of which nothing is said any more.
pub type ReadOut = BTreeMap<String, BTreeSet<u32>>;

/// Reads who had finished, of one operator.
///
/// # Errors
/// Whatever contradicts the layout.
pub(super) fn read(bytes: &mut Bytes<'_>, uid: &str, parallelism: u32, checkpoint: &mut Checkpoint) -> Result<(), Broken> {
    let gone: BTreeSet<u32> = match bytes.number(1)? {
        0 => return Ok(()),
        1 => (0..bytes.count()?).map(|_| bytes.u32()).collect::<Result<_, _>>()?,
        2 => (0..parallelism).collect(),
        other => return Err(format!("{other} does not say who of {uid} had finished")),
    };
    for subtask in 0..parallelism {
        let has_part = checkpoint.parts.contains_key(&(uid.to_owned(), subtask));
        if has_part == gone.contains(&subtask) {
            let and = if has_part { "has a part and had finished" } else { "has no part and had not finished" };
            return Err(format!("subtask {subtask} of {uid} {and}"));
        }
    }
    checkpoint.finished.insert(uid.to_owned(), gone);
    Ok(())
}

/// Says of partitions that were read to their ends that they were.
pub fn complete(kind: JobKind, logs: &[Log], known: &ReadOut, checkpoint: &mut Checkpoint) {
    if kind == JobKind::Arrivals {
        // Of files that are found, what is in no split was read.
        return;
    }
    for (log, source) in logs.iter().zip(sources(kind)) {
        let some = checkpoint.finished.contains_key(*source);
        let positions = checkpoint.positions.entry((*source).to_owned()).or_default();
        for (index, (_, lines)) in (0..).zip(&log.partitions) {
            let before = known.get(*source).is_some_and(|known| known.contains(&index));
            if (some || before) && !positions.contains_key(&index) {
                positions.insert(index, lines.iter().map(|line| line.len() as u64 + 1).sum());
                checkpoint.read_out.entry((*source).to_owned()).or_default().insert(index);
            }
        }
    }
}

/// Where all sources have finished nobody holds the job up.
#[must_use]
pub fn all_sources(kind: JobKind, checkpoint: &Checkpoint) -> bool {
    let whole = |source: &&str| {
        let gone = checkpoint.finished.contains_key(*source);
        gone && !checkpoint.parts.keys().any(|(uid, _)| uid == *source)
    };
    sources(kind).iter().all(|source| whole(source))
}

/// Whether some of those who keep what is judged had finished: their state is gone. Then everything must have come to them.
///
/// # Errors
/// It has not.
pub fn keepers(kind: JobKind, logs: &[Log], checkpoint: &Checkpoint) -> Result<bool, Contradiction> {
    let keeper = reference::keyed_operator(kind);
    if !checkpoint.finished.contains_key(keeper) {
        return Ok(false);
    }
    if kind == JobKind::Arrivals {
        return Ok(true);
    }
    // Of two pipelines that share nothing, what comes to the other one is nothing to them.
    let comes = |log: &&Log| kind != JobKind::Post || log.source == "letters";
    for log in logs.iter().filter(comes) {
        for (index, (path, lines)) in (0..).zip(&log.partitions) {
            let size: u64 = lines.iter().map(|line| line.len() as u64 + 1).sum();
            let read = checkpoint.positions.get(log.source).and_then(|positions| positions.get(&index));
            if read.is_none_or(|read| *read < size) {
                return Err(format!("some of {keeper} had finished, and {path} is read up to {read:?} of {size}"));
            }
        }
    }
    if let Some((uid, _)) =
        checkpoint.in_flight.keys().find(|(uid, subtask)| checkpoint.finished.get(uid).is_some_and(|it| it.contains(subtask)))
    {
        return Err(format!("something is under way to a subtask of {uid} that had finished"));
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
