use super::*;
use crate::invariant::ids_unique::IdsUnique;

#[test]
fn numbers_that_grow_are_accepted_also_with_gaps_and_over_a_takeover() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointTriggered).c(1),
        coordinator(1, 1, Moment::CheckpointAborted).c(1),
        coordinator(2, 1, Moment::CheckpointTriggered).c(2),
        coordinator(3, 2, Moment::CheckpointTriggered).c(7),
    ];
    assert_accepted(IdsUnique::default(), history);
}

#[test]
fn the_number_of_an_aborted_checkpoint_used_again_is_red() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointTriggered).c(1),
        coordinator(1, 1, Moment::CheckpointTriggered).c(2),
        coordinator(2, 1, Moment::CheckpointAborted).c(2),
        coordinator(3, 2, Moment::CheckpointTriggered).c(2),
    ];
    assert_red(IdsUnique::default(), history, &["c2", "coord e2"]);
}

#[test]
fn a_number_that_falls_is_red() {
    let history = vec![coordinator(0, 1, Moment::CheckpointTriggered).c(5), coordinator(1, 2, Moment::CheckpointTriggered).c(4)];
    assert_red(IdsUnique::default(), history, &["c4", "c5"]);
}
