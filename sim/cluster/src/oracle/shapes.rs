//! Jobs of one workload in several shapes: each record goes one or two ways to where all ways end, and is on each of them in exactly one
//! of: state at the end, under way on one of its edges, still to come.

use super::cut::Contradiction;
use super::decode::{Checkpoint, State, Value};
use super::in_flight;
use super::reference::Prefix;
use crate::jobs::Log;
use crate::scenario::Shape;
use crate::workload::lane_of;
use cofferdam_protocol::settings::Mode;
use std::collections::{BTreeMap, BTreeSet};

pub mod merge;
pub mod order;
#[cfg(test)]
mod tests;

/// One way of a source's records to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Of which source.
    pub source: &'static str,
    /// On which side it ends.
    pub side: u64,
    /// In this order.
    pub edges: &'static [&'static str],
    /// Who counts between two of the edges, and how many of these are before it.
    pub counts: Option<(&'static str, usize)>,
    /// What of a record belongs to the channel whose order is kept all the way; `None`: none is.
    pub ordered: Option<Class>,
}

/// What has one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Each partition.
    Partition,
    /// Each partition and other key.
    PartitionAndLane,
}

const fn way(source: &'static str, side: u64, edges: &'static [&'static str]) -> Way {
    Way { source, side, edges, counts: None, ordered: Some(Class::Partition) }
}

/// The ways of a shape. What every subtask gets goes no such way.
#[must_use]
pub fn ways(shape: Shape) -> &'static [Way] {
    const LEFT: &[&str] = &["a->left#0", "left->gather#0"];
    const DEALT: &[&str] = &["a->chain-1#0", "chain-1->sort#0", "sort->gather#0"];
    match shape {
        Shape::Chain => const { &[way("a", 0, &["a->chain-1#0", "chain-1->gather#0"])] },
        Shape::Shuffle => const { &[Way { counts: Some(("sort", 2)), ordered: None, ..way("a", 0, DEALT) }] },
        Shape::Join => const { &[way("a", 0, &["a->gather#0"]), way("b", 1, &["b->gather#0"])] },
        Shape::Diamond => {
            const {
                let left = Way { counts: Some(("left", 1)), ordered: Some(Class::PartitionAndLane), ..way("a", 0, LEFT) };
                &[left, way("a", 1, &["a->chain-2#0", "chain-2->gather#0"])]
            }
        }
        Shape::Union => {
            const { &[way("a", 0, &["a->chain-2#0", "chain-2->gather#0"]), way("b", 0, &["b->chain-2#0", "chain-2->gather#0"])] }
        }
        Shape::Broadcast => const { &[way("a", 0, &["a->gather#0"])] },
    }
}

/// Key and origin of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its key.
    pub key: String,
    /// `a3-17`.
    pub name: String,
}

impl Origin {
    fn parse(line: &str) -> Result<Self, Contradiction> {
        let mut fields = line.split(' ');
        let (key, name) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let origin = Self { key: key.into(), name: name.into() };
        origin.place().map(|_| origin)
    }

    /// Partition and line.
    fn place(&self) -> Result<(u64, u64), Contradiction> {
        let rest = self.name.get(1..).and_then(|rest| rest.split_once('-'));
        let place = rest.and_then(|(partition, line)| Some((partition.parse().ok()?, line.parse().ok()?)));
        place.ok_or_else(|| format!("{:?} is not where a record comes from", self.name))
    }

    fn source(&self) -> &str {
        self.name.get(..1).unwrap_or("")
    }
}

/// What the state has of a record at the end of a way: four bits for the side, four for the source, 24 for the partition, 32 for the
/// line, counted from 1.
fn of_code(key: &str, code: u64) -> Result<(u64, Origin), Contradiction> {
    let (side, source, partition, line) = (code >> 60, code >> 56 & 15, code >> 32 & 0xff_ffff, code & 0xffff_ffff);
    let source = match source {
        0 => "a",
        1 => "b",
        _ => return Err(format!("{code:#x} of key {key} is of no source")),
    };
    let line = line.checked_sub(1).ok_or_else(|| format!("{code:#x} of key {key} is of no line"))?;
    Ok((side, Origin { key: key.into(), name: format!("{source}{partition}-{line}") }))
}

/// Everything under way: edge, then the records in their order, each file by itself.
fn under_way(checkpoint: &Checkpoint) -> Result<Vec<(&str, Vec<Origin>)>, Contradiction> {
    let mut found = Vec::new();
    for ((uid, subtask), edges) in &checkpoint.in_flight {
        for in_flight in edges {
            let lines = in_flight::lines_of(in_flight)?;
            if lines.len() as u64 != in_flight.records {
                let (said, edge) = (in_flight.records, &in_flight.edge);
                return Err(format!("{said} records are said to be under way to {uid} s{subtask} on {edge}, there are {}", lines.len()));
            }
            let origins: Result<Vec<Origin>, _> = lines.iter().map(|line| Origin::parse(line)).collect();
            found.push((in_flight.edge.as_str(), origins?));
        }
    }
    Ok(found)
}

/// The records that have come to the end, by key, in the order in which they came.
fn at_the_end(checkpoint: &Checkpoint) -> Result<Vec<(u64, Origin)>, Contradiction> {
    let nothing = State::new();
    let seen = checkpoint.keyed.get("gather").unwrap_or(&nothing).get("seen");
    let mut found = Vec::new();
    for (key, value) in seen.into_iter().flatten() {
        let Value::List(codes) = value else { return Err(format!("what key {key} has seen is {value:?}")) };
        for code in codes {
            found.push(of_code(key, *code)?);
        }
    }
    Ok(found)
}

/// Judges one checkpoint.
///
/// # Errors
/// What contradicts it.
pub fn judge(shape: Shape, mode: Mode, prefix: &Prefix<'_>, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
    let (on_edges, mut at_end) = (under_way(checkpoint)?, at_the_end(checkpoint)?);
    at_end.sort();
    for way in ways(shape) {
        let parsed = |line: &&str| Origin::parse(line);
        let read: BTreeSet<Origin> = prefix[way.source].iter().map(parsed).collect::<Result<_, _>>()?;
        let mut passing: Vec<BTreeSet<&Origin>> = Vec::new();
        for edge in way.edges {
            let mut on_edge = BTreeSet::new();
            let files = on_edges.iter().filter(|(name, _)| name == edge).flat_map(|(_, origins)| origins);
            for origin in files.filter(|origin| origin.source() == way.source) {
                if !read.contains(origin) {
                    return Err(format!("record {origin:?} is under way on {edge}, but not before the positions"));
                }
                if passing.iter().any(|before: &BTreeSet<_>| before.contains(origin)) || !on_edge.insert(origin) {
                    return Err(format!("record {origin:?} is under way on {edge}, and there or before that once more"));
                }
            }
            passing.push(on_edge);
        }
        let passing = &passing;
        let behind = |edges: usize| read.iter().filter(move |origin| !passing[..edges].iter().any(|on_edge| on_edge.contains(origin)));
        if let Some((uid, edges)) = way.counts {
            counted(mode, checkpoint, uid, behind(edges))?;
        }
        if checkpoint.finished.contains_key("gather") {
            continue;
        }
        let expected: Vec<(u64, Origin)> = behind(way.edges.len()).map(|origin| (way.side, origin.clone())).collect();
        let found = at_end.iter().filter(|(side, origin)| *side == way.side && origin.source() == way.source);
        same(mode, way.side, &expected, &found.cloned().collect::<Vec<_>>())?;
    }
    if shape == Shape::Broadcast {
        copies(mode, &prefix["b"], checkpoint)?;
    }
    let known = |(side, origin): &&(u64, Origin)| ways(shape).iter().any(|way| way.side == *side && way.source == origin.source());
    match at_end.iter().find(|found| !known(found)) {
        Some((side, origin)) => Err(format!("{origin:?} has come to side {side}, where no way of it ends")),
        None => Ok(()),
    }
}

/// Both sorted.
fn same(mode: Mode, side: u64, expected: &[(u64, Origin)], found: &[(u64, Origin)]) -> Result<(), Contradiction> {
    let mut found_once = found.to_vec();
    found_once.dedup();
    if let Some((_, origin)) = expected.iter().find(|origin| found_once.binary_search(origin).is_err()) {
        return Err(format!("record {origin:?} is before the positions, but neither in the state of side {side} nor under way"));
    }
    if mode == Mode::AtLeastOnce {
        return Ok(());
    }
    if let Some((_, origin)) = found_once.iter().find(|origin| expected.binary_search(origin).is_err()) {
        return Err(format!("record {origin:?} is in the state of side {side}, and under way or not before the positions"));
    }
    match found.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("record {:?} is in the state of side {side} more than once", pair[0].1)),
        None => Ok(()),
    }
}

/// What was counted by the other key between two exchanges.
fn counted<'a>(mode: Mode, checkpoint: &Checkpoint, uid: &str, records: impl Iterator<Item = &'a Origin>) -> Result<(), Contradiction> {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    records.for_each(|origin| *expected.entry(lane_of(&origin.name)).or_default() += 1);
    let nothing = BTreeMap::new();
    let found = checkpoint.keyed.get(uid).and_then(|states| states.get("passed")).unwrap_or(&nothing);
    // What those had counted who had finished is gone.
    let some_are_gone = checkpoint.finished.contains_key(uid);
    let kept = |lane: &&String| !some_are_gone || found.contains_key(*lane);
    for lane in expected.keys().chain(found.keys()).filter(kept) {
        let wanted = expected.get(lane).copied().unwrap_or(0);
        let fine = match (mode, found.get(lane)) {
            (Mode::ExactlyOnce, Some(Value::Number(count))) => *count == wanted,
            (Mode::AtLeastOnce, Some(Value::Number(count))) => *count >= wanted,
            (_, _) => false,
        };
        if !fine {
            return Err(format!("{uid} has passed on {:?} of {lane}, the input before the positions makes {wanted}", found.get(lane)));
        }
    }
    Ok(())
}

/// Every subtask has got all that is before the positions: nobody overtakes on such an edge.
fn copies(mode: Mode, lines: &[&str], checkpoint: &Checkpoint) -> Result<(), Contradiction> {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines {
        let origin = Origin::parse(line)?;
        let (partition, _) = origin.place()?;
        *expected.entry(format!("b{partition}")).or_default() += 1;
    }
    for place in checkpoint.parts.keys().filter(|(uid, _)| uid == "gather") {
        let copy = checkpoint.broadcast.get(place).ok_or_else(|| format!("subtask {} has no copy", place.1))?;
        let fine = match mode {
            Mode::ExactlyOnce => *copy == expected,
            Mode::AtLeastOnce => expected.iter().all(|(partition, count)| copy.get(partition).is_some_and(|found| found >= count)),
        };
        if !fine {
            return Err(format!("subtask {} has counted {copy:?}, the input before the positions makes {expected:?}", place.1));
        }
    }
    Ok(())
}

/// Every record of every way, and in which order the lines of its channel are.
fn all_records(shape: Shape, logs: &[Log]) -> Result<BTreeSet<(u64, Origin)>, Contradiction> {
    let mut all = BTreeSet::new();
    for way in ways(shape) {
        let lines = logs.iter().filter(|log| log.source == way.source).flat_map(|log| &log.partitions).flat_map(|(_, lines)| lines);
        for line in lines {
            all.insert((way.side, Origin::parse(line)?));
        }
    }
    Ok(all)
}
