use super::*;
use crate::invariant::max_concurrent::MaxConcurrent;

fn triggered(epoch: u64, number: u64) -> Told {
    coordinator(number, epoch, Moment::CheckpointTriggered).c(number)
}

#[test]
fn as_many_as_there_may_be_are_accepted() {
    let history = vec![
        triggered(1, 1),
        triggered(1, 2),
        coordinator(3, 1, Moment::CheckpointCompleted).c(2),
        coordinator(3, 1, Moment::CheckpointAborted).c(1),
        triggered(1, 3),
        triggered(1, 4),
        // What a coordinator has left pending is not its successor's.
        triggered(2, 5),
        triggered(2, 6),
    ];
    assert_accepted(MaxConcurrent::new(2), history);
}

#[test]
fn one_too_many_is_red() {
    let history =
        vec![triggered(1, 1), coordinator(1, 1, Moment::CheckpointCompleted).c(1), triggered(1, 2), triggered(1, 3), triggered(1, 4)];
    assert_red(MaxConcurrent::new(2), history, &["c2, c3, c4", "2 may be"]);
}
