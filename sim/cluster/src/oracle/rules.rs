//! Broadcast state: every subtask has the same, and it is what the broadcast records before the positions make.

use super::cut::Contradiction;
use super::decode::{Checkpoint, State, Value};
use super::reference::Prefix;
use crate::workload::group_of;
use cofferdam_protocol::settings::Mode;
use std::collections::BTreeMap;

/// The weight of each group after these lines.
#[must_use]
pub fn weights(prefix: &Prefix<'_>) -> BTreeMap<String, u64> {
    let mut weights = BTreeMap::new();
    for line in &prefix["weights"] {
        let (group, more) = line.split_once(' ').expect("our own input has two fields");
        *weights.entry(group.to_owned()).or_default() += more.parse::<u64>().expect("our own input has numbers there");
    }
    weights
}

/// Judges the copies of a checkpoint, and that nothing was counted under a weight that the cut does not know of.
///
/// # Errors
/// The first contradiction.
pub fn judge(mode: Mode, prefix: &Prefix<'_>, checkpoint: &Checkpoint, actual: &State) -> Result<(), Contradiction> {
    let weights = weights(prefix);
    for place in checkpoint.parts.keys().filter(|(uid, _)| uid == "rules") {
        let subtask = place.1;
        let copy = checkpoint.broadcast.get(place).ok_or_else(|| format!("subtask {subtask} has no copy of the weights"))?;
        let fine = match mode {
            Mode::ExactlyOnce => *copy == weights,
            Mode::AtLeastOnce => weights.iter().all(|(group, weight)| copy.get(group).is_some_and(|found| found >= weight)),
        };
        if !fine {
            return Err(format!("subtask {subtask} has weights {copy:?}, the input before the positions makes {weights:?}"));
        }
    }
    let nothing = BTreeMap::new();
    let (totals, counts) = (actual.get("total").unwrap_or(&nothing), actual.get("counts").unwrap_or(&nothing));
    for key in totals.keys().chain(counts.keys()) {
        let by_weight = match counts.get(key) {
            Some(Value::Map(by_weight)) => by_weight.clone(),
            Some(_) | None => BTreeMap::new(),
        };
        let total = Value::Number(by_weight.values().sum());
        if totals.get(key) != Some(&total) {
            return Err(format!("key {key} is counted {:?} times, and by weights {by_weight:?}", totals.get(key)));
        }
        let most = weights.get(&group_of(key)).copied().unwrap_or(0);
        if let (Mode::ExactlyOnce, Some(weight)) = (mode, by_weight.keys().find(|weight| weight.cast_unsigned() > most)) {
            return Err(format!("key {key} is counted under weight {weight}, the input before the positions makes at most {most}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One copy per subtask, and what one key is counted under.
    fn judged(copies: &[u64], by_weight: &[(i64, u64)], total: u64) -> Result<(), Contradiction> {
        let prefix = Prefix::from([("records", vec!["k1", "k1"]), ("weights", vec!["g1 2", "g1 3"])]);
        let copy = |weight: &u64| BTreeMap::from([("g1".to_owned(), *weight)]);
        let place = |subtask| ("rules".to_owned(), subtask);
        let broadcast = (0..).zip(copies).map(|(subtask, weight)| (place(subtask), copy(weight))).collect();
        let parts = (0..2).map(|subtask| (place(subtask), 0)).collect();
        let of = |value| BTreeMap::from([("k1".to_owned(), value)]);
        let counts = Value::Map(by_weight.iter().copied().collect());
        let actual = State::from([("total".to_owned(), of(Value::Number(total))), ("counts".to_owned(), of(counts))]);
        judge(Mode::ExactlyOnce, &prefix, &Checkpoint { broadcast, parts, ..Checkpoint::default() }, &actual)
    }

    #[test]
    fn equal_copies_of_what_the_input_makes_are_accepted() {
        assert_eq!(judged(&[5, 5], &[(0, 1), (2, 1)], 2), Ok(()));
    }

    #[test]
    fn a_copy_that_differs_is_found() {
        assert!(judged(&[5, 2], &[(2, 2)], 2).is_err_and(|red| red.contains("subtask 1")));
    }

    #[test]
    fn a_copy_that_is_missing_is_found() {
        assert!(judged(&[5], &[(2, 2)], 2).is_err_and(|red| red.contains("subtask 1 has no copy")));
    }

    #[test]
    fn a_weight_from_behind_the_cut_is_found() {
        assert!(judged(&[5, 5], &[(6, 2)], 2).is_err_and(|red| red.contains("under weight 6")));
    }

    #[test]
    fn a_count_under_no_weight_is_found() {
        assert!(judged(&[5, 5], &[(2, 1)], 2).is_err());
    }
}
