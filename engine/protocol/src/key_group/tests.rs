//! Facts about key groups.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_key_group_has_exactly_one_owner(max in 1u32..=400, parallelism in 1u32..=500, group in any::<prop::sample::Index>()) {
        let groups = MaxParallelism::new(max).expect("between 1 and 32768");
        let group = KeyGroup(u16::try_from(group.index(max as usize)).expect("below 400"));
        let owners: Vec<SubtaskIndex> = (0..parallelism)
            .map(SubtaskIndex)
            .filter(|&subtask| groups.range_of(subtask, parallelism).is_some_and(|range| range.contains(group)))
            .collect();
        prop_assert_eq!(owners, vec![groups.owner(group, parallelism)]);
    }

    #[test]
    fn every_hash_has_a_key_group_that_exists(max in 1u32..=MaxParallelism::LIMIT, hash in any::<u64>()) {
        let groups = MaxParallelism::new(max).expect("between 1 and 32768");
        prop_assert!(u32::from(groups.group_of(hash).0) < max);
    }

    #[test]
    fn an_intersection_holds_what_both_hold(a in 0u16..40, b in 0u16..40, c in 0u16..40, d in 0u16..40, group in 0u16..40) {
        let range = |x: u16, y: u16| KeyGroupRange { first: KeyGroup(x.min(y)), last: KeyGroup(x.max(y)) };
        let (left, right, group) = (range(a, b), range(c, d), KeyGroup(group));
        let both = left.intersection(right).is_some_and(|range| range.contains(group));
        prop_assert_eq!(both, left.contains(group) && right.contains(group));
    }
}

#[test]
fn the_default_is_flinks() {
    for (parallelism, expected) in [(1, 128), (85, 128), (86, 256), (100, 256), (20_000, 32768), (u32::MAX, 32768)] {
        assert_eq!(MaxParallelism::default_for(parallelism).get(), expected, "for {parallelism}");
    }
}

#[test]
fn max_parallelism_has_bounds() {
    for bad in [0, MaxParallelism::LIMIT + 1, u32::MAX] {
        assert_eq!(MaxParallelism::new(bad), Err(BadMaxParallelism(bad)));
    }
}
