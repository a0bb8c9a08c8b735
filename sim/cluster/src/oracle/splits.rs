//! Input that was found while the job ran: which lines of it are in a checkpoint's state.
//!
//! Written from the documented layouts. A line that is in a split of a reader is read if it is before the split's position; one that is in
//! a split that nobody has is not; one that is in neither, of a file that was found, was read to the end. So a split that got lost
//! counts as read, and its words are missing from the state; one that is in two places at once is a contradiction by itself.

use super::cut::Contradiction;
use super::decode::{Broken, Bytes, Checkpoint};
use crate::jobs::Log;
use std::collections::BTreeSet;

/// A part of a file, as a checkpoint has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Split {
    /// The file's name within its folder.
    pub name: String,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// Where the next line is.
    pub offset: u64,
    /// The subtask that has it; the coordinator, if none.
    pub reader: Option<u32>,
}

/// Reads one.
///
/// # Errors
/// Whatever contradicts the layout.
pub(super) fn split(bytes: &mut Bytes<'_>, reader: Option<u32>) -> Result<Split, Broken> {
    Ok(Split { name: bytes.text()?, start: bytes.number(8)?, end: bytes.number(8)?, offset: bytes.number(8)?, reader })
}

/// What the coordinator has: the names of all files that were found, and splits that nobody has got.
fn found(state: &[u8]) -> Result<(BTreeSet<String>, Vec<Split>), Broken> {
    let mut bytes = Bytes::new(state);
    let _complete = bytes.number(1)?;
    let known = (0..bytes.count()?).map(|_| bytes.text()).collect::<Result<_, _>>()?;
    let unassigned = (0..bytes.count()?).map(|_| split(&mut bytes, None)).collect::<Result<_, _>>()?;
    match bytes.is_empty() {
        true => Ok((known, unassigned)),
        false => Err("bytes behind what the coordinator has".into()),
    }
}

fn whose(split: &Split) -> String {
    split.reader.map_or("the coordinator".into(), |reader| format!("s{reader}"))
}

/// The lines that are in the state.
///
/// # Errors
/// What is in two places, or nowhere.
pub fn read<'a>(source: &str, log: &'a Log, checkpoint: &Checkpoint) -> Result<Vec<&'a str>, Contradiction> {
    let state = checkpoint.enumerators.get(source).ok_or_else(|| format!("nothing of the enumerator of {source}"))?;
    let (known, mut splits) = found(state)?;
    splits.extend(checkpoint.splits.iter().cloned());
    splits.sort();
    for pair in splits.windows(2).filter(|pair| pair[0].name == pair[1].name) {
        if pair[1].start < pair[0].end {
            let (one, other) = (whose(&pair[0]), whose(&pair[1]));
            return Err(format!("byte {} of {} is both {one}'s and {other}'s", pair[1].start, pair[0].name));
        }
    }
    if let Some(split) = splits.iter().find(|split| !known.contains(&split.name)) {
        return Err(format!("{} has a part of {}, which was never found", whose(split), split.name));
    }
    let mut read = Vec::new();
    for (path, lines) in &log.partitions {
        let name = path.rsplit('/').next().unwrap_or("");
        let own: Vec<&Split> = splits.iter().filter(|split| split.name == name).collect();
        let mut at = 0;
        let mut starts = BTreeSet::new();
        for line in lines {
            starts.insert(at);
            let is_read = match own.iter().find(|split| (split.start..split.end).contains(&at)) {
                Some(split) => split.reader.is_some() && at < split.offset,
                None => known.contains(name),
            };
            if is_read {
                read.push(line.as_str());
            }
            at += line.len() as u64 + 1;
        }
        starts.insert(at);
        if let Some(split) = own.iter().find(|split| split.offset != split.start && !starts.contains(&split.offset)) {
            return Err(format!("offset {} of {name}, of {}, is inside a line", split.offset, whose(split)));
        }
        if let Some(split) = own.iter().find(|split| split.reader.is_none() && split.offset != split.start) {
            return Err(format!("{name} was read up to {}, and the coordinator gives it out", split.offset));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
