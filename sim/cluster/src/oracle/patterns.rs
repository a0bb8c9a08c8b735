//! Sequences of moves, again: every match by itself, from all moves of a key in the order of their times.
//!
//! What a snapshot holds depends on how far the watermark has come, which is no part of it. So there must be one moment in event time that
//! explains all that is there of a key: moves behind it wait, moves before it have been looked at, and what has begun by then and is not
//! over is half-way.

use super::cut::Contradiction;
use super::decode::{State, Value};
use super::reference::Prefix;
use crate::workload::WITHIN_MS;
use std::collections::{BTreeMap, BTreeSet};

/// Of a key: which move, by time. No two have the same time.
type Moves = BTreeMap<i64, u64>;

/// The moves of each key.
fn by_key(prefix: &Prefix<'_>) -> BTreeMap<String, Moves> {
    let mut keys: BTreeMap<String, Moves> = BTreeMap::new();
    for line in &prefix["moves"] {
        let fields: Vec<&str> = line.split(' ').collect();
        let [time, key, kind] = fields[..] else { unreachable!("our own input has three fields") };
        let number = |field: &str| field.parse::<i64>().expect("our own input has numbers there");
        keys.entry(key.to_owned()).or_default().insert(number(time), number(kind).unsigned_abs());
    }
    keys
}

/// What each first move has led to up to the end of these: its own time, and those of what followed.
fn begun(moves: &Moves) -> BTreeMap<i64, Vec<i64>> {
    let firsts = moves.iter().filter(|(_, kind)| **kind == 0).map(|(first, _)| *first);
    let led_to = firsts.map(|first| {
        let mut times = vec![first];
        for (time, kind) in moves.range(first + 1..first + WITHIN_MS) {
            if times.len() < 3 && *kind == times.len() as u64 {
                times.push(*time);
            }
        }
        (first, times)
    });
    led_to.collect()
}

/// The rows of all matches.
#[must_use]
pub fn table(everything: &Prefix<'_>) -> BTreeMap<String, String> {
    let keys = by_key(everything);
    let matches = keys.iter().flat_map(|(key, moves)| begun(moves).into_values().map(move |times| (key, times)));
    matches
        .filter(|(_, times)| times.len() == 3)
        .map(|(key, times)| (format!("{key}@{}", times[0]), format!("{} {}", times[1], times[2])))
        .collect()
}

/// Groups of moves, as a state has them of a key: by time of each group.
fn groups(state: &State, name: &str, key: &str) -> Result<Vec<(i64, Moves)>, Contradiction> {
    match state.get(name).and_then(|keys| keys.get(key)) {
        None => Ok(Vec::new()),
        Some(Value::Groups(groups)) => Ok(groups.iter().map(|(time, moves)| (*time, moves.iter().copied().collect())).collect()),
        Some(other) => Err(format!("state {name} of key {key} is {other:?}")),
    }
}

/// Judges the state, of moves of which a watermark may have passed those up to `watermark`.
///
/// # Errors
/// What no moment in event time explains.
pub fn judge(prefix: &Prefix<'_>, actual: &State, watermark: i64) -> Result<(), Contradiction> {
    let keys = by_key(prefix);
    let known: BTreeSet<&String> = actual.values().flat_map(BTreeMap::keys).chain(keys.keys()).collect();
    let none = Moves::new();
    for key in known {
        let moves = keys.get(key).unwrap_or(&none);
        of_key(key, moves, actual, watermark).map_err(|contradiction| format!("key {key}: {contradiction}"))?;
    }
    Ok(())
}

fn of_key(key: &str, moves: &Moves, actual: &State, watermark: i64) -> Result<(), Contradiction> {
    let mut waiting = Moves::new();
    for (time, group) in groups(actual, "waiting", key)? {
        if group.len() != 1 || !group.contains_key(&time) {
            return Err(format!("{group:?} wait for {time}"));
        }
        waiting.extend(group);
    }
    if let Some((time, kind)) = waiting.iter().find(|(time, kind)| moves.get(time) != Some(kind)) {
        return Err(format!("move {kind} at {time} waits, and is not in the input before the positions"));
    }
    let passed: Moves = moves.iter().filter(|(time, _)| !waiting.contains_key(time)).map(|(time, kind)| (*time, *kind)).collect();
    // The moment is not before `least`, and before `most`.
    let mut least = passed.keys().next_back().copied().unwrap_or(i64::MIN);
    let mut most = waiting.keys().next().copied().unwrap_or(i64::MAX);
    let begun = begun(&passed);
    let half_way: BTreeMap<i64, Vec<i64>> =
        begun.iter().filter(|(_, times)| times.len() < 3).map(|(first, times)| (*first, times.clone())).collect();
    let mut kept = BTreeSet::new();
    for (first, group) in groups(actual, "partial", key)? {
        let times: Vec<i64> = group.keys().copied().collect();
        if half_way.get(&first) != Some(&times) || group.iter().any(|(time, kind)| passed.get(time) != Some(kind)) || !kept.insert(first) {
            return Err(format!("{times:?} is half-way, the input makes {half_way:?}"));
        }
        most = most.min(first + WITHIN_MS);
    }
    for first in half_way.keys().filter(|first| !kept.contains(*first)) {
        least = least.max(first + WITHIN_MS);
    }
    if least >= most {
        return Err(format!("some of it is as it was before {most}, and some as at {least} or later"));
    }
    if least > watermark {
        return Err(format!("moves up to {least} have been looked at, and the watermark is at most {watermark}"));
    }
    let timers: BTreeSet<i64> = match actual.get("timers/event").and_then(|keys| keys.get(key)) {
        Some(Value::Times(times)) => times.iter().copied().collect(),
        _ => BTreeSet::new(),
    };
    let needed: BTreeSet<i64> = waiting.keys().copied().chain(kept.iter().map(|first| first + WITHIN_MS)).collect();
    if let Some(time) = needed.difference(&timers).next() {
        return Err(format!("there is no timer for {time}, only {timers:?}"));
    }
    // One that has found its end leaves its timer behind.
    let ends: BTreeSet<i64> = begun.keys().map(|first| first + WITHIN_MS).collect();
    match timers.difference(&needed).find(|time| !ends.contains(time)) {
        Some(time) => Err(format!("a timer for {time} is of nothing")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 5] = ["100 k1 0", "140 k1 1", "180 k1 3", "220 k1 2", "260 k1 0"];

    /// Of one key: groups that wait, groups that are half-way, timers.
    fn judged(waiting: &[(i64, u64)], partial: &[&[(i64, u64)]], timers: &[i64], watermark: i64) -> Result<(), Contradiction> {
        let of = |value| BTreeMap::from([("k1".to_owned(), value)]);
        let group = |moves: &[(i64, u64)]| (moves[0].0, moves.to_vec());
        let waiting = waiting.iter().map(|one| group(&[*one])).collect();
        let partial = partial.iter().map(|moves| group(moves)).collect();
        let state = State::from([
            ("waiting".to_owned(), of(Value::Groups(waiting))),
            ("partial".to_owned(), of(Value::Groups(partial))),
            ("timers/event".to_owned(), of(Value::Times(timers.to_vec()))),
        ]);
        judge(&Prefix::from([("moves", LINES.to_vec())]), &state, watermark)
    }

    const END: i64 = 100 + WITHIN_MS;

    #[test]
    fn a_match_is_made_of_what_follows_whatever_comes_in_between() {
        let table = table(&Prefix::from([("moves", LINES.to_vec())]));
        assert_eq!(table, BTreeMap::from([("k1@100".to_owned(), "140 220".to_owned())]));
    }

    #[test]
    fn what_one_moment_explains_is_accepted() {
        assert_eq!(judged(&[(220, 2), (260, 0)], &[&[(100, 0), (140, 1)]], &[220, 260, END], 200), Ok(()));
        assert_eq!(judged(&[], &[&[(260, 0)]], &[END, 260 + WITHIN_MS], 300), Ok(()));
    }

    #[test]
    fn moves_that_are_lost_or_looked_at_too_early_are_red() {
        assert!(judged(&[(220, 2)], &[&[(100, 0), (140, 1)]], &[220, END], 200).is_err());
        assert!(judged(&[], &[&[(260, 0)]], &[END, 260 + WITHIN_MS], 250).is_err());
    }

    #[test]
    fn what_is_half_way_and_should_not_be_is_red() {
        assert!(judged(&[(220, 2), (260, 0)], &[], &[220, 260], 200).is_err());
        assert!(judged(&[(220, 2), (260, 0)], &[&[(100, 0)]], &[220, 260, END], 200).is_err());
        assert!(judged(&[], &[&[(100, 0), (140, 1)], &[(260, 0)]], &[END, 260 + WITHIN_MS], 300).is_err());
    }

    #[test]
    fn timers_that_are_missing_or_of_nothing_are_red() {
        assert!(judged(&[(220, 2), (260, 0)], &[&[(100, 0), (140, 1)]], &[220, END], 200).is_err());
        assert!(judged(&[(220, 2), (260, 0)], &[&[(100, 0), (140, 1)]], &[220, 230, 260, END], 200).is_err());
    }
}
