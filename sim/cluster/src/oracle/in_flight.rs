//! Records under way that are part of a checkpoint. A record before the positions is either in the state or under way, never both: so what
//! is under way is taken out of the input before the state is compared with what the input makes.

use super::cut::Contradiction;
use super::decode::{self, Checkpoint, InFlight};
use super::reference::Prefix;
use crate::jobs::sources;
use crate::scenario::JobKind;
use ciborium::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One record as it would stand in a line: its fields, with blanks in between. `None`: it is not made of input.
fn line(record: &Value) -> Result<Option<String>, Contradiction> {
    let field = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(i128::from(*number).to_string()),
        Value::Bytes(bytes) => String::from_utf8(bytes.clone()).map_err(|_| "a record under way is no text".to_owned()),
        other => Err(format!("a record under way has {other:?} in it")),
    };
    match record {
        // What the ledger's sources ask once more is not in their logs.
        Value::Array(fields) if fields.last() == Some(&Value::Null) => Ok(None),
        Value::Array(fields) => Ok(Some(fields.iter().map(field).collect::<Result<Vec<_>, _>>()?.join(" "))),
        single => field(single).map(Some),
    }
}

/// The records in a file: each behind its length.
fn records(file: &[u8]) -> Result<Vec<Value>, Contradiction> {
    let bytes = decode::blocks(b"CFDSTATE", file)?.concat();
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or("a record under way is cut off in its length")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (record, behind) = behind.split_at_checked(length).ok_or("a record under way is cut off")?;
        records.push(ciborium::from_reader(record).map_err(|error| format!("a record under way: {error}"))?);
        rest = behind;
    }
    Ok(records)
}

/// Everything that was under way, as it stands in lines.
///
/// # Errors
/// What cannot be read.
pub fn lines(checkpoint: &Checkpoint) -> Result<BTreeSet<String>, Contradiction> {
    let mut lines = BTreeSet::new();
    for in_flight in checkpoint.in_flight.values().flatten() {
        for record in records(&in_flight.file)? {
            lines.extend(line(&record)?);
        }
    }
    Ok(lines)
}

/// What was under way on one edge, in its order, as it stands in lines.
///
/// # Errors
/// What cannot be read.
pub(super) fn lines_of(in_flight: &InFlight) -> Result<Vec<String>, Contradiction> {
    records(&in_flight.file)?.iter().map(line).filter_map(Result::transpose).collect()
}

/// Which sources a record on this edge can come from.
fn origins(kind: JobKind, edge: &str) -> Vec<&'static str> {
    let from = edge.split("->").next().unwrap_or("");
    match sources(kind).iter().find(|source| **source == from) {
        Some(source) => vec![source],
        // Two logs that are read as one.
        None => sources(kind).iter().copied().filter(|source| *source != "payments").collect(),
    }
}

/// As much of a line as its records have: lines may become several, or be cut.
fn as_records(kind: JobKind, source: &str, line: &str) -> Vec<String> {
    match (kind, source) {
        (JobKind::WordCount | JobKind::Arrivals, _) => line.split(' ').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect(),
        (JobKind::Rules, "records") => vec![line.split(' ').next().unwrap_or("").to_owned()],
        _ => vec![line.to_owned()],
    }
}

/// Takes what was under way out of the lines before a checkpoint's positions.
///
/// # Errors
/// A record that is not one of these lines, or more often than there.
pub fn without<'a>(
    kind: JobKind,
    prefix: &'a Prefix<'a>,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<&'static str, Vec<String>>, Contradiction> {
    let mut left: BTreeMap<&'static str, Vec<String>> =
        prefix.iter().map(|(source, lines)| (*source, lines.iter().flat_map(|line| as_records(kind, source, line)).collect())).collect();
    // Sorted, so that each is found quickly.
    let mut taken: BTreeMap<&'static str, BTreeMap<String, u64>> = BTreeMap::new();
    for (source, lines) in &left {
        let counts = taken.entry(source).or_default();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
    }
    let mut any = false;
    for ((uid, subtask), edges) in &checkpoint.in_flight {
        for in_flight in edges {
            let records = records(&in_flight.file)?;
            if records.len() as u64 != in_flight.records {
                let (said, found) = (in_flight.records, records.len());
                return Err(format!(
                    "{said} records are said to be under way to {uid} s{subtask} on {}, there are {found}",
                    in_flight.edge
                ));
            }
            let origins = origins(kind, &in_flight.edge);
            for line in records.iter().map(line).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
                any = true;
                let origin =
                    origins.iter().find(|origin| taken.get(**origin).and_then(|counts| counts.get(&line)).is_some_and(|count| *count > 0));
                match origin.and_then(|origin| taken.get_mut(origin)?.get_mut(&line)) {
                    Some(count) => *count -= 1,
                    None => {
                        let edge = &in_flight.edge;
                        return Err(format!("record {line:?} is under way to {uid} s{subtask} on {edge}, but not before the positions"));
                    }
                }
            }
        }
    }
    if any {
        for (source, lines) in &mut left {
            let counts = taken.get_mut(source).expect("it was counted");
            // What is left over of each, whichever of them: they are the same.
            lines.retain(|line| {
                let count = counts.get_mut(line).expect("it was counted");
                let keep = *count > 0;
                *count = count.saturating_sub(1);
                keep
            });
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
