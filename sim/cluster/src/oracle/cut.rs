//! Is a checkpoint a consistent cut? Its state must be the reference's over exactly the lines before its positions: each
//! record is in exactly one of state, in flight (see [`in_flight`]; nothing, where channels are aligned), to be replayed.

use super::decode::{Checkpoint, State, Value};
use super::expiry::{self, Clocks};
use super::reference::{self, Prefix};
use super::{finished, in_flight, patterns, rules, shapes, splits};
use crate::jobs::{sources, Log};
use crate::scenario::JobKind;
use crate::workload::{DISORDER_MS, LATENESS_MS, WINDOW_MS};
use cofferdam_protocol::settings::Mode;
use std::collections::{BTreeMap, BTreeSet};

/// What contradicts the cut, with the smallest witness.
pub type Contradiction = String;

/// How many lines of a partition end before an offset.
pub(crate) fn lines_before(lines: &[String], offset: u64) -> Option<usize> {
    let mut end = 0;
    for (count, line) in lines.iter().enumerate() {
        if end == offset {
            return Some(count);
        }
        end += line.len() as u64 + 1;
    }
    (end == offset).then_some(lines.len())
}

/// The lines before a checkpoint's positions, and the watermark that they can have raised at most.
fn prefix<'a>(kind: JobKind, logs: &'a [Log], checkpoint: &Checkpoint) -> Result<(Prefix<'a>, i64), Contradiction> {
    if kind == JobKind::Arrivals {
        let read = splits::read(sources(kind)[0], &logs[0], checkpoint)?;
        return Ok((Prefix::from([(sources(kind)[0], read)]), i64::MIN));
    }
    let (mut prefix, mut watermark) = (Prefix::new(), i64::MAX);
    for (log, source) in logs.iter().zip(sources(kind)) {
        let positions = checkpoint.positions.get(*source).ok_or_else(|| format!("no positions of source {source}"))?;
        let known: BTreeSet<u32> = positions.keys().copied().collect();
        let all: BTreeSet<u32> = (0..).take(log.partitions.len()).collect();
        if known != all {
            return Err(format!("source {source} has positions of partitions {known:?}, there are {all:?}"));
        }
        let mut lines = Vec::new();
        for (index, offset) in positions {
            let (_, all) = &log.partitions[*index as usize];
            let count = lines_before(all, *offset).ok_or_else(|| format!("offset {offset} of {source}-{index} is inside a line"))?;
            // What may be silent is not waited for.
            if count < all.len() && *source != "feed" {
                let newest = all[..count].iter().filter_map(|line| line.split(' ').next()?.parse::<i64>().ok()).max();
                watermark = watermark.min(newest.map_or(i64::MIN, |newest| newest - DISORDER_MS));
            }
            lines.extend(all[..count].iter().map(String::as_str));
        }
        prefix.insert(source, lines);
    }
    if checkpoint.drained {
        // As at the end of all input.
        watermark = i64::MAX;
    }
    Ok((prefix, watermark))
}

/// Judges one checkpoint.
///
/// # Errors
/// What contradicts it.
pub fn judge(kind: JobKind, mode: Mode, logs: &[Log], checkpoint: &Checkpoint, clocks: &Clocks) -> Result<(), Contradiction> {
    let (prefix, watermark) = prefix(kind, logs, checkpoint)?;
    let gone = finished::keepers(kind, logs, checkpoint)?;
    if let JobKind::Shaped(shape) = kind {
        return shapes::judge(shape, mode, &prefix, checkpoint);
    }
    if gone {
        return Ok(());
    }
    let left = (!checkpoint.in_flight.is_empty()).then(|| in_flight::without(kind, &prefix, checkpoint)).transpose()?;
    let taken_in = left
        .as_ref()
        .map(|left| -> Prefix<'_> { left.iter().map(|(source, lines)| (*source, lines.iter().map(String::as_str).collect())).collect() });
    let taken_in = taken_in.as_ref().unwrap_or(&prefix);
    let expected = reference::state(kind, taken_in);
    let nothing = State::new();
    let actual = checkpoint.keyed.get(reference::keyed_operator(kind)).unwrap_or(&nothing);
    match kind {
        JobKind::WordCount | JobKind::Delivery | JobKind::Lanes | JobKind::Post | JobKind::Arrivals => {
            same(mode, &expected, actual, &["count"])
        }
        JobKind::Windows | JobKind::IdleSplit => windows(&expected, actual, watermark),
        JobKind::Patterns => patterns::judge(taken_in, actual, watermark),
        JobKind::Sessions | JobKind::Hops => spans(&expected, actual, watermark),
        JobKind::Ledger => {
            same(mode, &expected, actual, &["ordered", "amounts", "paid", "payments"])?;
            ripening(&expected, actual, mode)
        }
        JobKind::Expiring => {
            same(mode, &expected, actual, &["count"])?;
            expiry::judge(actual, clocks)
        }
        JobKind::Rules => {
            same(mode, &expected, actual, &["total"])?;
            rules::judge(mode, &prefix, checkpoint, actual)
        }
        JobKind::Visits => {
            let version = checkpoint.versions.get(&("visits".to_owned(), "tally".to_owned()));
            let expected = if version == Some(&2) { reference::visits_of_second_version(expected) } else { expected };
            same(mode, &expected, &without_times(actual), &["tally", "marks", "hours"])
        }
        JobKind::Shaped(_) => unreachable!("judged above"),
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::List(list) => {
            let mut list = list.clone();
            list.sort_unstable();
            Value::List(list)
        }
        other => other.clone(),
    }
}

/// Whether at-least-once allows `actual` where exactly-once demands `expected`.
fn covers(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Number(a), Value::Number(e)) => a >= e,
        (Value::Pair(a1, a2), Value::Pair(e1, e2)) => a1 >= e1 && a2 >= e2,
        (Value::List(a), Value::List(e)) => a.len() >= e.len(),
        (Value::Map(a), Value::Map(e)) => e.iter().all(|(key, count)| a.get(key).is_some_and(|found| found >= count)),
        _ => actual == expected,
    }
}

fn same(mode: Mode, expected: &State, actual: &State, names: &[&str]) -> Result<(), Contradiction> {
    let nothing = BTreeMap::new();
    for name in names {
        let (expected, actual) = (expected.get(*name).unwrap_or(&nothing), actual.get(*name).unwrap_or(&nothing));
        for key in expected.keys().chain(actual.keys()) {
            let (wanted, found) = (expected.get(key).map(sorted), actual.get(key).map(sorted));
            let fine = match (mode, &wanted, &found) {
                (Mode::AtLeastOnce, Some(wanted), Some(found)) => covers(found, wanted),
                (Mode::AtLeastOnce, None, Some(_)) => true,
                _ => wanted == found,
            };
            if !fine {
                return Err(format!(
                    "state {name} of key {key} is {}, the input before the positions makes {}",
                    show(&found),
                    show(&wanted)
                ));
            }
        }
    }
    Ok(())
}

/// Where nothing expires, when something was accessed says nothing.
fn without_times(state: &State) -> State {
    let value = |value: &Value| match value {
        Value::TimedMap(map) => Value::Map(map.iter().map(|(key, (_, value))| (*key, *value)).collect()),
        other => other.clone(),
    };
    state.iter().map(|(name, keys)| (name.clone(), keys.iter().map(|(key, kept)| (key.clone(), value(kept))).collect())).collect()
}

fn show(value: &Option<Value>) -> String {
    value.as_ref().map_or("nothing".to_owned(), |value| format!("{value:?}"))
}

/// Open windows have exact sums and a timer each; a window may be gone only if the watermark can have passed its end.
fn windows(expected: &State, actual: &State, watermark: i64) -> Result<(), Contradiction> {
    let nothing = BTreeMap::new();
    let open = |state: &State, name: &str| -> BTreeMap<(String, i64), u64> {
        let keys = state.get(name).unwrap_or(&nothing).iter();
        let entries = keys.flat_map(|(key, value)| match value {
            Value::Map(map) => map.iter().map(|(window, sum)| ((key.clone(), *window), *sum)).collect::<Vec<_>>(),
            Value::Times(times) => times.iter().map(|time| ((key.clone(), time + 1 - WINDOW_MS), 0)).collect(),
            _ => Vec::new(),
        });
        entries.collect()
    };
    let (expected, found, timers) = (open(expected, "sums"), open(actual, "sums"), open(actual, "timers/event"));
    for ((key, window), sum) in &found {
        let wanted = expected.get(&(key.clone(), *window));
        if wanted != Some(sum) {
            return Err(format!("the window {key}@{window} holds {sum}, the input before the positions makes {wanted:?}"));
        }
    }
    for ((key, window), sum) in &expected {
        let name = (key.clone(), *window);
        if !found.contains_key(&name) && window + WINDOW_MS - 1 > watermark {
            return Err(format!("the window {key}@{window} is gone, it holds {sum} and the watermark is at most {watermark}"));
        }
    }
    match found.keys().find(|name| !timers.contains_key(name)).or_else(|| timers.keys().find(|name| !found.contains_key(name))) {
        Some((key, window)) => Err(format!("the window {key}@{window} has only one of sum and timer")),
        None => Ok(()),
    }
}

/// Windows are exact until their lateness is over; each has the timer that ends it, and until it is whole the one that gives it out.
fn spans(expected: &State, actual: &State, watermark: i64) -> Result<(), Contradiction> {
    let nothing = BTreeMap::new();
    let open = |state: &State| -> BTreeMap<(String, i64), (i64, u64)> {
        let keys = state.get("windows").unwrap_or(&nothing).iter();
        let entries = keys.flat_map(|(key, value)| match value {
            Value::TimedMap(map) => map.iter().map(|(start, span)| ((key.clone(), *start), *span)).collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        entries.collect()
    };
    let (expected, found) = (open(expected), open(actual));
    let timers: BTreeSet<(String, i64)> = actual
        .get("timers/event")
        .unwrap_or(&nothing)
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Times(times) => times.iter().map(|time| (key.clone(), *time)).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    let mut needed = BTreeSet::new();
    for ((key, start), span) in &found {
        let wanted = expected.get(&(key.clone(), *start));
        if wanted != Some(span) {
            return Err(format!("the window {key}@{start} is {span:?}, the input before the positions makes {wanted:?}"));
        }
        let (whole, over) = ((key.clone(), span.0 - 1), (key.clone(), span.0 - 1 + LATENESS_MS));
        if !timers.contains(&over) || (whole.1 > watermark && !timers.contains(&whole)) {
            let of_key: Vec<i64> = timers.iter().filter(|(owner, _)| owner == key).map(|(_, time)| *time).collect();
            return Err(format!("the window {key}@{start} up to {} lacks a timer, the key has {of_key:?}", span.0));
        }
        needed.extend([whole, over]);
    }
    for ((key, start), span) in &expected {
        if !found.contains_key(&(key.clone(), *start)) && span.0 - 1 + LATENESS_MS > watermark {
            return Err(format!("the window {key}@{start} is gone, it holds {span:?} and the watermark is at most {watermark}"));
        }
    }
    match timers.difference(&needed).next() {
        Some((key, time)) => Err(format!("key {key} has a timer for {time}, and no window with it")),
        None => Ok(()),
    }
}

/// Every account that was seen is either ripe, or has its one timer, at the time that it is due.
fn ripening(expected: &State, actual: &State, mode: Mode) -> Result<(), Contradiction> {
    let nothing = BTreeMap::new();
    let of = |state: &'_ State, name: &str| state.get(name).unwrap_or(&nothing).clone();
    let (due, ripe, timers) = (of(actual, "due"), of(actual, "ripe"), of(actual, "timers/processing"));
    let seen: BTreeSet<String> = of(expected, "ordered").into_keys().chain(of(expected, "paid").into_keys()).collect();
    for key in &seen {
        let fine = match (ripe.get(key), due.get(key), timers.get(key)) {
            (Some(Value::Bool(true)), Some(Value::Number(_)), None) => true,
            (Some(Value::Bool(false)), Some(Value::Number(due)), Some(Value::Times(times))) => *times == [due.cast_signed()],
            _ => false,
        };
        if !fine {
            let (ripe, due, timers) = (show(&ripe.get(key).cloned()), show(&due.get(key).cloned()), show(&timers.get(key).cloned()));
            return Err(format!("account {key} is ripe: {ripe}, it is due: {due}, and has timers: {timers}"));
        }
    }
    match ripe.keys().chain(timers.keys()).find(|key| !seen.contains(*key)) {
        Some(key) if mode == Mode::ExactlyOnce => Err(format!("account {key} ripens, but is not in the input before the positions")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
