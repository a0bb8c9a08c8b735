//! State with time-to-live, held against what the job has noted of each access.
//!
//! Clocks of nodes may differ, and jump. What is judged by one clock alone is exact: nothing that is expired by the clock of the
//! moment is ever returned. What was taken out must have been expired by some clock that some node had by then.

use super::cut::Contradiction;
use super::decode::{State, Value};
use crate::workload::TTL_MS;
use std::collections::BTreeMap;

/// The clocks of a run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// All nodes have the same clock, and it never jumps.
    pub agree: bool,
    /// The latest time that the wall clock of any node has shown so far.
    pub latest_ms: i64,
    /// What had expired then must have been left out of the snapshot; where that cannot be known, nothing.
    pub cleaned_ms: Option<i64>,
}

/// When something was last accessed, and what it is.
type Noted = (i64, u64);

/// All that is noted, or kept, of a key: the value, the elements of the list, the entries of the map.
fn content(state: &State, names: [&str; 3], key: &str) -> [Vec<(i64, Noted)>; 3] {
    names.map(|name| match state.get(name).and_then(|keys| keys.get(key)) {
        Some(Value::Timed(noted)) => vec![(0, *noted)],
        // Elements are numbered, each number comes once.
        Some(Value::TimedList(list)) => list.iter().map(|noted| (noted.1.cast_signed(), *noted)).collect(),
        Some(Value::TimedMap(map)) => map.iter().map(|(inner, noted)| (*inner, *noted)).collect(),
        Some(_) | None => Vec::new(),
    })
}

/// Judges the state of a checkpoint.
///
/// # Errors
/// What was returned or kept too long, or lost too early.
pub fn judge(actual: &State, clocks: &Clocks) -> Result<(), Contradiction> {
    if let Some((key, wrong)) = actual.get("wrong").and_then(BTreeMap::first_key_value) {
        return Err(format!("key {key} got {wrong:?} from state with time-to-live, which had expired or was never put in"));
    }
    for (key, lost) in actual.get("lost").into_iter().flatten() {
        let Value::TimedList(lost) = lost else { continue };
        if let Some((at_ms, value)) = lost.iter().find(|(at_ms, _)| clocks.agree || at_ms + TTL_MS > clocks.latest_ms) {
            return Err(format!("key {key} did not get {value}, which was last accessed at {at_ms} and not expired by any clock"));
        }
    }
    let keys = ["value", "list", "map", "noted-value", "noted-list", "noted-map"].map(|name| actual.get(name));
    for key in keys.into_iter().flatten().flat_map(BTreeMap::keys) {
        let kept = content(actual, ["value", "list", "map"], key);
        let noted = content(actual, ["noted-value", "noted-list", "noted-map"], key);
        for (kept, noted) in kept.iter().zip(&noted) {
            compare(key, kept, noted, clocks)?;
        }
    }
    Ok(())
}

fn compare(key: &str, kept: &[(i64, Noted)], noted: &[(i64, Noted)], clocks: &Clocks) -> Result<(), Contradiction> {
    if let Some((_, kept)) = kept.iter().find(|kept| !noted.contains(kept)) {
        return Err(format!("key {key} keeps {} as of {}, which is not what the job has noted: {noted:?}", kept.1, kept.0));
    }
    let expired = |at_ms: i64, by_ms: i64| at_ms + TTL_MS <= by_ms;
    if let Some((_, gone)) = noted.iter().find(|noted| !kept.contains(noted) && !expired(noted.1 .0, clocks.latest_ms)) {
        return Err(format!("key {key} does not keep {} any more, last accessed at {} and not expired by any clock", gone.1, gone.0));
    }
    let long_gone = |kept: &&(i64, Noted)| clocks.cleaned_ms.is_some_and(|cleaned_ms| expired(kept.1 .0, cleaned_ms));
    match kept.iter().find(long_gone) {
        Some((_, kept)) => Err(format!("the snapshot still has {} of key {key}, last accessed at {}", kept.1, kept.0)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(agree: bool, latest_ms: i64) -> Clocks {
        Clocks { agree, latest_ms, cleaned_ms: None }
    }

    fn state(entries: &[(&str, Value)]) -> State {
        entries.iter().map(|(name, value)| ((*name).to_owned(), BTreeMap::from([("k".to_owned(), value.clone())]))).collect()
    }

    #[test]
    fn what_is_kept_as_it_was_noted_is_accepted() {
        let kept = state(&[("value", Value::Timed((5, 7))), ("noted-value", Value::Timed((5, 7)))]);
        assert_eq!(judge(&kept, &clocks(true, 6)), Ok(()));
    }

    #[test]
    fn what_was_returned_after_its_time_is_found() {
        let wrong = state(&[("wrong", Value::List(vec![7]))]);
        assert!(judge(&wrong, &clocks(false, 10_000)).is_err());
    }

    #[test]
    fn what_was_not_returned_may_be_a_clocks_fault_if_there_was_such_a_clock() {
        let lost = state(&[("lost", Value::TimedList(vec![(5, 7)]))]);
        assert!(judge(&lost, &clocks(true, 5 + TTL_MS)).is_err());
        assert!(judge(&lost, &clocks(false, 4 + TTL_MS)).is_err());
        assert_eq!(judge(&lost, &clocks(false, 5 + TTL_MS)), Ok(()));
    }

    #[test]
    fn what_is_gone_must_have_expired() {
        let gone = state(&[("noted-list", Value::TimedList(vec![(5, 1)]))]);
        assert!(judge(&gone, &clocks(true, 4 + TTL_MS)).is_err());
        assert_eq!(judge(&gone, &clocks(true, 5 + TTL_MS)), Ok(()));
    }

    #[test]
    fn another_value_or_time_than_noted_is_found() {
        let noted = Value::TimedMap(BTreeMap::from([(1, (5, 7))]));
        for other in [(6, 7), (5, 8)] {
            let kept = state(&[("map", Value::TimedMap(BTreeMap::from([(1, other)]))), ("noted-map", noted.clone())]);
            assert!(judge(&kept, &clocks(false, 10_000)).is_err());
        }
    }

    #[test]
    fn what_a_snapshot_should_have_left_out_is_found() {
        let kept = state(&[("value", Value::Timed((5, 7))), ("noted-value", Value::Timed((5, 7)))]);
        let cleaned = |cleaned_ms| Clocks { cleaned_ms: Some(cleaned_ms), ..clocks(true, 10_000) };
        assert!(judge(&kept, &cleaned(5 + TTL_MS)).is_err());
        assert_eq!(judge(&kept, &cleaned(4 + TTL_MS)), Ok(()));
    }
}
